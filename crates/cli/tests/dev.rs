//! `millrace dev`, as a process: what it starts, what it says, and that nothing is left of it.
//!
//! Needs the services' binaries beside this one's folder (`cargo build --release --bins`; `make test` builds them), and nothing
//! that runs: each test has a stack of its own.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, also in its helpers")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use millrace_devstack::ports;

fn millrace(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_millrace"));
    command.current_dir(dir).env("MILLRACE_DIR", dir.join("stack")).env_remove("MILLRACE_PORT_BASE");
    for name in ["KAFKA_BOOTSTRAP_SERVERS", "DATABASE_URL"] {
        command.env_remove(name);
    }
    command
}

fn folder() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("millrace-dev-").tempdir().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Processes that know of the folder: by their working folder, their command line or their environment.
fn processes_of(dir: &Path) -> Vec<String> {
    let dir = dir.canonicalize().unwrap();
    let dir = dir.to_str().unwrap();
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| *pid != std::process::id())
        .filter_map(|pid| {
            let read = |file: &str| text(&fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default());
            let cwd = fs::read_link(format!("/proc/{pid}/cwd")).unwrap_or_default();
            let known = cwd.starts_with(dir) || read("cmdline").contains(dir) || read("environ").contains(dir);
            known.then(|| format!("{pid} {}", read("cmdline").replace('\0', " ")))
        })
        .collect()
}

fn eventually(what: &str, within: Duration, mut holds: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !holds() {
        assert!(begin.elapsed() < within, "not within {within:?}: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn signal(pid: u32, name: &str) {
    assert!(Command::new("sh").args(["-c", &format!("kill -s {name} {pid}")]).status().unwrap().success());
}

#[test]
fn exec_gives_a_program_its_own_kafka_and_postgres_and_passes_its_exit_code_on() {
    let dir = folder();
    let script = "echo $KAFKA_BOOTSTRAP_SERVERS $DATABASE_URL $MILLRACE_DIR; exit 7";
    let output = millrace(dir.path()).args(["dev", "exec", "--throwaway", "--", "sh", "-c", script]).output().unwrap();
    assert_eq!(output.status.code(), Some(7), "{}", text(&output.stderr));
    let said = text(&output.stdout);
    let [kafka, postgres, folder] = said.split_whitespace().collect::<Vec<_>>()[..] else { panic!("{said}") };
    assert!(kafka.starts_with("127.0.0.1:"), "{kafka}");
    assert!(postgres.starts_with("postgres://postgres:"), "{postgres}");
    assert!(!Path::new(folder).exists(), "its folder goes with it");
    assert_eq!(processes_of(dir.path()), Vec::<String>::new());
}

/// A throwaway stack with a program in it that has started another one; returns when that one runs.
fn sleeping(dir: &Path, more: &[&str]) -> Child {
    let script = "sleep 600 & echo started; wait";
    let mut command = millrace(dir);
    command.args(["dev", "exec", "--throwaway"]).args(more).args(["--", "sh", "-c", script]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "started\n");
    assert!(processes_of(dir).len() >= 5, "{:?}", processes_of(dir));
    child
}

#[test]
fn exec_ends_with_everything_it_has_started_however_it_is_ended() {
    for how in ["INT", "TERM", "KILL"] {
        let dir = folder();
        let mut child = sleeping(dir.path(), &[]);
        signal(child.id(), how);
        child.wait().unwrap();
        eventually(how, Duration::from_secs(30), || processes_of(dir.path()).is_empty());
    }
}

#[test]
fn exec_ends_with_its_parent_when_told_to() {
    let dir = folder();
    // A shell that starts it and stays its parent; `make` is one.
    let script = format!(
        "{} dev exec --throwaway --with-parent -- sh -c 'touch started; sleep 600'; true",
        env!("CARGO_BIN_EXE_millrace")
    );
    let mut parent = Command::new("sh").current_dir(dir.path()).args(["-c", &script]).spawn().unwrap();
    eventually("the program runs", Duration::from_mins(1), || dir.path().join("started").exists());
    parent.kill().unwrap();
    parent.wait().unwrap();
    eventually("all is gone", Duration::from_secs(30), || processes_of(dir.path()).is_empty());
}

#[test]
fn up_in_the_background_is_ready_when_it_returns_and_down_leaves_nothing() {
    let dir = folder();
    let base = ports::free_base().unwrap().base().to_string();
    let run = |args: &[&str]| -> Output { millrace(dir.path()).args(args).output().unwrap() };

    let up = run(&["dev", "up", "--detach", "--port-base", &base]);
    assert!(up.status.success(), "{}{}", text(&up.stdout), text(&up.stderr));
    let env = fs::read_to_string(dir.path().join("stack/env")).unwrap();
    let contract = [
        "MILLRACE_GATEWAY_GRPC",
        "MILLRACE_GATEWAY_HTTP",
        "MILLRACE_REGISTRY_HTTP",
        "MILLRACE_REGISTRY_GRPC",
        "MILLRACE_SCHEDULER_GRPC",
        "MILLRACE_API_KEY",
        "KAFKA_BOOTSTRAP_SERVERS",
        "AWS_ENDPOINT_URL",
        "DATABASE_URL",
    ];
    for name in contract {
        let line = env.lines().find_map(|line| line.strip_prefix(&format!("{name}=")));
        assert!(line.is_some_and(|value| !value.is_empty()), "{name} in\n{env}");
    }
    let status = text(&run(&["--output", "json", "dev", "status"]).stdout);
    assert_eq!(status.matches("\"ready\":true").count(), 11, "{status}");

    let second = run(&["dev", "up", "--detach", "--port-base", &base]);
    assert_eq!(second.status.code(), Some(1));
    assert!(text(&second.stderr).contains("a stack is running in"), "{}", text(&second.stderr));
    assert!(run(&["dev", "status"]).status.success(), "the first one is as it was");

    assert!(run(&["dev", "down"]).status.success());
    // Who kept the stack may still be on its way out of the process table.
    eventually("nothing is left", Duration::from_secs(2), || processes_of(dir.path()).is_empty());

    // The second time, model and key are found, and the key is still known.
    let again = run(&["dev", "up", "--detach", "--port-base", &base]);
    assert!(again.status.success(), "{}{}", text(&again.stdout), text(&again.stderr));
    assert!(!text(&again.stdout).contains("training"), "{}", text(&again.stdout));
    let key = |env: &str| env.lines().find(|line| line.starts_with("MILLRACE_API_KEY=")).map(str::to_owned);
    assert_eq!(key(&fs::read_to_string(dir.path().join("stack/env")).unwrap()), key(&env));
    assert!(run(&["dev", "down"]).status.success());
}
