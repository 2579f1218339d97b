//! Read, process, write: exactly once, from Kafka to Kafka.
//!
//! ```text
//! consumer --poll--> Batch --Processor--> Outputs --transaction--> records + dead letters + offsets, or nothing
//!     ^                |  Unavailable: pause, keep polling, try again
//!     +-- abort: rewind to the batch's first offsets
//! ```
//!
//! A lane is one group member, one transactional producer and one thread. Everything happens on that thread, so a
//! rebalance is only ever seen between transactions; one that the broker begins inside a transaction makes the offsets
//! be refused, and the transaction is aborted and read again.
//!
//! A processor may commit a word beside the offsets ([`Processor::metadata`]), which the next owner of a partition is told
//! before it begins ([`Processor::assigned`]). It is read after the assignment, and as stable offsets (KIP-447): a
//! transaction of the former owner has ended by then, and a later one of it is refused for its generation.

mod batch;
mod context;
mod gate;
mod limits;
mod outputs;
mod progress;
mod run;
mod transaction;
mod watchdog;

use std::sync::Arc;

use millrace_runtime::Shutdown;
use opentelemetry::metrics::Meter;

pub use self::{
    batch::{Batch, HeadersRef, Input},
    gate::Gate,
    limits::{Args, BUDGET, Limits},
    outputs::{Output, Outputs},
};
use crate::{client::Client, metrics::LaneMetrics};

/// A dependency is away: nothing of the batch was done, all of it is to be tried again.
#[derive(Debug, thiserror::Error)]
#[error("{what} is unavailable")]
pub struct Unavailable {
    /// What is away: `schema registry`.
    pub what: &'static str,
    /// Why.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

/// What a service does with records.
pub trait Processor: Send {
    /// Turns a batch into outputs. What cannot be processed goes to [`Outputs::dead`]; a dependency that is away is
    /// [`Unavailable`], and the same records come again later (with others, or without those that moved to another
    /// member). Outputs of a failed call are dropped.
    fn process(&mut self, batch: &[Input<'_>], out: &mut Outputs) -> std::result::Result<(), Unavailable>;

    /// Called between batches, at least every second also when there are no records: the place to swap a model.
    fn between_batches(&mut self) {}

    /// What is committed beside the offsets of the batch that was processed last, in its transaction: a few hundred bytes
    /// at most. Nothing, for one that keeps no such word; then it is told of none either.
    fn metadata(&self) -> Option<String> {
        None
    }

    /// Partitions have come, and these are the words that were committed with their offsets. Called before the first
    /// record of any of them is processed. Whoever had them before commits nothing any more: the word is its last one.
    fn assigned(&mut self, _partitions: &[Assigned]) {}
}

/// A partition that has come, as the group left it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assigned {
    /// Its topic.
    pub topic: String,
    /// Its number.
    pub partition: i32,
    /// What [`Processor::metadata`] said of the last transaction in it; none where there was none.
    pub metadata: Option<String>,
}

/// Which lane this is, and what it reads.
#[derive(Clone, Debug)]
pub struct LaneConfig {
    /// The service: `scorer`, `judge`.
    pub service: &'static str,
    /// The pipeline's name.
    pub pipeline: String,
    /// The consumer group.
    pub group: String,
    /// The topics that are read.
    pub topics: Vec<String>,
    /// Where dead letters go.
    pub dead_topic: String,
    /// The instance: stable over restarts of the process, different for each replica.
    pub instance_id: String,
    /// The lane's number in its instance.
    pub index: usize,
    /// How much is done at once.
    pub limits: Limits,
}

impl LaneConfig {
    /// `<service>-<pipeline>-<instance>-<lane>`: what fences the lane's predecessor.
    pub fn transactional_id(&self) -> String {
        format!("{}-{}-{}-{}", self.service, self.pipeline, self.instance_id, self.index)
    }

    /// What the lane is called in threads, logs and metrics.
    pub fn name(&self) -> String {
        format!("{}-{}-{}", self.service, self.pipeline, self.index)
    }
}

/// One lane of a service; see the module.
pub struct Lane<P> {
    client: Client,
    config: LaneConfig,
    processor: P,
    meter: Meter,
    metrics: LaneMetrics,
    ready: Option<Arc<dyn Fn(bool) + Send + Sync>>,
}

impl<P: Processor> Lane<P> {
    /// A lane that has not begun.
    pub fn new(client: &Client, config: LaneConfig, processor: P, meter: Meter) -> Self {
        let metrics = LaneMetrics::new(&meter, config.service, &config.pipeline, config.index);
        Self { client: client.clone(), config, processor, meter, metrics, ready: None }
    }

    /// Says where to tell that the lane works (its producer is known to the brokers), or no longer does.
    #[must_use]
    pub fn on_ready(mut self, ready: impl Fn(bool) + Send + Sync + 'static) -> Self {
        self.ready = Some(Arc::new(ready));
        self
    }

    /// What the lane is called.
    pub fn name(&self) -> String {
        self.config.name()
    }

    /// Works on the caller's thread until the shutdown, then leaves the group. An error means that the process must
    /// end: another instance has taken over, or the brokers refuse for good.
    #[expect(clippy::needless_pass_by_value, reason = "the thread that runs a lane is given its own handle")]
    pub fn run(self, shutdown: Shutdown) -> anyhow::Result<()> {
        run::run(self, &shutdown)
    }
}
