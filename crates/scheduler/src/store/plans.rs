use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use millrace_postgres::GenericClient;

use super::{Store, db};
use crate::{
    error::{Error, Result},
    plan::{Hash, Plan},
};

/// Plans by their hashes. They never change, so each is read once.
#[derive(Debug, Default)]
pub struct Plans(RwLock<HashMap<Hash, Arc<Plan>>>);

impl Plans {
    fn known(&self, hash: Hash) -> Option<Arc<Plan>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(&hash).cloned()
    }

    pub(super) fn remember(&self, plan: &Arc<Plan>) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(plan.hash, Arc::clone(plan));
    }

    /// A plan that is known, or that the database has.
    pub(super) async fn get(&self, client: &impl GenericClient, hash: Hash) -> Result<Arc<Plan>> {
        if let Some(plan) = self.known(hash) {
            return Ok(plan);
        }
        let problem = |problem: String| Error::Document { hash, problem };
        let select = client.prepare_cached("SELECT body FROM scheduler.document WHERE hash = $1").await.map_err(db)?;
        let row = client.query_opt(&select, &[&hash.0.as_slice()]).await.map_err(db)?;
        let text: String = row.ok_or_else(|| problem("is not there".to_owned()))?.get(0);
        let plan = Arc::new(Plan::stored(text).map_err(|faults| problem(faults.to_string()))?);
        if plan.hash != hash {
            return Err(problem(format!("holds the text of {}", plan.hash)));
        }
        self.remember(&plan);
        Ok(plan)
    }
}

impl Store {
    /// Keeps a plan, and makes it the one that new runs of its DAG have. Returns the DAG's number.
    pub async fn save_plan(&self, plan: &Arc<Plan>) -> Result<i32> {
        let mut client = self.pool.get().await?;
        let transaction = client.transaction().await.map_err(db)?;
        let (hash, name) = (plan.hash.0.as_slice(), &plan.dag.metadata.name);
        let document =
            "INSERT INTO scheduler.document (hash, kind, name, body) VALUES ($1, 'Dag', $2, $3) ON CONFLICT DO NOTHING";
        transaction.execute(document, &[&hash, name, &plan.text]).await.map_err(db)?;
        let dag = "INSERT INTO scheduler.dag (name, hash) VALUES ($1, $2) \
                   ON CONFLICT (name) DO UPDATE SET hash = excluded.hash, applied_at = now() RETURNING id";
        let id = transaction.query_one(dag, &[name, &hash]).await.map_err(db)?.get(0);
        transaction.commit().await.map_err(db)?;
        self.plans.remember(plan);
        Ok(id)
    }
}
