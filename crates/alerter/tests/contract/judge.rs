use std::collections::HashSet;

use crate::world::{World, verdict};

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_judge_repeats_nothing_and_loses_nothing() {
    const SCORES: usize = 6_000;
    let world = World::new().await;
    let mut judge = world.serve("judge").await;
    let values = (0..SCORES).map(|i| world.score(&format!("e{i}"), (i % 100) as f64 / 100.0)).collect::<Vec<_>>();
    let mut last = Vec::new();
    for part in values.chunks(SCORES / 4) {
        world.send("scores", part.to_vec()).await;
        let have = last.len();
        last = world.records_of("verdicts", have + 1).await;
        judge.kill().await.unwrap(); // SIGKILL, in the middle of a transaction as often as not
        judge = world.serve("judge").await;
    }
    let verdicts = world.records_of("verdicts", SCORES).await;
    let ids: HashSet<String> = verdicts.iter().map(|it| verdict(it)["verdict_id"].to_string()).collect();
    let events: HashSet<String> = verdicts.iter().map(|it| verdict(it)["event_id"].to_string()).collect();
    assert_eq!((verdicts.len(), ids.len(), events.len()), (SCORES, SCORES, SCORES));
    let quarantined = verdicts.iter().filter(|it| verdict(it)["action"] == "quarantine").count();
    assert_eq!(quarantined, SCORES / 10);
    judge.kill().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_score_that_comes_twice_gets_the_same_verdict_id_and_keeps_its_headers() {
    let world = World::new().await;
    let _judge = world.serve("judge").await;
    world.send("scores", vec![world.score("e1", 0.95)]).await;
    world.send("scores", vec![world.score("e1", 0.95)]).await;
    let verdicts = world.records_of("verdicts", 2).await;
    assert_eq!(verdict(&verdicts[0])["verdict_id"], verdict(&verdicts[1])["verdict_id"]);
    assert_eq!(verdict(&verdicts[0])["rule"], "spoof", "the rule before it erred on null");
    let record = &verdicts[0].record;
    assert_eq!((record.headers.text("event-id"), record.headers.text("correlation-id")), (Some("h0"), Some("c0")));
    assert_eq!((verdicts[0].partition, record.key.as_deref()), (0, Some(&b"k0"[..])));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_judged_is_dead_and_its_neighbours_are_judged() {
    let world = World::new().await;
    let _judge = world.serve("judge").await;
    let good = |id| world.score(id, 0.5);
    let cut = good("cut");
    let mut unknown = good("unknown");
    unknown[1..5].copy_from_slice(&9999_u32.to_be_bytes());
    let values = vec![good("e0"), good("e1"), cut[..cut.len() - 2].to_vec(), unknown, good("e4"), good("e5")];
    world.send("scores", values).await;
    let verdicts = world.records_of("verdicts", 4).await;
    assert_eq!(verdicts.len(), 4);
    let letters = world.records_of("dead", 2).await;
    let mut codes: Vec<_> = letters.iter().map(|it| it.record.headers.text("dead-code").unwrap()).collect();
    codes.sort_unstable();
    assert_eq!(codes, ["CORRUPT", "NOT_FOUND"]);
    for letter in &letters {
        let header = |name| letter.record.headers.text(name).unwrap();
        assert_eq!((header("dead-stage"), header("dead-group")), ("judge", &*format!("millrace.{}.judge", world.name)));
        assert!(!header("dead-reason").is_empty());
    }
}
