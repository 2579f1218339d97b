//! Events make the runs that their rules say: none is lost, none counts twice, whoever records and whoever looks.

mod doors;
mod kill;
mod rules;

use std::{collections::BTreeMap, sync::Arc};

use futures::future::join_all;
use jiff::Timestamp;
use millrace_scheduler::{
    plan::Plan,
    state::GroupState,
    store::{FlowId, NewEvent, Recorded, RunQuery, RunRow, Store},
};
use serde_json::{Value, json};

use crate::world::{World, plan};

/// A DAG of one task that does nothing, with triggers and other fields of its spec.
pub(crate) fn listening(name: &str, triggers: &str) -> Arc<Plan> {
    plan(name, &format!("    a: {{noop: {{}}}}\n  triggers:\n{triggers}"))
}

#[expect(clippy::needless_pass_by_value, reason = "calls read better")]
pub(crate) fn event(id: impl ToString, data: Value) -> NewEvent {
    let bytes = data.to_string().len() as i32;
    NewEvent { id: id.to_string(), kind: "made".to_owned(), subject: String::new(), data, bytes }
}

/// A group of events: its state, its key and the numbers of its events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Grouped {
    pub(crate) key: String,
    pub(crate) numbers: Vec<i64>,
    pub(crate) state: GroupState,
}

impl World {
    pub(crate) async fn record(&self, source: &str, events: &[NewEvent]) -> Vec<Recorded> {
        self.store.record_events(source, events).await.unwrap()
    }

    /// Looks until nothing is left to look at now. Gives how many runs were made.
    pub(crate) async fn consume(&self) -> usize {
        consume(&self.store).await
    }

    pub(crate) async fn runs_of(&self, flow: FlowId) -> Vec<RunRow> {
        let query = RunQuery { flows: Some(vec![flow]), limit: 10_000, ..RunQuery::default() };
        self.store.runs(&query).await.unwrap()
    }

    /// The groups of a trigger, in the order of their first events.
    pub(crate) async fn grouped(&self, trigger: &str) -> Vec<Grouped> {
        let sql = "SELECT g.key, array_agg(m.seq ORDER BY m.seq), g.state FROM scheduler.event_group g \
                   JOIN scheduler.event_trigger t ON t.id = g.trigger_id JOIN scheduler.event_member m ON m.group_id = g.id \
                   WHERE t.name = $1 GROUP BY g.id, g.key, g.state ORDER BY min(m.seq)";
        let rows = self.database.pool.get().await.unwrap().query(sql, &[&trigger]).await.unwrap();
        let grouped = |row: &millrace_postgres::Row| Grouped {
            key: row.get(0),
            numbers: row.get(1),
            state: GroupState::from_number(row.get(2)).unwrap(),
        };
        rows.iter().map(grouped).collect()
    }

    /// When each event of a source was recorded, by its number, and what is in its `k`.
    pub(crate) async fn recorded(&self, source: &str) -> BTreeMap<i64, (Timestamp, String)> {
        let sql = "SELECT e.seq, e.at, coalesce(e.data ->> 'k', '') FROM scheduler.event e \
                   JOIN scheduler.event_source s ON s.id = e.source_id WHERE s.name = $1 ORDER BY e.seq";
        let rows = self.database.pool.get().await.unwrap().query(sql, &[&source]).await.unwrap();
        rows.iter().map(|row| (row.get(0), (row.get(1), row.get(2)))).collect()
    }
}

pub(crate) async fn consume(store: &Store) -> usize {
    let mut runs = 0;
    loop {
        let fired = store.consume().await.unwrap();
        runs += fired.runs;
        if fired.flows == 0 {
            return runs;
        }
    }
}

/// Writers that record `events` of a source in batches of their own, some of them twice.
pub(crate) async fn write(world: &World, source: &str, events: usize, writers: usize) {
    let writer = |writer: usize| {
        let store = world.other_replica();
        async move {
            let own: Vec<NewEvent> = (0..events)
                .filter(|number| number % writers == writer || number % (writers + 3) == writer)
                .map(|number| event(number, json!({"k": format!("k{}", number % 7), "n": number})))
                .collect();
            for batch in own.chunks(1 + writer % 5) {
                store.record_events(source, batch).await.unwrap();
            }
        }
    };
    join_all((0..writers).map(writer)).await;
}

/// Each event of a source is in one group, and groups are the `count` events of a key that follow each other.
pub(crate) async fn assert_counted(world: &World, source: &str, trigger: &str, count: usize, by_key: bool) {
    let recorded = world.recorded(source).await;
    let mut keys: BTreeMap<&str, Vec<i64>> = BTreeMap::new();
    for (number, (_, key)) in &recorded {
        keys.entry(if by_key { key } else { "" }).or_default().push(*number);
    }
    let mut expected: Vec<Grouped> = Vec::new();
    for (key, numbers) in keys {
        expected.extend(numbers.chunks(count).map(|numbers| Grouped {
            key: key.to_owned(),
            numbers: numbers.to_vec(),
            state: if numbers.len() == count { GroupState::Run } else { GroupState::Open },
        }));
    }
    expected.sort_by_key(|group| group.numbers[0]);
    assert_eq!(world.grouped(trigger).await, expected);
}

#[tokio::test]
async fn each_event_makes_one_run_and_an_id_that_is_known_changes_nothing() {
    let world = World::new().await;
    let triggers = "    arrived: {source: inbox, type: 'ma*', if: 'event.data.n != 2', params: {n: '{{ event.data.n }}'}}\n  params: {n: {type: integer}}\n";
    let flow = world.store.save_plan(&listening("each", triggers)).await.unwrap();
    let first = world.record("inbox", &[event("a", json!({"n": 1})), event("b", json!({"n": 2}))]).await;
    assert_eq!(first, [Recorded { seq: 1, existed: false }, Recorded { seq: 2, existed: false }]);
    let (a, c) = (event("a", json!({"n": 7})), event("c", json!({"n": 3})));
    let again = world.record("inbox", &[a, c.clone(), c]).await;
    let expected = [(1, true), (3, false), (3, true)].map(|(seq, existed)| Recorded { seq, existed });
    assert_eq!(again, expected, "as it was, new, and a second time in one call");
    assert_eq!(
        world.record("other", &[event("a", json!({"n": 1}))]).await[0].seq,
        1,
        "another source is another event"
    );

    assert_eq!(world.consume().await, 2);
    assert_eq!(world.consume().await, 0);
    let runs = world.runs_of(flow).await;
    let params: Vec<&Value> = runs.iter().rev().map(|run| &run.params).collect();
    assert_eq!(params, [&json!({"n": 1}), &json!({"n": 3})]);
    assert!(runs[0].key.starts_with("event__arrived__") && runs[0].logical_at.is_some(), "{runs:?}");
    let events = world.store.events_of(runs[0].id).await.unwrap();
    assert_eq!((events.len(), &events[0]["id"], &events[0]["data"]), (1, &json!("c"), &json!({"n": 3})));
    world.database.remove().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_and_replicas_at_once_lose_no_event_and_count_none_twice() {
    let world = World::new().await;
    let triggers = "    each: {source: many}\n    five: {source: many, together: {count: 5}}\n    \
                    keyed: {source: many, together: {count: 3, by: /data/k, max: 1d}}\n";
    for dag in ["one", "two"] {
        // Many runs wait: that is nothing to their events.
        let plan = listening(
            dag,
            &format!("{triggers}  concurrency: {{runs: 1}}\n")
                .replace("each:", &format!("each_{dag}:"))
                .replace("five:", &format!("five_{dag}:"))
                .replace("keyed:", &format!("keyed_{dag}:")),
        );
        world.store.save_plan(&plan).await.unwrap();
    }
    let replicas: Vec<Store> = (0..3).map(|_| world.other_replica()).collect();
    let done = tokio_util::sync::CancellationToken::new();
    let consumers: Vec<_> = replicas
        .into_iter()
        .map(|store| {
            let done = done.clone();
            tokio::spawn(async move {
                while !done.is_cancelled() {
                    store.consume().await.unwrap();
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    write(&world, "many", 1_000, 12).await;
    done.cancel();
    for consumer in consumers {
        consumer.await.unwrap();
    }
    world.consume().await;
    let recorded = world.recorded("many").await;
    assert_eq!(recorded.keys().copied().collect::<Vec<_>>(), (1..=1_000).collect::<Vec<i64>>(), "without gaps");
    let times: Vec<Timestamp> = recorded.values().map(|(at, _)| *at).collect();
    assert!(times.is_sorted(), "in the order of their numbers");
    for dag in ["one", "two"] {
        assert_counted(&world, "many", &format!("each_{dag}"), 1, false).await;
        assert_counted(&world, "many", &format!("five_{dag}"), 5, false).await;
        assert_counted(&world, "many", &format!("keyed_{dag}"), 3, true).await;
    }
    let groups = world.number("SELECT count(*) FROM scheduler.event_group WHERE state = 10").await;
    assert_eq!(world.number("SELECT count(*) FROM scheduler.run").await, groups, "one run for each");
    let linked = "SELECT count(DISTINCT run_id) FROM scheduler.event_group";
    assert_eq!(world.number(linked).await, groups);
    world.database.remove().await.unwrap();
}
