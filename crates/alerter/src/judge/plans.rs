//! One plan per schema of scores, by the policy as the newest event schema has it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use millrace_core::{
    Code, Pipeline,
    pipeline::{Alert, Rule},
};
use millrace_kafka::lane::Unavailable;
use millrace_policy::{Plan, Policy};
use millrace_schema::{client, framing::SchemaRef, scored};
use rustc_hash::FxHashMap;

use super::lookup::Lookup;
use crate::error::{Error, Result};

/// Schemas that are known at a time; a stream of made-up ids must not fill the memory.
const MOST: usize = 1024;
/// How long a schema that cannot be used is believed to be so.
const REFUSED: Duration = Duration::from_secs(10);

/// How scores of one schema are judged.
#[derive(Clone, Copy)]
pub(super) struct Planned<'a> {
    pub(super) policy: &'a Policy,
    pub(super) plan: &'a Plan,
}

enum Entry {
    Ready(Plan),
    Refused { code: Code, tag: &'static str, reason: String, until: Instant },
}

/// The plans of one lane.
pub(super) struct Plans {
    pipeline: String,
    rules: Vec<Rule>,
    alerts: Vec<Alert>,
    policy: Option<Arc<Policy>>,
    known: FxHashMap<SchemaRef, Entry>,
}

impl Plans {
    pub(super) fn new(pipeline: &Pipeline, policy: Option<Arc<Policy>>) -> Self {
        Self {
            pipeline: pipeline.name().to_owned(),
            rules: pipeline.spec.policy.clone(),
            alerts: pipeline.spec.alerts.clone(),
            policy,
            known: FxHashMap::default(),
        }
    }

    /// The plan for a schema. The outer error is for now, the inner one for good.
    pub(super) fn get(
        &mut self,
        schema: SchemaRef,
        lookup: &dyn Lookup,
    ) -> std::result::Result<Result<Planned<'_>>, Unavailable> {
        let stale = match self.known.get(&schema) {
            Some(Entry::Ready(_)) => false,
            Some(Entry::Refused { until, .. }) => *until <= Instant::now(),
            None => true,
        };
        if stale {
            let entry = match self.make(schema, lookup)? {
                Ok(plan) => Entry::Ready(plan),
                Err(error) => {
                    let (code, tag, reason) = (error.code(), error.tag(), error.to_string());
                    Entry::Refused { code, tag, reason, until: Instant::now() + REFUSED }
                }
            };
            if self.known.len() >= MOST {
                self.known.clear();
            }
            self.known.insert(schema, entry);
        }
        Ok(match (&self.known[&schema], &self.policy) {
            (Entry::Refused { code, tag, reason, .. }, _) => {
                Err(Error::Unreadable { code: *code, tag, reason: reason.clone() })
            }
            (Entry::Ready(plan), Some(policy)) => Ok(Planned { policy, plan }),
            (Entry::Ready(_), None) => unreachable!("plans are made by the policy"),
        })
    }

    fn make(&mut self, schema: SchemaRef, lookup: &dyn Lookup) -> std::result::Result<Result<Plan>, Unavailable> {
        let registered = match lookup.scored(schema) {
            Ok(registered) => registered,
            Err(error) if error.is_retriable() => return Err(away(error)),
            Err(error) => return Ok(Err(Error::Schema(error))),
        };
        let event = match scored::event_schema(&registered.schema) {
            Ok(event) => event,
            Err(error) => return Ok(Err(error.into())),
        };
        let policy = self.renew(lookup)?;
        Ok(policy.plan(&event).map_err(|error| Error::Unreadable {
            code: error.code(),
            tag: error.tag(),
            reason: error.to_string(),
        }))
    }

    /// A schema that was not seen before may be of a newer version of the events: the policy is compiled against the
    /// newest again. Rules that do not fit it any more go on by the version that they fit.
    fn renew(&mut self, lookup: &dyn Lookup) -> std::result::Result<Arc<Policy>, Unavailable> {
        let newest = match (lookup.newest(), &self.policy) {
            (Ok(newest), _) => newest,
            (Err(error), Some(policy)) if !error.is_retriable() => {
                tracing::warn!(pipeline = self.pipeline, %error, "no newest event schema, judging by the last known");
                return Ok(Arc::clone(policy));
            }
            (Err(error), _) => return Err(away(error)),
        };
        match &self.policy {
            Some(policy) if policy.newest().guid() == newest.schema.guid() => return Ok(Arc::clone(policy)),
            _ => {}
        }
        match (Policy::compile(&self.rules, &self.alerts, &newest.schema), &self.policy) {
            (Ok(policy), _) => {
                tracing::info!(pipeline = self.pipeline, version = newest.version, "policy compiled for event schema");
                self.known.clear();
                Ok(Arc::clone(self.policy.insert(Arc::new(policy))))
            }
            (Err(problems), Some(policy)) => {
                let problem = &problems[0];
                tracing::error!(
                    pipeline = self.pipeline, version = newest.version, %problem,
                    "policy does not fit the newest event schema, judging by the last that it fits"
                );
                Ok(Arc::clone(policy))
            }
            (Err(problems), None) => {
                // Without the fault there was no schema at the start to tell it by; nothing is judged until it is mended.
                Err(Unavailable { what: "policy that fits the event schema", source: problems[0].clone().into() })
            }
        }
    }
}

fn away(error: client::Error) -> Unavailable {
    Unavailable { what: "schema registry", source: error.into() }
}
