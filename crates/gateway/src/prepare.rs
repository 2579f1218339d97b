//! Prepare: everything that can be wrong with an event is found here, before Kafka is touched. Pure.
//!
//! ```text
//! [Incoming; n] --Plan--> Prepared { records: Vec<Outgoing>, answers: n, pending: which answers wait for a record }
//!                            one arena for all values, keys and ids of the batch; records are slices of it
//! ```

use std::{ops::Range, sync::Arc};

use bytes::Bytes;
use millrace_core::{header, id};
use millrace_kafka::{Headers, Outgoing};
use millrace_schema::projection::Slot;

use crate::{Answer, Incoming, Outcome, Payload, Plan, Rejection};

/// When and in which trace a request was received.
#[derive(Clone, Debug)]
pub struct Receipt {
    /// Milliseconds since 1970: the records' timestamp.
    pub at_ms: i64,
    /// The same as RFC 3339 in UTC.
    pub at: Bytes,
    /// W3C trace context.
    pub traceparent: Bytes,
}

impl Receipt {
    /// Now.
    pub fn now(traceparent: Bytes) -> Self {
        let now = jiff::Timestamp::now();
        Self { at_ms: now.as_millisecond(), at: Bytes::from(format!("{now:.3}")), traceparent }
    }
}

/// A batch, checked and encoded: nothing that can be wrong with its records is left.
pub struct Prepared {
    /// For Kafka, in the order of the request.
    pub records: Vec<Outgoing>,
    /// One for each event of the request. Those at `pending` say unknown until their record's fate is known.
    pub answers: Vec<Answer>,
    /// `pending[i]` is the index of the answer to `records[i]`.
    pub pending: Vec<usize>,
}

/// Checks, encodes and frames a batch. A bad event becomes an answer and leaves no trace in the others.
pub fn prepare(events: Vec<Incoming>, plan: &Plan, receipt: &Receipt, max_event_bytes: usize) -> Prepared {
    let mut arena = Arena::for_batch(&events, plan, max_event_bytes);
    let mut answers = Vec::with_capacity(events.len());
    let mut drafts = Vec::with_capacity(events.len());
    let mut pending = Vec::with_capacity(events.len());
    for (index, event) in events.into_iter().enumerate() {
        let (values, side) = (arena.values.len(), arena.side.len());
        let mut answer = Answer { event_id: event.event_id, correlation_id: event.correlation_id, outcome: NOT_YET };
        match arena.draft(event.payload, &mut answer) {
            Ok(draft) => {
                pending.push(index);
                drafts.push(draft);
            }
            Err(rejection) => {
                arena.values.truncate(values);
                arena.side.truncate(side);
                answer.outcome = Outcome::Rejected(rejection);
            }
        }
        answers.push(answer);
    }
    Prepared { records: arena.records(drafts, receipt), answers, pending }
}

/// What an answer says before its record's fate is known; never sent.
const NOT_YET: Outcome = Outcome::Unknown(String::new());

/// The bytes of all records of a batch: one allocation for values and one for keys and ids.
struct Arena<'p> {
    plan: &'p Plan,
    max_event_bytes: usize,
    values: Vec<u8>,
    side: Vec<u8>,
}

/// Where a record's parts are.
struct Draft {
    value: Value,
    key: Range<usize>,
    event_id: Range<usize>,
    correlation_id: Range<usize>,
}

enum Value {
    /// In the arena.
    Encoded(Range<usize>),
    /// Bare Avro needs no copy.
    AsSent(Bytes),
}

impl<'p> Arena<'p> {
    fn for_batch(events: &[Incoming], plan: &'p Plan, max_event_bytes: usize) -> Self {
        let size = |event: &Incoming| match &event.payload {
            Payload::Avro(datum) if !plan.prefix.is_empty() => datum.len() + plan.prefix.len(),
            Payload::Json(text) => text.len() / 2, // names go, values stay; it may grow
            _ => 0,
        };
        let values = Vec::with_capacity(events.iter().map(size).sum());
        Self { plan, max_event_bytes, values, side: Vec::with_capacity(events.len() * 128) }
    }

    /// Checks and encodes one event; what it found out about the ids is in the answer also when it fails.
    fn draft(&mut self, payload: Payload, answer: &mut Answer) -> Result<Draft, Rejection> {
        let correlation = correlation_id(answer);
        if !answer.event_id.is_empty() {
            id::check_event_id(&answer.event_id).map_err(|error| Rejection::whole(error.to_string()))?;
        }
        correlation?;
        let start = self.values.len();
        let value = match payload {
            Payload::Avro(datum) => self.take_avro(datum)?,
            Payload::Json(text) => self.encode_json(&text, answer)?,
            Payload::Missing => return Err(Rejection::whole("the event is empty: expected an Avro value or JSON")),
        };
        let (plan, side) = (self.plan, &mut self.side);
        let datum = match &value {
            Value::Encoded(_) => &self.values[start + plan.prefix.len()..],
            Value::AsSent(datum) => datum,
        };
        let mut slots = Vec::with_capacity(plan.fields.len());
        plan.fields.read(datum, &mut slots).map_err(|corrupt| Rejection::whole(corrupt.to_string()))?;
        let (id_slot, key_slots) = slots.split_at(usize::from(plan.id.is_some()));
        find_event_id(answer, id_slot.first(), plan)?;
        let event_id = append(side, answer.event_id.as_bytes());
        let correlation_id = append(side, answer.correlation_id.as_bytes());
        let key = write_key(side, key_slots).unwrap_or_else(|| event_id.clone());
        Ok(Draft { value, key, event_id, correlation_id })
    }

    fn take_avro(&mut self, datum: Bytes) -> Result<Value, Rejection> {
        if datum.len() > self.max_event_bytes {
            return Err(Rejection::too_large(datum.len(), self.max_event_bytes));
        }
        self.plan.validator.validate(&datum).map_err(|invalid| Rejection::at(invalid.path, invalid.message))?;
        if self.plan.prefix.is_empty() {
            return Ok(Value::AsSent(datum));
        }
        let start = self.values.len();
        self.values.extend_from_slice(&self.plan.prefix);
        self.values.extend_from_slice(&datum);
        Ok(Value::Encoded(start..self.values.len()))
    }

    fn encode_json(&mut self, text: &[u8], answer: &mut Answer) -> Result<Value, Rejection> {
        if text.len() > self.max_event_bytes {
            return Err(Rejection::too_large(text.len(), self.max_event_bytes));
        }
        let json = serde_json::from_slice(text).map_err(|error| Rejection::whole(format!("not JSON: {error}")))?;
        let start = self.values.len();
        self.values.extend_from_slice(&self.plan.prefix);
        if let Err(mismatch) = self.plan.encoder.encode(&json, &mut self.values) {
            peek_event_id(answer, &json, self.plan);
            return Err(Rejection::at(&mismatch.path, format!("expected {}, got {}", mismatch.expected, mismatch.got)));
        }
        let size = self.values.len() - start;
        if size > self.max_event_bytes {
            return Err(Rejection::too_large(size, self.max_event_bytes));
        }
        Ok(Value::Encoded(start..self.values.len()))
    }

    /// Cuts the arena up into records.
    fn records(self, drafts: Vec<Draft>, receipt: &Receipt) -> Vec<Outgoing> {
        let Self { plan, values, side, .. } = self;
        let (values, side) = (Bytes::from(values), Bytes::from(side));
        let record = |draft: Draft| Outgoing {
            topic: Arc::clone(&plan.topic),
            partition: None,
            key: Some(side.slice(draft.key)),
            value: Some(match draft.value {
                Value::Encoded(range) => values.slice(range),
                Value::AsSent(datum) => datum,
            }),
            headers: headers(side.slice(draft.event_id), side.slice(draft.correlation_id), receipt, plan),
            timestamp_ms: Some(receipt.at_ms),
        };
        drafts.into_iter().map(record).collect()
    }
}

fn headers(event_id: Bytes, correlation_id: Bytes, receipt: &Receipt, plan: &Plan) -> Headers {
    let schema = plan.header.as_ref().map(|guid| (header::VALUE_SCHEMA_ID, guid.clone()));
    let ours = [
        (header::TRACEPARENT, receipt.traceparent.clone()),
        (header::CORRELATION_ID, correlation_id),
        (header::EVENT_ID, event_id),
        (header::RECEIVED_AT, receipt.at.clone()),
    ];
    ours.into_iter().chain(schema).collect()
}

/// The client's correlation id, checked, or a new one.
fn correlation_id(answer: &mut Answer) -> Result<(), Rejection> {
    let given = std::mem::take(&mut answer.correlation_id);
    let checked = if given.is_empty() { Ok(()) } else { id::check_event_id(&given) };
    answer.correlation_id = if given.is_empty() || checked.is_err() { mint() } else { given };
    checked.map_err(|error| Rejection::whole(error.to_string().replace("event id", "correlation id")))
}

fn mint() -> String {
    id::mint().to_string()
}

/// The request's id, else the field's, else a new one.
fn find_event_id(answer: &mut Answer, field: Option<&Slot<'_>>, plan: &Plan) -> Result<(), Rejection> {
    if !answer.event_id.is_empty() {
        return Ok(());
    }
    answer.event_id = match field {
        None | Some(Slot::Missing | Slot::Null) => mint(),
        Some(Slot::Str(text)) => {
            id::check_event_id(text).map_err(|error| Rejection::at(plan.id_path(), error.to_string()))?;
            (*text).to_owned()
        }
        Some(Slot::Long(number)) => number.to_string(),
        Some(other) => return Err(Rejection::at(plan.id_path(), format!("cannot be an event id: {other:?}"))),
    };
    Ok(())
}

/// The id of a JSON event that does not fit, so that its sender finds it in the answers.
fn peek_event_id(answer: &mut Answer, json: &serde_json::Value, plan: &Plan) {
    let Some(path) = plan.id.as_ref().filter(|_| answer.event_id.is_empty()) else { return };
    let field = path.segments().try_fold(json, |value, name| value.get(name));
    if let Some(text) = field.and_then(serde_json::Value::as_str).filter(|text| id::check_event_id(text).is_ok()) {
        text.clone_into(&mut answer.event_id);
    }
}

fn append(side: &mut Vec<u8>, bytes: &[u8]) -> Range<usize> {
    let start = side.len();
    side.extend_from_slice(bytes);
    start..side.len()
}

/// The values of the key's fields, joined by `|`; `None` when the document names none, or when all are null: those
/// events have no order to keep, and one key for all of them would fill one partition.
fn write_key(side: &mut Vec<u8>, slots: &[Slot<'_>]) -> Option<Range<usize>> {
    if slots.iter().all(|slot| matches!(slot, Slot::Missing | Slot::Null)) {
        return None;
    }
    let start = side.len();
    for (i, slot) in slots.iter().enumerate() {
        if i > 0 {
            side.push(b'|');
        }
        match slot {
            Slot::Missing | Slot::Null | Slot::Complex(_) => {} // a plan with such a key field is not compiled
            Slot::Bool(value) => side.extend_from_slice(if *value { b"true" } else { b"false" }),
            Slot::Long(value) => write_text(side, format_args!("{value}")),
            Slot::Double(value) => write_text(side, format_args!("{value}")),
            Slot::Str(value) => side.extend_from_slice(value.as_bytes()),
            Slot::Bytes(value) => side.extend_from_slice(value),
        }
    }
    Some(start..side.len())
}

fn write_text(side: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    use std::io::Write;
    side.write_fmt(text).expect("a Vec takes all that is written");
}

#[cfg(test)]
mod tests;
