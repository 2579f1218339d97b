//! Blocks of events in, blocks of scores out, on all cores.

use std::{sync::Arc, time::Instant};

use crossbeam_channel::{Receiver, Sender};
use millrace_core::{Pipeline, id};
use millrace_schema::{
    FieldPath, Projection, Schema, Validator,
    container::{Block, Codec, Compressor, Decompressor, Head, Limits},
    scored,
};
use millrace_scoring::{Bundle, Plan};

use super::{
    error::{Error, Result},
    item::Object,
    progress::Progress,
};
use crate::{
    event::{id_projection, own_id},
    rows::{Ids, Rows},
    scorer::now,
};

/// What scores say about how they came about.
const SOURCE: &str = "batch";
/// A block of scores ends when it holds this many bytes: one of events becomes one of scores as a rule.
const BLOCK: usize = 256 << 10;

/// How the records of one object are scored.
pub(super) struct Recipe {
    plan: Plan,
    validator: Validator,
    codec: Codec,
    /// Reads the event's own id, where the document names a field for it.
    id: Option<Projection>,
    /// What names events that have none.
    bucket: String,
    key: String,
    version: String,
    /// Milliseconds since 1970.
    received_at: i64,
}

impl Recipe {
    /// Also the schema of the object's scores.
    pub(super) fn new(
        bundle: &Arc<Bundle>,
        id: Option<&FieldPath>,
        head: &Head,
        object: &Object,
        version: &str,
    ) -> Result<(Self, Schema)> {
        let refused = |why: &dyn std::error::Error| {
            Error::Schema(why.source().map_or_else(|| why.to_string(), |cause| format!("{why}: {cause}")))
        };
        let plan = Plan::compile(bundle, head.schema()).map_err(|error| refused(&error))?;
        // Each field may be missing, but who has none of them holds something else.
        if !plan.reads_anything() {
            return Err(Error::Schema("none of the fields of the model's features is in its schema".to_owned()));
        }
        let composed = scored::compose(head.schema()).map_err(|error| refused(&error))?;
        let (bucket, key) = object.bucket_and_key();
        let recipe = Self {
            plan,
            validator: Validator::compile(head.schema()),
            codec: head.codec(),
            id: id.and_then(|id| id_projection(head.schema(), bundle.schema(), id)),
            bucket: bucket.to_owned(),
            key: key.to_owned(),
            version: version.to_owned(),
            received_at: object.modified.as_millisecond(),
        };
        Ok((recipe, composed))
    }
}

/// Some blocks of an object, and where their scores go.
pub(super) struct Task {
    pub(super) recipe: Arc<Recipe>,
    pub(super) blocks: Vec<Block>,
    pub(super) reply: Sender<Result<Vec<Packed>>>,
}

/// A block of scores, compressed.
pub(super) struct Packed {
    pub(super) count: u64,
    pub(super) data: Vec<u8>,
}

/// One thread's memory.
pub(super) struct Worker<'a> {
    rows: Rows,
    limits: Limits,
    progress: &'a Progress,
    decompressor: (Codec, Decompressor),
    compressor: Compressor,
    /// A block of events, open.
    events: Vec<u8>,
    /// A block of scores, and how many there are.
    scores: Vec<u8>,
    count: u64,
}

impl<'a> Worker<'a> {
    pub(super) fn new(pipeline: &Pipeline, limits: Limits, progress: &'a Progress) -> Self {
        Self {
            rows: Rows::new(pipeline, SOURCE),
            limits,
            progress,
            decompressor: (Codec::Null, Decompressor::new(Codec::Null, limits)),
            compressor: Compressor::new(Codec::Zstandard),
            events: Vec::new(),
            scores: Vec::with_capacity(2 * BLOCK),
            count: 0,
        }
    }

    /// Works while there is something to do.
    pub(super) fn run(mut self, tasks: &Receiver<Task>) {
        for task in tasks {
            let done = self.task(&task);
            // Whoever has found a fault in another block does not wait for this one.
            let _ = task.reply.send(done);
        }
    }

    fn task(&mut self, task: &Task) -> Result<Vec<Packed>> {
        let Task { recipe, blocks, .. } = task;
        let mut packed = Vec::with_capacity(1);
        // What was left of a task that failed.
        self.scores.clear();
        self.count = 0;
        let (began, now) = (Instant::now(), now());
        for block in blocks {
            self.block(recipe, block, now, &mut packed)?;
        }
        self.pack(&mut packed)?;
        self.progress.scored(packed.iter().map(|packed| packed.count).sum(), began.elapsed());
        Ok(packed)
    }

    fn block(&mut self, recipe: &Recipe, block: &Block, now: i64, packed: &mut Vec<Packed>) -> Result<()> {
        if self.decompressor.0 != recipe.codec {
            self.decompressor = (recipe.codec, Decompressor::new(recipe.codec, self.limits));
        }
        // Out of `self` for as long as what is in it is borrowed.
        let mut events = std::mem::take(&mut self.events);
        let done = self
            .decompressor
            .1
            .open(block, &mut events)
            .map_err(|error| Error::container(block.offset, error))
            .and_then(|()| self.records(recipe, block, &events, now, packed));
        self.events = events;
        done
    }

    fn records(
        &mut self,
        recipe: &Recipe,
        block: &Block,
        events: &[u8],
        now: i64,
        packed: &mut Vec<Packed>,
    ) -> Result<()> {
        let mut rest = events;
        for index in 0..block.count {
            let wrong = |reason: String| Error::Record { block: block.offset, index, reason };
            let size = recipe.validator.measure(rest).map_err(|error| wrong(error.to_string()))?;
            let (datum, behind) = rest.split_at(size);
            rest = behind;
            let row = self.rows.score(&recipe.plan, datum).map_err(|error| wrong(error.to_string()))?;
            let event_id = recipe.id.as_ref().and_then(|field| own_id(field, datum));
            let event_id = event_id.unwrap_or_else(|| {
                id::from_object(&recipe.bucket, &recipe.key, &recipe.version, block.offset, index).to_string()
            });
            let ids = Ids { event_id: &event_id, correlation_id: &event_id, received_at: recipe.received_at };
            row.write(&ids, now, &mut self.scores);
            self.count += 1;
            if self.scores.len() >= BLOCK {
                self.pack(packed)?;
            }
        }
        match rest.len() {
            0 => Ok(()),
            more => {
                let reason = format!("{more} bytes are behind the last record");
                Err(Error::Record { block: block.offset, index: block.count, reason })
            }
        }
    }

    fn pack(&mut self, packed: &mut Vec<Packed>) -> Result<()> {
        if self.count > 0 {
            let data = self.compressor.compress(&self.scores).map_err(|error| Error::container(0, error))?;
            packed.push(Packed { count: self.count, data });
            self.scores.clear();
            self.count = 0;
        }
        Ok(())
    }
}
