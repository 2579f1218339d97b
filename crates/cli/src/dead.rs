//! `millrace dead`.

use std::{collections::BTreeMap, path::PathBuf};

use anyhow::{Context, bail};
use bytes::Bytes;
use clap::Subcommand;
use millrace_core::{header, id, pipeline::Framing};
use millrace_kafka::{
    Outgoing, Producer, Reader, Record,
    reader::{Found, From, Query},
};
use millrace_schema::{client, framing, json::Encoder};
use serde::Serialize;
use serde_json::Value;

use crate::{Output, decode, tail};

/// What to do with dead letters.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List dead letters, each once, with stage, code and reason.
    List(List),
    /// Show one with its headers and its value, as far as that can be read.
    Show(Show),
    /// Send one through its stage again, as it is or mended. Other groups skip it.
    Redrive(Redrive),
}

/// Where the letters are.
#[derive(Debug, clap::Args)]
pub(crate) struct Place {
    /// The pipeline.
    pipeline: String,
    /// Only those of the last 10m, 4h, 2d. Without it: all that the topic still has.
    #[arg(long)]
    since: Option<String>,
    #[command(flatten)]
    kafka: millrace_kafka::Args,
}

#[derive(Debug, clap::Args)]
pub(crate) struct List {
    #[command(flatten)]
    place: Place,
    /// Only of that stage: scorer, importer, judge, notify.
    #[arg(long)]
    stage: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Show {
    #[command(flatten)]
    place: Place,
    /// The letter's id, as `list` shows it.
    id: String,
    #[command(flatten)]
    registry: client::Args,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Redrive {
    #[command(flatten)]
    place: Place,
    /// The letter's id, as `list` shows it.
    id: String,
    /// The mended value: a file with the bytes as they are in Kafka, framing included.
    #[arg(long, conflicts_with = "json")]
    value: Option<PathBuf>,
    /// The mended value: a file with one JSON object, which is encoded in the subject's latest schema.
    #[arg(long)]
    json: Option<PathBuf>,
    /// The subject of `--json`. Without it: `<topic>-value` of the topic where the record was read.
    #[arg(long)]
    subject: Option<String>,
    /// How `--json` names its schema.
    #[arg(long, value_parser = parse_framing, default_value = "id-prefix")]
    framing: Framing,
    #[command(flatten)]
    registry: client::Args,
}

/// What a dead letter says about itself.
#[derive(Clone, Debug, Serialize)]
struct Letter {
    id: String,
    stage: String,
    code: String,
    reason: String,
    event_id: String,
    topic: String,
    partition: i32,
    offset: i64,
    group: String,
    at: String,
    #[serde(skip)]
    record: Record,
}

impl Letter {
    /// Reads the headers; nothing when it is no dead letter of ours.
    fn read(found: Found) -> Option<Self> {
        let record = found.record;
        let text = |name| record.headers.text(name).unwrap_or_default().to_owned();
        let (stage, topic) = (text(header::dead::STAGE), text(header::dead::TOPIC));
        let partition = text(header::dead::PARTITION).parse().ok()?;
        let offset = text(header::dead::OFFSET).parse().ok()?;
        Some(Self {
            id: id::dead_letter(&stage, &topic, partition, offset),
            code: text(header::dead::CODE),
            reason: text(header::dead::REASON),
            event_id: text(header::EVENT_ID),
            group: text(header::dead::GROUP),
            at: text(header::dead::AT),
            stage,
            topic,
            partition,
            offset,
            record,
        })
    }
}

impl Place {
    /// All letters by id, each once however often it was written.
    async fn letters(&self) -> anyhow::Result<BTreeMap<String, Letter>> {
        let from = if self.since.is_none() { From::Beginning } else { tail::from(self.since.as_deref())? };
        let topic = format!("{}.dead", self.pipeline);
        let mut reader = Reader::open(&self.kafka.client()?, Query { topic, partition: None, from, follow: false })?;
        let mut letters = BTreeMap::new();
        while let Some(found) = reader.next().await {
            if let Some(letter) = Letter::read(found?) {
                letters.entry(letter.id.clone()).or_insert(letter);
            }
        }
        Ok(letters)
    }

    async fn letter(&self, id: &str) -> anyhow::Result<Letter> {
        self.letters().await?.remove(id).with_context(|| {
            format!("no dead letter {id} in {}.dead; `millrace dead list {}` shows them", self.pipeline, self.pipeline)
        })
    }
}

impl Command {
    pub(crate) async fn run(self, output: Output) -> anyhow::Result<()> {
        match self {
            Self::List(list) => list.run(output).await,
            Self::Show(show) => show.run(output).await,
            Self::Redrive(redrive) => redrive.run(output).await,
        }
    }
}

impl List {
    async fn run(self, output: Output) -> anyhow::Result<()> {
        let Self { place, stage } = self;
        let mut letters: Vec<Letter> = place.letters().await?.into_values().collect();
        letters.retain(|letter| stage.as_ref().is_none_or(|stage| letter.stage == *stage));
        letters.sort_by(|a, b| a.at.cmp(&b.at));
        output.rows(&letters, &["ID", "AT", "EVENT", "CODE", "REASON"], |letter| {
            let Letter { id, at, event_id, code, reason, .. } = letter.clone();
            vec![id, at, event_id, code, reason]
        })
    }
}

#[derive(Serialize)]
struct Detail {
    #[serde(flatten)]
    letter: Letter,
    headers: BTreeMap<String, String>,
    value: Option<Value>,
    fault: Option<String>,
    bytes: String,
}

impl Show {
    async fn run(self, output: Output) -> anyhow::Result<()> {
        let Self { place, id, registry } = self;
        let letter = place.letter(&id).await?;
        let (value, fault) = match decode::value(&client::Client::new(&registry)?, &letter.record).await {
            Ok(value) => (value, None),
            Err(error) => (None, Some(format!("{error:#}"))),
        };
        let headers = letter.record.headers.iter();
        let headers = headers.map(|(name, value)| (name.to_owned(), String::from_utf8_lossy(value).into_owned()));
        let bytes = decode::hex(letter.record.value.as_deref().unwrap_or_default());
        let detail = Detail { headers: headers.collect(), bytes, value, fault, letter };
        output.value(&detail, |detail| {
            let Letter { id, stage, code, reason, topic, partition, offset, at, .. } = &detail.letter;
            let mut text =
                format!("{id}\n{stage} gave up at {at}: {code}: {reason}\nread from {topic}/{partition}/{offset}\n");
            for (name, value) in &detail.headers {
                text += &format!("  {name}: {value}\n");
            }
            match (&detail.value, &detail.fault) {
                (Some(value), _) => text += &format!("{value:#}"),
                (None, Some(fault)) => text += &format!("the value cannot be read: {fault}\nbytes: {}", detail.bytes),
                (None, None) => text += "the record has no value",
            }
            text
        })
    }
}

#[derive(Serialize)]
struct Redriven {
    id: String,
    topic: String,
    partition: i32,
    offset: i64,
    group: String,
}

impl Redrive {
    async fn run(self, output: Output) -> anyhow::Result<()> {
        let letter = self.place.letter(&self.id).await?;
        if letter.group.is_empty() || letter.topic.is_empty() {
            bail!("dead letter {} does not say which group of which topic it is for", letter.id);
        }
        let mut outgoing = Outgoing {
            topic: letter.topic.as_str().into(),
            partition: Some(letter.partition),
            key: letter.record.key.clone(),
            value: letter.record.value.clone(),
            headers: own_headers(&letter.record),
            timestamp_ms: letter.record.timestamp_ms,
        };
        outgoing.headers.set(header::REDRIVE_FOR, letter.group.clone());
        self.mend(&letter, &mut outgoing).await?;
        let producer =
            Producer::new(&self.place.kafka.client()?, millrace_kafka::producer::Config::new("redrive"), None)?;
        let acked = producer.send_all(vec![outgoing]).await.pop().context("the producer gave no answer")?;
        let acked = acked.map_err(|(_, error)| error).with_context(|| format!("send to {}", letter.topic))?;
        let redriven = Redriven {
            id: letter.id,
            topic: letter.topic,
            partition: acked.partition,
            offset: acked.offset,
            group: letter.group,
        };
        output.value(&redriven, |redriven| {
            let Redriven { id, topic, partition, offset, group } = redriven;
            format!("{id} is sent again as {topic}/{partition}/{offset}, for {group}")
        })
    }

    async fn mend(&self, letter: &Letter, outgoing: &mut Outgoing) -> anyhow::Result<()> {
        if let Some(path) = &self.value {
            let bytes = std::fs::read(path).with_context(|| format!("read {}", path.display()))?;
            outgoing.value = Some(Bytes::from(bytes));
        }
        if let Some(path) = &self.json {
            let text = std::fs::read(path).with_context(|| format!("read {}", path.display()))?;
            let value: Value =
                serde_json::from_slice(&text).with_context(|| format!("{} is not JSON", path.display()))?;
            let subject = self.subject.clone().unwrap_or_else(|| format!("{}-value", letter.topic));
            let registered = client::Client::new(&self.registry)?.latest(&subject).await;
            let registered = registered.with_context(|| format!("get the latest schema of {subject}"))?;
            let mut bytes = Vec::new();
            framing::write_prefix(self.framing, registered.id, registered.guid, &mut bytes);
            Encoder::compile(&registered.schema).encode(&value, &mut bytes)?;
            outgoing.value = Some(Bytes::from(bytes));
            outgoing.headers.remove(header::VALUE_SCHEMA_ID);
            if let Some(name) = framing::header_value(self.framing, registered.guid) {
                outgoing.headers.set(header::VALUE_SCHEMA_ID, Bytes::copy_from_slice(&name));
            }
        }
        Ok(())
    }
}

/// The headers that the record had when it was read.
fn own_headers(record: &Record) -> millrace_kafka::Headers {
    let own = record.headers.iter().filter(|(name, _)| !name.starts_with("dead-"));
    own.map(|(name, value)| (name.to_owned(), Bytes::copy_from_slice(value))).collect()
}

fn parse_framing(text: &str) -> Result<Framing, String> {
    serde_json::from_value(Value::String(text.to_owned()))
        .map_err(|_| "expected id-prefix, guid-header or guid-prefix".to_owned())
}
