//! A checked configuration, from which producers, consumers and admin clients are made.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use opentelemetry::metrics::Meter;
use rdkafka::{ClientConfig, config::RDKafkaLogLevel};

use crate::{args::GroupProtocol, context::Context, metrics::ClientMetrics};

/// The broker ends a transaction that makes no progress for this long; readers of committed records wait for it.
pub(crate) const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(10);
/// A classic member that is silent for this long is dead.
const SESSION_TIMEOUT: Duration = Duration::from_secs(10);
/// Prefetched records a consumer may hold. The default of 64 MiB each would be most of a service's memory.
const PREFETCH_KIB: usize = 4 * 1024;
/// What one fetch may bring of a partition, compressed. Each partition may go over the bound above by that much; a record
/// that is larger comes all the same.
const FETCH_BYTES: usize = 256 * 1024;
/// How often librdkafka reports its own state.
const STATISTICS_INTERVAL: Duration = Duration::from_secs(5);

/// How to reach Kafka: checked settings, shared by all that is made from them. Nothing is connected yet.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    settings: BTreeMap<String, String>,
    overrides: BTreeMap<String, String>,
    protocol: GroupProtocol,
    token_file: Option<PathBuf>,
}

impl Client {
    pub(crate) fn new(
        settings: BTreeMap<String, String>,
        overrides: BTreeMap<String, String>,
        protocol: GroupProtocol,
        token_file: Option<PathBuf>,
    ) -> Self {
        Self(Arc::new(Inner { settings, overrides, protocol, token_file }))
    }

    /// The bootstrap servers, for logs.
    pub fn brokers(&self) -> &str {
        self.0.settings.get("bootstrap.servers").map_or("", String::as_str)
    }

    /// What every client has; `defaults` may be overridden by hand, the settings that guarantees rest on may not.
    pub(crate) fn config(&self, name: &str, defaults: &[(&str, String)]) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("client.id", format!("millrace-{name}"));
        config.set("topic.metadata.refresh.interval.ms", "60000");
        // The first tries after an outage come quickly, and an outage of an hour is still noticed to be over in 2 s.
        config.set("reconnect.backoff.ms", "50").set("reconnect.backoff.max.ms", "2000");
        for (key, value) in self.0.settings.iter().map(|(key, value)| (key.as_str(), value)) {
            config.set(key, value);
        }
        for (key, value) in defaults {
            config.set(*key, value);
        }
        for (key, value) in &self.0.overrides {
            config.set(key, value);
        }
        config.set_log_level(RDKafkaLogLevel::Info);
        config
    }

    /// A producer that never writes a record twice and never calls one written that may be lost.
    pub(crate) fn producer(&self, name: &str, linger: Duration, message_timeout: Duration) -> ClientConfig {
        let mut config = self.config(
            name,
            &[
                ("linger.ms", linger.as_millis().to_string()),
                ("message.timeout.ms", message_timeout.as_millis().to_string()),
                ("compression.type", "lz4".to_owned()),
                ("partitioner", "murmur2_random".to_owned()),
                // Our own bound is on bytes; librdkafka's must never be the one that is hit.
                ("queue.buffering.max.messages", "2000000".to_owned()),
                ("queue.buffering.max.kbytes", "1048576".to_owned()),
                ("retry.backoff.ms", "20".to_owned()),
                ("statistics.interval.ms", STATISTICS_INTERVAL.as_millis().to_string()),
            ],
        );
        config.set("enable.idempotence", "true").set("acks", "all");
        config
    }

    /// A consumer of committed records that decides by itself when an offset is done.
    pub(crate) fn consumer(&self, name: &str, group: &str) -> ClientConfig {
        let mut defaults = vec![
            ("auto.offset.reset", "earliest".to_owned()),
            ("queued.max.messages.kbytes", PREFETCH_KIB.to_string()),
            ("fetch.message.max.bytes", FETCH_BYTES.to_string()),
            ("fetch.wait.max.ms", "100".to_owned()),
            ("fetch.error.backoff.ms", "50".to_owned()),
            // A full prefetch queue is looked at again after 1 s by default: with a small queue that is a stall.
            ("fetch.queue.backoff.ms", "20".to_owned()),
            ("statistics.interval.ms", STATISTICS_INTERVAL.as_millis().to_string()),
        ];
        if self.0.protocol == GroupProtocol::Classic {
            defaults.push(("session.timeout.ms", SESSION_TIMEOUT.as_millis().to_string()));
            defaults.push(("heartbeat.interval.ms", "1000".to_owned()));
        }
        let mut config = self.config(name, &defaults);
        match self.0.protocol {
            GroupProtocol::Classic => config.set("partition.assignment.strategy", "cooperative-sticky"),
            GroupProtocol::Consumer => config.set("group.protocol", "consumer"),
        };
        config.set("group.id", group);
        config.set("isolation.level", "read_committed");
        config.set("enable.auto.commit", "false").set("enable.auto.offset.store", "false");
        config
    }

    /// What every client of librdkafka needs beside its settings: a logger, gauges, tokens.
    pub(crate) fn context(&self, name: &str, meter: Option<&Meter>) -> Context {
        Context::new(name, meter.map(|meter| ClientMetrics::new(meter, name)), self.0.token_file.clone())
    }
}

impl std::fmt::Debug for Client {
    /// Without the settings: there are secrets among them.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("kafka::Client").field("brokers", &self.brokers()).finish_non_exhaustive()
    }
}
