use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Action, Span};

/// What a pipeline does, part by part.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// How its topics are made.
    #[serde(default)]
    pub topics: Topics,
    /// What comes in.
    pub events: Events,
    /// How events are scored; without it, they are only collected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scoring: Option<Scoring>,
    /// What is decided: the first rule that matches. The last one's condition must be `true`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub policy: Vec<Rule>,
    /// Whom to tell.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alerts: Vec<Alert>,
    /// Which table the scored events are stored in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub import: Option<Import>,
    /// How events are archived.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lake: Option<Lake>,
    /// Where files of events are taken from S3, and where their scores are put.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<Batch>,
}

/// How the pipeline's topics are made. Read by `pipeline apply`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Topics {
    /// Number of partitions, the same for each topic: a score goes to its event's partition number.
    #[schemars(range(min = 1, max = 1024))]
    pub partitions: i32,
    /// Copies of each partition; at most the number of brokers.
    #[schemars(range(min = 1, max = 9))]
    pub replication: i32,
    /// Copies that must be written before a write is acknowledged.
    #[schemars(range(min = 1, max = 9))]
    pub min_insync: i32,
    /// How long records are kept.
    pub retention: Span,
}

impl Default for Topics {
    fn default() -> Self {
        Self { partitions: 8, replication: 3, min_insync: 2, retention: Span::days(7) }
    }
}

/// What comes in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Events {
    /// The subject of the event's schema in the registry.
    #[schemars(length(min = 1))]
    pub subject: String,
    /// The file of the newest schema, beside the document.
    pub schema: PathBuf,
    /// The field that holds the event's id, where a client sends none of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The field that holds the event's own time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
    /// The fields whose values, joined, are the record's key: order is kept per key. Without any, the event's id.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub key: Vec<String>,
    /// How a value names its schema.
    #[serde(default)]
    pub framing: Framing,
}

/// How a record's value names its schema.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Framing {
    /// 0x00, four bytes of id, Avro: every stock Confluent client reads it.
    #[default]
    IdPrefix,
    /// The header `__value_schema_id` holds 0x01 and 16 bytes of GUID; the value is bare Avro.
    GuidHeader,
    /// 0x01, 16 bytes of GUID, Avro.
    GuidPrefix,
}

/// How events are scored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Scoring {
    /// The model's name.
    #[schemars(length(min = 1))]
    pub model: String,
    /// Models that score along and decide nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shadow: Vec<String>,
    /// What holds between an event and its score.
    #[serde(default)]
    pub guarantee: Guarantee,
    /// How many reasons a score carries at most.
    #[serde(default = "five")]
    #[schemars(range(max = 64))]
    pub reasons: usize,
    /// Fields that must not be features, whatever a features document says.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub never: Vec<String>,
}

fn five() -> usize {
    5
}

/// What holds between an input record and its outputs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Guarantee {
    /// Kafka transactions.
    #[default]
    ExactlyOnce,
}

/// One rule of the policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Appears in verdicts and metrics.
    #[schemars(regex(pattern = "^[a-z][a-z0-9_-]{0,62}$"))]
    pub name: String,
    /// A CEL expression over `event` and `score`.
    #[schemars(length(min = 1))]
    pub when: String,
    /// What is done with an event that matches.
    pub action: Action,
    /// Labels of the verdict.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
}

/// Whom to tell about verdicts of one action.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Alert {
    /// Appears in notifications and metrics.
    #[schemars(regex(pattern = "^[a-z][a-z0-9_-]{0,62}$"))]
    pub name: String,
    /// The action that raises it.
    pub on: Action,
    /// Receivers by name; their addresses and secrets come from the environment.
    #[schemars(length(min = 1))]
    pub notify: Vec<String>,
    /// Paths such as `event.org`: one notification for each combination of their values.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub group_by: Vec<String>,
    /// How long a new group gathers before it is told.
    #[serde(default = "ten_seconds")]
    pub group_wait: Span,
    /// How soon a group that goes on is told again.
    #[serde(default = "four_hours")]
    pub repeat: Span,
}

fn ten_seconds() -> Span {
    Span::seconds(10)
}

fn four_hours() -> Span {
    Span::seconds(4 * 3600)
}

/// Which table the scored events are stored in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Import {
    /// The table's name in the Postgres schema `pipeline`.
    #[schemars(regex(pattern = "^[a-z_][a-z0-9_]{0,39}$"))]
    pub table: String,
    /// How long rows are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<Span>,
    /// Counts and sums that are kept beside the rows, exactly.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aggregates: Vec<Aggregate>,
}

/// One table of counts and sums.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Aggregate {
    /// The table is `<table>_<name>`.
    #[schemars(regex(pattern = "^[a-z_][a-z0-9_]{0,19}$"))]
    pub name: String,
    /// Paths such as `event.org`, or `hour(event.time)`: UTC hours of the event's own time.
    #[schemars(length(min = 1))]
    pub by: Vec<String>,
    /// Whether rows are counted.
    #[serde(default)]
    pub count: bool,
    /// Numbers to sum: `score` or paths such as `event.size`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sum: Vec<String>,
}

/// How events are archived.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Lake {
    /// The first part of every object's key.
    pub prefix: String,
    /// When a file ends.
    #[serde(default)]
    pub roll: Roll,
}

/// Files of events and files of scores, in buckets that the services are told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Batch {
    /// What the keys of events' files begin with: Avro container files, each with a schema of its own.
    #[schemars(regex(pattern = "^[^/].*/$"))]
    pub inbox: String,
    /// What the keys of their scores' files begin with; the importer knows by it whose they are.
    #[schemars(regex(pattern = "^[^/].*/$"))]
    pub scores: String,
}

/// When a file of the lake ends: by size or by age, whichever comes first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Roll {
    /// Size in bytes.
    #[schemars(range(min = 1_048_576))]
    pub bytes: u64,
    /// Age in record time.
    pub age: Span,
}

impl Default for Roll {
    fn default() -> Self {
        Self { bytes: 128 << 20, age: Span::seconds(900) }
    }
}
