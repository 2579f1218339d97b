//! Signals to Kafka: records of `millrace.signals`, which the alerter delivers.
//!
//! Each arrives at least once; a matter is known by its `dedup_key`, and one replica sends at a time, so that what fires comes
//! before what is resolved.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use jiff::Timestamp;
use millrace_core::{header, pipeline::Framing, record::SIGNAL_SCHEMA};
use millrace_kafka::{Client, Headers, Outgoing, Producer, producer, trace};
use millrace_postgres::{Listener, listen::Event};
use millrace_runtime::Shutdown;
use millrace_schema::{Schema, client, framing, json::Encoder};
use opentelemetry::metrics::Meter;
use serde_json::Value;
use uuid::Uuid;

use crate::store::{SIGNALS, Sending, Store};

/// Signals of one transaction.
const BATCH: i64 = 100;
/// How often it is looked for what a notification that was lost would have told.
const LOOK: Duration = Duration::from_secs(30);
/// Between two tries while something is away.
const PAUSE: Duration = Duration::from_secs(2);

/// The way to Kafka.
pub struct Teller {
    producer: Producer,
    registry: client::Client,
    topic: Arc<str>,
    schema: Schema,
    encoder: Encoder,
}

impl Teller {
    /// Over brokers and a registry. The topic is the alerter's, which makes it.
    pub fn new(kafka: &Client, registry: client::Client, topic: &str, meter: &Meter) -> anyhow::Result<Self> {
        let schema = Schema::parse(SIGNAL_SCHEMA).context("parse the schema of signals")?;
        let producer =
            Producer::new(kafka, producer::Config::new("signals"), Some(meter)).context("make a producer")?;
        Ok(Self { producer, registry, topic: topic.into(), encoder: Encoder::compile(&schema), schema })
    }

    /// Sends what there is until shutdown.
    pub async fn run(self, store: Store, shutdown: Shutdown) -> anyhow::Result<()> {
        let mut listener = Listener::start(store.pool(), &[SIGNALS]);
        loop {
            listener.catch_up();
            let wait = match store.send_signals(BATCH, |signals| self.send(signals)).await {
                Ok(Sending::More) => continue,
                Ok(Sending::Done) => LOOK,
                Ok(Sending::Stuck) => PAUSE,
                Err(error) => {
                    tracing::warn!(%error, "cannot read signals, trying again");
                    PAUSE
                }
            };
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                Event::Connected | Event::Notified { .. } = listener.next() => {}
                () = shutdown.wait() => return Ok(()),
            }
        }
    }

    /// Gives how many have arrived, from the first on.
    async fn send(&self, signals: Vec<Value>) -> usize {
        let subject = format!("{}-value", self.topic);
        let id = match self.registry.register(&subject, &self.schema).await {
            Ok(registered) => registered.id,
            Err(error) => {
                tracing::warn!(%error, subject, "cannot register the schema of signals, trying again");
                return 0;
            }
        };
        let records = signals.iter().enumerate().filter_map(|(place, signal)| Some((place, self.record(id, signal)?)));
        let (places, records): (Vec<usize>, Vec<Outgoing>) = records.unzip();
        for (place, sent) in places.into_iter().zip(self.producer.send_all(records).await) {
            if let Err((_, error)) = sent {
                tracing::warn!(%error, topic = &*self.topic, "cannot send signals, trying again");
                return place;
            }
        }
        signals.len()
    }

    fn record(&self, id: u32, signal: &Value) -> Option<Outgoing> {
        let mut value = Vec::with_capacity(512);
        framing::write_prefix(Framing::IdPrefix, id, self.schema.guid(), &mut value);
        if let Err(error) = self.encoder.encode(signal, &mut value) {
            // It is as it was written: trying again does not mend it, and those behind it must go on.
            tracing::error!(%error, %signal, "signal does not fit its schema: given up");
            return None;
        }
        let text = |field: &str| signal[field].as_str().unwrap_or_default();
        let mut headers: Headers = [
            (header::CORRELATION_ID, text("dedup_key").to_owned()),
            (header::EVENT_ID, Uuid::now_v7().to_string()),
            (header::RECEIVED_AT, format!("{:.3}", Timestamp::now())),
        ]
        .into_iter()
        .collect();
        trace::inject(&trace::mint(), &mut headers);
        Some(Outgoing {
            topic: Arc::clone(&self.topic),
            partition: None,
            key: Some(format!("{}/{}", text("source"), text("subject")).into()),
            value: Some(value.into()),
            headers,
            timestamp_ms: None,
        })
    }
}
