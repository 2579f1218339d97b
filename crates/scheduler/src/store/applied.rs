//! The documents that are in force.

use std::{collections::BTreeMap, sync::Arc};

use millrace_postgres::Transaction;
use serde_json::Value;

use super::{FlowId, READY, SCHEDULES, Store, db, events, flows};
use crate::{
    document::Binding,
    error::Result,
    plan::{Hash, Plan},
};

/// Documents in force, as their authors wrote them.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// All templates.
    pub templates: BTreeMap<String, Value>,
    /// DAGs that were asked for.
    pub dags: BTreeMap<String, Value>,
    /// Bindings of those DAGs, and those that were asked for.
    pub bindings: BTreeMap<String, Value>,
    /// All pools, and how many slots they have.
    pub pools: BTreeMap<String, i32>,
}

/// What is to be in force.
#[derive(Debug, Default)]
pub struct Writes {
    /// Documents by kind and name.
    pub documents: Vec<(&'static str, String, Value)>,
    /// Plans, each with the bindings of its DAG; none of them: the DAG runs alone.
    pub plans: Vec<Planned>,
}

/// A plan that is to be in force.
#[derive(Debug)]
pub struct Planned {
    /// The plan.
    pub plan: Arc<Plan>,
    /// Its bindings.
    pub bindings: Vec<Bound>,
    /// Whether its schedule is the one that it was.
    pub same_schedule: bool,
}

/// A binding that is to be in force.
#[derive(Debug)]
pub struct Bound {
    /// The binding.
    pub binding: Binding,
    /// Its canonical text.
    pub text: String,
    /// Of that text.
    pub hash: Hash,
}

const KNOWN: &str = "\
SELECT kind, name, body FROM scheduler.applied
WHERE kind = 'TaskTemplate'
   OR kind = 'Dag' AND (name = ANY($1::text[]) OR $3 AND body #>> '{spec,tasks}' LIKE '%\"use\":%'
      OR name IN (SELECT body #>> '{spec,dag}' FROM scheduler.applied WHERE kind = 'Binding' AND name = ANY($2::text[])))
UNION ALL
SELECT b.kind, b.name, b.body FROM scheduler.applied b
WHERE b.kind = 'Binding' AND (b.name = ANY($2::text[]) OR b.body #>> '{spec,dag}' = ANY($1::text[]) OR $3
    OR b.body #>> '{spec,dag}' IN (SELECT body #>> '{spec,dag}' FROM scheduler.applied WHERE kind = 'Binding' AND name = ANY($2::text[])))";

/// One apply at a time: each reads what is in force and writes what follows. "apply" in ASCII.
const LOCK: &str = "SELECT pg_advisory_xact_lock(418430873721)";

impl Store {
    /// Applies documents in one transaction: `decide` says by what is in force what is to be written, all of it or nothing.
    /// What concerns it is DAGs and bindings by name; with `all_users`, every DAG that uses a template as well.
    pub async fn apply<D, E>(
        &self,
        concerns: &(Vec<String>, Vec<String>, bool),
        dry_run: bool,
        decide: impl Fn(&Known) -> Result<D, E>,
    ) -> Result<Result<D, E>>
    where
        D: AsRef<Writes>,
    {
        Self::again(|| self.apply_once(concerns, dry_run, &decide)).await
    }

    async fn apply_once<D, E>(
        &self,
        concerns: &(Vec<String>, Vec<String>, bool),
        dry_run: bool,
        decide: &impl Fn(&Known) -> Result<D, E>,
    ) -> Result<Result<D, E>>
    where
        D: AsRef<Writes>,
    {
        let mut client = self.pool.get().await?;
        let tx = client.transaction().await.map_err(db)?;
        tx.query(LOCK, &[]).await.map_err(db)?;
        let decided = decide(&known(&tx, concerns).await?);
        if let (Ok(decision), false) = (&decided, dry_run) {
            self.write(&tx, decision.as_ref()).await?;
            tx.commit().await.map_err(db)?;
            drop(client);
            for planned in &decision.as_ref().plans {
                self.plans.remember(&planned.plan);
            }
            self.look_for_pools().await?;
        }
        Ok(decided)
    }

    async fn write(&self, tx: &Transaction<'_>, writes: &Writes) -> Result<()> {
        let document = "INSERT INTO scheduler.applied (kind, name, body) VALUES ($1, $2, $3) \
                        ON CONFLICT (kind, name) DO UPDATE SET body = excluded.body, applied_at = now()";
        for (kind, name, body) in &writes.documents {
            tx.execute(document, &[kind, name, body]).await.map_err(db)?;
        }
        let dags: Vec<&str> = writes.plans.iter().map(|it| it.plan.dag.metadata.name.as_str()).collect();
        events::hold(tx, &dags).await?;
        for planned in &writes.plans {
            let mut flows: Vec<FlowId> = Vec::new();
            for Bound { binding, text, hash } in &planned.bindings {
                flows::keep(tx, *hash, "Binding", &binding.metadata.name, text).await?;
                if !planned.same_schedule {
                    self.catch_up_with(tx, &planned.plan.dag.metadata.name, &binding.metadata.name).await?;
                }
                let put = flows::Put {
                    plan: &planned.plan,
                    binding: &binding.metadata.name,
                    binding_hash: Some(*hash),
                    same_schedule: planned.same_schedule,
                };
                flows.push(flows::put(tx, &put).await?);
            }
            if planned.bindings.is_empty() {
                if !planned.same_schedule {
                    self.catch_up_with(tx, &planned.plan.dag.metadata.name, "").await?;
                }
                let put = flows::Put {
                    plan: &planned.plan,
                    binding: "",
                    binding_hash: None,
                    same_schedule: planned.same_schedule,
                };
                flows.push(flows::put(tx, &put).await?);
            }
            let others =
                "UPDATE scheduler.flow SET active = false, filling = false WHERE dag = $1 AND id <> ALL($2::integer[])";
            let ids: Vec<i32> = flows.iter().map(|flow| flow.0).collect();
            tx.execute(others, &[&planned.plan.dag.metadata.name, &ids]).await.map_err(db)?;
            events::leave(tx, &planned.plan.dag.metadata.name).await?;
        }
        self.notify(tx, SCHEDULES).await?;
        self.notify(tx, READY).await
    }
}

async fn known(tx: &Transaction<'_>, concerns: &(Vec<String>, Vec<String>, bool)) -> Result<Known> {
    let (dags, bindings, all_users) = concerns;
    let mut known = Known::default();
    for row in tx.query(KNOWN, &[dags, bindings, all_users]).await.map_err(db)? {
        let documents = match row.get(0) {
            "TaskTemplate" => &mut known.templates,
            "Dag" => &mut known.dags,
            _ => &mut known.bindings,
        };
        documents.insert(row.get(1), row.get(2));
    }
    let pools = tx.query("SELECT name, slots FROM scheduler.pool", &[]).await.map_err(db)?;
    known.pools = pools.iter().map(|row| (row.get(0), row.get(1))).collect();
    Ok(known)
}
