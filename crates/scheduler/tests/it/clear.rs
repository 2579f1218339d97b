//! Tasks of a run that has ended, run again.

use std::sync::Arc;

use millrace_scheduler::{
    Error,
    plan::Plan,
    state::{RunState, TaskState},
    store::{InstanceId, Outcome, Report, RunId},
};

use crate::world::{World, plan};

const DAG: &str = "    a: {noop: {}}\n    b: {needs: [a], noop: {}}\n    m: {needs: [a], forEach: {in: [1, 2]}, noop: {}}\n    z: {needs: [b, m], noop: {}}\n";

impl World {
    /// Carries out what is ready until nothing is; `fails` does.
    async fn play(&self, plan: &Arc<Plan>, fails: &str) -> Vec<String> {
        let mut launched = Vec::new();
        loop {
            let launches = self.store.claim(InstanceId(1), 10).await.unwrap();
            if launches.is_empty() {
                return launched;
            }
            let report = |it: &millrace_scheduler::store::Launch| {
                let name = plan.graph.name(it.key.task as usize);
                let group = it.key.item < 0 && plan.tasks[it.key.task as usize].task.for_each.is_some();
                let outcome = match name {
                    name if name == fails => Outcome::Failed { error: "no".to_owned(), retry_after: None },
                    _ if group => Outcome::Expanded(vec![1.into(), 2.into()]),
                    _ => Outcome::Succeeded(Some(name.into())),
                };
                Report::new(it.token, outcome)
            };
            launched.extend(launches.iter().map(|it| plan.graph.name(it.key.task as usize).to_owned()));
            self.store.finish(&launches.iter().map(report).collect::<Vec<_>>()).await.unwrap();
        }
    }

    async fn is(&self, run: RunId, expected: RunState) {
        assert_eq!(self.store.run_state(run).await.unwrap().unwrap().0, expected);
    }
}

#[tokio::test]
async fn what_failed_runs_again_with_what_comes_after_it_and_nothing_else() {
    let world = World::new().await;
    let plan = plan("again", DAG);
    let run = world.run(&plan, "r").await.unwrap();
    world.play(&plan, "b").await;
    world.is(run, RunState::Failed).await;

    let planned = world.store.clear(run, &[], false, true).await.unwrap();
    assert_eq!(planned.tasks, ["b", "z"]);
    world.is(run, RunState::Failed).await;
    assert_eq!(world.store.clear(run, &[], false, false).await.unwrap(), planned);
    world.is(run, RunState::Running).await;
    let busy = world.store.clear(run, &[], false, false).await.unwrap_err();
    assert!(busy.to_string().contains("has not ended"), "{busy}");
    assert_eq!(world.play(&plan, "").await, ["b", "z"]);
    world.is(run, RunState::Succeeded).await;
    let kept = "SELECT count(*) FROM scheduler.task_done WHERE output IS NOT NULL";
    assert_eq!(world.number(kept).await, 5, "a, b, z and the instances of m");
    assert_eq!(world.number("SELECT max(attempt)::bigint FROM scheduler.task_done WHERE item = -1").await, 2);
    world.database.remove().await.unwrap();
}

#[tokio::test]
async fn a_mapped_task_that_is_cleared_is_mapped_anew() {
    let world = World::new().await;
    let plan = plan("mapped", DAG);
    let run = world.run(&plan, "r").await.unwrap();
    world.play(&plan, "").await;
    world.is(run, RunState::Succeeded).await;
    let tokens = "SELECT count(DISTINCT token) FROM scheduler.attempt";
    let before = world.number(tokens).await;
    world.store.clear(run, &["m".to_owned()], false, false).await.unwrap();
    assert_eq!(world.play(&plan, "").await, ["m", "m", "m", "z"]);
    world.is(run, RunState::Succeeded).await;
    assert_eq!(world.number("SELECT count(*) FROM scheduler.task_done WHERE item >= 0").await, 2);
    assert_eq!(world.number(tokens).await, before + 3, "each attempt is another");
    world.database.remove().await.unwrap();
}

#[tokio::test]
async fn a_run_may_go_on_with_the_document_as_it_is_now() {
    let world = World::new().await;
    let old = plan("moved", "    a: {noop: {}}\n    b: {needs: [a], noop: {}}\n");
    let run = world.run(&old, "r").await.unwrap();
    world.play(&old, "b").await;
    let newer = plan(
        "moved",
        "    _before: {noop: {}}\n    a: {needs: [_before], noop: {}}\n    b: {needs: [a], sleep: {for: 1s}}\n",
    );
    world.store.save_plan(&newer).await.unwrap();

    let same = world.store.clear(run, &[], false, true).await.unwrap();
    assert_eq!(same.tasks, ["b"]);
    assert!(same.differences.iter().any(|it| it.contains("spec.tasks.b.sleep")), "{:?}", same.differences);
    world.store.clear(run, &[], true, false).await.unwrap();
    assert_eq!(world.play(&newer, "").await, ["_before", "a", "b"], "what is new, and what comes after it");
    world.is(run, RunState::Succeeded).await;
    world.database.remove().await.unwrap();
}

#[tokio::test]
async fn what_is_not_there_or_cannot_run_is_said() {
    let world = World::new().await;
    let plan = plan("told", DAG);
    let run = world.run(&plan, "r").await.unwrap();
    world.play(&plan, "a").await;
    let unknown = world.store.clear(run, &["q".to_owned()], false, true).await.unwrap_err();
    assert!(matches!(unknown, Error::NotFound(_)), "{unknown}");
    let stuck = world.store.clear(run, &["z".to_owned()], false, false).await.unwrap_err();
    assert!(stuck.to_string().contains("nothing can run again"), "{stuck}");
    let nowhere = world.store.clear(RunId(99), &[], false, false).await.unwrap_err();
    assert!(matches!(nowhere, Error::NotFound(_)), "{nowhere}");
    let states = world.store.run_state(run).await.unwrap().unwrap().1;
    assert!(states.iter().all(|(_, state)| *state != TaskState::Ready));
    world.database.remove().await.unwrap();
}
