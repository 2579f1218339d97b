//! Schedulers that are killed under load: nothing is launched twice, nothing is lost.

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use millrace_scheduler::{
    state::RunState,
    store::{NewRun, RunId},
};
use rand::{RngExt, SeedableRng, rngs::StdRng};

use crate::world::{World, plan};

const LEASE: Duration = Duration::from_secs(2);
/// From the end of a lease to the next sign of life of what its holder looked after.
const RECOVERY: Duration = Duration::from_secs(2);

/// A scheduler in a process of its own. It ends with its test.
pub(crate) struct Replica(Child);

impl Replica {
    /// Of a name, with its process tasks in a folder that all share: they are one machine.
    pub(crate) fn start(world: &World, name: &str, folder: &Path) -> Self {
        Self::start_with(world, name, folder, &[])
    }

    /// The same, with more in its environment.
    pub(crate) fn start_with(world: &World, name: &str, folder: &Path, environment: &[(&str, &str)]) -> Self {
        Self(Self::command(world, name, folder).envs(environment.iter().copied()).spawn().unwrap())
    }

    fn command(world: &World, name: &str, folder: &Path) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_millrace-scheduler"));
        command
            .args(["serve", "--grpc-addr", "127.0.0.1:0", "--admin-addr", "127.0.0.1:0", "--lease", "2s"])
            .arg("--folder")
            .arg(folder)
            .env("DATABASE_URL", &world.database.url)
            .env("MILLRACE_INSTANCE_ID", name)
            .env("MILLRACE_LOG", "warn")
            .stdout(Stdio::null());
        command
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        let _ = self.0.kill(); // it may have ended
        let _ = self.0.wait();
    }
}

/// Forty tasks in layers: most of them nothing, some a command that leaves a line, some a while.
fn layers(ledger: &Path) -> String {
    let command = format!("echo $MILLRACE_RUN $MILLRACE_TASK $MILLRACE_ATTEMPT >> {}", ledger.display());
    let task = |number: usize| {
        let needs: Vec<String> =
            [number / 2, number / 3].iter().filter(|it| **it < number).map(|it| format!("t{it}")).collect();
        let mut needs = needs;
        needs.dedup();
        let action = match number % 10 {
            3 => format!("process: {{argv: [sh, -c, '{command}']}}"),
            7 => "sleep: {for: 50ms}".to_owned(),
            _ => "noop: {}".to_owned(),
        };
        format!(
            "    t{number}: {{needs: [{}], {action}, retry: {{max: 3, backoff: {{initial: 100ms}}}}}}\n",
            needs.join(", ")
        )
    };
    (0..40).map(task).collect::<String>() + "  concurrency: {runs: 40}\n"
}

async fn ended(world: &World, runs: &[RunId]) -> HashMap<RunId, RunState> {
    let mut states = HashMap::new();
    for run in runs {
        states.insert(*run, world.store.run(*run).await.unwrap().unwrap().state);
    }
    states
}

/// `MILLRACE_TEST_TASKS` tasks; a hundred thousand in `make soak`.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_launched_twice_and_nothing_is_lost_whoever_dies() {
    let tasks: usize = std::env::var("MILLRACE_TEST_TASKS").map_or(10_000, |tasks| tasks.parse().unwrap());
    let world = World::new().await;
    let folder = tempfile::tempdir().unwrap();
    let ledger = folder.path().join("ledger");
    let plan = plan("layers", &layers(&ledger));
    let flow = world.store.save_plan(&plan).await.unwrap();
    let made: Vec<NewRun> = (0..tasks / 40).map(|run| NewRun::by_hand(flow, &plan, run.to_string())).collect();
    let mut runs = Vec::new();
    for made in made.chunks(500) {
        runs.extend(world.store.add_runs(made).await.unwrap().into_iter().flatten());
    }

    let attempts = folder.path().join("attempts");
    let start = |name: &str| Replica::start(&world, name, &attempts);
    let mut replicas: Vec<Replica> = ["a", "b", "c"].iter().map(|name| start(name)).collect();
    let mut random = StdRng::seed_from_u64(7);
    let (began, mut kills) = (Instant::now(), 0);
    loop {
        tokio::time::sleep(Duration::from_millis(random.random_range(100..700))).await;
        let left = world.number("SELECT count(*) FROM scheduler.run WHERE state < 10").await;
        if left == 0 {
            break;
        }
        assert!(began.elapsed() < Duration::from_mins(10), "{left} runs are left");
        let which = random.random_range(0..replicas.len());
        replicas[which].kill();
        kills += 1;
        // Some come back under their name, some under another, as pods do.
        let name = if random.random_bool(0.5) { ["a", "b", "c"][which].to_owned() } else { format!("{which}-{kills}") };
        replicas[which] = start(&name);
    }
    println!("{} tasks, {kills} kills, {:.1?}", runs.len() * 40, began.elapsed());

    let states = ended(&world, &runs).await;
    assert!(states.values().all(|state| *state == RunState::Succeeded), "{states:?}");
    let twice = "SELECT count(*) FROM (SELECT run_id, no, item, attempt FROM scheduler.attempt GROUP BY 1, 2, 3, 4 HAVING count(*) > 1) x";
    assert_eq!(world.number(twice).await, 0, "an attempt has one end");
    let succeeded = "SELECT count(*) FROM scheduler.attempt WHERE outcome = 10";
    assert_eq!(world.number(succeeded).await, runs.len() as i64 * 40, "each task succeeded once");
    assert_eq!(world.number("SELECT count(*) FROM scheduler.launch").await, 0);
    assert_eq!(world.number("SELECT count(*) FROM scheduler.task").await, 0);
    // What the commands themselves say.
    let lines = std::fs::read_to_string(&ledger).unwrap();
    let mut launched: BTreeMap<&str, usize> = BTreeMap::new();
    for line in lines.lines() {
        *launched.entry(line).or_default() += 1;
    }
    let again: Vec<_> = launched.iter().filter(|(_, times)| **times > 1).collect();
    assert!(again.is_empty(), "launched twice: {again:?}");
    let tasks: std::collections::BTreeSet<_> = launched.keys().map(|line| line.rsplit_once(' ').unwrap().0).collect();
    assert_eq!(tasks.len(), runs.len() * 4, "each command ran");
    drop(replicas);
    world.database.remove().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dead_scheduler_looked_after_goes_on_soon_after_its_lease() {
    let world = World::new().await;
    let folder = tempfile::tempdir().unwrap();
    let (begun, go) = (folder.path().join("begun"), folder.path().join("go"));
    let command = format!("echo x >> {}; while [ ! -e {} ]; do sleep 0.05; done", begun.display(), go.display());
    let plan = plan(
        "waits",
        &format!("    a: {{process: {{argv: [sh, -c, '{command}']}}}}\n    b: {{needs: [a], noop: {{}}}}\n"),
    );
    let mut first = Replica::start(&world, "first", folder.path());
    let run = world.run(&plan, "r").await.unwrap();
    let began = Instant::now();
    while !begun.exists() {
        assert!(began.elapsed() < Duration::from_secs(20));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let _second = Replica::start(&world, "second", folder.path());
    while world.number("SELECT count(*) FROM scheduler.instance WHERE lease_until > now()").await < 2 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    first.kill();
    let killed = Instant::now();
    std::fs::write(&go, "").unwrap();
    while world.store.run(run).await.unwrap().unwrap().state == RunState::Running {
        assert!(killed.elapsed() < LEASE + RECOVERY, "nobody went on");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(world.store.run(run).await.unwrap().unwrap().state, RunState::Succeeded);
    assert_eq!(std::fs::read_to_string(&begun).unwrap(), "x\n", "the command ran once");
    world.database.remove().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scheduler_works_with_what_there_is_of_kafka_and_a_registry() {
    let world = World::new().await;
    let folder = tempfile::tempdir().unwrap();
    let kafka = std::env::var("KAFKA_BOOTSTRAP_SERVERS").unwrap();
    let registry = "http://127.0.0.1:9,http://127.0.0.1:10/".to_owned();
    let mut replicas = Vec::new();
    for (name, kafka, registry) in
        [("neither", None, None), ("kafka", Some(&kafka), None), ("both", Some(&kafka), Some(&registry))]
    {
        let mut command = Replica::command(&world, name, folder.path());
        for (variable, value) in [("KAFKA_BOOTSTRAP_SERVERS", kafka), ("MILLRACE_REGISTRY_HTTP", registry)] {
            match value {
                Some(value) => command.env(variable, value),
                None => command.env_remove(variable),
            };
        }
        replicas.push(Replica(command.spawn().unwrap()));
    }
    let works =
        "SELECT count(*) FROM scheduler.instance WHERE name IN ('neither', 'kafka', 'both') AND lease_until > now()";
    let began = Instant::now();
    while world.number(works).await < 3 {
        assert!(began.elapsed() < Duration::from_secs(30), "{} of 3 work", world.number(works).await);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    drop(replicas);
    world.database.remove().await.unwrap();
}
