//! The loop `notify` and what follows from it: streams, telling, delivering, listening, housekeeping.

use std::{collections::BTreeMap, future::Future, sync::Arc, time::Duration};

use anyhow::Context as _;
use millrace_core::{Pipeline, Span};
use millrace_kafka::{Admin, Producer, Source, admin::TopicSpec, producer, source::SourceConfig};
use millrace_postgres::{Listener, Pool, check, listen};
use millrace_runtime::{ConfigError, Process, Shutdown};
use millrace_schema::client;
use opentelemetry::metrics::Meter;
use tokio::{sync::Notify, task::JoinSet};

use super::serve::Notifying;
use crate::{
    MIGRATIONS, SCHEMA, deliver, housekeeping,
    metrics::{DeliveryMetrics, NotifyMetrics},
    notify,
    receivers::{self, Receiver},
    tell,
};

/// What the loop may take to end: attempts that are under way are finished.
const BUDGET: Duration = Duration::from_secs(25);
/// Records of a transaction.
const RECORDS: usize = 1_000;
/// The pause between two looks at something that is away.
const PAUSE: Duration = Duration::from_secs(1);

/// Everything that is needed to tell somebody, checked.
pub(super) struct Tellers {
    kafka: millrace_kafka::Client,
    pool: Pool,
    reader: Arc<notify::Reader>,
    settings: Arc<notify::Settings>,
    pipelines: Vec<Pipeline>,
    signals_topic: String,
    receivers: BTreeMap<String, Receiver>,
    client: deliver::Client,
    delivery: deliver::Settings,
    retention: Span,
}

impl Tellers {
    /// Checks the settings and touches nothing.
    pub(super) fn new(
        kafka: &millrace_kafka::Client,
        registry: &client::Client,
        postgres: Option<millrace_postgres::Args>,
        pipelines: &[Pipeline],
        notifying: Notifying,
    ) -> Result<Self, ConfigError> {
        let Notifying {
            signals_topic,
            signal_receivers,
            signal_repeat,
            allow_private_receivers: private,
            retry_schedule,
            delivery_timeout,
            alert_retention,
        } = notifying;
        let postgres = postgres.ok_or_else(|| ConfigError::new("--database-url (DATABASE_URL): `notify` needs it"))?;
        let env = |name: &str| std::env::var(name).ok();
        let receivers = receivers::load(pipelines, &signal_receivers, private, env)?;
        let pauses = retry_schedule.into_iter().map(Duration::from).collect();
        Ok(Self {
            kafka: kafka.clone(),
            pool: postgres.pool()?,
            reader: Arc::new(notify::Reader::new(registry.clone())),
            settings: Arc::new(notify::Settings::new(
                pipelines,
                receivers.keys().cloned(),
                signal_receivers,
                signal_repeat,
            )),
            pipelines: pipelines.to_vec(),
            signals_topic,
            receivers,
            client: deliver::Client::new(private)?,
            delivery: deliver::Settings { pauses, timeout: delivery_timeout.into() },
            retention: alert_retention,
        })
    }

    /// Begins. Ready once the database was there and of the right version.
    pub(super) fn spawn(self, process: &mut Process) -> anyhow::Result<()> {
        let (ready, meter) = (process.readiness("notify"), process.meter());
        let producer = Producer::new(&self.kafka, producer::Config::new("notify"), Some(&meter))?;
        process.spawn("notify", BUDGET, move |shutdown| async move {
            if !self.database(&shutdown).await? {
                return Ok(());
            }
            ready.set(true);
            self.run(producer, &meter, shutdown).await
        });
        Ok(())
    }

    /// Waits for the database; false when the shutdown comes first.
    async fn database(&self, shutdown: &Shutdown) -> anyhow::Result<bool> {
        loop {
            match check(&self.pool, SCHEMA, MIGRATIONS).await {
                Ok(()) => return Ok(true),
                Err(error) if error.is_retriable() => tracing::warn!(%error, "waiting for the database"),
                Err(error) => return Err(error.into()),
            }
            tokio::select! {
                () = shutdown.wait() => return Ok(false),
                () = tokio::time::sleep(PAUSE) => {}
            }
        }
    }

    /// All loops until the shutdown; the first that fails ends the others.
    async fn run(self, producer: Producer, meter: &Meter, shutdown: Shutdown) -> anyhow::Result<()> {
        let mut loops: JoinSet<anyhow::Result<()>> = JoinSet::new();
        let metrics = DeliveryMetrics::new(meter);
        let due = Arc::new(Notify::new());
        let mut bells = Vec::new();
        for receiver in self.receivers.values() {
            let bell = Arc::new(Notify::new());
            bells.push(Arc::clone(&bell));
            loops.spawn(self.courier(receiver, &metrics).run(bell, shutdown.clone()));
        }
        loops.spawn(listen(self.pool.clone(), Arc::clone(&due), bells, shutdown.clone()));
        loops.spawn(tell::run(self.pool.clone(), due, metrics, shutdown.clone()));
        loops.spawn(housekeeping::run(self.pool.clone(), self.retention, shutdown.clone()));
        for pipeline in self.pipelines.iter().map(Some).chain([None]) {
            loops.spawn(self.stream(pipeline, &producer, meter, shutdown.clone()));
        }
        while let Some(ended) = loops.join_next().await {
            // Of the others, what is under way is cut off: the process ends, and what is in Postgres is done again.
            ended.context("supervise the notify loops")??;
        }
        Ok(())
    }

    /// The stream of a pipeline's verdicts, or that of signals.
    fn stream(
        &self,
        pipeline: Option<&Pipeline>,
        producer: &Producer,
        meter: &Meter,
        shutdown: Shutdown,
    ) -> impl Future<Output = anyhow::Result<()>> + Send + use<> {
        let parts = self.parts(pipeline, producer, meter);
        let topic = pipeline.map_or_else(|| self.signals_topic.clone(), Pipeline::verdicts_topic);
        let name = format!("notify-{topic}");
        let config = SourceConfig { max_records: RECORDS, ..SourceConfig::new(name, parts.group.clone(), vec![topic]) };
        let topics = if pipeline.is_none() { self.signal_topics() } else { Vec::new() };
        let (kafka, meter) = (self.kafka.clone(), meter.clone());
        async move {
            if !ensure(&kafka, &topics, &shutdown).await {
                return Ok(());
            }
            let source = Source::new(&kafka, config, Some(&meter)).context("read verdicts and signals")?;
            notify::run(source, parts, shutdown).await
        }
    }

    fn courier(&self, receiver: &Receiver, metrics: &DeliveryMetrics) -> deliver::Courier {
        let (pool, client) = (self.pool.clone(), self.client.clone());
        deliver::Courier::new(pool, client, receiver.clone(), self.delivery.clone(), metrics.clone())
    }

    fn parts(&self, pipeline: Option<&Pipeline>, producer: &Producer, meter: &Meter) -> notify::Parts {
        let dead = pipeline.map_or_else(|| self.dead_signals(), Pipeline::dead_topic);
        notify::Parts {
            pipeline: pipeline.map(|pipeline| pipeline.name().to_owned()),
            group: pipeline.map_or_else(
                || format!("{}.{}", self.signals_topic, notify::STAGE),
                |pipeline| pipeline.group(notify::STAGE),
            ),
            dead_topic: dead.into(),
            pool: self.pool.clone(),
            reader: Arc::clone(&self.reader),
            settings: Arc::clone(&self.settings),
            producer: producer.clone(),
            metrics: NotifyMetrics::new(meter),
        }
    }

    /// Where signals go that cannot be read: they are of no pipeline.
    fn dead_signals(&self) -> String {
        format!("{}.dead", self.signals_topic)
    }

    /// The topics of signals, which belong to no document: as safe as the safest of the pipelines.
    fn signal_topics(&self) -> Vec<TopicSpec> {
        let of = |get: fn(&Pipeline) -> i32| self.pipelines.iter().map(get).max().unwrap_or(1);
        let replication = of(|pipeline| pipeline.spec.topics.replication);
        let in_sync = of(|pipeline| pipeline.spec.topics.min_insync);
        let spec = |name: String| TopicSpec {
            name,
            partitions: 1,
            replication,
            config: [("min.insync.replicas".to_owned(), in_sync.to_string())].into(),
        };
        vec![spec(self.signals_topic.clone()), spec(self.dead_signals())]
    }
}

/// Makes topics that are missing, however long that takes; false when the shutdown comes first.
async fn ensure(kafka: &millrace_kafka::Client, topics: &[TopicSpec], shutdown: &Shutdown) -> bool {
    while !topics.is_empty() {
        let ensured = async { Admin::new(kafka)?.ensure_topics(topics).await };
        match ensured.await {
            Ok(_) => break,
            Err(error) => tracing::warn!(%error, "cannot look after the topics of signals, trying again"),
        }
        tokio::select! {
            () = shutdown.wait() => return false,
            () = tokio::time::sleep(PAUSE * 5) => {}
        }
    }
    true
}

/// Rings the loops when Postgres says that there is something for them.
async fn listen(pool: Pool, due: Arc<Notify>, bells: Vec<Arc<Notify>>, shutdown: Shutdown) -> anyhow::Result<()> {
    let mut listener = Listener::start(&pool, &[notify::DUE, deliver::SEND]);
    loop {
        let event = tokio::select! {
            () = shutdown.wait() => return Ok(()),
            event = listener.next() => event,
        };
        let is = |wanted: &str| match &event {
            listen::Event::Connected => true, // whatever was said meanwhile is lost
            listen::Event::Notified { channel, .. } => channel == wanted,
        };
        if is(notify::DUE) {
            due.notify_one();
        }
        if is(deliver::SEND) {
            for bell in &bells {
                bell.notify_one();
            }
        }
    }
}
