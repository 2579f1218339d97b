//! One piece of work, from its first byte to its last.

use std::{collections::VecDeque, io::Read, sync::Arc};

use crossbeam_channel::{Receiver, Sender, bounded};
use millrace_runtime::Shutdown;
use millrace_schema::container::{Block, Blocks, Head};

use super::{
    error::{Error, Result},
    item::{Item, Part},
    job::{Job, Output},
    progress::Progress,
    sink::Sink,
    source::Source,
    worker::{Packed, Recipe, Task},
};

/// Compressed bytes of a task, at least: blocks that are smaller go together.
const TASK: usize = 16 << 10;
/// Bytes that are asked for to find the head of an object whose first part is not wanted.
const HEAD: u64 = 64 << 10;

/// The head of a file, and its blocks from a part's first one on; none where no block begins in the part.
type Opened<'a> = (Head, Option<Blocks<Box<dyn Read + 'a>>>);

/// What reads objects and writes their scores: one thread, that does one after the other.
pub(super) struct Desk<'a> {
    pub(super) job: &'a Job,
    pub(super) tasks: Sender<Task>,
    pub(super) progress: &'a Progress,
    pub(super) shutdown: &'a Shutdown,
}

impl Desk<'_> {
    /// Scores an object, or a part of it: all of it is there afterwards, or nothing.
    pub(super) fn score(&self, item: &Item) -> Result<Output> {
        let Item { object, part } = item;
        if object.size == 0 {
            return Err(Error::Empty);
        }
        let source = Source::open(object, &self.job.storage, self.shutdown)?;
        let (head, blocks) = self.blocks(&source, *part)?;
        let (recipe, schema) = Recipe::new(&self.job.bundle, self.job.id.as_ref(), &head, object, source.version())?;
        let name = item.output(source.version());
        let mut sink = Sink::begin(&self.job.to, &name, &schema, &self.job.storage, self.shutdown)?;
        let copied = match blocks {
            Some(blocks) => self.copy(blocks, part.end(), recipe, &mut sink),
            None => Ok(()),
        };
        match copied.and_then(|()| source.check()) {
            Ok(()) => {
                let (key, rows) = sink.finish()?;
                Ok(Output { key, rows })
            }
            Err(error) => {
                sink.abandon();
                Err(error)
            }
        }
    }

    /// Each part but the first looks for its first block: the head says what is between two of them.
    fn blocks<'s>(&self, source: &'s Source<'_>, part: Part) -> Result<Opened<'s>> {
        let limits = self.job.limits;
        let broken = |error| Error::container(0, error);
        if part.index == 0 {
            let mut input = source.read(0, part.end())?;
            let head = Head::read(&mut input, limits).map_err(broken)?;
            let offset = head.length();
            let blocks = (offset < part.end()).then(|| Blocks::new(input, &head, limits, offset));
            return Ok((head, blocks));
        }
        let head = Head::read(source.read(0, HEAD)?, limits).map_err(broken)?;
        let begin = part.begin().max(head.length()) - Blocks::<&[u8]>::LOOK_BACK;
        let input = source.read(begin, part.end())?;
        let blocks = Blocks::find(input, &head, limits, begin, part.end());
        let blocks = blocks.map_err(|error| Error::container(begin, error))?;
        Ok((head, blocks))
    }

    /// Hands the blocks that begin before `end` to the workers, and puts what they make of them into the sink, in order.
    fn copy(&self, mut blocks: Blocks<impl Read>, end: u64, recipe: Recipe, sink: &mut Sink<'_>) -> Result<()> {
        let recipe = Arc::new(recipe);
        let mut window = Window { sink, progress: self.progress, waiting: VecDeque::new(), bytes: 0 };
        loop {
            if self.shutdown.is_triggered() {
                return Err(Error::Stopped);
            }
            let (gathered, bytes) = gather(&mut blocks, end)?;
            if gathered.is_empty() {
                break;
            }
            while window.is_full(self.job) {
                window.settle()?;
            }
            let (reply, answer) = bounded(1);
            let task = Task { recipe: Arc::clone(&recipe), blocks: gathered, reply };
            self.tasks.send(task).map_err(|_| Error::Worker)?;
            window.waiting.push_back((answer, bytes));
            window.bytes += bytes;
        }
        while !window.waiting.is_empty() {
            window.settle()?;
        }
        Ok(())
    }
}

/// The next blocks, enough for a task, and their bytes.
fn gather(blocks: &mut Blocks<impl Read>, end: u64) -> Result<(Vec<Block>, usize)> {
    let (mut gathered, mut bytes) = (Vec::new(), 0);
    while bytes < TASK && blocks.offset() < end {
        let (mut block, at) = (Block::default(), blocks.offset());
        if !blocks.read_block(&mut block).map_err(|error| Error::container(at, error))? {
            break;
        }
        // An empty block takes memory as well.
        bytes += block.data.len().max(size_of::<Block>());
        gathered.push(block);
    }
    Ok((gathered, bytes))
}

/// Tasks whose scores were not written yet, in the order of their blocks.
struct Window<'a, 's> {
    sink: &'a mut Sink<'s>,
    progress: &'a Progress,
    waiting: VecDeque<(Receiver<Result<Vec<Packed>>>, usize)>,
    bytes: usize,
}

impl Window<'_, '_> {
    /// It is bounded by its number, and where blocks are large by their bytes.
    fn is_full(&self, job: &Job) -> bool {
        self.waiting.len() >= 2 * job.threads || (self.bytes >= job.limits.block && !self.waiting.is_empty())
    }

    /// Waits for the oldest, and writes it.
    fn settle(&mut self) -> Result<()> {
        let Some((answer, bytes)) = self.waiting.pop_front() else { return Ok(()) };
        for packed in answer.recv().map_err(|_| Error::Worker)?? {
            self.sink.add(&packed)?;
        }
        self.bytes -= bytes;
        self.progress.read(bytes as u64);
        Ok(())
    }
}
