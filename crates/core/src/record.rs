//! The records that Millrace itself writes, as Avro schemas, and the words in them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Avro schema of a `<p>.verdicts` value.
pub const VERDICT_SCHEMA: &str = include_str!("record/verdict.avsc");

/// Avro schema of a `millrace.signals` value.
pub const SIGNAL_SCHEMA: &str = include_str!("record/signal.avsc");

/// The topic of signals, one for an installation.
pub const SIGNALS_TOPIC: &str = "millrace.signals";

/// What is done with an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Let it through.
    Pass,
    /// Let it through, marked with the rule's labels.
    Label,
    /// Hold it back for review.
    Quarantine,
}

impl Action {
    /// In the order of the symbols of the Avro enum `millrace.v1.Action`.
    pub const ALL: [Self; 3] = [Self::Pass, Self::Label, Self::Quarantine];

    /// The Avro symbol.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Label => "label",
            Self::Quarantine => "quarantine",
        }
    }
}

/// The number of the object of S3 that a row is of (`importer.objects`); null in rows of the stream.
pub const IMPORTED_FROM: &str = "imported_from";

/// Columns that every imported table has, in this order. They win their names: an event's field of the same name is
/// stored as `event_<name>`.
pub const SYSTEM_COLUMNS: [&str; 11] = [
    "event_id",
    "correlation_id",
    "received_at",
    "scored_at",
    "imported_at",
    IMPORTED_FROM,
    "source",
    "model",
    "model_version",
    "score",
    "reasons",
];
