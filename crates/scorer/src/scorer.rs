//! From events to scores, batch by batch.

use std::{
    sync::Arc,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use millrace_core::{Pipeline, header};
use millrace_kafka::lane::{Assigned, Input, Outputs, Processor, Unavailable};
use millrace_runtime::ConfigError;
use millrace_schema::framing;

use crate::{
    error::{Error, Result},
    event::{Identity, id_field, identify},
    lookup::Lookup,
    metrics::Metrics,
    models::{InUse, Model},
    plans::{Planned, Plans},
    revision::Standing,
    rows::Rows,
};

/// The stage of the scorer's dead letters.
pub const STAGE: &str = "scorer";
/// What scores say about how they came about.
const SOURCE: &str = "stream";

/// Scores the events of one lane.
pub struct Scorer {
    pipeline: String,
    scores: String,
    rows: Rows,
    model: Arc<Model>,
    lookup: Box<dyn Lookup>,
    plans: Plans,
    revision: Standing,
    metrics: Metrics,
    value: Vec<u8>,
}

impl Scorer {
    /// A scorer for a pipeline whose model is there.
    pub fn new(
        pipeline: &Pipeline,
        model: Arc<Model>,
        lookup: Box<dyn Lookup>,
        metrics: Metrics,
    ) -> std::result::Result<Self, ConfigError> {
        let missing = || ConfigError::new(format!("pipeline {}: there is no model yet", pipeline.name()));
        let InUse { bundle, revision } = model.current().ok_or_else(missing)?;
        let plans = Plans::new(bundle, Arc::clone(&model), pipeline.spec.events.framing, id_field(pipeline)?);
        Ok(Self {
            pipeline: pipeline.name().to_owned(),
            scores: pipeline.scores_topic(),
            rows: Rows::new(pipeline, SOURCE),
            model,
            lookup,
            plans,
            revision: Standing::new(revision),
            metrics,
            value: Vec::new(),
        })
    }

    /// Takes up the model that is in use by now.
    fn take_up(&mut self) {
        let Some(InUse { bundle, revision }) = self.model.current() else { return };
        self.revision.set(revision);
        if !Arc::ptr_eq(&bundle, self.plans.bundle()) {
            tracing::info!(
                pipeline = self.pipeline,
                model = bundle.name(),
                version = bundle.version(),
                revision,
                "lane scores with another model"
            );
            self.plans.replace(bundle);
        }
    }

    /// Whether the model is new enough for the partitions; see `revision.rs`.
    fn may_score(&mut self) -> std::result::Result<(), Unavailable> {
        self.revision.look(&self.model);
        // Behind the look at the answer: what was said then is in use by now.
        self.take_up();
        let checked = self.revision.check(&self.model);
        checked.map_err(|wait| {
            self.metrics.waits(wait.tag());
            Unavailable { what: "champion of the pipeline", source: wait.into() }
        })
    }

    /// Scores one event; the outer error is for now, the inner one for good.
    fn score(
        &mut self,
        input: &Input<'_>,
        now: i64,
        out: &mut Outputs,
    ) -> std::result::Result<Result<()>, Unavailable> {
        let Some(value) = input.value else { return Ok(Err(Error::NoValue)) };
        let (schema, datum) = match framing::split(value, input.headers.get(header::VALUE_SCHEMA_ID)) {
            Ok(split) => split,
            Err(error) => return Ok(Err(error.into())),
        };
        let planned = match self.plans.get(schema, &*self.lookup)? {
            Ok(planned) => planned,
            Err(error) => return Ok(Err(error)),
        };
        let row = match self.rows.score(&planned.plan, datum) {
            Ok(row) => row,
            Err(error) => return Ok(Err(error)),
        };
        let identity = identify(input, datum, planned.id.as_ref(), &*self.lookup, now)?;
        self.metrics.age(now - identity.received_at);
        self.value.clear();
        self.value.extend_from_slice(&planned.prefix);
        row.write(&identity.ids(), now, &mut self.value);
        let headers = headers(planned, &identity, self.revision.text());
        out.send(input, &self.scores, &self.value, &headers);
        Ok(Ok(()))
    }
}

impl Processor for Scorer {
    fn process(&mut self, batch: &[Input<'_>], out: &mut Outputs) -> std::result::Result<(), Unavailable> {
        self.may_score()?;
        let began = Instant::now();
        let now = now();
        let mut scored = 0;
        for input in batch {
            match self.score(input, now, out)? {
                Ok(()) => scored += 1,
                Err(error) => {
                    tracing::warn!(
                        topic = input.topic,
                        partition = input.partition,
                        offset = input.offset,
                        event_id = input.headers.text(header::EVENT_ID),
                        correlation_id = input.headers.text(header::CORRELATION_ID),
                        error = error.tag(),
                        reason = %error,
                        "event dead-lettered"
                    );
                    out.dead(input, STAGE, error.code(), &error.to_string());
                }
            }
        }
        self.metrics.batch(scored, began.elapsed());
        Ok(())
    }

    fn between_batches(&mut self) {
        self.take_up();
    }

    fn metadata(&self) -> Option<String> {
        self.revision.word()
    }

    fn assigned(&mut self, partitions: &[Assigned]) {
        self.revision.begin(partitions, &self.model);
    }
}

/// Headers of a score that its event does not have.
fn headers<'a>(planned: &'a Planned, identity: &'a Identity<'_>, revision: &'a str) -> Vec<(&'a str, &'a [u8])> {
    let mut headers: Vec<(&str, &[u8])> =
        identity.missing.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
    if let Some(header) = &planned.header {
        headers.push((header::VALUE_SCHEMA_ID, header));
    }
    if !revision.is_empty() {
        headers.push((header::MODEL_REVISION, revision.as_bytes()));
    }
    headers
}

/// Milliseconds since 1970.
pub(crate) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
