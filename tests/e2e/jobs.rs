//! Tasks that are Kubernetes Jobs, by a real scheduler on a real cluster: what comes back of them, and that each is launched once,
//! whoever dies. Jobs and pods are counted by the API server.

use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
    time::{Duration, Instant},
};

use millrace_testkit::Database;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::cluster::{Namespace, binary, eventually, kubectl, nodes_alone, steady_nodes};

/// How long a run may take here: pods that start on a busy machine, and Kubernetes' own pauses.
const PATIENCE: Duration = Duration::from_mins(4);

/// A shell, and something that takes time.
fn shell() -> &'static str {
    static MADE: OnceLock<()> = OnceLock::new();
    let reference = "localhost/shell:e2e";
    MADE.get_or_init(|| {
        let tool = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/e2e/cluster");
        let made = Command::new(tool).args(["image", reference, "/bin/sh=/bin/sh", "/bin/sleep=/bin/sleep"]).status();
        assert!(made.unwrap().success());
    });
    reference
}

/// A scheduler with a database and a namespace of its own.
struct World {
    database: Option<Database>,
    own: Namespace,
    folder: TempDir,
    port: u16,
    scheduler: Option<Child>,
}

impl World {
    async fn start(story: &str) -> Self {
        let database = Database::create("jobs").await.unwrap();
        let migrated =
            Command::new(binary("millrace-scheduler")).arg("migrate").env("DATABASE_URL", &database.url).status();
        assert!(migrated.unwrap().success());
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let folder = tempfile::tempdir().unwrap();
        let mut world = Self { database: Some(database), own: Namespace::new(story), folder, port, scheduler: None };
        world.begin("a");
        world
    }

    /// A scheduler of a name.
    fn begin(&mut self, name: &str) {
        let log = std::fs::File::options().create(true).append(true).open(self.folder.path().join("log")).unwrap();
        let child = Command::new(binary("millrace-scheduler"))
            .args(["serve", "--admin-addr", "127.0.0.1:0", "--lease", "2s", "--kube-namespace", self.own.name()])
            .arg(format!("--grpc-addr=127.0.0.1:{}", self.port))
            .arg("--folder")
            .arg(self.folder.path())
            .env("DATABASE_URL", &self.database().url)
            .env("MILLRACE_KUBECONFIG", std::env::var_os("KUBECONFIG").unwrap())
            .env("MILLRACE_INSTANCE_ID", name)
            .env("MILLRACE_LOG", "info")
            .stdout(Stdio::from(log.try_clone().unwrap()))
            .stderr(Stdio::from(log))
            .spawn();
        self.scheduler = Some(child.unwrap());
    }

    /// SIGKILL.
    fn kill(&mut self) {
        let mut scheduler = self.scheduler.take().unwrap();
        scheduler.kill().unwrap();
        scheduler.wait().unwrap();
    }

    fn cli(&self, args: &[&str]) -> Result<String, String> {
        let mut command = Command::new(binary("millrace"));
        command.arg("dag").args(args).args(["--output", "json"]);
        let out = command.env("MILLRACE_SCHEDULER_GRPC", format!("http://127.0.0.1:{}", self.port)).output().unwrap();
        if out.status.success() {
            return Ok(String::from_utf8(out.stdout).unwrap());
        }
        Err(String::from_utf8_lossy(&out.stderr).into_owned() + &String::from_utf8_lossy(&out.stdout))
    }

    /// Starts a run of a DAG of these tasks; its number.
    async fn run(&self, tasks: &Value) -> i64 {
        let dag = json!({
            "apiVersion": "millrace.dev/v1", "kind": "Dag", "metadata": {"name": "story"}, "spec": {"tasks": tasks},
        });
        let path = self.file("dag.json", &dag.to_string());
        let begun = Instant::now();
        while let Err(problem) = self.cli(&["apply", path.to_str().unwrap()]) {
            assert!(begun.elapsed() < PATIENCE, "{problem}\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        let run: Value = serde_json::from_str(&self.cli(&["run", "story"]).unwrap()).unwrap();
        run["id"].as_i64().unwrap()
    }

    /// Its attempts once it has ended: outcome, error, log.
    async fn attempts(&self, run: i64) -> Vec<(i16, String, String)> {
        let begun = Instant::now();
        while self.number(&format!("SELECT count(*) FROM scheduler.run WHERE id = {run} AND state < 10")).await > 0 {
            assert!(begun.elapsed() < PATIENCE, "{}", self.log());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let select = "SELECT outcome, coalesce(error, ''), coalesce(log, '') FROM scheduler.attempt WHERE run_id = $1 ORDER BY no, token";
        let rows = self.database().pool.get().await.unwrap().query(select, &[&run]).await.unwrap();
        rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect()
    }

    /// The outputs of its tasks, and of their instances.
    async fn outputs(&self, run: i64) -> Vec<Value> {
        let select = "SELECT output FROM scheduler.task_done WHERE run_id = $1 ORDER BY no, item";
        let rows = self.database().pool.get().await.unwrap().query(select, &[&run]).await.unwrap();
        rows.iter().map(|row| row.get::<_, Option<Value>>(0).unwrap_or_default()).collect()
    }

    fn database(&self) -> &Database {
        self.database.as_ref().unwrap()
    }

    async fn number(&self, sql: &str) -> i64 {
        self.database().pool.get().await.unwrap().query_one(sql, &[]).await.unwrap().get(0)
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Jobs that there are; also those that have ended.
    fn jobs(&self) -> Vec<Value> {
        self.own.list("jobs", OURS)
    }

    fn pods(&self) -> Vec<Value> {
        self.own.list("pods", OURS)
    }

    /// Name and node of the one pod that runs.
    async fn running(&self) -> (String, String) {
        let look = || {
            let pods = self.pods();
            let pod = pods.iter().find(|pod| pod["status"]["phase"] == "Running")?;
            Some((pod["metadata"]["name"].as_str()?.to_owned(), pod["spec"]["nodeName"].as_str()?.to_owned()))
        };
        eventually("a pod runs", look).await
    }

    async fn end(mut self) {
        self.kill();
        self.database.take().unwrap().remove().await.unwrap();
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.log());
        }
        if let Some(mut scheduler) = self.scheduler.take() {
            let _ = scheduler.kill(); // it may have ended
            let _ = scheduler.wait();
        }
    }
}

const OURS: &str = "app.kubernetes.io/managed-by=millrace";
const SUCCEEDED: i16 = 10;
const FAILED: i16 = 11;
const CANCELLED: i16 = 14;

/// A Job that runs a script.
fn job(script: &str) -> Value {
    json!({"image": shell(), "args": ["-c", script], "user": 65532})
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_job_leaves_comes_back() {
    let _nodes = steady_nodes().await;
    let world = World::start("plain").await;
    world.own.kubectl(["create", "secret", "generic", "db", "--from-literal=password=sesame"]);
    let mut first =
        job("echo about to; echo \"{\\\"rows\\\": 7, \\\"word\\\": \\\"$PASSWORD\\\"}\" > $MILLRACE_OUTPUT; echo done");
    first["secrets"] = json!({"PASSWORD": "db/password"});
    let second = job("echo got {{ tasks.first.output.rows }} > $MILLRACE_OUTPUT");
    let run = world.run(&json!({"first": {"job": first}, "second": {"needs": ["first"], "job": second}})).await;

    let attempts = world.attempts(run).await;
    assert_eq!(attempts[0], (SUCCEEDED, String::new(), "about to\ndone\n".to_owned()), "{}", world.log());
    assert_eq!(world.outputs(run).await, [json!({"rows": 7, "word": "sesame"}), json!("got 7")]);
    assert_eq!((world.jobs().len(), world.pods().len()), (2, 2));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_indexed_job_does_all_items_and_tries_single_ones_again() {
    let _nodes = steady_nodes().await;
    let world = World::start("indexed").await;
    let script = "read item < /millrace/item; echo item $item; [ $MILLRACE_ITEM = 7 ] && exit 3; echo \"[$MILLRACE_ITEM, $item]\" > $MILLRACE_OUTPUT";
    let mut indexed = job(script);
    indexed["indexed"] = json!(true);
    let items: Vec<Value> = (0..20).map(|it| json!({"shard": it * it})).collect();
    let each = |items: &[Value]| json!({"in": items, "as": "shard", "maxParallel": 5});
    let fine: Vec<Value> = items[..7].to_vec();
    let tasks = json!({"all": {"forEach": each(&fine), "job": indexed.clone()}});
    let run = world.run(&tasks).await;
    let attempts = world.attempts(run).await;
    assert_eq!((attempts.len(), attempts[0].0), (1, SUCCEEDED), "{attempts:?}\n{}", world.log());
    let expected: Vec<Value> = fine.iter().enumerate().map(|(number, item)| json!([number, item])).collect();
    assert_eq!(world.outputs(run).await, [Value::Array(expected)]);
    assert!(attempts[0].2.contains("== shard 0\nitem {\"shard\":0}\n"), "{}", attempts[0].2);
    assert_eq!((world.jobs().len(), world.pods().len()), (1, 7));

    let failing = json!({"all": {"forEach": each(&items), "retry": {"max": 1}, "job": indexed}});
    let run = world.run(&failing).await;
    let attempts = world.attempts(run).await;
    assert_eq!((attempts.len(), attempts[0].0), (1, FAILED), "{attempts:?}");
    assert_eq!(attempts[0].1, "shards have failed: 7; shard 7: ended with exit code 3");
    assert_eq!((world.jobs().len(), world.pods().len()), (2, 7 + 21), "the one that failed was tried once more");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scheduler_that_dies_finds_its_jobs_again() {
    let _nodes = steady_nodes().await;
    let mut world = World::start("adopted").await;
    let tasks: serde_json::Map<String, Value> = (0..6)
        .map(|it| (format!("t{it}"), json!({"job": job(&format!("sleep 6; echo {it} > $MILLRACE_OUTPUT"))})))
        .collect();
    let run = world.run(&Value::Object(tasks)).await;
    // While some are made and others are not; again while they run; under its own name and under another's.
    eventually("a job is there", || (!world.jobs().is_empty()).then_some(())).await;
    world.kill();
    world.begin("a");
    world.running().await;
    world.kill();
    world.begin("b");

    let attempts = world.attempts(run).await;
    assert!(attempts.iter().all(|it| it.0 == SUCCEEDED) && attempts.len() == 6, "{attempts:?}\n{}", world.log());
    assert_eq!(world.outputs(run).await, (0..6).map(|it| json!(it)).collect::<Vec<_>>());
    assert_eq!((world.jobs().len(), world.pods().len()), (6, 6), "one Job, one pod");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_whose_pod_somebody_deletes_is_interrupted_and_tried_again() {
    let _nodes = steady_nodes().await;
    let world = World::start("deleted").await;
    let run = world.run(&json!({"a": {"job": job("echo begun; sleep 20; echo 1 > $MILLRACE_OUTPUT")}})).await;
    let (pod, _) = world.running().await;
    world.own.kubectl(["delete", "pod", &pod, "--force"]);

    let attempts = world.attempts(run).await;
    let outcomes: Vec<i16> = attempts.iter().map(|it| it.0).collect();
    assert_eq!(outcomes, [CANCELLED, SUCCEEDED], "no retry was allowed, and none was counted: {attempts:?}");
    assert!(attempts[0].1.contains("pod"), "{attempts:?}");
    assert_eq!(world.jobs().len(), 2, "another attempt, another name");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_is_killed_is_a_failure_with_its_exit_code() {
    let _nodes = steady_nodes().await;
    let world = World::start("killed").await;
    let retry = json!({"max": 3, "unless": "exit_code == 137"});
    let run = world.run(&json!({"a": {"retry": retry, "job": job("echo begun; exec sleep 4242")}})).await;
    // The shell becomes it a little after its pod runs.
    let process = eventually("the container's process is there", || process_of("sleep\x004242\x00")).await;
    let killed = Command::new("kill").args(["-KILL", &process]).status().unwrap();
    assert!(killed.success());
    let attempts = world.attempts(run).await;
    assert_eq!((attempts.len(), attempts[0].0), (1, FAILED), "{attempts:?}");
    assert_eq!((attempts[0].1.as_str(), attempts[0].2.as_str()), ("ended with exit code 137", "begun\n"));
    world.end().await;
}

/// A process of this machine, and so of the containers on it, by its command line.
fn process_of(command: &str) -> Option<String> {
    let processes = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let is_it = |process: &PathBuf| std::fs::read(process.join("cmdline")).is_ok_and(|it| it == command.as_bytes());
    let found = processes.map(|process| process.path()).find(is_it)?;
    Some(found.file_name()?.to_string_lossy().into_owned())
}

/// A node that is given back when the story ends, in whatever way.
struct Drained(String);

impl Drop for Drained {
    fn drop(&mut self) {
        let _ = kubectl().args(["uncordon", &self.0]).output();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_whose_node_is_drained_is_tried_again_elsewhere_without_being_counted() {
    let _alone = nodes_alone().await;
    let world = World::start("jobdrain").await;
    let run = world.run(&json!({"a": {"job": job("echo begun; sleep 20; echo 1 > $MILLRACE_OUTPUT")}})).await;
    let (_, node) = world.running().await;
    let drained = Drained(node.clone());
    let out = kubectl()
        .args(["drain", &node, "--ignore-daemonsets", "--force", "--grace-period=1", "--timeout=60s"])
        .output();
    let out = out.unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));

    let attempts = world.attempts(run).await;
    let outcomes: Vec<i16> = attempts.iter().map(|it| it.0).collect();
    assert_eq!(outcomes, [CANCELLED, SUCCEEDED], "{attempts:?}\n{}", world.log());
    assert!(attempts[0].1.contains("EvictionByEvictionAPI"), "{attempts:?}");
    assert_eq!(world.jobs().len(), 2);
    drop(drained);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_is_told_to_end_or_takes_too_long_ends_with_its_pod() {
    let _nodes = steady_nodes().await;
    let world = World::start("cancelled").await;
    let run = world.run(&json!({"a": {"job": job("echo begun; exec sleep 600")}})).await;
    world.running().await;
    world.cli(&["cancel", &run.to_string()]).unwrap();
    let attempts = world.attempts(run).await;
    assert_eq!((attempts.len(), attempts[0].0), (1, CANCELLED), "{attempts:?}");
    assert_eq!(attempts[0].2, "begun\n", "what it has said by then is kept");
    let phases: Vec<Value> = world.pods().iter().map(|pod| pod["status"]["phase"].clone()).collect();
    assert!(!phases.contains(&json!("Running")), "{phases:?}");

    let slow = json!({"a": {"timeout": {"execution": "8s"}, "job": job("exec sleep 600")}});
    let run = world.run(&slow).await;
    let attempts = world.attempts(run).await;
    assert_eq!((attempts.len(), attempts[0].0), (1, FAILED), "{attempts:?}");
    assert!(attempts[0].1.contains("execution timeout of 8s"), "{attempts:?}");
    let phases: Vec<Value> = world.pods().iter().map(|pod| pod["status"]["phase"].clone()).collect();
    assert!(!phases.contains(&json!("Running")), "{phases:?}");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_never_run_fails_in_time_and_says_why() {
    let _nodes = steady_nodes().await;
    let world = World::start("never").await;
    let mut missing = job("exit 0");
    missing["secrets"] = json!({"PASSWORD": "nowhere/password"});
    let refused = json!({"image": shell(), "args": ["-c", "exit 0"]}); // the namespace wants nobody to be root
    let code =
        json!({"image": shell(), "args": ["-c", "echo no such table > $MILLRACE_OUTPUT; exit 42"], "user": 65532});
    let tasks = json!({
        "a_image": {"job": {"image": "localhost/nobody-has-this:1", "user": 65532}},
        "b_secret": {"job": missing},
        "c_refused": {"job": refused},
        "d_code": {"job": code},
    });
    let run = world.run(&tasks).await;
    // Meanwhile `why` tells what Kubernetes says.
    let why = || {
        let why = world.cli(&["why", &run.to_string()]).unwrap();
        let says = |all: &[&str]| all.iter().all(|it| why.contains(it));
        says(&["task a_image", "cannot run: ", "nobody-has-this", "task b_secret", "CreateContainerConfigError"])
            .then_some(())
    };
    eventually("both problems are told", why).await;
    let attempts = world.attempts(run).await;
    let errors: Vec<&str> = attempts.iter().map(|it| it.1.as_str()).collect();
    assert!(errors[0].contains("its image cannot be had: ") && errors[0].contains("nobody-has-this"), "{errors:?}");
    assert!(errors[1].contains("CreateContainerConfigError") && errors[1].contains("nowhere"), "{errors:?}");
    assert!(errors[2].contains("its pods cannot be made") && errors[2].contains("PodSecurity"), "{errors:?}");
    assert_eq!(errors[3], "ended with exit code 42: no such table");
    assert!(attempts.iter().all(|it| it.0 == FAILED) && attempts.len() == 4, "{attempts:?}");
    world.end().await;
}
