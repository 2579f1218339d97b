//! Records to what they say.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use millrace_core::{
    header,
    record::{SIGNAL_SCHEMA, VERDICT_SCHEMA},
};
use millrace_kafka::Record;
use millrace_postgres::storable;
use millrace_schema::{
    Corrupt, FieldPath, Projection, Schema, Slot,
    client::{Client, Error as ClientError},
    framing::{self, SchemaRef},
    json,
};

use super::alert::{Occurrence, Raised, Signal};
use crate::{
    error::{Error, Result},
    text,
};

/// The fields of a verdict that are read.
const FIELDS: [&str; 10] = [
    "alerts", // first: for most verdicts it is empty, and the rest is not looked at
    "verdict_id",
    "event_id",
    "correlation_id",
    "action",
    "rule",
    "score",
    "model_version",
    "received_at",
    "judged_at",
];

/// Schemas that are known at a time.
const MOST: usize = 256;

/// Reads verdicts and signals of any version, by the registry.
pub(crate) struct Reader {
    registry: Client,
    verdicts: Schema,
    plans: Mutex<HashMap<SchemaRef, Arc<Projection>>>,
}

impl Reader {
    pub(crate) fn new(registry: Client) -> Self {
        let ours = "a schema of ours: core's tests read it";
        Schema::parse(SIGNAL_SCHEMA).expect(ours);
        Self { registry, verdicts: Schema::parse(VERDICT_SCHEMA).expect(ours), plans: Mutex::default() }
    }

    /// A verdict, if it raises alerts. The outer error is for now, the inner one for good.
    pub(crate) async fn verdict(&self, record: &Record) -> Result<Result<Option<Occurrence>>, ClientError> {
        let (schema, datum) = match split(record) {
            Ok(split) => split,
            Err(error) => return Ok(Err(error)),
        };
        let known = self.plans.lock().unwrap_or_else(PoisonError::into_inner).get(&schema).cloned();
        let plan = match known {
            Some(plan) => plan,
            None => match self.plan(schema).await? {
                Ok(plan) => plan,
                Err(error) => return Ok(Err(error)),
            },
        };
        let mut slots = Vec::with_capacity(FIELDS.len());
        Ok(plan.read(datum, &mut slots).and_then(|_| occurrence(&slots)).map_err(Error::from))
    }

    async fn plan(&self, schema: SchemaRef) -> Result<Result<Arc<Projection>>, ClientError> {
        let writer = match self.schema(schema).await? {
            Ok(writer) => writer,
            Err(error) => return Ok(Err(error)),
        };
        let paths = FIELDS.map(|field| FieldPath::from_segments([field]));
        Ok(match Projection::compile(&writer, &self.verdicts, &paths) {
            Ok(plan) => {
                let plan = Arc::new(plan);
                let mut plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
                if plans.len() >= MOST {
                    plans.clear();
                }
                plans.insert(schema, Arc::clone(&plan));
                Ok(plan)
            }
            Err(error) => Err(Error::Unreadable {
                code: error.code(),
                tag: error.tag(),
                reason: format!("not a verdict: {error}"),
            }),
        })
    }

    /// A signal. The outer error is for now, the inner one for good.
    pub(crate) async fn signal(&self, record: &Record) -> Result<Result<Signal>, ClientError> {
        let (schema, datum) = match split(record) {
            Ok(split) => split,
            Err(error) => return Ok(Err(error)),
        };
        let writer = match self.schema(schema).await? {
            Ok(writer) => writer,
            Err(error) => return Ok(Err(error)),
        };
        let value = match json::to_json(&writer, datum) {
            Ok(value) => value,
            Err(error) => return Ok(Err(error.into())),
        };
        Ok(serde_json::from_value(value).map_err(|error| Error::Unreadable {
            code: millrace_core::Code::InvalidEvent,
            tag: "not_a_signal",
            reason: format!("not a signal: {error}"),
        }))
    }

    async fn schema(&self, schema: SchemaRef) -> Result<Result<Schema>, ClientError> {
        match self.registry.by_ref(schema).await {
            Ok(registered) => Ok(Ok(registered.schema.clone())),
            Err(error) if error.is_retriable() => Err(error),
            Err(error) => Ok(Err(Error::Schema(error))),
        }
    }
}

fn split(record: &Record) -> Result<(SchemaRef, &[u8])> {
    let value = record.value.as_deref().ok_or(Error::NoValue)?;
    Ok(framing::split(value, record.headers.get(header::VALUE_SCHEMA_ID))?)
}

fn occurrence(slots: &[Slot<'_>]) -> Result<Option<Occurrence>, Corrupt> {
    let wrong = Corrupt { offset: 0, what: "verdict has values of other types" };
    let text = |i: usize| match slots[i] {
        Slot::Str(text) => Ok(storable(text)),
        _ => Err(wrong),
    };
    let time = |i: usize| match slots[i] {
        Slot::Long(milliseconds) => Ok(text::time(milliseconds)),
        _ => Err(wrong),
    };
    let alerts = match slots[0] {
        Slot::Complex(alerts) if alerts.is_empty() => return Ok(None),
        Slot::Complex(alerts) => alerts.to_json()?,
        _ => return Err(wrong),
    };
    let alerts: Vec<Raised> = serde_json::from_value(alerts).map_err(|_| wrong)?;
    let Slot::Double(score) = slots[6] else { return Err(wrong) };
    Ok(Some(Occurrence {
        alerts,
        verdict_id: text(1)?.parse().map_err(|_| Corrupt { offset: 0, what: "verdict_id is no UUID" })?,
        event_id: text(2)?,
        correlation_id: text(3)?,
        action: text(4)?,
        rule: text(5)?,
        score,
        model_version: text(7)?,
        received_at: time(8)?,
        judged_at: time(9)?,
    }))
}
