//! `millrace publish`: events from a file or standard input to the gateway, in order, with an answer for each.
//!
//! ```text
//! Input (its own thread) --batches--> Sender (one gRPC stream) --results--> Tally --> progress, failures file, summary
//! ```

mod input;
mod sender;
mod tally;

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, bail};
use millrace_proto::gateway::v1::{SchemaRef, schema_ref::Ref};
use millrace_schema::client;

use crate::{Output, connect::channel};
use input::{Ids, Input, Kind};
use sender::Sender;
use tally::Tally;

/// Sends events from a file or from standard input, in their order, and counts what became of each.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// An Avro container file, or JSON objects one per line; `-` is standard input (JSON).
    file: PathBuf,
    /// The pipeline to publish to.
    #[arg(long, short, env = "MILLRACE_PIPELINE")]
    pipeline: String,
    /// The gateway's gRPC address.
    #[arg(long, env = "MILLRACE_GATEWAY_GRPC")]
    gateway: String,
    /// The API key.
    #[arg(long, env = "MILLRACE_API_KEY", hide_env_values = true)]
    api_key: String,
    /// What the file holds. Without it: Avro when it begins as an Avro file does, else JSON.
    #[arg(long, value_enum)]
    format: Option<Kind>,
    /// Events per request.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    batch: u32,
    /// Requests under way at once.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=256))]
    in_flight: u32,
    /// Events per second at most.
    #[arg(long, value_parser = rate)]
    rate: Option<f64>,
    /// Where an event's id comes from.
    #[arg(long, value_enum, default_value_t = Ids::Field)]
    ids: Ids,
    /// Version of the schema that the JSON is written in. Without it: the latest.
    #[arg(long)]
    schema_version: Option<u32>,
    /// Register the Avro file's schema under the subject when it is not there yet.
    #[arg(long)]
    register: bool,
    /// The subject of the pipeline's events. Without it: `<pipeline>.events-value`.
    #[arg(long)]
    subject: Option<String>,
    /// Write each event that was not accepted to this file, one JSON object per line.
    #[arg(long)]
    failures: Option<PathBuf>,
    /// How long to try again while the gateway is away or asks to wait, in seconds without progress.
    #[arg(long, default_value_t = 60)]
    patience: u64,
    #[command(flatten)]
    registry: client::Args,
}

/// Slower than one event in a quarter of an hour is a mistake, and faster than a thousand million a second is none at all.
fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate| (0.001..=1e9).contains(rate));
    rate.ok_or_else(|| "expected events per second, from 0.001 to 1e9".to_owned())
}

impl Args {
    pub(crate) async fn run(self, output: Output) -> anyhow::Result<()> {
        let input = Input::open(&self.file, self.format, self.batch as usize, self.ids)?;
        let schema = self.schema(&input).await?;
        let failures = self.failures.as_deref().map(tally::failures).transpose()?;
        let tally = Tally::new(input.bytes(), failures, output.is_terminal() && !output.is_json());
        let sender = Sender {
            channel: channel(&self.gateway, &self.api_key)?,
            pipeline: self.pipeline,
            schema,
            in_flight: self.in_flight as usize,
            rate: self.rate,
            patience: Duration::from_secs(self.patience),
        };
        let summary = sender.run(input.start(), tally).await?;
        output.value(&summary, ToString::to_string)?;
        if summary.sent > summary.accepted {
            bail!("{} of {} events were not accepted", summary.sent - summary.accepted, summary.sent);
        }
        Ok(())
    }

    /// What the batches were written with, by the registry's id for Avro and by version for JSON.
    async fn schema(&self, input: &Input) -> anyhow::Result<Option<SchemaRef>> {
        let Some(schema) = input.schema() else {
            return Ok(self.schema_version.map(|version| SchemaRef { r#ref: Some(Ref::Version(version)) }));
        };
        let subject = self.subject.clone().unwrap_or_else(|| format!("{}.events-value", self.pipeline));
        let registry = client::Client::new(&self.registry)?;
        let registered = if self.register {
            registry.register(&subject, schema).await.with_context(|| format!("register the schema under {subject}"))?
        } else {
            let found = registry
                .lookup(&subject, schema)
                .await
                .with_context(|| format!("look for the schema under {subject}"))?;
            found.with_context(|| {
                format!("the file's schema is not registered under {subject}; `--register` registers it")
            })?
        };
        Ok(Some(SchemaRef { r#ref: Some(Ref::Id(registered.id)) }))
    }
}
