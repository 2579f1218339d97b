use std::time::Duration;

use crate::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_is_told_once_while_it_fires_and_once_when_it_ends() {
    let world = World::new().await;
    let _alerter = world.serve("notify").await;
    world.send("signals", vec![world.signal("firing", |_| {})]).await;
    let told = world.receiver.told_times(1).await;
    assert!(told[0].is_signed());
    let body = told[0].body();
    assert_eq!((&body["type"], &body["data"]["summary"]), (&"signal.firing".into(), &"hour 12 is late".into()));
    assert_eq!((&body["data"]["severity"], &body["data"]["labels"]["run"]), (&"warning".into(), &"12".into()));

    world.send("signals", vec![world.signal("firing", |it| it["summary"] = "hour 12 is later".into())]).await;
    assert_eq!(world.receiver.told_until_quiet(Duration::from_secs(2)).await.len(), 1, "the same matter");

    world.send("signals", vec![world.signal("resolved", |it| it["summary"] = "hour 12 is done".into())]).await;
    let told = world.receiver.told_times(2).await;
    let body = told[1].body();
    assert_eq!((&body["type"], &body["data"]["summary"]), (&"signal.resolved".into(), &"hour 12 is done".into()));
    world.until("SELECT state = 'resolved' AND occurrences = 2 FROM alerter.alerts").await;

    world.send("signals", vec![world.signal("resolved", |_| {})]).await;
    world.send("signals", vec![world.signal("firing", |_| {})]).await;
    let told = world.receiver.told_times(3).await;
    assert_eq!(told[2].body()["type"], "signal.firing", "a matter that comes again is a new one");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_that_names_nobody_or_a_stranger_goes_to_the_receivers_of_the_installation() {
    let mut world = World::new().await;
    world.env.insert("MILLRACE_SIGNAL_RECEIVERS".into(), "ops-hook".into());
    let _alerter = world.serve("notify").await;
    let nobody = world.signal("firing", |it| it["notify"] = serde_json::json!([]));
    world.send("signals", vec![b"{}".to_vec(), nobody]).await;
    world.receiver.told_times(1).await;
    let stranger = world.signal("firing", |it| {
        it["notify"] = serde_json::json!(["nobody-knows"]);
        it["dedup_key"] = "another matter".into();
    });
    world.send("signals", vec![stranger]).await;
    world.receiver.told_times(2).await;
    let letters = world.records_of("signals.dead", 1).await;
    assert_eq!(letters[0].record.headers.text("dead-code"), Some("CORRUPT"));
}
