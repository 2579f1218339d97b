//! What the local stack promises, on real Kafka and Postgres.
//!
//! The programs come from the user's cache, where the first run has put them.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, also in its helpers")]

use std::ffi::OsString;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use millrace_devstack::{Error, Part, Ports, Stack, down, find, ports};

mod wire;

/// A folder that goes when the test is over. Not under a private home: Postgres may run as another user.
fn folder() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("millrace-devstack-").tempdir().unwrap()
}

/// Every process whose working folder or command line is in the stack's folder.
fn processes_of(dir: &Path) -> Vec<String> {
    let dir = dir.canonicalize().unwrap();
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let ours = std::process::id();
    pids.filter(|pid| *pid != ours)
        .filter_map(|pid| {
            let cwd = fs::read_link(format!("/proc/{pid}/cwd")).unwrap_or_default();
            let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let command = String::from_utf8_lossy(&command).replace('\0', " ");
            (cwd.starts_with(&dir) || command.contains(dir.to_str()?)).then(|| format!("{pid} {command}"))
        })
        .collect()
}

async fn eventually(what: &str, within: Duration, mut holds: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !holds() {
        assert!(begin.elapsed() < within, "not within {within:?}: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_second_start_finds_the_data_of_the_first_and_shutdown_leaves_nothing() {
    let dir = folder();
    let base = ports::free_base().unwrap().base();
    let first = Stack::builder(dir.path()).port_base(base).start().await.unwrap();
    let broker = first.ports().kafka();
    wire::create_topic(broker, "survives").unwrap();
    let cluster = system_identifier(dir.path());
    assert!(!processes_of(dir.path()).is_empty());
    first.shutdown().await.unwrap();
    assert_eq!(processes_of(dir.path()), Vec::<String>::new());

    let begin = Instant::now();
    let second = Stack::builder(dir.path()).port_base(base).start().await.unwrap();
    assert!(begin.elapsed() < Duration::from_secs(15), "{:?}", begin.elapsed());
    assert!(wire::topics(broker).unwrap().contains(&"survives".to_owned()));
    assert_eq!(system_identifier(dir.path()), cluster);
    second.shutdown().await.unwrap();
}

/// `initdb` makes it once for a cluster: the first 8 bytes of `pg_control`.
fn system_identifier(dir: &Path) -> Vec<u8> {
    fs::read(dir.join("postgres/data/global/pg_control")).unwrap()[..8].to_vec()
}

#[tokio::test]
async fn killed_parts_stay_down_until_they_are_started_and_crashed_ones_come_back() {
    let dir = folder();
    let base = ports::free_base().unwrap().base();
    let stack = Stack::builder(dir.path()).port_base(base).start().await.unwrap();
    wire::create_topic(stack.ports().kafka(), "survives").unwrap();
    for part in ["postgres", "kafka"] {
        stack.kill(part).await.unwrap();
        assert_eq!(stack.pid(part).await.unwrap(), None);
        assert!(matches!(stack.kill(part).await, Err(Error::PartNotRunning(_))));
        stack.start(part).await.unwrap();
    }
    assert!(wire::topics(stack.ports().kafka()).unwrap().contains(&"survives".to_owned()));

    // Not by us: a crash.
    let before = stack.pid("postgres").await.unwrap().unwrap();
    kill(before, "KILL");
    let begin = Instant::now();
    while stack.pid("postgres").await.unwrap().is_none_or(|pid| pid == before) {
        assert!(begin.elapsed() < Duration::from_secs(20), "Postgres is not started again");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    stack.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_port_in_use_is_named_with_its_owner_and_nothing_is_left() {
    let dir = folder();
    let ports = ports::free_base().unwrap();
    let _held = TcpListener::bind(ports.postgres()).unwrap();
    let error = Stack::builder(dir.path()).port_base(ports.base()).start().await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains(&format!("port {} (for postgres) is in use by", ports.postgres().port())), "{text}");
    assert!(text.contains(&format!("(pid {})", std::process::id())), "{text}");
    assert_eq!(processes_of(dir.path()), Vec::<String>::new());
}

#[tokio::test]
async fn a_folder_has_one_stack_and_can_be_asked_who_runs_there() {
    let dir = folder();
    let base = ports::free_base().unwrap().base();
    assert!(matches!(find(dir.path()), Err(Error::NotRunning(_))));
    let stack = Stack::builder(dir.path()).port_base(base).start().await.unwrap();
    let running = find(dir.path()).unwrap();
    assert_eq!((running.pid, running.ports), (std::process::id(), Ports::from_base(base)));
    assert_eq!(running.pid_of(Part::Kafka), stack.pid("kafka").await.unwrap());
    let error = Stack::builder(dir.path()).port_base(base + ports::SPAN).start().await.unwrap_err();
    assert!(error.to_string().contains(&format!("(pid {})", std::process::id())), "{error}");
    stack.shutdown().await.unwrap();
    assert!(matches!(find(dir.path()), Err(Error::NotRunning(_))));
}

#[tokio::test]
async fn a_dropped_stack_takes_everything_with_it() {
    let dir = folder();
    let base = ports::free_base().unwrap().base();
    let stack = Stack::builder(dir.path()).port_base(base).start().await.unwrap();
    let guest = ["sleep", "600"].map(OsString::from);
    stack.spawn("guest", &guest, |_| ()).unwrap();
    drop(stack);
    assert_eq!(processes_of(dir.path()), Vec::<String>::new());
}

#[tokio::test]
async fn a_starter_that_is_killed_leaves_no_process_and_the_next_one_starts() {
    let dir = folder();
    let base = ports::free_base().unwrap().base();
    let mut starter = starter(dir.path(), base);
    let grandchild = dir.path().join("grandchild.pid");
    eventually("the starter has started all", Duration::from_mins(1), || grandchild.exists()).await;
    assert!(processes_of(dir.path()).len() >= 4, "{:?}", processes_of(dir.path()));
    starter.kill().unwrap();
    starter.wait().unwrap();
    let is_empty = || processes_of(dir.path()).is_empty();
    eventually("all processes are gone", Duration::from_secs(30), is_empty).await;

    let next = Stack::builder(dir.path()).port_base(base).start().await.unwrap();
    next.shutdown().await.unwrap();
}

#[tokio::test]
async fn when_the_guard_is_killed_too_down_finds_what_is_left() {
    let dir = folder();
    let base = ports::free_base().unwrap().base();
    let mut starter = starter(dir.path(), base);
    let grandchild = dir.path().join("grandchild.pid");
    eventually("the starter has started all", Duration::from_mins(1), || grandchild.exists()).await;
    let guards = processes_of(dir.path()).into_iter().filter(|line| line.contains(" guard "));
    for guard in guards.collect::<Vec<_>>() {
        kill(guard.split(' ').next().unwrap().parse().unwrap(), "KILL");
    }
    starter.kill().unwrap();
    starter.wait().unwrap();
    assert!(processes_of(dir.path()).len() >= 3);
    assert!(down(dir.path()).await.unwrap());
    assert_eq!(processes_of(dir.path()), Vec::<String>::new());
    assert!(!down(dir.path()).await.unwrap());
}

/// Another process that starts a stack: this very program, running `the_starter`.
fn starter(dir: &Path, base: u16) -> std::process::Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "the_starter"])
        .env("STARTER_FOLDER", dir)
        .env("STARTER_BASE", base.to_string())
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

/// No test: what [`starter`] runs until it is killed. Its guest starts a process of its own.
#[tokio::test]
#[ignore = "run by other tests as a process of its own"]
async fn the_starter() {
    let Some(dir) = std::env::var_os("STARTER_FOLDER").map(PathBuf::from) else { return };
    let base = std::env::var("STARTER_BASE").unwrap().parse().unwrap();
    let stack = Stack::builder(&dir).port_base(base).start().await.unwrap();
    let script = "sleep 600 & echo $! >grandchild.tmp; mv grandchild.tmp grandchild.pid; wait";
    let guest = ["sh", "-c", script].map(OsString::from);
    let child = stack.spawn("guest", &guest, |command| _ = command.current_dir(&dir)).unwrap();
    child.wait().await;
}

fn kill(pid: u32, signal: &str) {
    let status = Command::new("sh").args(["-c", &format!("kill -s {signal} {pid}")]).status().unwrap();
    assert!(status.success());
}
