//! How commands are ended, and that nothing of them goes on.

use std::time::Instant;

use super::*;

/// It writes its pid down, and ends only when it must.
const STUBBORN: &str = r#"trap '' TERM; echo $$ >"$NOTES/$0"; while :; do sleep 1; done"#;

fn stubborn(name: &str) -> String {
    format!("sh -c '{}' {name}", STUBBORN.replace('\'', r"'\''"))
}

#[tokio::test]
async fn what_ignores_sigterm_is_killed_after_its_grace_with_all_that_it_has_started() {
    let machine = Machine::new();
    let script = format!(
        "trap '' TERM; {} & setsid {} & (setsid env -i {} &); echo $$ >\"$NOTES/self\"; while :; do sleep 1; done",
        stubborn("child"),
        stubborn("apart"),
        // Without an environment: nothing marks it.
        stubborn("nameless").replace("$NOTES", machine.folder.path().to_str().unwrap()),
    );
    let spec = Process { grace: Span::seconds(1), ..machine.sh(&script) };
    let (run, cancel) = machine.spawn(&attempt("stubborn-1"), &spec, Begin::New);
    let pids = machine.noted(["self", "child", "apart", "nameless"]).await;
    assert!(pids.into_iter().all(runs));

    let told = Instant::now();
    cancel.cancel();
    assert_eq!(run.await.unwrap().end, End::Cancelled);
    let took = told.elapsed();
    assert!(took >= Duration::from_secs(1), "{took:?}");
    assert!(took < Duration::from_secs(8), "{took:?}");
    assert!(!pids.into_iter().any(runs));
}

#[tokio::test]
async fn what_ends_in_time_may_tidy_up() {
    let machine = Machine::new();
    // The shell ends at once, what it has started takes its time.
    let slow = r#"trap 'sleep 0.5; echo tidied up; exit' TERM; echo $$ >"$NOTES/slow"; while :; do sleep 0.1; done"#;
    let script = format!("sh -c \"{}\" & wait", slow.replace('"', "\\\"").replace('$', "\\$"));
    let (run, cancel) = machine.spawn(&attempt("tidy-1"), &machine.sh(&script), Begin::New);
    machine.noted(["slow"]).await;
    cancel.cancel();
    let ended = run.await.unwrap();
    assert_eq!(ended.end, End::Cancelled);
    assert!(ended.log.ends_with("tidied up\n"), "{}", ended.log);
}

#[tokio::test]
async fn what_a_command_leaves_behind_ends_with_it() {
    let machine = Machine::new();
    let script = format!(
        "{} & setsid {} & until [ -s $NOTES/left ] && [ -s $NOTES/daemon ]; do sleep 0.05; done; exit 5",
        stubborn("left"),
        stubborn("daemon"),
    );
    let ended = machine.run(&machine.sh(&script)).await;
    let pids = machine.noted(["left", "daemon"]).await;
    assert!(!pids.into_iter().any(runs));
    assert_eq!(failure(ended).exit_code, Some(5));
}

#[tokio::test]
async fn a_stopped_command_ends_when_told_to() {
    let machine = Machine::new();
    let script = r#"trap 'echo bye; exit' TERM; echo $$ >"$NOTES/self"; while :; do sleep 0.1; done"#;
    let (run, cancel) = machine.spawn(&attempt("stopped-1"), &machine.sh(script), Begin::New);
    let [command] = machine.noted(["self"]).await;
    signal(command, Signal::SIGSTOP);
    cancel.cancel();
    let ended = run.await.unwrap();
    assert_eq!(ended.end, End::Cancelled);
    assert!(ended.log.ends_with("bye\n"), "{}", ended.log);
}

#[tokio::test]
async fn what_is_cancelled_before_it_begins_does_not() {
    let machine = Machine::new();
    let cancel = CancellationToken::new();
    cancel.cancel();
    let spec = machine.sh("echo ran >$NOTES/ran");
    let ended = machine.scheduler().run(&attempt("never-1"), &spec, Begin::New, &cancel).await;
    assert_eq!(ended.end, End::Cancelled);
    assert_eq!(read(&machine.note("ran")), "");
}

/// As when the machine goes down, or systemd stops the unit.
#[tokio::test]
async fn a_shim_that_is_told_by_others_ends_its_command_and_that_is_an_interruption() {
    let machine = Machine::new();
    let spec = machine.sh(r#"echo $$ >"$NOTES/self"; exec sleep 60"#);
    let (run, _) = machine.spawn(&attempt("told-1"), &spec, Begin::New);
    let [command] = machine.noted(["self"]).await;
    signal(shim_of(&machine, &attempt("told-1")).await, Signal::SIGTERM);
    let ended = run.await.unwrap();
    assert!(matches!(ended.end, End::Interrupted(_)), "{ended:?}");
    assert!(!runs(command));
}

#[tokio::test]
async fn a_command_without_a_scheduler_ends_after_the_fence() {
    let machine = Machine::with_fence(Duration::from_secs(1));
    let attempt = attempt("fenced-1");
    let spec =
        Process { grace: Span::seconds(1), ..machine.sh(&format!("{} & {}", stubborn("child"), stubborn("self"))) };
    let (run, _) = machine.spawn(&attempt, &spec, Begin::New);
    let pids = machine.noted(["self", "child"]).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(pids.into_iter().all(runs), "it is looked after");

    run.abort();
    let alone = Instant::now();
    eventually("the end of the command", || !pids.into_iter().any(runs)).await;
    let took = alone.elapsed();
    // From the last touch, which may be a quarter of the fence ago.
    assert!(took > Duration::from_millis(1500) && took < Duration::from_secs(6), "{took:?}");
    eventually("exit", || machine.of(&attempt, "exit").exists()).await;
    assert_eq!(read(&machine.of(&attempt, "exit")), "\"fenced\"");
    let ended = machine.spawn(&attempt, &spec, Begin::Again).0.await.unwrap();
    assert!(matches!(ended.end, End::Interrupted(_)), "{ended:?}");
}

#[tokio::test]
async fn what_comes_too_late_is_not_started() {
    let machine = Machine::with_fence(Duration::from_secs(5));
    let late = Attempt { launched_at: Timestamp::now() - Duration::from_secs(6), ..attempt("late-1") };
    let spec = machine.sh("echo ran >$NOTES/ran");
    let ended = machine.spawn(&late, &spec, Begin::New).0.await.unwrap();
    assert!(matches!(ended.end, End::Interrupted(_)), "{ended:?}");
    assert_eq!(read(&machine.note("ran")), "");
}

pub(super) async fn shim_of(machine: &Machine, attempt: &Attempt) -> i32 {
    let pids = machine.of(attempt, "lock");
    // Its own pid first, then that of the command.
    eventually("the pids of a shim", || read(&pids).lines().count() == 2).await;
    read(&pids).split(' ').next().unwrap().parse().unwrap()
}
