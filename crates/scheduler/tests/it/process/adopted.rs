//! Attempts whose scheduler, shim or machine was lost: found again, and never run twice.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
};

use super::{ended::shim_of, *};

/// Says that it ran; then takes as long as somebody lets it.
const COUNTED: &str =
    r#"echo ran >>"$NOTES/$MILLRACE_ATTEMPT"; read go <"$NOTES/go"; echo '"done"' >"$MILLRACE_OUTPUT""#;

fn gate(machine: &Machine) {
    nix::unistd::mkfifo(&machine.note("go"), nix::sys::stat::Mode::S_IRWXU).unwrap();
}

#[tokio::test]
async fn another_scheduler_adopts_what_runs() {
    let machine = Machine::new();
    gate(&machine);
    let (attempt, spec) = (attempt("adopted-1"), machine.sh(COUNTED));
    let (run, _) = machine.spawn(&attempt, &spec, Begin::New);
    eventually("its start", || read(&machine.note("adopted-1")) == "ran\n").await;
    run.abort();

    let (again, _) = machine.spawn(&attempt, &spec, Begin::Again);
    // One that does not know of the other is no danger either.
    let (new, _) = machine.spawn(&attempt, &spec, Begin::New);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(!again.is_finished() && !new.is_finished());
    fs::write(machine.note("go"), "\n").unwrap();
    for run in [again, new, machine.spawn(&attempt, &spec, Begin::Again).0] {
        assert_eq!(run.await.unwrap().end, End::Succeeded(Some(json!("done"))));
    }
    assert_eq!(read(&machine.note("adopted-1")), "ran\n");
}

#[tokio::test]
async fn what_was_adopted_can_be_cancelled() {
    let machine = Machine::new();
    let (attempt, spec) = (attempt("adopted-2"), machine.sh(r#"echo $$ >"$NOTES/self"; exec sleep 60"#));
    let (run, _) = machine.spawn(&attempt, &spec, Begin::New);
    let [command] = machine.noted(["self"]).await;
    run.abort();
    let (again, cancel) = machine.spawn(&attempt, &spec, Begin::Again);
    cancel.cancel();
    assert_eq!(again.await.unwrap().end, End::Cancelled);
    assert!(!runs(command));
}

#[tokio::test]
async fn a_killed_shim_leaves_nothing_running() {
    let machine = Machine::new();
    // One that the kernel ends with the shim; one that is known by its environment, though in a session of its own; and
    // one that is known by its group.
    let notes = machine.folder.path().display();
    let script = format!(
        "setsid sh -c 'echo $$ >{notes}/marked; exec sleep 60' & \
         env -i sh -c 'echo $$ >{notes}/grouped; exec sleep 60' & \
         echo $$ >{notes}/self; exec sleep 60"
    );
    let (attempt, spec) = (attempt("killed-1"), machine.sh(&script));
    let (run, _) = machine.spawn(&attempt, &spec, Begin::New);
    let pids = machine.noted(["self", "marked", "grouped"]).await;
    signal(shim_of(&machine, &attempt).await, Signal::SIGKILL);
    let ended = run.await.unwrap();
    assert!(matches!(&ended.end, End::Interrupted(why) if why.contains("shim")), "{ended:?}");
    assert!(!pids.into_iter().any(runs));
    let again = machine.spawn(&attempt, &spec, Begin::Again).0.await.unwrap();
    assert_eq!(again.end, ended.end);
}

#[tokio::test]
async fn a_command_dies_with_its_shim_when_no_scheduler_is_there_to_see_it() {
    let machine = Machine::new();
    let (attempt, spec) = (attempt("killed-2"), machine.sh(r#"echo $$ >"$NOTES/self"; exec sleep 60"#));
    let (run, _) = machine.spawn(&attempt, &spec, Begin::New);
    let [command] = machine.noted(["self"]).await;
    let shim = shim_of(&machine, &attempt).await;
    run.abort();
    signal(shim, Signal::SIGKILL);
    eventually("the end of the command", || !runs(command)).await;
    let (again, cancel) = machine.spawn(&attempt, &spec, Begin::Again);
    cancel.cancel();
    assert_eq!(again.await.unwrap().end, End::Cancelled, "it was interrupted, and was to be cancelled");
}

#[tokio::test]
async fn what_is_not_here_is_over_when_it_can_be_nowhere() {
    let machine = Machine::with_fence(Duration::from_millis(800));
    let attempt = Attempt { launched_at: Timestamp::now() - Duration::from_hours(1), ..attempt("elsewhere-1") };
    let spec = Process { grace: Span::seconds(1), ..machine.sh(COUNTED) };
    let began = std::time::Instant::now();
    let ended = machine.spawn(&attempt, &spec, Begin::Again).0.await.unwrap();
    assert!(matches!(ended.end, End::Interrupted(_)), "{ended:?}");
    assert!(
        began.elapsed() >= Duration::from_millis(2200),
        "its shim there has the fence, the grace and some time to look"
    );

    // Whoever was to begin it and wakes up only now.
    let late = machine.spawn(&Attempt { launched_at: Timestamp::now(), ..attempt }, &spec, Begin::New).0.await.unwrap();
    assert_eq!(late.end, ended.end);
    assert_eq!(read(&machine.note("elsewhere-1")), "");
}

#[tokio::test]
async fn a_shim_by_hand_starts_nothing() {
    let machine = Machine::new();
    gate(&machine);
    let (attempt, spec) = (attempt("by-hand-1"), machine.sh(COUNTED));
    let (run, _) = machine.spawn(&attempt, &spec, Begin::New);
    let shim = shim_of(&machine, &attempt).await;
    let folder = machine.attempts().join("by-hand-1");
    let by_hand = |stdin: Stdio| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_millrace-shim"));
        !command.arg(&folder).stdin(stdin).stderr(Stdio::null()).status().unwrap().success()
    };
    let lock = || Stdio::from(fs::File::open(folder.join("lock")).unwrap());
    assert!(by_hand(Stdio::null()) && by_hand(lock()), "while it runs");
    run.abort();
    assert!(!run.await.is_ok_and(|ended| ended.log.contains("shim")));
    signal(shim, Signal::SIGKILL);
    eventually("the end of the shim", || !runs(shim)).await;
    assert!(by_hand(lock()), "after it was killed");
    assert!(!folder.join("exit").exists());
    machine.spawn(&attempt, &spec, Begin::Again).0.await.unwrap();
    assert!(by_hand(lock()), "after its end");
    assert_eq!(read(&machine.note("by-hand-1")), "ran\n");
}

const ROUNDS: i32 = 60;

/// The real thing, in a process of its own, killed at every moment of a start.
#[tokio::test]
async fn a_killed_scheduler_has_started_a_command_once_or_never() {
    let machine = Arc::new(Machine::with_fence(Duration::from_secs(4)));
    let (mut ran, mut never) = (0, 0);
    for round in 0..ROUNDS {
        let name = format!("round-{round}");
        let mut scheduler = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "process::adopted::a_scheduler_of_its_own", "--ignored", "--nocapture"])
            .env("MILLRACE_TEST_MACHINE", machine.folder.path())
            .env("MILLRACE_TEST_ATTEMPT", &name)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(scheduler.stdout.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap().contains("now")));
        // From the first moment to one at which the command has ended for certain, whatever the machine.
        std::thread::sleep(Duration::from_micros(20).mul_f64(1.12_f64.powi(round)));
        scheduler.kill().unwrap();
        scheduler.wait().unwrap();

        let found = machine.of(&attempt(&name), "").exists();
        let (again, _) = machine.spawn(&attempt(&name), &machine.sh(ROUND), Begin::Again);
        if !found {
            // It waits for other machines; the others have shown what comes of it.
            again.abort();
            continue;
        }
        let ended = again.await.unwrap();
        let count = read(&machine.note(&name));
        match ended.end {
            End::Succeeded(_) => assert_eq!(count, "ran\n", "{name}"),
            End::Interrupted(_) => assert_eq!(count, "", "{name}"),
            other => panic!("{name}: {other:?}"),
        }
        *if count.is_empty() { &mut never } else { &mut ran } += 1;
    }
    // Nothing has begun since.
    for round in 0..ROUNDS {
        assert!(["", "ran\n"].contains(&read(&machine.note(&format!("round-{round}"))).as_str()));
    }
    println!("{ran} of {ROUNDS} ran, {never} were interrupted before");
    assert!(ran > 0, "none was started: the test does not test");
}

const ROUND: &str = r#"echo ran >>"$NOTES/$MILLRACE_ATTEMPT""#;

#[tokio::test]
#[ignore = "a part of another test: the scheduler that is killed"]
async fn a_scheduler_of_its_own() {
    let (Ok(folder), Ok(name)) = (std::env::var("MILLRACE_TEST_MACHINE"), std::env::var("MILLRACE_TEST_ATTEMPT"))
    else {
        return;
    };
    let shim = PathBuf::from(env!("CARGO_BIN_EXE_millrace-shim"));
    let attempts = Path::new(&folder).join("attempts");
    let processes = Processes::new(&attempts, shim, Secrets::default(), Duration::from_secs(4)).unwrap();
    let spec = Process { env: BTreeMap::from([("NOTES".to_owned(), folder)]), ..command(&["sh", "-c", ROUND]) };
    println!("now");
    processes.run(&attempt(&name), &spec, Begin::New, &CancellationToken::new()).await;
    tokio::time::sleep(Duration::from_mins(1)).await;
}
