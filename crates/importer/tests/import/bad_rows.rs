//! What cannot be stored, and its neighbours.

use std::collections::BTreeMap;

use millrace_schema::Schema;
use serde_json::json;

use crate::world::{EVENT, SCORED, Score, World};

#[tokio::test(flavor = "multi_thread")]
async fn bad_rows_are_dead_letters_and_their_neighbours_are_stored() {
    let world = World::new().await;
    let event = Schema::parse(EVENT).unwrap();
    let value = |score: &Score| score.value(SCORED, &event);
    let bad = |change: fn(&mut Score)| {
        let mut score = Score::number(1);
        "bad".clone_into(&mut score.id);
        change(&mut score);
        value(&score)
    };
    let mut values: Vec<Vec<u8>> = (0..1_000).map(Score::number).map(|score| value(&score)).collect();
    values[100] = bad(|_| {})[..40].to_vec();
    values[200] = [&[0, 0, 0, 9, 9], &bad(|_| {})[5..]].concat();
    values[300] = bad(|score| score.event["subject"] = json!("a\u{0}b"));
    values[400] = bad(|score| score.event["at"] = json!(i64::MAX));
    values[500] = vec![9, 9, 9];
    values[600] = bad(|score| score.id = String::new());
    let importer = world.stream();
    world.send("scores", values).await;
    world.wait_for_ledger(1_000).await;
    drop(importer);

    assert_eq!(world.rows().await, 994);
    world.assert_aggregates_equal_rows().await;
    let dead = world.dead().await;
    let mut codes: BTreeMap<String, usize> = BTreeMap::new();
    for letter in &dead {
        let header = |name: &str| letter.record.headers.text(name).unwrap_or_default().to_owned();
        assert_eq!(header("dead-stage"), "importer");
        assert_eq!(header("dead-group"), format!("millrace.{}.importer-scores", world.name));
        assert!(!header("dead-reason").is_empty() && letter.record.value.is_some());
        *codes.entry(header("dead-code")).or_default() += 1;
    }
    let expected = [("CORRUPT", 2), ("INVALID_EVENT", 3), ("NOT_FOUND", 1)];
    assert_eq!(codes, expected.map(|(code, count)| (code.to_owned(), count)).into());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_postgres_refuses_is_found_by_halving() {
    let world = World::new().await;
    drop_into_table(&world).await;
    let rule = "ALTER TABLE pipeline.mail ADD CONSTRAINT small CHECK (size < 900 OR size > 905);
                CREATE UNIQUE INDEX one_subject ON pipeline.mail (subject)";
    world.pool.get().await.unwrap().batch_execute(rule).await.unwrap();
    let mut scores: Vec<Score> = (1..2_000).map(Score::number).collect();
    scores[1_499].event["subject"] = json!("mail 7");
    // A group key that is too long for its index fails in the aggregate, not in the row.
    let noise: String =
        (0..20_000_u32).map(|n| char::from(33 + (n.wrapping_mul(2_654_435_761) >> 25) as u8 % 90)).collect();
    scores[50].event["org"] = json!(noise);
    let _importer = world.stream();
    world.send_scores(&scores).await;
    world.wait_for_ledger(2_000).await;

    assert_eq!(world.rows().await, 2_000 - 6 - 1 - 1);
    world.assert_aggregates_equal_rows().await;
    let dead = world.dead().await;
    let reasons: Vec<&str> = dead.iter().filter_map(|letter| letter.record.headers.text("dead-reason")).collect();
    assert_eq!(reasons.iter().filter(|reason| reason.contains("small")).count(), 6, "{reasons:?}");
    assert_eq!(reasons.iter().filter(|reason| reason.contains("one_subject")).count(), 1, "{reasons:?}");
    assert_eq!(dead.len(), 8, "{reasons:?}");
}

/// One row, so that the table is there.
async fn drop_into_table(world: &World) {
    let importer = world.stream();
    world.send_scores(&[Score::number(0)]).await;
    world.wait_for_ledger(1).await;
    importer.signal("TERM");
    assert!(importer.wait());
}
