//! The loop from scores to verdicts.
//!
//! ```text
//! input --framing--> schema name + datum --Plans--> plan --policy--> Judgement --verdict--> output
//!                                            |  unknown schema, bytes that do not fit: dead letter
//!                                            |  registry away: the batch waits
//! ```

mod lookup;
mod plans;
mod verdict;

use std::sync::Arc;

use millrace_core::{Pipeline, header, id};
use millrace_kafka::lane::{Input, Outputs, Processor, Unavailable};
use millrace_policy::Policy;
use millrace_schema::{client::Registered, framing, scored};

pub use self::lookup::Lookup;
pub(crate) use self::lookup::Remote;
use self::{
    plans::Plans,
    verdict::{Envelope, Verdict},
};
use crate::{
    error::{Error, Result},
    metrics::JudgeMetrics,
    text,
};

/// The stage of the judge's dead letters.
pub(crate) const STAGE: &str = "judge";

/// Judges the scores of one lane.
pub struct Judge {
    pipeline: String,
    topic: String,
    envelope: Envelope,
    plans: Plans,
    lookup: Box<dyn Lookup>,
    metrics: JudgeMetrics,
    value: Vec<u8>,
}

impl Judge {
    /// A judge by `policy`, which was compiled from the document against the newest schema; without one it is compiled
    /// when the first score comes.
    pub fn new(
        pipeline: &Pipeline,
        policy: Option<Arc<Policy>>,
        lookup: Box<dyn Lookup>,
        meter: &opentelemetry::metrics::Meter,
    ) -> Self {
        Self {
            pipeline: pipeline.name().to_owned(),
            topic: pipeline.verdicts_topic(),
            envelope: Envelope::new(pipeline.spec.events.framing),
            metrics: JudgeMetrics::new(meter, pipeline.name(), &pipeline.spec.policy),
            plans: Plans::new(pipeline, policy),
            lookup,
            value: Vec::new(),
        }
    }

    /// Judges one score; the outer error is for now, the inner one for good.
    fn judge(
        &mut self,
        input: &Input<'_>,
        schema: &Registered,
        now: i64,
        out: &mut Outputs,
    ) -> std::result::Result<Result<()>, Unavailable> {
        let Some(value) = input.value else { return Ok(Err(Error::NoValue)) };
        let (name, datum) = match framing::split(value, input.headers.get(header::VALUE_SCHEMA_ID)) {
            Ok(split) => split,
            Err(error) => return Ok(Err(error.into())),
        };
        let planned = match self.plans.get(name, &*self.lookup)? {
            Ok(planned) => planned,
            Err(error) => return Ok(Err(error)),
        };
        let policy = planned.policy;
        let judged = scored::decode_head(datum)
            .and_then(|(head, event)| policy.judge(planned.plan, event, head.score).map(|judgement| (head, judgement)));
        let (head, judgement) = match judged {
            Ok(judged) => judged,
            Err(error) => return Ok(Err(error.into())),
        };
        let verdict = Verdict {
            id: id::verdict(&self.pipeline, head.event_id, policy.revision(), head.model_version),
            pipeline: &self.pipeline,
            policy_revision: policy.revision(),
            judged_at: now,
            head: &head,
            judgement: &judgement,
        };
        self.metrics.judged(&judgement, now - head.received_at);
        self.envelope.write(schema, &verdict, &mut self.value);
        match self.envelope.header(schema) {
            Some(name) => out.send(input, &self.topic, &self.value, &[(header::VALUE_SCHEMA_ID, &name)]),
            None => out.send(input, &self.topic, &self.value, &[]),
        }
        Ok(Ok(()))
    }
}

impl Processor for Judge {
    fn process(&mut self, batch: &[Input<'_>], out: &mut Outputs) -> std::result::Result<(), Unavailable> {
        let schema = self.lookup.verdicts()?;
        let now = text::now_ms();
        for input in batch {
            if let Err(error) = self.judge(input, &schema, now, out)? {
                tracing::warn!(
                    topic = input.topic,
                    partition = input.partition,
                    offset = input.offset,
                    event_id = input.headers.text(header::EVENT_ID),
                    correlation_id = input.headers.text(header::CORRELATION_ID),
                    error = error.tag(),
                    reason = %error,
                    "score dead-lettered"
                );
                out.dead(input, STAGE, error.code(), &error.to_string());
            }
        }
        self.metrics.flush();
        Ok(())
    }
}

#[cfg(test)]
mod tests;
