//! Time, pauses, and triggers that come, change and go.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use millrace_runtime::Shutdown;
use millrace_scheduler::{
    engine,
    state::{GroupState, RunKind},
};
use millrace_testkit::assert_eventually;
use serde_json::json;

use super::{event, listening};
use crate::world::World;

impl World {
    /// Waits until no group is open.
    async fn all_made(&self) {
        let began = Instant::now();
        let open = "SELECT count(*) FROM scheduler.event_trigger t JOIN scheduler.event_source s ON s.id = t.source_id \
                    WHERE t.cursor < s.last_seq OR EXISTS (SELECT FROM scheduler.event_group g WHERE g.trigger_id = t.id AND g.state < 10)";
        while self.number(open).await > 0 {
            assert!(began.elapsed() < Duration::from_secs(30), "groups wait");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// Events that go together by a pause between them, and by the time since the first.
fn by_pauses(times: &[Timestamp], pause: i64, max: i64) -> Vec<Vec<i64>> {
    let mut groups: Vec<Vec<(i64, Timestamp)>> = Vec::new();
    for (place, at) in times.iter().enumerate() {
        let since = |it: &(i64, Timestamp)| at.duration_since(it.1).as_micros();
        let it = (place as i64 + 1, *at);
        match groups.last_mut() {
            Some(group) if since(&group[group.len() - 1]) < pause.into() && since(&group[0]) < max.into() => {
                group.push(it);
            }
            _ => groups.push(vec![it]),
        }
    }
    groups.into_iter().map(|group| group.into_iter().map(|(number, _)| number).collect()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn windows_and_pauses_go_by_the_clock_of_the_database() {
    let world = World::new().await;
    let triggers =
        "    quiet: {source: s, together: {debounce: 1s, max: 2s}}\n    window: {source: s, together: {window: 2s}}\n";
    let flow = world.store.save_plan(&listening("timed", triggers)).await.unwrap();
    let shutdown = Shutdown::new();
    let replicas: Vec<_> =
        (0..2).map(|_| tokio::spawn(engine::consume_events(world.other_replica(), shutdown.clone()))).collect();
    for (number, pause) in [200, 300, 1_200, 500, 500, 500, 500, 500, 500, 0].into_iter().enumerate() {
        world.record("s", &[event(number, json!(null))]).await;
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }
    let last = Instant::now();
    world.all_made().await;
    assert!(last.elapsed() < Duration::from_secs(4), "{:?}: a timer wakes them, and not the sweep", last.elapsed());

    let times: Vec<Timestamp> = world.recorded("s").await.into_values().map(|(at, _)| at).collect();
    let quiet: Vec<Vec<i64>> = world.grouped("quiet").await.into_iter().map(|group| group.numbers).collect();
    assert_eq!(quiet, by_pauses(&times, 1_000_000, 2_000_000));
    assert!(quiet.len() >= 3, "{quiet:?}: the first two, and the others in two at least");
    let windows: BTreeSet<i64> = times.iter().map(|at| at.as_millisecond() / 2_000).collect();
    let grouped = world.grouped("window").await;
    assert_eq!(grouped.len(), windows.len());
    for group in grouped {
        let window = |number: &i64| times[*number as usize - 1].as_millisecond() / 2_000;
        assert_eq!(group.numbers.iter().map(window).collect::<BTreeSet<_>>().len(), 1);
    }
    let runs = world.runs_of(flow).await;
    assert!(runs.iter().all(|run| run.kind == RunKind::Event));
    let intervals: BTreeSet<_> = runs.iter().filter_map(|run| run.interval_start.zip(run.interval_end)).collect();
    assert_eq!(intervals.len(), windows.len(), "the interval of a window's run is the window");
    for (start, end) in intervals {
        assert!(
            windows.contains(&(start.as_millisecond() / 2_000))
                && end.as_millisecond() - start.as_millisecond() == 2_000
        );
    }
    shutdown.trigger();
    for replica in replicas {
        replica.await.unwrap().unwrap();
    }
    world.database.remove().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_is_being_recorded_is_waited_for_before_a_group_is_complete() {
    let world = World::new().await;
    let triggers =
        "    w: {source: s, together: {count: 9, max: 3s}}\n    o: {source: other, together: {count: 9, max: 3s}}\n";
    let flow = world.store.save_plan(&listening("waits", triggers)).await.unwrap();
    world.record("s", &[event("first", json!(null))]).await;
    world.record("other", &[event("first", json!(null))]).await;
    world.consume().await;
    // Somebody who records the second before the group is due, and commits long after.
    let mut client = world.database.pool.get().await.unwrap();
    let slow = client.transaction().await.unwrap();
    slow.execute("SELECT FROM scheduler.event_source WHERE name = 's' FOR NO KEY UPDATE", &[]).await.unwrap();
    let insert = "INSERT INTO scheduler.event SELECT id, 2, 'second', '', '', 'null', 4, clock_timestamp() FROM scheduler.event_source WHERE name = 's'";
    slow.execute(insert, &[]).await.unwrap();
    slow.execute("UPDATE scheduler.event_source SET last_seq = 2, last_at = clock_timestamp() WHERE name = 's'", &[])
        .await
        .unwrap();
    let looks = tokio::spawn({
        let store = world.other_replica();
        async move {
            loop {
                store.consume().await.unwrap();
            }
        }
    });
    assert_eventually!(world.grouped("o").await[0].state => GroupState::Run, within: 20);
    // It is past its time for longer than anybody has patience.
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    assert_eq!(world.grouped("w").await[0].state, GroupState::Open, "nobody says that it is complete");
    slow.commit().await.unwrap();
    assert_eventually!(world.grouped("w").await[0].state => GroupState::Run, within: 20);
    assert_eq!(world.grouped("w").await[0].numbers, [1, 2]);
    assert_eq!(world.runs_of(flow).await.len(), 2);
    looks.abort();
    drop(client);
    world.database.remove().await.unwrap();
}

#[tokio::test]
async fn events_of_a_pause_wait_and_are_consumed_afterwards() {
    let world = World::new().await;
    let triggers = "    each: {source: s}\n    two: {source: s, together: {count: 2}}\n";
    let flow = world.store.save_plan(&listening("paused", triggers)).await.unwrap();
    world.record("s", &[event(1, json!(null))]).await;
    assert_eq!(world.consume().await, 1);
    world.store.set_paused(flow, true).await.unwrap();
    for number in 2..=5 {
        world.record("s", &[event(number, json!(null))]).await;
    }
    assert_eq!(world.consume().await, 0, "nothing is looked at");
    world.store.set_paused(flow, false).await.unwrap();
    assert_eq!(world.consume().await, 4 + 2);
    let two: Vec<_> = world.grouped("two").await.into_iter().map(|it| (it.numbers, it.state)).collect();
    let expected = [(vec![1, 2], GroupState::Run), (vec![3, 4], GroupState::Run), (vec![5], GroupState::Open)];
    assert_eq!(two, expected);
    world.database.remove().await.unwrap();
}

#[tokio::test]
async fn a_dag_begins_with_the_events_after_it_and_its_changes_drop_none() {
    let world = World::new().await;
    world.record("s", &[event(1, json!(null))]).await;
    let of = |together: &str| listening("d", &format!("    t: {{source: s, together: {together}}}\n"));
    let flow = world.store.save_plan(&of("{count: 3}")).await.unwrap();
    world.record("s", &[event(2, json!(null)), event(3, json!(null))]).await;
    assert_eq!(world.consume().await, 0);
    // The same rule goes on; another one seals what is there.
    world.store.save_plan(&of("{count: 3}")).await.unwrap();
    assert_eq!(world.consume().await, 0);
    world.store.save_plan(&of("{count: 2}")).await.unwrap();
    world.record("s", &[event(4, json!(null))]).await;
    assert_eq!(world.consume().await, 1);
    let groups = || async { world.grouped("t").await.into_iter().map(|it| (it.numbers, it.state)).collect::<Vec<_>>() };
    assert_eq!(groups().await, [(vec![2, 3], GroupState::Run), (vec![4], GroupState::Open)]);

    world.store.save_plan(&crate::world::plan("d", "    a: {noop: {}}\n")).await.unwrap();
    world.record("s", &[event(5, json!(null))]).await;
    assert_eq!(world.consume().await, 0, "nobody listens");
    assert_eq!(groups().await, [(vec![2, 3], GroupState::Run), (vec![4], GroupState::Left)]);
    world.store.save_plan(&of("{count: 2}")).await.unwrap();
    world.record("s", &[event(6, json!(null)), event(7, json!(null))]).await;
    assert_eq!(world.consume().await, 1);
    assert_eq!(groups().await[2], (vec![6, 7], GroupState::Run), "it begins anew");
    assert_eq!(world.runs_of(flow).await.len(), 2);
    world.database.remove().await.unwrap();
}

#[tokio::test]
async fn events_are_known_for_as_long_as_history_is_kept_and_for_as_long_as_they_are_needed() {
    let world = World::new().await;
    let triggers = "    two: {source: s, if: 'event.data == 1', together: {count: 2}}\n";
    world.store.save_plan(&listening("old", triggers)).await.unwrap();
    let events: Vec<_> = [1, 1, 1, 7].iter().enumerate().map(|(id, data)| event(id, json!(data))).collect();
    world.record("s", &events).await;
    world.consume().await;
    world.record("s", &[event(9, json!(7))]).await;
    let later = Timestamp::now().checked_add(jiff::SignedDuration::from_hours(1)).unwrap();
    world.store.keep_house(Timestamp::now(), later).await.unwrap();
    let left: Vec<i64> = world.recorded("s").await.into_keys().collect();
    assert_eq!(left, [1, 2, 3, 5], "its run is there, it waits, it was not looked at; the fourth is nobody's");
    assert!(!world.record("s", &[event(3, json!(7))]).await[0].existed, "it is forgotten");
    world.database.remove().await.unwrap();
}
