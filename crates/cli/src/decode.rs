//! Record values as JSON, by the schemas of the registry.

use anyhow::Context;
use jiff::Timestamp;
use millrace_core::header;
use millrace_kafka::{Record, reader::Found};
use millrace_schema::{client::Client, framing, json};
use serde::Serialize;
use serde_json::{Map, Value};

/// A record for people and programs.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Shown {
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    pub headers: Map<String, Value>,
    /// The value as JSON; absent for a tombstone and for what cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<Value>,
    /// Why the value could not be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
}

/// Shows a record; a value that cannot be read is a fault and not an error.
pub(crate) async fn show(registry: &Client, found: Found) -> Shown {
    let Found { topic, partition, record } = found;
    let (value, fault) = match value(registry, &record).await {
        Ok(value) => (value, None),
        Err(error) => (None, Some(format!("{error:#}"))),
    };
    Shown {
        topic: topic.to_string(),
        partition,
        offset: record.offset,
        time: record.timestamp_ms.and_then(|at| Timestamp::from_millisecond(at).ok()),
        key: record.key.as_ref().map(|key| String::from_utf8_lossy(key).into_owned()),
        headers: headers(&record),
        value,
        fault,
    }
}

/// The value as JSON, by the schema that it names.
pub(crate) async fn value(registry: &Client, record: &Record) -> anyhow::Result<Option<Value>> {
    let Some(value) = &record.value else { return Ok(None) };
    let (reference, datum) = framing::split(value, record.headers.get(header::VALUE_SCHEMA_ID))?;
    let registered = registry.by_ref(reference).await.with_context(|| format!("get schema {reference}"))?;
    Ok(Some(json::to_json(&registered.schema, datum)?))
}

/// Bytes for people who have to look at them.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |text, byte| text + &format!("{byte:02x}"))
}

fn headers(record: &Record) -> Map<String, Value> {
    let text = |value: &[u8]| match std::str::from_utf8(value) {
        Ok(text) => text.to_owned(),
        Err(_) => hex(value),
    };
    record.headers.iter().map(|(name, value)| (name.to_owned(), Value::String(text(value)))).collect()
}
