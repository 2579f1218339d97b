//! Random DAGs with random outcomes, beside a model that looks at all of a run again after each step.

use std::collections::{BTreeMap, BTreeSet};

use millrace_scheduler::{
    document::Rule,
    plan::Plan,
    state::{RunState, TaskState},
    store::{InstanceId, Outcome, Report},
};
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};

use crate::world::{World, plan};

const DAGS: u64 = 1_000;
const RULES: [&str; 11] = [
    "all_success",
    "all_failed",
    "all_done",
    "all_skipped",
    "one_success",
    "one_failed",
    "one_done",
    "none_failed",
    "none_failed_min_one_success",
    "none_skipped",
    "always",
];

/// Up to twelve tasks; most wait for some that come before.
fn tasks(random: &mut StdRng) -> String {
    let count = random.random_range(1..=12);
    let tasks: Vec<String> = (0..count)
        .map(|task| {
            let needs: BTreeSet<usize> =
                (0..random.random_range(0..4)).map(|_| random.random_range(0..=task)).collect();
            let needs: Vec<String> = needs.into_iter().filter(|&it| it < task).map(|it| format!("t{it:02}")).collect();
            let rule = if random.random_range(0..3) == 0 { RULES.choose(random).unwrap() } else { RULES[0] };
            format!("    t{task:02}: {{needs: [{}], when: {rule}, noop: {{}}}}\n", needs.join(", "))
        })
        .collect();
    tasks.concat()
}

/// A run, without any cleverness: who is what, and who may become what.
struct Model<'a> {
    plan: &'a Plan,
    states: BTreeMap<usize, TaskState>,
}

impl<'a> Model<'a> {
    fn new(plan: &'a Plan) -> Self {
        let mut model = Self { plan, states: (0..plan.graph.len()).map(|task| (task, TaskState::Waiting)).collect() };
        for task in 0..plan.graph.len() {
            if plan.graph.needs(task).is_empty() || plan.tasks[task].task.when == Rule::Always {
                model.states.insert(task, TaskState::Ready);
            }
        }
        model
    }

    fn finish(&mut self, task: usize, state: TaskState) {
        self.states.insert(task, state);
        // What has just become final is seen by all that wait, before anything that follows from it is.
        let mut changed = vec![task];
        while !changed.is_empty() {
            let waiting: Vec<usize> = self.of(TaskState::Waiting);
            let next: Vec<(usize, TaskState)> =
                waiting.into_iter().filter_map(|task| Some((task, self.becomes(task)?))).collect();
            changed = next.iter().filter(|(_, state)| state.is_final()).map(|(task, _)| *task).collect();
            self.states.extend(next);
        }
    }

    fn of(&self, state: TaskState) -> Vec<usize> {
        self.states.iter().filter(|(_, it)| **it == state).map(|(task, _)| *task).collect()
    }

    fn becomes(&self, task: usize) -> Option<TaskState> {
        let needs: Vec<TaskState> = self.plan.graph.needs(task).iter().map(|it| self.states[it]).collect();
        let any = |what: fn(TaskState) -> bool| needs.iter().any(|state| what(*state));
        let all = |what: fn(TaskState) -> bool| needs.iter().all(|state| what(*state));
        let succeeded = |state| state == TaskState::Succeeded;
        let skipped = |state| state == TaskState::Skipped;
        let (run, skip, fail) = (TaskState::Ready, TaskState::Skipped, TaskState::UpstreamFailed);
        let done = all(TaskState::is_final);
        #[expect(clippy::match_same_arms, reason = "rule by rule, as the documentation says them")]
        match self.plan.tasks[task].task.when {
            Rule::AllSuccess if any(TaskState::is_failure) => Some(fail),
            Rule::AllSuccess if any(skipped) => Some(skip),
            Rule::AllSuccess => all(succeeded).then_some(run),
            Rule::AllFailed if any(succeeded) || any(skipped) => Some(skip),
            Rule::AllFailed | Rule::AllDone => done.then_some(run),
            Rule::AllSkipped if any(succeeded) || any(TaskState::is_failure) => Some(skip),
            Rule::AllSkipped => done.then_some(run),
            Rule::OneSuccess if any(succeeded) => Some(run),
            Rule::OneSuccess => done.then_some(if any(TaskState::is_failure) { fail } else { skip }),
            Rule::OneFailed if any(TaskState::is_failure) => Some(run),
            Rule::OneFailed => done.then_some(skip),
            Rule::OneDone if any(succeeded) || any(TaskState::is_failure) => Some(run),
            Rule::OneDone => done.then_some(skip),
            Rule::NoneFailed | Rule::NoneFailedMinOneSuccess if any(TaskState::is_failure) => Some(fail),
            Rule::NoneFailed => done.then_some(run),
            Rule::NoneFailedMinOneSuccess => done.then_some(if any(succeeded) { run } else { skip }),
            Rule::NoneSkipped if any(skipped) => Some(skip),
            Rule::NoneSkipped => done.then_some(run),
            Rule::Always => Some(run),
        }
    }
}

#[tokio::test]
async fn a_thousand_random_dags_go_as_the_model_says() {
    let world = World::new().await;
    for seed in 0..DAGS {
        let mut random = StdRng::seed_from_u64(seed);
        let text = tasks(&mut random);
        let plan = plan(&format!("d{seed}"), &text);
        let run = world.run(&plan, "r").await.unwrap();
        let mut model = Model::new(&plan);
        let mut active = Vec::new();
        loop {
            let launches = world.store.claim(InstanceId(1), 100).await.unwrap();
            let claimed: BTreeSet<usize> = launches.iter().map(|it| it.key.task as usize).collect();
            assert_eq!(claimed, model.of(TaskState::Ready).into_iter().collect(), "seed {seed}\n{text}");
            for launch in launches {
                model.states.insert(launch.key.task as usize, TaskState::Active);
                active.push(launch);
            }
            if active.is_empty() {
                break;
            }
            let launch = active.swap_remove(random.random_range(0..active.len()));
            let (state, outcome) = match random.random_range(0..4) {
                0 => (TaskState::Failed, Outcome::Failed { error: "by chance".to_owned(), retry_after: None }),
                1 => (TaskState::Skipped, Outcome::Skipped),
                _ => (TaskState::Succeeded, Outcome::Succeeded(None)),
            };
            world.store.finish(&[Report::new(launch.token, outcome)]).await.unwrap();
            model.finish(launch.key.task as usize, state);
        }
        let (state, tasks) = world.store.run_state(run).await.unwrap().unwrap();
        let tasks: BTreeMap<usize, TaskState> = tasks.into_iter().map(|(task, state)| (task as usize, state)).collect();
        assert_eq!(tasks, model.states, "seed {seed}\n{text}");
        let last = (0..plan.graph.len()).filter(|task| plan.graph.successors(*task).is_empty());
        assert_eq!(state, RunState::of(last.map(|task| model.states[&task])), "seed {seed}\n{text}");
    }
    world.database.remove().await.unwrap();
}
