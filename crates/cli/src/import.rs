//! `millrace import`.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context as _, bail, ensure};
use clap::Subcommand;
use millrace_aws::{Message, Queue};
use serde::Serialize;
use serde_json::json;

use crate::Output;

/// The longest that a reason is in a table.
const WIDEST: usize = 100;

/// What to do with files of scores that could not be imported.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List the messages that importers could not do, with their reasons. They stay where they are.
    Dead(Dead),
    /// Have importers try again: all dead messages, or the files that are named, though they are in.
    Redrive(Redrive),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Dead {
    /// The queue of dead messages.
    #[arg(long, env = "MILLRACE_IMPORT_DEAD_QUEUE_URL", value_name = "URL")]
    dead_queue_url: String,
    #[command(flatten)]
    aws: millrace_aws::Args,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Redrive {
    /// Files to import once more, for instance after records of theirs were refused: s3://bucket/key.
    #[arg(value_name = "URI", required_unless_present = "dead")]
    files: Vec<String>,
    /// Every message of the dead queue.
    #[arg(long, conflicts_with = "files")]
    dead: bool,
    /// The queue that importers read.
    #[arg(long, env = "MILLRACE_IMPORT_QUEUE_URL", value_name = "URL")]
    queue_url: String,
    /// The queue of dead messages.
    #[arg(long, env = "MILLRACE_IMPORT_DEAD_QUEUE_URL", value_name = "URL", required_if_eq("dead", "true"))]
    dead_queue_url: Option<String>,
    #[command(flatten)]
    aws: millrace_aws::Args,
}

/// A message that could not be done.
#[derive(Clone, Debug, Serialize)]
struct Letter {
    id: String,
    code: String,
    reason: String,
    receives: String,
    body: String,
}

#[derive(Clone, Debug, Serialize)]
struct Redriven {
    /// What importers try again: files, or messages.
    again: Vec<String>,
}

impl Command {
    pub(crate) async fn run(self, output: Output) -> anyhow::Result<()> {
        match self {
            Self::Dead(dead) => dead.run(output).await,
            Self::Redrive(redrive) => redrive.run(output).await,
        }
    }
}

impl Dead {
    async fn run(self, output: Output) -> anyhow::Result<()> {
        let queue = self.aws.client().queue(self.dead_queue_url);
        let mut seen: BTreeMap<String, Message> = BTreeMap::new();
        loop {
            let received = queue.receive(10, Duration::from_secs(1)).await?;
            let fresh = received.iter().any(|message| !seen.contains_key(&message.id));
            seen.extend(received.into_iter().map(|message| (message.id.clone(), message)));
            if !fresh {
                break;
            }
        }
        for message in seen.values() {
            // One that is not given back comes again after the queue's visibility timeout.
            queue.hide(&message.receipt, Duration::ZERO).await.ok();
        }
        let letters: Vec<Letter> = seen.into_values().map(letter).collect();
        output.rows(&letters, &["MESSAGE", "RECEIVES", "CODE", "REASON"], |letter| {
            let Letter { id, receives, code, reason, .. } = letter.clone();
            vec![id, receives, code, shortened(&reason)]
        })
    }
}

impl Redrive {
    async fn run(self, output: Output) -> anyhow::Result<()> {
        let Self { files, dead: _, queue_url, dead_queue_url, aws } = self;
        let client = aws.client();
        let queue = client.queue(queue_url);
        let again = match dead_queue_url {
            Some(dead) if files.is_empty() => move_all(&client.queue(dead), &queue).await?,
            _ => ask(&queue, files).await?,
        };
        output.value(&Redriven { again }, |redriven| match redriven.again.as_slice() {
            [] => "there is nothing to try again".to_owned(),
            all => format!("importers try again:\n  {}", all.join("\n  ")),
        })
    }
}

/// Moves every message. One that is sent and not deleted is there twice, and imported once.
async fn move_all(dead: &Queue, queue: &Queue) -> anyhow::Result<Vec<String>> {
    ensure!(dead.url() != queue.url(), "the queue of dead messages is the queue that importers read");
    let mut moved = Vec::new();
    loop {
        let received = dead.receive(10, Duration::from_secs(1)).await?;
        if received.is_empty() {
            return Ok(moved);
        }
        for message in received {
            queue.send(&message.body).await?;
            dead.delete(&message.receipt).await?;
            moved.push(message.id);
        }
    }
}

/// Asks for files, whether or not they are in.
async fn ask(queue: &Queue, files: Vec<String>) -> anyhow::Result<Vec<String>> {
    let named: anyhow::Result<Vec<_>> = files.iter().map(|file| parse(file)).collect();
    for (bucket, key) in named? {
        let body = json!({"source": "aws.s3", "detail-type": "Object Created", "detail": {
            "reason": "millrace:again", "bucket": {"name": bucket}, "object": {"key": key},
        }});
        queue.send(&body.to_string()).await?;
    }
    Ok(files)
}

fn parse(uri: &str) -> anyhow::Result<(&str, &str)> {
    let parts = uri.strip_prefix("s3://").and_then(|rest| rest.split_once('/'));
    match parts.with_context(|| format!("`{uri}`: expected s3://bucket/key"))? {
        ("", _) | (_, "") => bail!("`{uri}`: expected s3://bucket/key"),
        parts => Ok(parts),
    }
}

fn letter(message: Message) -> Letter {
    let Message { id, body, mut attributes, .. } = message;
    let mut take = |name: &str| attributes.remove(name).unwrap_or_default();
    let (code, reason, receives) = (take("dead-code"), take("dead-reason"), take("dead-receives"));
    Letter { id, code, reason, receives, body }
}

fn shortened(reason: &str) -> String {
    let line = reason.lines().next().unwrap_or_default();
    match line.char_indices().nth(WIDEST) {
        Some((end, _)) => format!("{}..", &line[..end]),
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_a_bucket_and_a_key() {
        assert_eq!(parse("s3://b/a b/c+d.avro").unwrap(), ("b", "a b/c+d.avro"));
        for wrong in ["b/k", "s3://b", "s3://b/", "s3:///k", "/tmp/file"] {
            assert!(parse(wrong).unwrap_err().to_string().contains("expected s3://bucket/key"), "{wrong}");
        }
    }

    #[test]
    fn a_table_has_the_first_line_of_a_reason() {
        assert_eq!(shortened("short\nlonger"), "short");
        assert_eq!(shortened(&"ä".repeat(200)).chars().count(), WIDEST + 2);
    }
}
