//! The same event again, and the same verdict again.

use millrace_core::record::VERDICT_SCHEMA;
use millrace_schema::{Schema, json};
use serde_json::json;

use crate::world::{Score, VERDICT, World};

#[tokio::test(flavor = "multi_thread")]
async fn the_later_score_wins_and_the_aggregates_follow() {
    let world = World::new().await;
    let _importer = world.stream();
    let all = || (0..1_000).map(Score::number);
    world.send_scores(&all().collect::<Vec<_>>()).await;
    world.wait_for_ledger(1_000).await;

    // The same again; some earlier; some later, a few of them in another group; some twice in one batch.
    world.send_scores(&all().collect::<Vec<_>>()).await;
    world.send_scores(&all().take(100).map(|score| score.at(500, 0.1)).collect::<Vec<_>>()).await;
    let moved = |mut score: Score| {
        score.event["org"] = json!("moved");
        score.at(2_000, 0.123_456_789_123)
    };
    world.send_scores(&all().skip(200).take(100).map(moved).collect::<Vec<_>>()).await;
    let twice: Vec<Score> = all()
        .skip(400)
        .take(100)
        .flat_map(|score| [score.clone().at(3_000, 0.3), score.clone().at(5_000, 0.5), score.at(4_000, 0.4)])
        .collect();
    world.send_scores(&twice).await;
    world.wait_for_ledger(2_500).await;

    assert_eq!(world.rows().await, 1_000);
    assert_eq!(world.number("SELECT count(*) FROM pipeline.mail WHERE score = 0.5 AND scored_at = 'epoch'::timestamptz + interval '5 s'").await, 100);
    assert_eq!(world.number("SELECT count(*) FROM pipeline.mail WHERE org = 'moved'").await, 100);
    assert_eq!(world.number("SELECT count(*) FROM pipeline.mail WHERE score = 0.1").await, 0);
    world.assert_aggregates_equal_rows().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_lost_its_last_row_is_gone() {
    let world = World::new().await;
    let _importer = world.stream();
    let mut score = Score::number(1);
    score.event["org"] = json!("alone");
    world.send_scores(&[score.clone()]).await;
    world.wait_for_ledger(1).await;
    score.event["org"] = json!(null);
    world.send_scores(&[score.at(2_000, 0.25)]).await;
    world.wait_for_ledger(2).await;
    world.assert_aggregates_equal_rows().await;
    assert_eq!(world.number("SELECT count(*) FROM pipeline.mail_by_org_hour").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn replayed_verdicts_are_the_same_rows() {
    let world = World::new().await;
    let _importer = world.stream();
    let encoder = json::Encoder::compile(&Schema::parse(VERDICT_SCHEMA).unwrap());
    let verdict = |n: usize, revision: usize| {
        let id = uuid::Uuid::from_u128((n * 10 + revision) as u128);
        let value = json!({
            "verdict_id": id.to_string(), "event_id": format!("e-{n}"), "correlation_id": "c", "pipeline": "p",
            "received_at": 1, "scored_at": 2, "judged_at": 3, "action": "label", "labels": ["suspicious"], "rule": "r",
            "score": 0.75, "model": "m", "model_version": "v", "policy_revision": revision.to_string(),
            "alerts": [{"name": "a", "group": {"event.org": "x"}}]
        });
        let mut out = [&[0][..], &VERDICT.to_be_bytes()].concat();
        encoder.encode(&value, &mut out).unwrap();
        out
    };
    world.send("verdicts", (0..300).map(|n| verdict(n, 1)).collect()).await;
    world.send("verdicts", (0..300).map(|n| verdict(n, 1)).collect()).await;
    world.send("verdicts", (0..10).map(|n| verdict(n, 2)).collect()).await;
    world.wait_for_ledger(610).await;
    assert_eq!(world.number("SELECT count(*) FROM pipeline.mail_verdicts").await, 310);
    let row = "SELECT action || ' ' || labels::text || ' ' || alerts::text || ' ' || judged_at::text FROM pipeline.mail_verdicts LIMIT 1";
    assert_eq!(
        world.text(row).await,
        r#"label ["suspicious"] [{"name": "a", "group": {"event.org": "x"}}] 1970-01-01 00:00:00.003+00"#
    );
}
