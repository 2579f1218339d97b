//! Workflows in the whole stack: what is late is told of, and a database that dies under load loses nothing.

use std::{collections::BTreeSet, path::PathBuf, time::Duration};

use millrace_testkit::{World, assert_eventually};
use serde_json::Value;

/// Runs of the load, instances of each of its mapped tasks that do nothing, and of those that leave a line.
const RUNS: usize = 3;
const ITEMS: usize = 2_000;
const COMMANDS: usize = 150;

const LATE: &str = "\
apiVersion: millrace.dev/v1
kind: Dag
metadata: {name: late, labels: {team: fraud}}
spec:
  deadlines: [{within: 1s, after: queued, severity: critical, notify: [ops-webhook]}]
  tasks:
    slow: {sleep: {for: 4s}}
";

/// Writes a document and applies it.
async fn apply(world: &World, name: &str, text: &str) -> PathBuf {
    let file = world.folder().join(name);
    std::fs::write(&file, text).unwrap();
    let applied = world.cli(["dag", "apply", file.to_str().unwrap()]).await.unwrap();
    assert_eq!(applied.code, Some(0), "{applied:?}");
    file
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_late_is_told_of_and_so_is_its_end() {
    let _turn = crate::turn().await;
    let world = World::builder().start().await.unwrap();
    apply(&world, "late.yaml", LATE).await;
    assert_eq!(world.cli(["dag", "run", "late", "--wait"]).await.unwrap().code, Some(0));
    let told = |kind: &str| {
        let bodies = world.told().into_iter().filter_map(|body| serde_json::from_str::<Value>(&body).ok());
        bodies.filter(|body| body["type"] == kind && body["data"]["subject"] == "late").collect::<Vec<_>>()
    };
    assert_eventually!((told("signal.firing").len(), told("signal.resolved").len()) => (1, 1), within: 60);
    let firing = told("signal.firing").remove(0);
    let summary = firing["data"]["summary"].as_str().unwrap();
    assert!(summary.contains(" was to be done by ") && summary.ends_with(" and is not"), "{summary}");
    assert_eq!((&firing["data"]["severity"], &firing["data"]["labels"]["team"]), (&"critical".into(), &"fraud".into()));
    world.end().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_killed_under_load_loses_nothing_and_repeats_nothing() {
    let _turn = crate::turn().await;
    let world = World::builder().start().await.unwrap();
    let ledger = world.folder().join("ledger");
    let command = format!("echo $MILLRACE_RUN $MILLRACE_ITEM $MILLRACE_ATTEMPT >> {}", ledger.display());
    let text = format!(
        "apiVersion: millrace.dev/v1\nkind: Dag\nmetadata: {{name: load}}\nspec:\n  tasks:\n    \
         nothing: {{forEach: {{in: '{{{{ range({ITEMS}) | list }}}}', maxParallel: 200}}, noop: {{}}}}\n    \
         commands: {{forEach: {{in: '{{{{ range({COMMANDS}) | list }}}}', maxParallel: 4}}, process: {{argv: [sh, -c, '{command}']}}, retry: {{max: 3, backoff: {{initial: 100ms}}}}}}\n    \
         end: {{needs: [nothing, commands], noop: {{}}}}\n"
    );
    apply(&world, "load.yaml", &text).await;
    for _ in 0..RUNS {
        assert_eq!(world.cli(["dag", "run", "load"]).await.unwrap().code, Some(0));
    }
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(700)).await;
        // SIGKILL: it comes back by its log.
        world.crash("postgres").await.unwrap();
    }
    let ended = "SELECT count(*) FROM scheduler.run WHERE state = 10";
    assert_eventually!(world.number(ended).await => RUNS as i64, within: 120);
    let succeeded = "SELECT count(*) FROM scheduler.attempt WHERE outcome = 10 AND item >= 0";
    assert_eq!(world.number(succeeded).await, (RUNS * (ITEMS + COMMANDS)) as i64, "each instance succeeded once");
    let left = "SELECT (SELECT count(*) FROM scheduler.launch) + (SELECT count(*) FROM scheduler.task)";
    assert_eq!(world.number(left).await, 0);
    // What the commands themselves say.
    let text = std::fs::read_to_string(&ledger).unwrap();
    let lines: BTreeSet<&str> = text.lines().collect();
    assert_eq!(lines.len(), text.lines().count(), "no attempt ran twice");
    let items: BTreeSet<&str> = lines.iter().filter_map(|line| line.rsplit_once(' ').map(|(item, _)| item)).collect();
    assert_eq!(items.len(), RUNS * COMMANDS, "each command ran");
    world.end().await.unwrap();
}
