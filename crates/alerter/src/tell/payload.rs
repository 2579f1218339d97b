//! What a webhook says: `{type, timestamp, data}`, as Standard Webhooks proposes, and under 20 KB.

use jiff::Timestamp;
use millrace_postgres::Row;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{Group, Reason};
use crate::text::rfc3339;

/// The most bytes of a body.
const MOST: usize = 20_000;
/// The most bytes of one text in it, as JSON writes it.
const MOST_TEXT: usize = 512;
/// The most labels in it: with all of their texts they leave half of the body to the events.
const MOST_LABELS: usize = 16;

/// One of the verdicts behind an alert.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    verdict_id: Uuid,
    event_id: String,
    correlation_id: String,
    rule: String,
    score: f64,
    model_version: String,
    received_at: Timestamp,
    judged_at: Timestamp,
}

impl Sample {
    pub(super) fn of(row: &Row) -> Self {
        Self {
            verdict_id: row.get("verdict_id"),
            event_id: row.get("event_id"),
            correlation_id: row.get("correlation_id"),
            rule: row.get("rule"),
            score: row.get("score"),
            model_version: row.get("model_version"),
            received_at: row.get("received_at"),
            judged_at: row.get("judged_at"),
        }
    }

    fn to_json(&self) -> Value {
        json!({
            "event_id": cut(&self.event_id, MOST_TEXT),
            "correlation_id": cut(&self.correlation_id, MOST_TEXT),
            "verdict_id": self.verdict_id,
            "rule": self.rule,
            "score": self.score,
            "model_version": cut(&self.model_version, MOST_TEXT),
            "received_at": rfc3339(self.received_at),
            "judged_at": rfc3339(self.judged_at),
        })
    }
}

/// The body. Of the samples, the newest first, as many as there is room for.
pub(super) fn render(group: &Group, reason: Reason, samples: &[Sample], now: Timestamp) -> String {
    let mut samples: Vec<Value> = samples.iter().map(Sample::to_json).collect();
    loop {
        let body = body(group, reason, &samples, now).to_string();
        if body.len() <= MOST || samples.pop().is_none() {
            return body;
        }
    }
}

fn body(group: &Group, reason: Reason, samples: &[Value], now: Timestamp) -> Value {
    let is_signal = group.kind == "signal";
    let (what, state) = (if is_signal { "signal" } else { "alert" }, reason);
    let mut data = Map::new();
    let mut put = |name: &str, value: Value| _ = data.insert(name.to_owned(), value);
    put("alert_id", json!(group.id));
    put("name", json!(cut(&group.name, MOST_TEXT)));
    put("state", json!(if state == Reason::Resolved { "resolved" } else { "firing" }));
    put("reason", json!(reason.as_str()));
    if let Some(pipeline) = &group.pipeline {
        put("pipeline", json!(pipeline));
    }
    put("labels", short(&group.labels));
    if let Value::Object(details) = short(&group.details) {
        details.into_iter().for_each(|(name, value)| put(&name, value));
    }
    put("occurrences", json!(group.occurrences));
    put("new_occurrences", json!(group.occurrences - group.told));
    put("started_at", json!(rfc3339(group.started_at)));
    put("last_at", json!(rfc3339(group.last_at)));
    if !is_signal {
        put("events", json!(samples));
    }
    let kind = if state == Reason::Resolved { "resolved" } else { "firing" };
    json!({"type": format!("{what}.{kind}"), "timestamp": rfc3339(now), "data": data})
}

/// Labels and details with their texts cut.
fn short(value: &Value) -> Value {
    let Value::Object(entries) = value else { return json!({}) };
    let short = entries.iter().take(MOST_LABELS).map(|(name, value)| {
        let value = value.as_str().map_or_else(|| value.clone(), |text| json!(cut(text, MOST_TEXT)));
        (cut(name, MOST_TEXT / 8).to_owned(), value)
    });
    Value::Object(short.collect())
}

/// The beginning of a text that takes at most so many bytes in JSON, where a control character takes six.
fn cut(text: &str, most: usize) -> &str {
    let mut taken = 0;
    let end = text.char_indices().find(|(_, character)| {
        taken += match character {
            '"' | '\\' => 2,
            control if control.is_control() => 6,
            other => other.len_utf8(),
        };
        taken > most
    });
    end.map_or(text, |(end, _)| &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tell::tests::group;

    fn sample(id: &str) -> Sample {
        Sample {
            verdict_id: Uuid::nil(),
            event_id: id.to_owned(),
            correlation_id: format!("c-{id}"),
            rule: "spoof".into(),
            score: 0.97,
            model_version: "abc".into(),
            received_at: Timestamp::UNIX_EPOCH,
            judged_at: Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn a_body_says_what_and_about_which_events() {
        let body = render(&group(), Reason::Firing, &[sample("e1")], Timestamp::UNIX_EPOCH);
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(body["type"], "alert.firing");
        assert_eq!(body["timestamp"], "1970-01-01T00:00:00.000Z");
        assert_eq!(body["data"]["labels"]["event.org"], "acme");
        assert_eq!(body["data"]["action"], "quarantine");
        assert_eq!(body["data"]["events"][0]["correlation_id"], "c-e1");
        assert_eq!(body["data"]["new_occurrences"], 3);
    }

    #[test]
    fn a_body_stays_under_its_limit_whatever_a_stranger_sends() {
        let mut group = group();
        group.labels = (0..100).map(|i| (format!("label {i}"), json!("\u{1}".repeat(5_000)))).collect();
        group.details = json!({"summary": "\u{1}".repeat(5_000), "link": "\\".repeat(5_000)});
        for id in ["\u{1}".repeat(1_000), "x".repeat(1_000), "ä\"".repeat(1_000)] {
            let samples: Vec<Sample> = (0..10).map(|_| sample(&id)).collect();
            let body = render(&group, Reason::Repeat, &samples, Timestamp::UNIX_EPOCH);
            assert!(serde_json::from_str::<Value>(&body).is_ok());
            assert!(body.len() <= MOST, "{}", body.len());
        }
    }

    #[test]
    fn texts_are_cut_by_what_they_take_in_json() {
        assert_eq!((cut("abc", 3), cut("abc", 2), cut("\u{1}a", 6), cut("a\"b", 3)), ("abc", "ab", "\u{1}", "a\""));
    }

    #[test]
    fn a_signal_says_its_summary() {
        let mut group = group();
        group.kind = "signal".into();
        group.details = json!({"summary": "hour 12 is late", "severity": "warning"});
        let body = render(&group, Reason::Resolved, &[], Timestamp::UNIX_EPOCH);
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(
            (body["type"].as_str(), body["data"]["summary"].as_str()),
            (Some("signal.resolved"), Some("hour 12 is late"))
        );
        assert!(body["data"].get("events").is_none());
    }
}
