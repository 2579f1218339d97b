//! Records per second of `millrace-scorer batch`: a million made-up mails in four local files, all features of the demo, 100
//! trees of 31 leaves, five reasons, scores to local files; beside it, in the same run, reading alone: open the blocks of the
//! same files, decompress them, validate their records.

use std::{
    fs::File,
    io::{BufReader, BufWriter, Write as _},
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
    time::Instant,
};

use clap::Parser as _;
use fixed::{bundle, mails};
use millrace_schema::{
    Schema, Validator,
    container::{Block, Blocks, Codec, Decompressor, Head, Limits, Writer},
};
use millrace_scorer::Batch;

#[path = "../tests/fixed/mod.rs"]
mod fixed;

// As the binary has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const RECORDS: usize = 1_000_000;
const FILES: usize = 4;
const ROUNDS: usize = 3;
/// Records of which the model is learned.
const LEARNED: usize = 20_000;
/// Floor, in records per second.
const FLOOR: f64 = 150_000.0;

#[derive(clap::Parser)]
struct Cli {
    #[command(flatten)]
    batch: Batch,
}

fn main() {
    let folder = tempfile::tempdir().expect("a folder for a while");
    let schema = Schema::parse(millrace_demo::SCHEMA).expect("the demo's schema");
    millrace_demo::write_documents(folder.path()).expect("room for documents");
    bundle(&schema, LEARNED).save(&folder.path().join("models").join(millrace_demo::NAME)).expect("room for a model");
    let inputs = write(&folder.path().join("in"), &schema);
    let size = |paths: &[PathBuf]| paths.iter().map(|path| path.metadata().map_or(0, |file| file.len())).sum::<u64>();
    println!(
        "{RECORDS} records in {FILES} files of {} bytes together, {} cores",
        size(&inputs),
        std::thread::available_parallelism().map_or(1, usize::from),
    );

    let batch = best(|| batch(folder.path()));
    let read = best(|| read(&inputs));
    row("batch: read, score, 5 reasons, write", batch, Some(FLOOR));
    row("read, decompress and validate alone", read, None);
    println!("batch / reading alone: {:.2}", batch / read);
}

/// The million, as a writer of ours would write it.
fn write(folder: &Path, schema: &Schema) -> Vec<PathBuf> {
    std::fs::create_dir_all(folder).expect("room for mail");
    let mut mails = mails(7);
    (0..FILES)
        .map(|number| {
            let path = folder.join(format!("mail-{number}.avro"));
            let output = BufWriter::new(File::create(&path).expect("room for mail"));
            let mut writer = Writer::new(output, schema, Codec::Zstandard).expect("room for mail");
            for datum in mails.by_ref().take(RECORDS / FILES) {
                writer.append(&datum).expect("room for mail");
            }
            writer.finish().and_then(|mut output| Ok(output.flush()?)).expect("room for mail");
            path
        })
        .collect()
}

/// The whole command but its last line: the second round replaces what the first has written.
fn batch(folder: &Path) {
    let arg = |name: &str| folder.join(name).display().to_string();
    let args = [
        "batch".to_owned(),
        "--log=warn".to_owned(),
        format!("--pipeline={}", arg("mail-trust.yaml")),
        format!("--models={}", arg("models")),
        format!("--to={}", arg("out")),
        arg("in"),
    ];
    let Cli { batch } = Cli::parse_from(args);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("threads");
    let summary = runtime.block_on(batch.score()).expect("a batch of good mail");
    assert_eq!((summary.records, summary.objects, summary.failed), (RECORDS as u64, FILES, 0));
}

/// On as many threads as there are cores.
fn read(paths: &[PathBuf]) {
    let next = AtomicUsize::new(0);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let records: u64 = std::thread::scope(|scope| {
        let reading: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| {
                    let mut records = 0;
                    while let Some(path) = paths.get(next.fetch_add(1, Ordering::Relaxed)) {
                        records += read_one(path);
                    }
                    records
                })
            })
            .collect();
        reading.into_iter().map(|thread| thread.join().expect("readable mail")).sum()
    });
    assert_eq!(records, RECORDS as u64);
}

fn read_one(path: &Path) -> u64 {
    let limits = Limits::default();
    let mut input = BufReader::with_capacity(256 << 10, File::open(path).expect("a file"));
    let head = Head::read(&mut input, limits).expect("a head");
    let validator = Validator::compile(head.schema());
    let mut decompressor = Decompressor::new(head.codec(), limits);
    let mut blocks = Blocks::new(input, &head, limits, head.length());
    let (mut block, mut events, mut records) = (Block::default(), Vec::new(), 0);
    while blocks.read_block(&mut block).expect("a block") {
        decompressor.open(&block, &mut events).expect("a block");
        let mut rest = &events[..];
        for _ in 0..block.count {
            rest = &rest[validator.measure(rest).expect("a record of its schema")..];
        }
        records += block.count;
    }
    records
}

/// Records per second in the best of several rounds: what else runs on the machine only adds.
fn best(mut round: impl FnMut()) -> f64 {
    let times = (0..ROUNDS).map(|_| {
        let start = Instant::now();
        round();
        start.elapsed().as_secs_f64()
    });
    RECORDS as f64 / times.fold(f64::INFINITY, f64::min)
}

fn row(what: &str, rate: f64, floor: Option<f64>) {
    let beside = floor.map_or(String::new(), |floor| format!("  floor {floor:.0}, {:.2} times", rate / floor));
    println!("{what:<40} {rate:>9.0} records/s {:>7.2} us{beside}", 1e6 / rate);
}
