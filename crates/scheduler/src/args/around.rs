use std::time::Duration;

use millrace_core::{Span, record::SIGNALS_TOPIC};
use millrace_kafka::Admin;
use millrace_runtime::{ConfigError, Optional};
use millrace_schema::client;
use opentelemetry::metrics::Meter;

use crate::{
    Teller,
    apply::Abilities,
    exec::{Executors, Jobs},
};

/// The shortest time that Jobs are kept: others must have time to look at them.
const SHORTEST_KEPT: Duration = Duration::from_mins(10);

/// What tasks, waits and signals reach. All of it is optional: documents that ask for what is not there are refused.
#[derive(Debug, clap::Args)]
pub(super) struct Around {
    /// For signals of deadlines, and for waits.
    #[command(flatten)]
    kafka: Optional<millrace_kafka::Args>,
    #[command(flatten)]
    registry: Optional<client::Args>,
    #[command(flatten)]
    aws: millrace_aws::Args,
    #[command(flatten)]
    kubernetes: millrace_kubernetes::Args,
    /// How long Kubernetes Jobs are kept that have ended: longer than all schedulers may be down at once.
    #[arg(long, env = "MILLRACE_SCHEDULER_KEEP_JOBS", default_value = "1h", value_name = "TIME")]
    keep_jobs: Span,
    /// The topic of signals; of several installations on the same brokers each has its own.
    #[arg(long, env = "MILLRACE_SIGNALS_TOPIC", value_name = "TOPIC", default_value = SIGNALS_TOPIC)]
    signals_topic: String,
}

/// The same, with clients.
pub(super) struct Reached {
    kafka: Option<millrace_kafka::Client>,
    registry: Option<client::Client>,
    aws: millrace_aws::Client,
    jobs: Jobs,
    signals_topic: String,
}

impl Around {
    pub(super) async fn reach(self) -> anyhow::Result<Reached> {
        let Self { kafka, registry, aws, kubernetes, keep_jobs, signals_topic } = self;
        if Duration::from(keep_jobs) < SHORTEST_KEPT {
            return Err(ConfigError::new(format!("--keep-jobs {keep_jobs}: at least 10m")).into());
        }
        let registry = registry.0.map(|registry| client::Client::new(&registry)).transpose();
        Ok(Reached {
            kafka: kafka.0.map(|kafka| kafka.client()).transpose()?,
            registry: registry.map_err(|error| ConfigError::new(error.to_string()))?,
            aws: aws.client(),
            jobs: Jobs::new(kubernetes.connect().await?, keep_jobs.into()),
            signals_topic,
        })
    }
}

impl Reached {
    /// What documents may ask for.
    pub(super) fn abilities(&self) -> Abilities {
        Abilities {
            signals: self.kafka.is_some() && self.registry.is_some(),
            topics: self.kafka.is_some(),
            jobs: self.jobs.are_there(),
        }
    }

    /// What tells of deadlines, where there is somebody to tell.
    pub(super) fn teller(&self, meter: &Meter) -> anyhow::Result<Option<Teller>> {
        match (&self.kafka, &self.registry) {
            (Some(kafka), Some(registry)) => Teller::new(kafka, registry.clone(), &self.signals_topic, meter).map(Some),
            _ => Ok(None),
        }
    }

    /// What is there for tasks, beside what always is.
    pub(super) fn lend(self, executors: Executors) -> anyhow::Result<Executors> {
        let executors = executors.with_aws(&self.aws).with_jobs(self.jobs);
        match &self.kafka {
            Some(kafka) => Ok(executors.with_kafka(Admin::new(kafka)?)),
            None => Ok(executors),
        }
    }
}
