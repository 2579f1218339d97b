//! A verdict's bytes, in the order of the fields of `core::record::VERDICT_SCHEMA`.

use millrace_core::{Action, pipeline::Framing};
use millrace_policy::Judgement;
use millrace_schema::{
    client::Registered,
    framing,
    scored::Head,
    wire::{put_double, put_long, put_str},
};
use uuid::Uuid;

/// What is said about one event.
pub(super) struct Verdict<'a> {
    pub(super) id: Uuid,
    pub(super) pipeline: &'a str,
    pub(super) policy_revision: &'a str,
    /// Milliseconds since 1970.
    pub(super) judged_at: i64,
    pub(super) head: &'a Head<'a>,
    pub(super) judgement: &'a Judgement<'a>,
}

impl Verdict<'_> {
    /// Appends the datum.
    fn encode(&self, out: &mut Vec<u8>) {
        let Self { id, pipeline, policy_revision, judged_at, head, judgement } = self;
        put_str(out, id.hyphenated().encode_lower(&mut Uuid::encode_buffer()));
        put_str(out, head.event_id);
        put_str(out, head.correlation_id);
        put_str(out, pipeline);
        put_long(out, head.received_at);
        put_long(out, head.scored_at);
        put_long(out, *judged_at);
        put_long(out, symbol(judgement.action));
        put_items(out, judgement.labels, |out, label| put_str(out, label));
        put_str(out, judgement.name);
        put_double(out, head.score);
        put_str(out, head.model);
        put_str(out, head.model_version);
        put_str(out, policy_revision);
        put_items(out, &judgement.alerts, |out, alert| {
            put_str(out, alert.name);
            put_items(out, &alert.group, |out, (path, value)| {
                put_str(out, path);
                put_str(out, value);
            });
        });
    }
}

/// The index of an action among the symbols of the Avro enum.
fn symbol(action: Action) -> i64 {
    Action::ALL.iter().position(|it| *it == action).map_or(0, |index| index as i64)
}

/// Appends an array or a map: one block, and the end.
fn put_items<T>(out: &mut Vec<u8>, items: &[T], put: impl Fn(&mut Vec<u8>, &T)) {
    if !items.is_empty() {
        put_long(out, items.len() as i64);
        for item in items {
            put(out, item);
        }
    }
    put_long(out, 0);
}

/// How values of verdicts name their schema.
pub(super) struct Envelope(Framing);

impl Envelope {
    pub(super) fn new(framing: Framing) -> Self {
        Self(framing)
    }

    /// Writes a value, in the place of what `out` held.
    pub(super) fn write(&self, schema: &Registered, verdict: &Verdict<'_>, out: &mut Vec<u8>) {
        out.clear();
        framing::write_prefix(self.0, schema.id, schema.guid, out);
        verdict.encode(out);
    }

    /// The header that names the schema, where the framing has one.
    pub(super) fn header(&self, schema: &Registered) -> Option<[u8; 17]> {
        framing::header_value(self.0, schema.guid)
    }
}
