//! Dead letters: acknowledged by the brokers before the ledger moves over their records.

use std::sync::Arc;

use millrace_kafka::{Outgoing, Producer, dead};

use crate::{
    batch::{Place, Prepared},
    error::{Error, Reject, Result},
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

/// Sends letters, and returns those that must be sent again with the reason.
pub(crate) async fn send(producer: &Producer, letters: Vec<Outgoing>) -> Result<(), (Vec<Outgoing>, Error)> {
    let mut again = Vec::new();
    let mut cause = None;
    for sent in producer.send_all(letters).await {
        match sent {
            Ok(_) => {}
            // The headers have made it too large. The record itself stays where the letter says that it is.
            Err((mut letter, millrace_kafka::Error::TooLarge { .. })) if letter.value.is_some() => {
                letter.value = None;
                letter.headers.set("dead-value", "left out: over the limit with these headers");
                again.push(letter);
            }
            Err((letter, error)) => {
                again.push(letter);
                cause = Some(error);
            }
        }
    }
    match (again.is_empty(), cause) {
        (true, _) => Ok(()),
        (false, None) => Box::pin(send(producer, again)).await,
        (false, Some(cause)) => Err((again, cause.into())),
    }
}
