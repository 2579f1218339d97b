//! What attempts wait for: looked at when somebody asks, by whichever replica is asked. Nothing is written down for it.

use futures::future::join_all;

use super::{ITEMS, Service};
use crate::{
    Error, engine,
    plan::Plan,
    state::RunState,
    store::{Launch, RunRow, WHOLE},
    why::Waiting,
};

impl Service {
    /// What the waits of a run wait for that have begun, and what the pods of its Jobs lack; of some of them at most.
    pub(super) async fn waits(&self, run: &RunRow, plan: &Plan) -> Result<Vec<Waiting>, Error> {
        let tasks = plan.tasks.iter().enumerate().filter(|(_, it)| it.task.wait.is_some() || it.task.job.is_some());
        let tasks: Vec<i16> = tasks.map(|(number, _)| number as i16).collect();
        let Some(executors) = self.executors.as_ref().filter(|_| run.state == RunState::Running && !tasks.is_empty())
        else {
            return Ok(Vec::new());
        };
        let launches = self.store.alive(run.id, &tasks, ITEMS).await?;
        let info = self.store.run_infos(&[run.id]).await?.remove(&run.id);
        let Some(info) = info else { return Ok(Vec::new()) };
        let mut wanted = Vec::new();
        for launch in launches {
            wanted.extend(engine::wanted(&self.store, &launch, &info).await?.map(|it| (launch, it)));
        }
        let at = info.values.logical_date;
        let looks = wanted.iter().map(|(launch, (attempt, work))| async move {
            Waiting { what: named(launch, plan), unmet: executors.unmet(attempt, work, at).await }
        });
        Ok(join_all(looks).await.into_iter().filter(|it| !it.unmet.is_empty()).collect())
    }
}

fn named(launch: &Launch, plan: &Plan) -> String {
    let name = plan.graph.name(launch.key.task as usize);
    if launch.key.item == WHOLE { format!("task {name}") } else { format!("task {name}[{}]", launch.key.item) }
}
