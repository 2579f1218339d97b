//! What engines do with the runs that are there.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use millrace_runtime::Shutdown;
use millrace_scheduler::{
    engine::{Engine, Metrics, Settings},
    exec::{Executors, Processes, Secrets},
    state::{RunState, TaskState},
    store::{NewRun, RunId},
};
use opentelemetry::metrics::MeterProvider as _;
use tokio::task::JoinHandle;

use crate::world::{World, plan};

const LEASE: Duration = Duration::from_secs(2);

pub(crate) struct Running {
    shutdown: Shutdown,
    task: JoinHandle<anyhow::Result<()>>,
}

impl World {
    pub(crate) fn engine(&self, name: &str, parallelism: usize) -> Running {
        self.engine_of(name, parallelism, self.executors(name))
    }

    pub(crate) fn engine_of(&self, name: &str, parallelism: usize, executors: Executors) -> Running {
        let settings = Settings {
            name: name.to_owned(),
            lease: LEASE,
            parallelism,
            background: parallelism / 2,
            drain: Duration::from_secs(5),
        };
        let meter = opentelemetry::metrics::noop::NoopMeterProvider::new().meter("test");
        let engine = Engine::new(&self.other_replica(), executors, settings, Metrics::new(&meter));
        let shutdown = Shutdown::new();
        Running { task: tokio::spawn(Arc::new(engine).run(shutdown.clone())), shutdown }
    }

    /// What engines here can do.
    pub(crate) fn executors(&self, name: &str) -> Executors {
        let folder = std::env::temp_dir().join(format!("millrace-{name}-{}", uuid::Uuid::new_v4().simple()));
        let shim = env!("CARGO_BIN_EXE_millrace-shim").into();
        let processes = Processes::new(&folder, shim, Secrets::default(), Duration::from_secs(10)).unwrap();
        Executors::new(processes, &Secrets::default(), self.store.clone()).unwrap()
    }

    /// Waits until a run has ended.
    pub(crate) async fn ended(&self, run: RunId) -> (RunState, Vec<TaskState>) {
        let began = Instant::now();
        loop {
            let (state, tasks) = self.store.run_state(run).await.unwrap().unwrap();
            if state.number() >= 10 {
                return (state, tasks.into_iter().map(|(_, state)| state).collect());
            }
            assert!(began.elapsed() < Duration::from_mins(1), "{state:?} {tasks:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Running {
    pub(crate) async fn stop(self) {
        self.shutdown.trigger();
        self.task.await.unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_goes_on_by_itself_and_conditions_are_looked_at() {
    let world = World::new().await;
    let tasks = "    a: {noop: {}}\n    no: {needs: [a], if: 'params.size() > 7', noop: {}}\n    m: {needs: [a], forEach: {in: [1, 2, 3], maxParallel: 2}, sleep: {for: 10ms}}\n    \
                 z: {needs: [no, m], when: none_failed, noop: {}}\n";
    let engine = world.engine("one", 8);
    let run = world.run(&plan("branches", tasks), "r").await.unwrap();
    let began = Instant::now();
    let (state, tasks) = world.ended(run).await;
    assert_eq!(state, RunState::Succeeded);
    let expected = [TaskState::Succeeded, TaskState::Succeeded, TaskState::Skipped, TaskState::Succeeded];
    assert_eq!(tasks.iter().filter(|state| expected.contains(state)).count(), 4, "{tasks:?}");
    assert_eq!(tasks.iter().filter(|state| **state == TaskState::Skipped).count(), 1, "{tasks:?}");
    assert!(began.elapsed() < Duration::from_millis(900), "nothing waits for the sweep: {:?}", began.elapsed());
    assert_eq!(world.number("SELECT count(*) FROM scheduler.attempt WHERE item >= 0").await, 3);
    engine.stop().await;
    world.database.remove().await.unwrap();
}

/// How many attempts of a run were alive at once, at most.
const AT_ONCE: &str = "SELECT max(n) FROM (SELECT (SELECT count(*) FROM scheduler.attempt b WHERE b.launched_at <= a.launched_at \
     AND b.ended_at > a.launched_at AND b.item >= 0) AS n FROM scheduler.attempt a WHERE a.item >= 0) x";

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_is_never_exceeded_and_what_needs_none_goes_past_it() {
    let world = World::new().await;
    world.store.set_pool("gpu", 3).await.unwrap();
    let items: Vec<String> = (0..30).map(|item| item.to_string()).collect();
    let tasks = format!(
        "    m: {{forEach: {{in: [{}]}}, pool: {{name: gpu}}, sleep: {{for: 60ms}}}}\n    free: {{noop: {{}}}}\n",
        items.join(", ")
    );
    let run = world.run(&plan("pooled", &tasks), "r").await.unwrap();
    let engines = [world.engine("one", 64), world.engine("two", 64)];
    let (state, _) = world.ended(run).await;
    assert_eq!(state, RunState::Succeeded);
    assert_eq!(world.number(AT_ONCE).await, 3);
    assert_eq!(world.store.pools().await.unwrap()[0].used, 0, "all slots are given back");
    for engine in engines {
        engine.stop().await;
    }
    world.database.remove().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_of_a_mapped_task_run_so_many_at_once() {
    let world = World::new().await;
    let items: Vec<String> = (0..24).map(|item| item.to_string()).collect();
    let tasks = format!("    m: {{forEach: {{in: [{}], maxParallel: 4}}, sleep: {{for: 40ms}}}}\n", items.join(", "));
    let engine = world.engine("one", 64);
    let run = world.run(&plan("some", &tasks), "r").await.unwrap();
    assert_eq!(world.ended(run).await.0, RunState::Succeeded);
    assert_eq!(world.number(AT_ONCE).await, 4);
    engine.stop().await;
    world.database.remove().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_beyond_their_number_wait_without_tasks_and_begin_in_their_order() {
    let world = World::new().await;
    let tasks = "    a: {sleep: {for: 30ms}}\n  concurrency: {runs: 2}\n";
    let plan = plan("limited", tasks);
    let flow = world.store.save_plan(&plan).await.unwrap();
    let runs: Vec<NewRun> = (0..8).map(|n| NewRun::by_hand(flow, &plan, n.to_string())).collect();
    let ids: Vec<RunId> = world.store.add_runs(&runs).await.unwrap().into_iter().flatten().collect();
    assert_eq!(world.number("SELECT count(*) FROM scheduler.task").await, 2, "what waits has no tasks");
    let engine = world.engine("one", 64);
    for run in &ids {
        assert_eq!(world.ended(*run).await.0, RunState::Succeeded);
    }
    let order =
        "SELECT count(*) FROM scheduler.run a JOIN scheduler.run b ON a.id < b.id AND a.started_at > b.started_at";
    assert_eq!(world.number(order).await, 0);
    engine.stop().await;
    world.database.remove().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_told_to_end_ends_at_once() {
    let world = World::new().await;
    let tasks = "    long: {sleep: {for: 1h}}\n    m: {forEach: {in: [1, 2, 3], maxParallel: 1}, sleep: {for: 1h}}\n    z: {needs: [long], when: all_done, noop: {}}\n";
    let engine = world.engine("one", 64);
    let run = world.run(&plan("cancelled", tasks), "r").await.unwrap();
    while world.number("SELECT count(*) FROM scheduler.launch WHERE item >= 0").await == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let began = Instant::now();
    world.store.cancel(&[run], "by hand").await.unwrap();
    let (state, tasks) = world.ended(run).await;
    assert_eq!(state, RunState::Cancelled);
    assert!(tasks.iter().all(|state| state.is_failure()), "{tasks:?}");
    assert!(began.elapsed() < Duration::from_millis(900), "{:?}", began.elapsed());
    engine.stop().await;
    world.database.remove().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn times_out_where_it_was_told_to() {
    let world = World::new().await;
    let tasks = "    slow: {sleep: {for: 1h}, timeout: {execution: 200ms}}\n    \
                 stuck: {noop: {}, pool: {name: none}, timeout: {queue: 300ms}}\n";
    let engine = world.engine("one", 64);
    let run = world.run(&plan("timed", tasks), "r").await.unwrap();
    let (state, tasks) = world.ended(run).await;
    assert_eq!((state, tasks), (RunState::Failed, vec![TaskState::Failed, TaskState::Failed]));
    let error = "SELECT count(*) FROM scheduler.task_done WHERE error LIKE '%execution timeout of 200ms%' OR error LIKE '%queue timeout%'";
    assert_eq!(world.number(error).await, 2);
    let timed = plan("whole", "    a: {sleep: {for: 1h}}\n  timeout: 300ms\n");
    let run = world.run(&timed, "r").await.unwrap();
    assert_eq!(world.ended(run).await.0, RunState::Cancelled);
    engine.stop().await;
    world.database.remove().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_engine_leaves_behind_is_adopted_and_not_launched_again() {
    let world = World::new().await;
    let plan = plan("left", "    a: {sleep: {for: 3s}}\n    b: {needs: [a], noop: {}}\n");
    let first = world.engine("one", 64);
    let run = world.run(&plan, "r").await.unwrap();
    while world.number("SELECT count(*) FROM scheduler.launch").await == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // As a SIGKILL: nothing is said to anybody.
    first.task.abort();
    let began = Instant::now();
    let second = world.engine("two", 64);
    assert_eq!(world.ended(run).await.0, RunState::Succeeded);
    assert!(began.elapsed() < Duration::from_secs(5), "it went on where it was: {:?}", began.elapsed());
    assert_eq!(world.number("SELECT count(*) FROM scheduler.attempt").await, 2, "each task once");
    second.stop().await;
    world.database.remove().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_cleared_goes_by_its_new_plan_also_where_the_old_one_is_known() {
    let world = World::new().await;
    let engine = world.engine("one", 8);
    let old = plan("mended", "    a: {noop: {}}\n    b: {needs: [a], process: {argv: ['false']}}\n");
    let run = world.run(&old, "r").await.unwrap();
    assert_eq!(world.ended(run).await.0, RunState::Failed);
    let newer = plan("mended", "    a: {noop: {}}\n    b: {needs: [a], process: {argv: ['true']}}\n");
    world.store.save_plan(&newer).await.unwrap();
    let cleared = world.store.clear(run, &[], true, false).await.unwrap();
    assert_eq!(cleared.tasks, ["b"]);
    assert_eq!(world.ended(run).await.0, RunState::Succeeded);
    engine.stop().await;
    world.database.remove().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_output_is_what_comes_after_it_is_given() {
    let world = World::new().await;
    let engine = world.engine("one", 8);
    let tasks = "    list: {process: {argv: [sh, -c, 'echo [3,1,2] > $MILLRACE_OUTPUT']}}\n    \
                 each: {needs: [list], forEach: {in: '{{ tasks.list.output }}', as: n}, process: {argv: [sh, -c, 'echo $0 > $MILLRACE_OUTPUT', '{{ n * 10 }}']}}\n    \
                 sum: {needs: [each], process: {argv: [sh, -c, 'printf %s $0 > $MILLRACE_OUTPUT', '{{ tasks.each.output }}']}}\n";
    let run = world.run(&plan("outputs", tasks), "r").await.unwrap();
    assert_eq!(world.ended(run).await.0, RunState::Succeeded);
    let outputs: Vec<_> = world.store.tasks(run).await.unwrap().into_iter().filter_map(|task| task.output).collect();
    assert_eq!(outputs, [serde_json::json!([3, 1, 2]), serde_json::json!([30, 10, 20])], "in the order of the items");
    let log = world.store.attempts(run, None, None, 10).await.unwrap();
    assert!(log.iter().all(|attempt| attempt.instance == "one"), "{log:?}");
    engine.stop().await;
    world.database.remove().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_added_while_another_ends_is_not_left_behind() {
    let world = World::new().await;
    let plan = plan("one", "    a: {noop: {}}\n  concurrency: {runs: 1}\n");
    let flow = world.store.save_plan(&plan).await.unwrap();
    let engines = [world.engine("one", 8), world.engine("two", 8)];
    let add = |part: usize| {
        let (store, plan) = (world.other_replica(), Arc::clone(&plan));
        async move {
            let mut runs = Vec::new();
            for run in 0..60 {
                runs.extend(store.add_run(&NewRun::by_hand(flow, &plan, format!("{part}-{run}"))).await.unwrap());
            }
            runs
        }
    };
    let runs = futures::future::join_all((0..4).map(add)).await.concat();
    assert_eq!(runs.len(), 240);
    for run in runs {
        assert_eq!(world.ended(run).await.0, RunState::Succeeded);
    }
    for engine in engines {
        engine.stop().await;
    }
    world.database.remove().await.unwrap();
}
