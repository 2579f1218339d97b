//! Dead letters, as the importer writes them.

use std::sync::Arc;

use millrace_kafka::{Outgoing, dead};

use crate::{
    batch::{Place, Prepared},
    error::Reject,
    feed::Feed,
};

/// The stage's name in dead letters.
pub(crate) const STAGE: &str = "importer";

/// The dead letter of one record.
pub(crate) fn letter(feed: &Feed, prepared: &Prepared, place: Place, reject: &Reject) -> Outgoing {
    let batch = &prepared.batches[place.batch];
    let verdict = dead::Verdict {
        stage: STAGE,
        code: reject.code,
        reason: &reject.reason,
        group: &feed.group,
        topic: &batch.partition.topic,
        partition: batch.partition.partition,
    };
    dead::letter(&Arc::clone(&feed.dead_topic), &batch.records[place.record], verdict)
}
