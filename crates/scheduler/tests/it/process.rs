//! Commands, run through the real shim. None of this needs a database.

mod adopted;
mod ended;
mod speed;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use millrace_core::Span;
use millrace_scheduler::{
    document::Process,
    exec::{Attempt, Begin, End, Ended, Failure, MAX_LOG, MAX_OUTPUT, Processes, Secrets},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::json;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// What this machine's schedulers share: the folder of their attempts.
struct Machine {
    folder: tempfile::TempDir,
    fence: Duration,
}

impl Machine {
    fn new() -> Self {
        Self::with_fence(Duration::from_mins(1))
    }

    fn with_fence(fence: Duration) -> Self {
        Self::inside(&std::env::temp_dir(), fence)
    }

    fn inside(folder: &Path, fence: Duration) -> Self {
        let folder = tempfile::tempdir_in(folder).unwrap();
        fs::create_dir(folder.path().join("secrets")).unwrap();
        Self { folder, fence }
    }

    /// A scheduler, as far as its processes go.
    fn scheduler(&self) -> Processes {
        let shim = PathBuf::from(env!("CARGO_BIN_EXE_millrace-shim"));
        let secrets = Secrets::new(Some(self.folder.path().join("secrets")));
        Processes::new(&self.attempts(), shim, secrets, self.fence).unwrap()
    }

    fn attempts(&self) -> PathBuf {
        self.folder.path().join("attempts")
    }

    /// A file of an attempt.
    fn of(&self, attempt: &Attempt, file: &str) -> PathBuf {
        self.attempts().join(&attempt.name).join(file)
    }

    /// A file that commands write to, which find its folder as `$NOTES`.
    fn note(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A shell's script as a command, with `$NOTES`.
    fn sh(&self, script: &str) -> Process {
        let notes = self.folder.path().to_str().unwrap().to_owned();
        Process { env: BTreeMap::from([("NOTES".to_owned(), notes)]), ..command(&["sh", "-c", script]) }
    }

    async fn run(&self, spec: &Process) -> Ended {
        self.scheduler().run(&attempt("daily-1-load-1"), spec, Begin::New, &CancellationToken::new()).await
    }

    /// Runs it beside the test. To abort it is what the command sees of a scheduler that is killed.
    fn spawn(&self, attempt: &Attempt, spec: &Process, begin: Begin) -> (JoinHandle<Ended>, CancellationToken) {
        let (scheduler, attempt, spec) = (self.scheduler(), attempt.clone(), spec.clone());
        let cancel = CancellationToken::new();
        let token = cancel.clone();
        (tokio::spawn(async move { scheduler.run(&attempt, &spec, begin, &token).await }), cancel)
    }

    /// The processes that commands have noted in files.
    async fn noted<const N: usize>(&self, names: [&str; N]) -> [i32; N] {
        let mut pids = [0; N];
        for (pid, name) in pids.iter_mut().zip(names) {
            eventually(name, || read(&self.note(name)).ends_with('\n')).await;
            *pid = read(&self.note(name)).trim().parse().unwrap();
        }
        pids
    }
}

fn attempt(name: &str) -> Attempt {
    Attempt {
        // Launched on another machine, as far as anybody here can tell.
        place: "elsewhere".to_owned(),
        name: name.to_owned(),
        token: 17,
        dag: "daily".to_owned(),
        run: 1,
        task: "load".to_owned(),
        item: Some(4),
        number: 1,
        launched_at: Timestamp::now(),
    }
}

fn command(argv: &[&str]) -> Process {
    Process {
        argv: argv.iter().map(|&arg| arg.to_owned()).collect(),
        env: BTreeMap::new(),
        secrets: BTreeMap::new(),
        dir: None,
        grace: Span::seconds(10),
    }
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn runs(pid: i32) -> bool {
    let stat = read(&PathBuf::from(format!("/proc/{pid}/stat")));
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

async fn eventually(what: &str, holds: impl Fn() -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(tokio::time::Instant::now() < deadline, "not within 30 s: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn failure(ended: Ended) -> Failure {
    match ended.end {
        End::Failed(failure) => failure,
        other => panic!("{other:?} with log {:?}", ended.log),
    }
}

#[tokio::test]
async fn a_command_succeeds_with_its_output_and_its_log() {
    let machine = Machine::new();
    let script = r#"echo to stdout; echo to stderr >&2; echo '{"rows": [7]}' >"$MILLRACE_OUTPUT"; pwd >"$NOTES/pwd""#;
    let ended = machine.run(&machine.sh(script)).await;
    assert_eq!(ended.end, End::Succeeded(Some(json!({"rows": [7]}))));
    assert_eq!(ended.log, "to stdout\nto stderr\n");
    let work = machine.of(&attempt("daily-1-load-1"), "work").canonicalize().unwrap();
    assert_eq!(read(&machine.note("pwd")).trim(), work.to_str().unwrap());

    let silent = Process { dir: Some("/".to_owned()), ..machine.sh("pwd") };
    let ended = machine.scheduler().run(&attempt("silent-1"), &silent, Begin::New, &CancellationToken::new()).await;
    assert_eq!(ended, Ended { end: End::Succeeded(None), log: "/\n".to_owned() });
}

#[tokio::test]
async fn a_command_knows_its_attempt_and_nothing_of_the_scheduler() {
    let machine = Machine::new();
    let mut spec = command(&["env"]);
    spec.env = BTreeMap::from(["MODEL", "MILLRACE_TOKEN"].map(|name| (name.to_owned(), "small".to_owned())));
    let log = machine.run(&spec).await.log;
    let output = machine.of(&attempt("daily-1-load-1"), "output");
    let mut got: Vec<&str> = log.lines().collect();
    got.retain(|line| !["HOME=", "LANG=", "PATH=", "TZ="].iter().any(|kept| line.starts_with(kept)));
    got.sort_unstable();
    let expected = [
        "MILLRACE_ATTEMPT=daily-1-load-1",
        "MILLRACE_DAG=daily",
        "MILLRACE_ITEM=4",
        &format!("MILLRACE_OUTPUT={}", output.display()),
        "MILLRACE_RUN=1",
        "MILLRACE_TASK=load",
        "MILLRACE_TOKEN=17",
        "MODEL=small",
    ];
    assert_eq!(got, expected);
    assert!(log.contains("PATH="), "{log}");
}

#[tokio::test]
async fn a_secret_reaches_the_command_and_no_disk() {
    let machine = Machine::new();
    let secret = format!("secret-{}-value", uuid::Uuid::new_v4());
    fs::write(machine.note("secrets").join("db-password"), &secret).unwrap();
    let mut spec = machine
        .sh(r#"echo $$ >"$NOTES/pid"; cat "$NOTES/go"; [ "$PASSWORD" = "$(cat "$NOTES/secrets/db-password")" ]"#);
    spec.secrets = BTreeMap::from([("PASSWORD".to_owned(), "db-password".to_owned())]);
    nix::unistd::mkfifo(&machine.note("go"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let (run, _) = machine.spawn(&attempt("with-secret-1"), &spec, Begin::New);
    let [command] = machine.noted(["pid"]).await;

    let shim = read(&machine.of(&attempt("with-secret-1"), "lock"));
    let shim: i32 = shim.split(' ').next().unwrap().parse().unwrap();
    assert!(read(format!("/proc/{command}/environ").as_ref()).contains(&secret));
    for place in ["environ", "cmdline"] {
        assert!(!read(format!("/proc/{shim}/{place}").as_ref()).contains(&secret), "{place}");
    }
    fs::write(machine.note("go"), "").unwrap();
    assert_eq!(run.await.unwrap().end, End::Succeeded(None));
    let mut seen = 0;
    for entry in fs::read_dir(machine.attempts().join("with-secret-1")).unwrap() {
        let path = entry.unwrap().path();
        seen += 1;
        assert!(
            !fs::read(&path).unwrap_or_default().windows(secret.len()).any(|it| it == secret.as_bytes()),
            "{path:?}"
        );
    }
    assert!(seen >= 5, "{seen} files");

    spec.secrets = BTreeMap::from([("PASSWORD".to_owned(), "other".to_owned())]);
    let missing = machine.scheduler().run(&attempt("other-1"), &spec, Begin::New, &CancellationToken::new()).await;
    assert!(failure(missing).message.contains("MILLRACE_SECRET_OTHER"));
}

#[tokio::test]
async fn a_failure_says_its_exit_code_or_its_signal() {
    let machine = Machine::new();
    let ended = machine.run(&machine.sh("echo before; exit 3")).await;
    assert_eq!(ended.log, "before\n");
    let told = failure(ended);
    assert_eq!((told.exit_code, told.permanent), (Some(3), false));

    let run = async |name: &str, script: &str| {
        let none = CancellationToken::new();
        failure(machine.scheduler().run(&attempt(name), &machine.sh(script), Begin::New, &none).await)
    };
    let told = run("by-signal-1", "kill -SEGV $$").await;
    assert_eq!((told.exit_code, told.code.as_str(), told.permanent), (None, "SIGSEGV", false));
    assert!(told.message.contains("SIGSEGV"), "{}", told.message);
    let told = run("by-signal-2", "kill -34 $$").await;
    assert!(told.message.contains("real-time"), "{}", told.message);
}

#[tokio::test]
async fn what_cannot_be_run_says_what_and_where() {
    let machine = Machine::new();
    fs::write(machine.note("text"), "no program").unwrap();
    let text = machine.note("text").to_str().unwrap().to_owned();
    let cases = [
        ("no-such-command", "/tmp", "not found"),
        (text.as_str(), "/tmp", "not executable"),
        ("true", "/no/such/folder", "no such folder"),
        ("a\0b", "/tmp", "nul byte"),
    ];
    for (n, (program, dir, said)) in cases.into_iter().enumerate() {
        let spec = Process { dir: Some(dir.to_owned()), ..command(&[program]) };
        let none = CancellationToken::new();
        let told = failure(machine.scheduler().run(&attempt(&format!("unfit-{n}")), &spec, Begin::New, &none).await);
        assert!(told.permanent && told.exit_code.is_none(), "{told:?}");
        for part in [format!("{program:?}").as_str(), dir, said] {
            assert!(told.message.contains(part), "{part}: {}", told.message);
        }
    }
}

#[tokio::test]
async fn an_output_of_50_mb_is_refused_with_the_limit() {
    let machine = Machine::new();
    let ended = machine.run(&machine.sh(r#"head -c 50000000 /dev/zero >"$MILLRACE_OUTPUT""#)).await;
    let told = failure(ended);
    assert!(told.permanent);
    for part in ["50000000", &MAX_OUTPUT.to_string()] {
        assert!(told.message.contains(part), "{}", told.message);
    }
}

#[tokio::test]
async fn a_log_is_bounded_and_holds_nobody_up() {
    let machine = Machine::new();
    let ended = machine.run(&machine.sh("yes 0123456789abcdef | head -c 40000000; echo; echo last words")).await;
    assert_eq!(ended.end, End::Succeeded(None));
    assert!(ended.log.len() <= MAX_LOG && ended.log.len() > MAX_LOG - 20, "{}", ended.log.len());
    assert!(ended.log.starts_with("0123456789abcdef\n") && ended.log.ends_with("\nlast words\n"));
    let kept = ["log", "log.1"].map(|it| fs::metadata(machine.of(&attempt("daily-1-load-1"), it)).unwrap().len());
    assert!(kept.iter().sum::<u64>() < (16 << 20) + 1000, "{kept:?}");
    assert!(
        read(&machine.of(&attempt("daily-1-load-1"), "log")).starts_with("[millrace: "),
        "it says what is not there"
    );
}

#[tokio::test]
async fn a_log_can_be_read_while_it_is_written_and_after() {
    let machine = Machine::new();
    let scheduler = machine.scheduler();
    let (run, _) =
        machine.spawn(&attempt("talks-1"), &machine.sh("echo one; read line <$NOTES/go; echo $line"), Begin::New);
    nix::unistd::mkfifo(&machine.note("go"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    eventually("a line", || read(&machine.of(&attempt("talks-1"), "log")) == "one\n").await;
    assert_eq!(scheduler.tail("talks-1").await.as_deref(), Some("one\n"));
    assert_eq!(scheduler.sweep(Duration::ZERO).await.unwrap(), 0, "it lives");
    fs::write(machine.note("go"), "two\n").unwrap();
    assert_eq!(run.await.unwrap().log, "one\ntwo\n");
    assert_eq!(scheduler.tail("talks-1").await.as_deref(), Some("one\ntwo\n"));

    assert_eq!(scheduler.sweep(Duration::from_mins(1)).await.unwrap(), 0);
    assert_eq!(scheduler.sweep(Duration::ZERO).await.unwrap(), 1);
    assert_eq!(scheduler.tail("talks-1").await, None);
    assert_eq!(scheduler.tail("../attempts").await, None);
}

/// What a task costs is mostly the start of its shim, and that is mostly the libraries it loads.
#[tokio::test]
async fn a_shim_loads_no_library_of_the_scheduler() {
    let machine = Machine::new();
    let (run, _) =
        machine.spawn(&attempt("light-1"), &machine.sh(r#"echo $$ >"$NOTES/self"; exec sleep 60"#), Begin::New);
    machine.noted(["self"]).await;
    let shim = ended::shim_of(&machine, &attempt("light-1")).await;
    let maps = read(format!("/proc/{shim}/maps").as_ref());
    let libraries = maps.lines().filter_map(|line| line.rsplit_once('/')).map(|(_, name)| name);
    let libraries: std::collections::BTreeSet<&str> = libraries.filter(|name| name.contains(".so")).collect();
    let expected = ["ld-", "libc.", "libgcc_s."];
    assert!(libraries.iter().all(|name| expected.iter().any(|it| name.starts_with(it))), "{libraries:?}");
    signal(shim, Signal::SIGTERM);
    run.await.unwrap();
}

/// Many at once, each with its own.
#[tokio::test]
async fn attempts_do_not_see_each_other() {
    let machine = Arc::new(Machine::new());
    let all = (0..40).map(|n| {
        let script = format!("echo {n}; echo {n} >\"$MILLRACE_OUTPUT\"; exit {}", n % 2);
        machine.spawn(&attempt(&format!("many-{n}")), &machine.sh(&script), Begin::New).0
    });
    for (n, run) in all.collect::<Vec<_>>().into_iter().enumerate() {
        let ended = run.await.unwrap();
        assert_eq!(ended.log, format!("{n}\n"));
        match ended.end {
            End::Succeeded(output) => assert_eq!((output, n % 2), (Some(json!(n)), 0)),
            End::Failed(failure) => assert_eq!((failure.exit_code, n % 2), (Some(1), 1)),
            other => panic!("{other:?}"),
        }
    }
}

fn signal(pid: i32, signal: Signal) {
    kill(Pid::from_raw(pid), signal).unwrap();
}
