use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use millrace_postgres::GenericClient;

use super::{Store, db};
use crate::{
    document::Binding,
    error::{Error, Result},
    plan::{Hash, Plan},
};

/// How many documents are kept in memory; of more, those that nobody uses are read again.
const MOST: usize = 20_000;

/// Plans and bindings by their hashes. They never change, so each is read once.
#[derive(Debug, Default)]
pub struct Plans {
    plans: Kept<Plan>,
    bindings: Kept<Binding>,
}

#[derive(Debug)]
struct Kept<T>(RwLock<HashMap<Hash, Arc<T>>>);

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self(RwLock::default())
    }
}

impl<T> Kept<T> {
    fn get(&self, hash: Hash) -> Option<Arc<T>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(&hash).cloned()
    }

    fn put(&self, hash: Hash, it: &Arc<T>) {
        if self.get(hash).is_some() {
            return;
        }
        let mut kept = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= MOST {
            kept.retain(|_, it| Arc::strong_count(it) > 1);
        }
        kept.insert(hash, Arc::clone(it));
    }
}

impl Plans {
    pub(super) fn remember(&self, plan: &Arc<Plan>) {
        self.plans.put(plan.hash, plan);
    }

    /// A plan that is known, or that the database has.
    pub(crate) async fn get(&self, client: &impl GenericClient, hash: Hash) -> Result<Arc<Plan>> {
        if let Some(plan) = self.plans.get(hash) {
            return Ok(plan);
        }
        let problem = |problem: String| Error::Document { hash, problem };
        let text = text(client, hash).await?;
        let plan = Arc::new(Plan::stored(text).map_err(|faults| problem(faults.to_string()))?);
        if plan.hash != hash {
            return Err(problem(format!("holds the text of {}", plan.hash)));
        }
        self.remember(&plan);
        Ok(plan)
    }

    /// A binding that is known, or that the database has.
    pub(crate) async fn binding(&self, client: &impl GenericClient, hash: Hash) -> Result<Arc<Binding>> {
        if let Some(binding) = self.bindings.get(hash) {
            return Ok(binding);
        }
        let text = text(client, hash).await?;
        let binding =
            serde_json::from_str(&text).map_err(|error| Error::Document { hash, problem: error.to_string() })?;
        let binding = Arc::new(binding);
        self.bindings.put(hash, &binding);
        Ok(binding)
    }
}

impl Plans {
    /// The plan and the binding that something is pinned to, by their hashes as the database has them.
    pub(crate) async fn pinned(
        &self,
        client: &impl GenericClient,
        plan: &[u8],
        binding: Option<&[u8]>,
    ) -> Result<(Arc<Plan>, Option<Arc<Binding>>)> {
        let plan = self.get(client, Hash::read(plan)?).await?;
        let binding = match binding {
            Some(hash) => Some(self.binding(client, Hash::read(hash)?).await?),
            None => None,
        };
        Ok((plan, binding))
    }
}

async fn text(client: &impl GenericClient, hash: Hash) -> Result<String> {
    let select = client.prepare_cached("SELECT body FROM scheduler.document WHERE hash = $1").await.map_err(db)?;
    let row = client.query_opt(&select, &[&hash.0.as_slice()]).await.map_err(db)?;
    row.map(|row| row.get(0)).ok_or_else(|| Error::Document { hash, problem: "is not there".to_owned() })
}

impl Store {
    /// The plan of a hash.
    pub async fn plan(&self, hash: Hash) -> Result<Arc<Plan>> {
        let client = self.pool.get().await?;
        self.plans.get(&client, hash).await
    }
}
