//! `millrace dev inbox`: a partner's delivery, made up.

use anyhow::{Context as _, ensure};
use millrace_demo::{Generator, Labelled, SCHEMA, Settings};
use millrace_schema::{
    Schema,
    container::{Codec, Writer},
};
use serde::Serialize;

use super::demo::{NUMBERS_PER_MS, SEED, now_ms};
use crate::Output;

/// What says that all files of a delivery are there.
const MARKER: &str = "_SUCCESS";

/// Writes files of made-up mail below a prefix, and then the marker `_SUCCESS`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Where: s3://bucket/prefix/
    #[arg(value_name = "URI")]
    to: String,
    /// How many files.
    #[arg(long, value_name = "N", default_value_t = 4)]
    files: usize,
    /// Mails of each.
    #[arg(long, value_name = "N", default_value_t = 500)]
    mails: usize,
    #[command(flatten)]
    aws: millrace_aws::Args,
}

#[derive(Serialize)]
struct Delivered {
    files: Vec<String>,
    mails: usize,
}

impl Args {
    pub(super) async fn run(self, output: Output) -> anyhow::Result<()> {
        let Self { to, files, mails, aws } = self;
        let (bucket, prefix) = to.strip_prefix("s3://").and_then(|rest| rest.split_once('/')).unwrap_or_default();
        ensure!(
            !bucket.is_empty() && prefix.strip_suffix('/').is_some_and(|prefix| !prefix.is_empty()),
            "`{to}`: expected s3://bucket/prefix/, which ends with a slash"
        );
        let objects = aws.client().objects();
        let now = now_ms();
        // Of the senders that the model knows; numbers are those of nobody else.
        let first = now.unsigned_abs() * NUMBERS_PER_MS;
        let mut source = Generator::new(Settings { first, ..Settings::new(SEED, now) });
        let schema = Schema::parse(SCHEMA)?;
        let mut delivered = Delivered { files: Vec::new(), mails: 0 };
        for number in 1..=files {
            let (bytes, count) = file(&schema, source.by_ref().take(mails))?;
            let key = format!("{prefix}part-{number:03}.avro");
            objects.put(bucket, &key, bytes).await?;
            delivered.mails += count;
            delivered.files.push(format!("s3://{bucket}/{key}"));
        }
        objects.put(bucket, &format!("{prefix}{MARKER}"), Vec::new()).await?;
        output.value(&delivered, |it| format!("{} mails in {} files under {to}", it.mails, it.files.len()))
    }
}

fn file(schema: &Schema, mails: impl Iterator<Item = Labelled>) -> anyhow::Result<(Vec<u8>, usize)> {
    let mut writer = Writer::new(Vec::new(), schema, Codec::Zstandard)?;
    let (mut datum, mut count) = (Vec::new(), 0);
    for labelled in mails {
        datum.clear();
        labelled.mail.encode(&mut datum);
        writer.append(&datum)?;
        count += 1;
    }
    Ok((writer.finish().context("write a file of mail")?, count))
}
