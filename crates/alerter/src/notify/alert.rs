//! What is read from the topics, as this service thinks of it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use millrace_postgres::storable;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// A verdict that raises alerts.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Occurrence {
    pub(crate) verdict_id: Uuid,
    pub(crate) event_id: String,
    pub(crate) correlation_id: String,
    pub(crate) action: String,
    pub(crate) rule: String,
    pub(crate) score: f64,
    pub(crate) model_version: String,
    pub(crate) received_at: Timestamp,
    pub(crate) judged_at: Timestamp,
    pub(crate) alerts: Vec<Raised>,
}

/// An alert that a verdict raises, and its group.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Raised {
    pub(crate) name: String,
    pub(crate) group: BTreeMap<String, String>,
}

/// A signal of `millrace.signals`. Fields that a newer writer adds are nothing to this one.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Signal {
    pub(crate) dedup_key: String,
    pub(crate) kind: String,
    pub(crate) severity: String,
    pub(crate) state: State,
    pub(crate) source: String,
    pub(crate) subject: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) since: String,
    pub(crate) summary: String,
    #[serde(default)]
    pub(crate) link: Option<String>,
    #[serde(default)]
    pub(crate) notify: Vec<String>,
}

/// Whether a matter goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    Firing,
    Resolved,
}

impl State {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Firing => "firing",
            Self::Resolved => "resolved",
        }
    }
}

impl Raised {
    /// What makes the group one: its pipeline, the alert and its labels.
    pub(crate) fn key(&self, pipeline: &str) -> String {
        let labels = self.group.iter().flat_map(|(path, value)| [path.as_str(), value]);
        key(["verdict", pipeline, &self.name].into_iter().chain(labels))
    }
}

impl Signal {
    /// What makes firing and resolved one matter.
    pub(crate) fn key(&self) -> String {
        key(["signal", &self.dedup_key])
    }
}

/// A hash of parts, each with its length, so that no two lists of parts read the same.
fn key<'a>(parts: impl IntoIterator<Item = &'a str>) -> String {
    use std::fmt::Write as _;
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.len().to_be_bytes());
        hash.update(part);
    }
    let mut hex = String::with_capacity(64);
    for byte in hash.finalize() {
        let _ = write!(hex, "{byte:02x}"); // writing to a String cannot fail
    }
    hex
}

/// Labels as Postgres can store them.
pub(crate) fn labels(labels: &BTreeMap<String, String>) -> serde_json::Value {
    labels.iter().map(|(name, value)| (storable(name), storable(value))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raised(name: &str, group: &[(&str, &str)]) -> Raised {
        let group = group.iter().map(|(path, value)| ((*path).to_owned(), (*value).to_owned())).collect();
        Raised { name: name.to_owned(), group }
    }

    #[test]
    fn groups_are_told_apart_by_all_of_their_parts() {
        let base = raised("a", &[("event.org", "x"), ("event.to", "y")]);
        assert_eq!(base.key("p"), raised("a", &[("event.to", "y"), ("event.org", "x")]).key("p"));
        for other in [
            raised("b", &[("event.org", "x"), ("event.to", "y")]),
            raised("a", &[("event.org", "xevent.to"), ("", "y")]),
            raised("a", &[("event.org", "y"), ("event.to", "x")]),
            raised("a", &[]),
        ] {
            assert_ne!(base.key("p"), other.key("p"));
        }
        assert_ne!(base.key("p"), base.key("q"));
    }
}
