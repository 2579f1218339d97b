//! Schedulers that are killed while events come.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::{assert_counted, write};
use crate::{
    kill::Replica,
    world::{World, plan},
};

#[tokio::test(flavor = "multi_thread")]
async fn each_event_is_in_the_runs_that_its_rules_say_whoever_dies() {
    let world = World::new().await;
    let folder = tempfile::tempdir().unwrap();
    let ledger = folder.path().join("ledger");
    let command = format!("echo {{{{ events | map(attribute=\"id\") | join(\" \") }}}} >> {}", ledger.display());
    let told = format!(
        "    a: {{process: {{argv: [sh, -c, '{command}']}}}}\n  triggers:\n    five: {{source: s, together: {{count: 5}}}}\n"
    );
    world.store.save_plan(&plan("told", &told)).await.unwrap();
    let quick = "    a: {noop: {}}\n  triggers:\n    each: {source: s}\n    keyed: {source: s, together: {count: 3, by: /data/k, max: 1d}}\n";
    world.store.save_plan(&plan("quick", quick)).await.unwrap();

    let attempts = folder.path().join("attempts");
    let start = |name: &str| Replica::start(&world, name, &attempts);
    let mut replicas: Vec<Replica> = ["a", "b", "c"].iter().map(|name| start(name)).collect();
    let (mut random, began, mut kills) = (StdRng::seed_from_u64(11), Instant::now(), 0);
    let recording = async {
        for round in 1..=10 {
            write(&world, "s", round * 100, 8).await;
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    };
    let killing = async {
        loop {
            tokio::time::sleep(Duration::from_millis(random.random_range(100..700))).await;
            let behind = "SELECT count(*) FROM scheduler.event_trigger t JOIN scheduler.event_source s ON s.id = t.source_id WHERE t.cursor < s.last_seq";
            let running = "SELECT count(*) FROM scheduler.run WHERE state < 10";
            let all = world.number("SELECT coalesce(max(last_seq), 0) FROM scheduler.event_source").await == 1_000;
            if all && world.number(behind).await == 0 && world.number(running).await == 0 {
                break;
            }
            assert!(began.elapsed() < Duration::from_mins(10), "events or runs are left");
            let which = random.random_range(0..replicas.len());
            replicas[which].kill();
            kills += 1;
            replicas[which] = start(["a", "b", "c"][which]);
        }
    };
    tokio::join!(recording, killing);
    println!("1000 events, {kills} kills, {:.1?}", began.elapsed());
    assert!(kills > 3);
    assert_counted(&world, "s", "each", 1, false).await;
    assert_counted(&world, "s", "five", 5, false).await;
    assert_counted(&world, "s", "keyed", 3, true).await;
    let groups = world.number("SELECT count(DISTINCT run_id) FROM scheduler.event_group WHERE state = 10").await;
    assert_eq!(
        world.number("SELECT count(*) FROM scheduler.run WHERE state = 10").await,
        groups,
        "each has its run, which succeeded"
    );
    // What the commands themselves say.
    let lines = std::fs::read_to_string(&ledger).unwrap();
    let mut told: BTreeMap<&str, usize> = BTreeMap::new();
    for id in lines.split_whitespace() {
        *told.entry(id).or_default() += 1;
    }
    assert_eq!(told.len(), 1_000);
    assert!(told.values().all(|times| *times == 1), "{told:?}");
    assert!(lines.lines().all(|line| line.split(' ').count() == 5));
    drop(replicas);
    world.database.remove().await.unwrap();
}
