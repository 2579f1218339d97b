//! What attempts of a run are given.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use millrace_postgres::Row;
use serde_json::Value;

use super::{RunId, Store, WHOLE, db};
use crate::{
    document::Binding,
    error::{Error, Result},
    plan::Plan,
    render::{self, Interval},
    state::{Class, RunKind},
};

/// What is the same for all attempts of a run.
#[derive(Debug)]
pub struct RunInfo {
    /// The run.
    pub id: RunId,
    /// The plan that it is pinned to.
    pub plan: Arc<Plan>,
    /// The binding that it is pinned to.
    pub binding: Option<Arc<Binding>>,
    /// How often it was cleared.
    pub epoch: i32,
    /// Who goes first.
    pub class: Class,
    /// As templates have it.
    pub values: render::Run,
}

const SELECT: &str = "\
SELECT r.id, r.hash, r.binding_hash, f.dag, f.binding, r.key, r.kind, r.logical_at, r.interval_start,
       r.interval_end, r.params, r.class, r.epoch
FROM scheduler.run r JOIN scheduler.flow f ON f.id = r.flow_id WHERE r.id = ANY($1::bigint[])";

/// Outputs of tasks of a run; of mapped ones, of every instance.
const OUTPUTS: &str = "\
SELECT no, item, output FROM scheduler.task
WHERE run_id = $1 AND no = ANY($2::smallint[]) ORDER BY no, item";

impl Store {
    /// What is known of runs.
    pub async fn run_infos(&self, runs: &[RunId]) -> Result<HashMap<RunId, Arc<RunInfo>>> {
        let ids: Vec<i64> = runs.iter().map(|run| run.0).collect();
        let client = self.pool.get().await?;
        let select = client.prepare_cached(SELECT).await.map_err(db)?;
        let mut infos = HashMap::with_capacity(runs.len());
        for row in client.query(&select, &[&ids]).await.map_err(db)? {
            let (plan, binding) = self.plans.pinned(&client, row.get(1), row.get(2)).await?;
            let info = read(&row, plan, binding)?;
            infos.insert(info.id, Arc::new(info));
        }
        Ok(infos)
    }

    /// The outputs of tasks of a run, by their names; of a mapped task a list, in the order of its items.
    pub async fn outputs(&self, run: &RunInfo, tasks: &[usize]) -> Result<BTreeMap<String, Value>> {
        let mut outputs = BTreeMap::new();
        if tasks.is_empty() {
            return Ok(outputs);
        }
        let numbers: Vec<i16> = tasks.iter().map(|task| *task as i16).collect();
        let client = self.pool.get().await?;
        let select = client.prepare_cached(OUTPUTS).await.map_err(db)?;
        for row in client.query(&select, &[&run.id.0, &numbers]).await.map_err(db)? {
            let (task, item, output): (i16, i32, Option<Value>) = (row.get(0), row.get(1), row.get(2));
            let name = run.plan.graph.name(task as usize);
            let output = output.unwrap_or_default();
            match outputs.get_mut(name) {
                Some(Value::Array(items)) if item != WHOLE => items.push(output),
                _ if run.plan.tasks[task as usize].task.for_each.is_some() => {
                    // One of an indexed Job is whole.
                    let items = if output.is_array() { output } else { Value::Array(Vec::new()) };
                    outputs.insert(name.to_owned(), items);
                }
                _ => {
                    outputs.insert(name.to_owned(), output);
                }
            }
        }
        Ok(outputs)
    }
}

fn read(row: &Row, plan: Arc<Plan>, binding: Option<Arc<Binding>>) -> Result<RunInfo> {
    let kind = RunKind::from_number(row.get(6))
        .ok_or_else(|| Error::Strange(format!("a run of kind {}", row.get::<_, i16>(6))))?;
    let class = Class::from_number(row.get(11)).unwrap_or(Class::Background);
    let named: String = row.get(4);
    let interval = match (row.get(8), row.get(9)) {
        (Some(start), Some(end)) => Some(Interval { start, end }),
        _ => None,
    };
    let values = render::Run {
        dag: row.get(3),
        binding: (!named.is_empty()).then_some(named),
        run_id: row.get(5),
        kind: kind.as_str(),
        logical_date: row.get(7),
        interval,
        params: row.get(10),
    };
    Ok(RunInfo { id: RunId(row.get(0)), plan, binding, epoch: row.get(12), class, values })
}
