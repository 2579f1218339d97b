//! What stream and batch do alike: an event's datum in, the datum of its score out.

use millrace_core::Pipeline;
use millrace_schema::scored::{Head, Reason, encode_head};
use millrace_scoring::{Plan, Score, Scratch};

use crate::error::{Error, Result};

/// Makes scores of one pipeline's events, with memory that is used again for each.
pub(crate) struct Rows {
    pipeline: String,
    source: &'static str,
    reasons: usize,
    scratch: Scratch,
}

/// What a score says about its event beside the event.
pub(crate) struct Ids<'a> {
    pub(crate) event_id: &'a str,
    pub(crate) correlation_id: &'a str,
    /// Milliseconds since 1970.
    pub(crate) received_at: i64,
}

/// An event that has its score, which is still to be written.
pub(crate) struct Row<'a> {
    rows: &'a Rows,
    plan: &'a Plan,
    datum: &'a [u8],
    score: Score,
}

impl Rows {
    /// `source` is what the scores say about how they came about.
    pub(crate) fn new(pipeline: &Pipeline, source: &'static str) -> Self {
        let reasons = pipeline.spec.scoring.as_ref().map_or(0, |scoring| scoring.reasons);
        Self { pipeline: pipeline.name().to_owned(), source, reasons, scratch: Scratch::default() }
    }

    /// Scores an event, which must be all of `datum`.
    pub(crate) fn score<'a>(&'a mut self, plan: &'a Plan, datum: &'a [u8]) -> Result<Row<'a>> {
        let score = plan.score(datum, &mut self.scratch, self.reasons).map_err(Error::Corrupt)?;
        match datum.len() - score.consumed {
            0 => Ok(Row { rows: self, plan, datum, score }),
            more => Err(Error::Trailing(more)),
        }
    }
}

impl Row<'_> {
    /// Appends the score's datum: its head, and the event's bytes as they are. `now` is in milliseconds since 1970.
    pub(crate) fn write(&self, ids: &Ids<'_>, now: i64, out: &mut Vec<u8>) {
        let Self { rows, plan, datum, score } = self;
        let bundle = plan.bundle();
        let reasons = plan.reasons(&rows.scratch).map(|reason| Reason {
            feature: reason.feature,
            value: reason.value,
            contribution: reason.contribution,
        });
        let head = Head {
            event_id: ids.event_id,
            correlation_id: ids.correlation_id,
            pipeline: &rows.pipeline,
            received_at: ids.received_at,
            scored_at: now,
            source: rows.source,
            model: bundle.name(),
            model_version: bundle.version(),
            score: score.probability,
            margin: score.margin,
            reasons: reasons.collect(),
        };
        encode_head(&head, out);
        out.extend_from_slice(datum);
    }
}
