//! Signals to Kafka: a champion that cannot be used is a matter for a person.
//!
//! Of one pipeline's refusals all scorers say the same dedup key: it is one matter. Who has told it says also that it is over.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use jiff::Timestamp;
use millrace_core::{header, pipeline::Framing, record::SIGNAL_SCHEMA};
use millrace_kafka::{Client, Headers, Outgoing, Producer, producer, trace};
use millrace_runtime::Shutdown;
use millrace_schema::{Schema, client, framing, json::Encoder};
use opentelemetry::metrics::Meter;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use uuid::Uuid;

use super::decide::Ref;

/// Signals that wait for Kafka.
const WAITING: usize = 64;
/// Between two tries while something is away.
const PAUSE: Duration = Duration::from_secs(2);
const SOURCE: &str = "scorer";

/// Where signals are put on their way.
#[derive(Clone, Debug)]
pub(crate) struct Alarm(mpsc::Sender<Value>);

/// What brings them to Kafka.
pub(crate) struct Teller {
    signals: mpsc::Receiver<Value>,
    kafka: Client,
    meter: Meter,
    /// Made for the first signal: mostly there is none.
    producer: Option<Producer>,
    registry: client::Client,
    topic: Arc<str>,
    schema: Schema,
    encoder: Encoder,
}

impl Alarm {
    /// The champion of a pipeline was refused.
    pub(crate) fn refused(&self, pipeline: &str, model: &Ref, revision: u64, since: i64, reason: &str) {
        let summary = format!("model {model}, champion of {pipeline} by revision {revision}, is refused: {reason}");
        self.send(signal("firing", pipeline, (model, revision), since, &summary));
    }

    /// A good one is in use.
    pub(crate) fn resolved(&self, pipeline: &str, model: &Ref, revision: u64, since: i64) {
        let summary = format!("{pipeline} is scored by model {model}, its champion by revision {revision}");
        self.send(signal("resolved", pipeline, (model, revision), since, &summary));
    }

    fn send(&self, signal: Value) {
        if let Err(error) = self.0.try_send(signal) {
            // Kafka has been away for as many refusals.
            tracing::error!(%error, "signal given up");
        }
    }
}

fn signal(state: &str, pipeline: &str, (model, revision): (&Ref, u64), since: i64, summary: &str) -> Value {
    let Ref { name, version } = model;
    json!({
        "dedup_key": format!("{SOURCE}/refused-model/{pipeline}"),
        "kind": "refused-model",
        "severity": "error",
        "state": state,
        "source": SOURCE,
        "subject": pipeline,
        "labels": {"pipeline": pipeline, "model": name, "version": version, "revision": revision.to_string()},
        "since": since,
        "summary": summary,
        "link": null,
        "notify": [],
    })
}

impl Teller {
    /// Over brokers and a registry of schemas. The topic is the alerter's, which makes it.
    pub(crate) fn new(
        kafka: &Client,
        registry: client::Client,
        topic: &str,
        meter: Meter,
    ) -> anyhow::Result<(Alarm, Self)> {
        let schema = Schema::parse(SIGNAL_SCHEMA).context("parse the schema of signals")?;
        let (sender, signals) = mpsc::channel(WAITING);
        let (kafka, topic, encoder) = (kafka.clone(), topic.into(), Encoder::compile(&schema));
        Ok((Alarm(sender), Self { signals, kafka, meter, producer: None, registry, topic, schema, encoder }))
    }

    /// Sends what there is, in order, until shutdown.
    pub(crate) async fn run(mut self, shutdown: Shutdown) -> anyhow::Result<()> {
        loop {
            let signal = tokio::select! {
                Some(signal) = self.signals.recv() => signal,
                () = shutdown.wait() => return Ok(()),
            };
            while let Err(error) = self.send(&signal).await {
                tracing::warn!(
                    error = format!("{error:#}"),
                    topic = &*self.topic,
                    "cannot send a signal, trying again"
                );
                tokio::select! {
                    () = tokio::time::sleep(PAUSE) => {}
                    () = shutdown.wait() => return Ok(()),
                }
            }
        }
    }

    fn producer(&mut self) -> anyhow::Result<Producer> {
        if let Some(producer) = &self.producer {
            return Ok(producer.clone());
        }
        let made = Producer::new(&self.kafka, producer::Config::new("signals"), Some(&self.meter));
        Ok(self.producer.insert(made.context("make the producer of signals")?).clone())
    }

    async fn send(&mut self, signal: &Value) -> anyhow::Result<()> {
        let producer = self.producer()?;
        let subject = format!("{}-value", self.topic);
        let registered = self.registry.register(&subject, &self.schema).await.context("register the schema")?;
        let mut value = Vec::with_capacity(512);
        framing::write_prefix(Framing::IdPrefix, registered.id, self.schema.guid(), &mut value);
        self.encoder.encode(signal, &mut value).context("encode the signal")?;
        let mut headers: Headers = [
            (header::CORRELATION_ID, signal["dedup_key"].as_str().unwrap_or_default().to_owned()),
            (header::EVENT_ID, Uuid::now_v7().to_string()),
            (header::RECEIVED_AT, format!("{:.3}", Timestamp::now())),
        ]
        .into_iter()
        .collect();
        trace::inject(&trace::mint(), &mut headers);
        let key = format!("{SOURCE}/{}", signal["subject"].as_str().unwrap_or_default());
        let record = Outgoing {
            topic: Arc::clone(&self.topic),
            partition: None,
            key: Some(key.into()),
            value: Some(value.into()),
            headers,
            timestamp_ms: None,
        };
        let sent = producer.send_all(vec![record]).await.into_iter().next();
        sent.context("the producer gives no answer")?.map(drop).map_err(|(_, error)| error.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_fits_its_schema_and_firing_and_resolved_are_one_matter() {
        let schema = Schema::parse(SIGNAL_SCHEMA).unwrap();
        let encoder = Encoder::compile(&schema);
        let (sender, mut signals) = mpsc::channel(4);
        let alarm = Alarm(sender);
        let model = Ref { name: "mail".to_owned(), version: "a".to_owned() };
        alarm.refused("p", &model, 7, 1, "broken");
        alarm.resolved("p", &model, 8, 1);
        let told: Vec<Value> = std::iter::from_fn(|| signals.try_recv().ok()).collect();
        for signal in &told {
            encoder.encode(signal, &mut Vec::new()).unwrap();
        }
        assert_eq!((&told[0]["state"], &told[1]["state"]), (&json!("firing"), &json!("resolved")));
        assert_eq!(told[0]["dedup_key"], told[1]["dedup_key"]);
        assert_eq!(told[0]["labels"]["revision"], "7");
    }
}
