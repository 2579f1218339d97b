#![allow(clippy::single_range_in_vec_init, reason = "ranges of rows, one of them here")]

use millrace_core::record::VERDICT_SCHEMA;
use millrace_kafka::{Headers, Record};
use millrace_schema::{Schema, json};
use serde_json::json;

use super::*;
use crate::{
    feed::{Kind, verdict_columns},
    shape::Held,
};

/// A table of verdicts of which the later `scored_at` wins, keyed by the event alone.
fn shape() -> Arc<Shape> {
    let held = verdict_columns().into_iter().map(|column| Held {
        name: column.name,
        sql_type: column.sql_type,
        not_null: !column.nullable,
    });
    Arc::new(Shape::new("t", held.collect(), &["event_id"], Some("scored_at"), &[]))
}

fn verdict(event_id: &str, scored_at: i64) -> Vec<u8> {
    let value = json!({
        "verdict_id": "00000000-0000-0000-0000-000000000001", "event_id": event_id, "correlation_id": "c",
        "pipeline": "p", "received_at": 7, "scored_at": scored_at, "judged_at": 9, "action": "pass", "labels": ["x"],
        "rule": "default", "score": 0.5, "model": "m", "model_version": "v", "policy_revision": "r", "alerts": []
    });
    let mut out = vec![0, 0, 0, 0, 1];
    json::Encoder::compile(&Schema::parse(VERDICT_SCHEMA).unwrap()).encode(&value, &mut out).unwrap();
    out
}

fn batch(partition: i32, values: Vec<Vec<u8>>) -> Batch {
    let record = |(offset, value): (usize, Vec<u8>)| Record {
        offset: offset as i64,
        timestamp_ms: None,
        key: None,
        value: Some(value.into()),
        headers: Headers::new(),
    };
    let next_offset = values.len() as i64;
    let partition = Partition { topic: "t".into(), topic_id: uuid::Uuid::nil(), partition };
    let records = values.into_iter().enumerate().map(record).collect();
    Batch { partition, start: 0, records, next_offset, lost: false }
}

fn encode(batches: Vec<Batch>) -> Prepared {
    let shape = shape();
    let writer = Schema::parse(VERDICT_SCHEMA).unwrap();
    let plan = Plan::compile(Kind::Verdicts, &writer, None, &shape).map(Arc::new);
    let plans = Arc::new(PlanSet::from([(SchemaRef::Id(1), plan)]));
    Prepared::encode(batches, plans, shape, &mut Writer::default(), 1)
}

#[test]
fn bad_records_are_put_aside_and_their_neighbours_are_rows() {
    let truncated = verdict("b", 1)[..20].to_vec();
    let mut longer = verdict("b", 1);
    longer.push(0);
    let unknown = [&[0, 0, 0, 0, 9], &verdict("b", 1)[5..]].concat();
    let values = vec![verdict("a", 1), truncated, longer, unknown, vec![7, 7], verdict("x\0", 1), verdict("c", 1)];
    let prepared = encode(vec![batch(0, values)]);
    assert_eq!(prepared.rows.len(), 2);
    assert_eq!((prepared.place(0).record, prepared.place(1).record), (0, 6));
    let refused: Vec<usize> = prepared.rejects.iter().map(|(place, _)| place.record).collect();
    assert_eq!(refused, [1, 2, 3, 4, 5]);
    assert!(prepared.rejects.iter().all(|(_, reject)| !reject.reason.is_empty()));
}

#[test]
fn of_one_id_the_latest_is_chosen_and_stood_in_for_when_it_is_refused() {
    let values = vec![verdict("a", 1), verdict("b", 5), verdict("a", 3), verdict("a", 3), verdict("b", 4)];
    let prepared = encode(vec![batch(0, values)]);
    let choice = prepared.choose(&BTreeSet::new());
    assert_eq!(choice, Choice { ranges: vec![1..3], lost: 3 });
    let choice = prepared.choose(&BTreeSet::from([2]));
    assert_eq!(choice, Choice { ranges: vec![1..2, 3..4], lost: 2 }, "the other one of the same time stands in");
    let choice = prepared.choose(&BTreeSet::from([0, 1, 2, 3, 4]));
    assert_eq!(choice, Choice::default());
}

#[test]
fn what_the_ledger_has_is_dropped() {
    let mut batches = vec![batch(0, vec![vec![]; 4]), batch(1, vec![vec![]; 4]), batch(2, vec![vec![]; 4])];
    let next = |partition: &Partition| Some([4, 3, 0][partition.partition as usize]);
    assert!(trim(&mut batches, next));
    let left: Vec<_> = batches.iter().map(|b| (b.partition.partition, b.start, b.records.len())).collect();
    assert_eq!(left, [(1, 3, 1), (2, 0, 4)]);
    assert!(!trim(&mut batches, |_| Some(4)));
}

#[test]
fn rows_are_sent_in_ranges() {
    assert_eq!(ranges(&[0, 1, 2, 5, 7, 8]), [0..3, 5..6, 7..9]);
    assert!(ranges(&[]).is_empty());
}
