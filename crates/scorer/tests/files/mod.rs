//! A folder of documents, a model and files of mail, and the real binary on them.
#![allow(dead_code, reason = "tests of local files and of objects use different parts")]

use std::{
    collections::BTreeMap,
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use millrace_demo::{Generator, Settings};
use millrace_schema::{
    Schema, Validator,
    container::{self, Codec, Compressor, Limits, Writer},
    scored,
};
use serde_json::Value;

/// The start of every stream of mail here, in milliseconds since 1970.
const START: i64 = 1_700_000_000_000;

pub(crate) struct Desk {
    folder: tempfile::TempDir,
}

/// How a run has ended.
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    /// The line of stdout.
    pub(crate) summary: Value,
    pub(crate) said: String,
}

impl Ran {
    /// Keys of the outputs, in the summary's order.
    pub(crate) fn keys(&self) -> Vec<String> {
        let outputs = self.summary["outputs"].as_array().unwrap();
        outputs.iter().map(|output| output["key"].as_str().unwrap().to_owned()).collect()
    }

    pub(crate) fn number(&self, name: &str) -> u64 {
        self.summary[name].as_u64().unwrap()
    }
}

/// A score out of a file, all but its time.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Score {
    pub(crate) event_id: String,
    pub(crate) correlation_id: String,
    pub(crate) received_at: i64,
    pub(crate) source: String,
    pub(crate) what: What,
}

/// What the model said, bit for bit, about which bytes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct What {
    score: u64,
    margin: u64,
    reasons: Vec<(String, Option<String>, u64)>,
    model: (String, String),
    pub(crate) event: Vec<u8>,
}

impl Desk {
    /// The demo's documents, and a small model made by the real command.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        millrace_demo::write_documents(folder.path()).unwrap();
        let desk = Self { folder };
        let labelled = desk.path("labelled.avro");
        millrace_demo::write_training_file(&labelled, Generator::new(Settings::new(1, START)), 1_500).unwrap();
        let labels = ["--positive", "spam,phish", "--negative", "ham"];
        let output = Command::new(env!("CARGO_BIN_EXE_millrace-scorer"))
            .args(["train", "--rounds", "10", "--leaves", "7"])
            .args(labels)
            .args(["--pipeline".as_ref(), desk.path("mail-trust.yaml").as_os_str()])
            .args(["--features".as_ref(), desk.path("features.yaml").as_os_str()])
            .args(["--out".as_ref(), desk.path("models/mail-trust").as_os_str()])
            .arg(labelled)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        desk
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// Writes a file into the folder `in`.
    pub(crate) fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.path("in").join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    /// The command, with documents and models.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_millrace-scorer"));
        command
            .arg("batch")
            .args(args)
            .env("MILLRACE_PIPELINE", self.path("mail-trust.yaml"))
            .env("MILLRACE_MODELS", self.path("models"))
            .env("MILLRACE_LOG", "warn")
            .env_remove("JOB_COMPLETION_INDEX")
            .env_remove("MILLRACE_BATCH_SHARDS")
            .env_remove("MILLRACE_BATCH_BUCKET");
        command
    }

    /// Runs it to its end.
    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        let output = self.command(args).output().unwrap();
        let summary = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        Ran { code: output.status.code(), summary, said }
    }

    /// Runs it to its end, which must be a good one.
    pub(crate) fn run_well(&self, args: &[&str]) -> Ran {
        let ran = self.run(args);
        assert_eq!(ran.code, Some(0), "{}", ran.said);
        ran
    }

    /// From the folder `in` to the folder `out`, and further arguments.
    pub(crate) fn in_to_out<'a>(&self, more: &[&'a str]) -> Ran
    where
        Self: 'a,
    {
        let (to, from) = (self.text("out"), self.text("in"));
        let args: Vec<&str> = ["--to", &to, &from].into_iter().chain(more.iter().copied()).collect();
        self.run(&args)
    }

    /// Begins it, to be ended by a signal.
    pub(crate) fn begin(&self, args: &[&str]) -> Child {
        self.command(args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    /// Names in the folder `out` that do not begin with a dot: files that are done.
    pub(crate) fn done(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.path("out")).into_iter().flatten();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| !name.starts_with('.')).collect()
    }

    /// The files of a folder and their bytes; also those with names that begin with a dot.
    pub(crate) fn files(&self, folder: &str) -> BTreeMap<String, Vec<u8>> {
        let entries = std::fs::read_dir(self.path(folder)).into_iter().flatten();
        entries
            .map(|entry| {
                let entry = entry.unwrap();
                (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap())
            })
            .collect()
    }
}

/// Mail as it is published: datums, whose ids are in their field `uid`.
pub(crate) fn mail(seed: u64, count: usize) -> Vec<Vec<u8>> {
    let stream = Generator::new(Settings::new(seed, START)).take(count);
    stream
        .map(|labelled| {
            let mut datum = Vec::new();
            labelled.mail.encode(&mut datum);
            datum
        })
        .collect()
}

/// Their ids.
pub(crate) fn uids(seed: u64, count: usize) -> Vec<String> {
    Generator::new(Settings::new(seed, START)).take(count).map(|labelled| labelled.mail.uid).collect()
}

pub(crate) fn schema() -> Schema {
    Schema::parse(millrace_demo::SCHEMA).unwrap()
}

/// A file of these data, so many to a block.
pub(crate) fn avro(data: &[Vec<u8>], per_block: usize, codec: Codec) -> Vec<u8> {
    avro_of(&schema(), data, per_block, codec)
}

pub(crate) fn avro_of(schema: &Schema, data: &[Vec<u8>], per_block: usize, codec: Codec) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new(), schema, codec).unwrap();
    let mut compressor = Compressor::new(codec);
    for block in data.chunks(per_block) {
        writer.append_block(block.len() as u64, &compressor.compress(&block.concat()).unwrap()).unwrap();
    }
    writer.finish().unwrap()
}

/// The scores of a file, each of them checked against the file's schema.
pub(crate) fn scores(file: &[u8]) -> Vec<Score> {
    let mut reader = container::Reader::new(file, Limits::default()).unwrap();
    assert_eq!(reader.codec(), Codec::Zstandard);
    assert_eq!(reader.schema().root_node().name().unwrap().full(), scored::NAME);
    let validator = Validator::compile(reader.schema());
    let mut all = Vec::new();
    while let Some(datum) = reader.next_datum() {
        let datum = datum.unwrap();
        validator.validate(datum).unwrap();
        all.push(open(datum));
    }
    all
}

/// A score out of its datum.
pub(crate) fn open(datum: &[u8]) -> Score {
    let (head, event) = scored::decode_head(datum).unwrap();
    let reasons = head
        .reasons
        .iter()
        .map(|reason| (reason.feature.to_owned(), reason.value.map(str::to_owned), reason.contribution.to_bits()));
    Score {
        event_id: head.event_id.to_owned(),
        correlation_id: head.correlation_id.to_owned(),
        received_at: head.received_at,
        source: head.source.to_owned(),
        what: What {
            score: head.score.to_bits(),
            margin: head.margin.to_bits(),
            reasons: reasons.collect(),
            model: (head.model.to_owned(), head.model_version.to_owned()),
            event: event.to_vec(),
        },
    }
}

/// Sets when a file was written, in seconds since 1970.
pub(crate) fn set_modified(path: &Path, seconds: u64) {
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
    File::options().append(true).open(path).unwrap().set_modified(time).unwrap();
}
