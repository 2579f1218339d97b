use std::time::Duration;

use uuid::Uuid;

use crate::{receiver::Say, world::World};

const QUIET: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread")]
async fn a_group_is_told_once_signed_and_with_its_events() {
    let world = World::new().await;
    let _alerter = world.serve("notify").await;
    let (one, two) = (Uuid::new_v4(), Uuid::new_v4());
    world.send("verdicts", vec![world.verdict(one, "acme"), world.verdict(two, "acme")]).await;
    world.send("verdicts", vec![world.verdict(one, "acme")]).await; // a repeat of the judge's
    let told = world.receiver.told_times(1).await;
    assert!(told[0].is_signed());
    let body = told[0].body();
    assert_eq!((&body["type"], &body["data"]["labels"]["event.org"]), (&"alert.firing".into(), &"acme".into()));
    assert_eq!(body["data"]["pipeline"], world.name);
    let events: Vec<&str> =
        body["data"]["events"].as_array().unwrap().iter().map(|it| it["correlation_id"].as_str().unwrap()).collect();
    assert!(events.iter().any(|it| *it == format!("c-{one}") || *it == format!("c-{two}")), "{events:?}");
    assert_eq!(world.receiver.told_until_quiet(QUIET).await.len(), 1, "the repeat is in an hour");
    world.until("SELECT count(*) = 1 FROM alerter.notifications WHERE state = 'delivered' AND attempts = 1").await;
    let row = world.row("SELECT occurrences, state, receivers FROM alerter.alerts").await;
    assert_eq!((row.get::<_, i64>(0), row.get::<_, &str>(1)), (2, "firing"));
    assert_eq!(world.row("SELECT count(*) FROM alerter.alert_events").await.get::<_, i64>(0), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_are_told_apart_and_one_that_goes_on_is_told_again_until_it_is_quiet() {
    let world = World::with_document(|text| text.replace("repeat: 1h", "repeat: 2s")).await;
    let _alerter = world.serve("notify").await;
    world.send("verdicts", vec![world.verdict(Uuid::new_v4(), "a"), world.verdict(Uuid::new_v4(), "b")]).await;
    world.receiver.told_times(2).await;
    world.send("verdicts", vec![world.verdict(Uuid::new_v4(), "a")]).await;
    let told = world.receiver.told_until_quiet(Duration::from_secs(5)).await;
    let of = |org: &str| -> Vec<String> {
        let bodies = told.iter().map(crate::receiver::Told::body).filter(|it| it["data"]["labels"]["event.org"] == org);
        bodies.map(|it| it["data"]["reason"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(of("a"), ["firing", "repeat", "resolved"]);
    assert_eq!(of("b"), ["firing", "resolved"]);
    world.until("SELECT bool_and(state = 'resolved') FROM alerter.alerts").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_that_is_not_taken_is_tried_again_under_the_same_id_and_body() {
    let world = World::new().await;
    world.receiver.say(&[Say::Status(500), Say::Redirect, Say::After(1)]);
    let _alerter = world.serve("notify").await;
    world.send("verdicts", vec![world.verdict(Uuid::new_v4(), "acme")]).await;
    let told = world.receiver.told_times(4).await;
    for again in &told[1..] {
        assert_eq!((again.id(), again.text()), (told[0].id(), told[0].text()));
        assert!(again.is_signed());
    }
    assert!(told[3].at - told[2].at >= Duration::from_secs(1), "Retry-After was not honoured");
    assert_eq!(world.receiver.told_until_quiet(QUIET).await.len(), 4);
    world.until("SELECT state = 'delivered' AND attempts = 4 FROM alerter.notifications").await;
    let sql = "SELECT array_agg(status ORDER BY attempt), max(error) FILTER (WHERE attempt = 1) FROM alerter.notification_attempts";
    let row = world.row(sql).await;
    assert_eq!(row.get::<_, Vec<i32>>(0), [500, 302, 429, 204]);
    assert_eq!(row.get::<_, &str>(1), "500 Internal Server Error: no   thanks");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_that_is_never_taken_is_given_up_and_others_are_not_held_up() {
    let world = World::new().await;
    world.receiver.say(&[Say::Status(503); 4]);
    let _alerter = world.serve("notify").await;
    world.send("verdicts", vec![world.verdict(Uuid::new_v4(), "a")]).await;
    world.until("SELECT count(*) = 1 FROM alerter.notifications WHERE state = 'failed' AND attempts = 4").await;
    world.send("verdicts", vec![world.verdict(Uuid::new_v4(), "b")]).await;
    world.until("SELECT count(*) = 1 FROM alerter.notifications WHERE state = 'delivered' AND attempts = 1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_alerter_sends_again_under_the_same_id() {
    let mut world = World::new().await;
    world.env.insert("MILLRACE_DELIVERY_TIMEOUT".into(), "2s".into());
    world.receiver.say(&[Say::Nothing]);
    let mut alerter = world.serve("notify").await;
    world.send("verdicts", vec![world.verdict(Uuid::new_v4(), "acme")]).await;
    let first = world.receiver.told_times(1).await;
    alerter.kill().await.unwrap();
    let _alerter = world.serve("notify").await;
    let told = world.receiver.told_times(2).await;
    assert_eq!((told[1].id(), told[1].text()), (first[0].id(), first[0].text()));
    world.until("SELECT state = 'delivered' AND attempts = 2 FROM alerter.notifications").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alerter_that_is_killed_while_it_stores_counts_each_verdict_once() {
    const VERDICTS: usize = 3_000;
    let world = World::new().await;
    let mut alerter = world.serve("notify").await;
    let values: Vec<Vec<u8>> = (0..VERDICTS).map(|i| world.verdict(Uuid::new_v4(), &format!("org{}", i % 7))).collect();
    for part in values.chunks(VERDICTS / 3) {
        world.send("verdicts", part.to_vec()).await;
        tokio::time::sleep(Duration::from_millis(400)).await;
        alerter.kill().await.unwrap();
        alerter = world.serve("notify").await;
    }
    world.until(&format!("SELECT count(*) >= {VERDICTS} FROM alerter.alert_events")).await;
    let row = world.row("SELECT sum(occurrences)::bigint, count(*) FROM alerter.alerts").await;
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (VERDICTS as i64, 7));
    let told = world.receiver.told_until_quiet(QUIET).await;
    let mut ids: Vec<String> = told.iter().map(crate::receiver::Told::id).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 7, "one notification for each group");
    alerter.kill().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_is_gone_is_told_nothing_until_its_address_changes() {
    let mut world = World::new().await;
    world.receiver.say(&[Say::Status(410)]);
    let mut alerter = world.serve("notify").await;
    world.send("verdicts", vec![world.verdict(Uuid::new_v4(), "a")]).await;
    world.until("SELECT count(*) = 1 FROM alerter.receivers WHERE disabled_at IS NOT NULL").await;
    world.send("verdicts", vec![world.verdict(Uuid::new_v4(), "b")]).await;
    world.until("SELECT count(*) = 2 FROM alerter.notifications WHERE state = 'disabled'").await;
    assert_eq!(world.receiver.told().len(), 1);
    alerter.kill().await.unwrap();
    world.env.insert("MILLRACE_RECEIVER_OPS_HOOK_URL".into(), format!("http://{}/moved", world.receiver.addr));
    let _alerter = world.serve("notify").await;
    world.until("SELECT count(*) = 1 FROM alerter.receivers WHERE disabled_at IS NULL").await;
    world.send("verdicts", vec![world.verdict(Uuid::new_v4(), "c")]).await;
    let told = world.receiver.told_times(2).await;
    assert_eq!(told[1].body()["data"]["labels"]["event.org"], "c");
}

#[tokio::test(flavor = "multi_thread")]
async fn several_alerters_tell_each_group_once() {
    let world = World::new().await;
    let _alerters = [world.serve("notify").await, world.serve("notify").await, world.serve("notify").await];
    for round in 0..4 {
        let verdicts = (0..10).map(|i| world.verdict(Uuid::new_v4(), &format!("org{round}-{i}"))).collect();
        world.send("verdicts", verdicts).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    world.receiver.told_times(40).await;
    let told = world.receiver.told_until_quiet(QUIET).await;
    assert_eq!(told.len(), 40);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verdict_that_cannot_be_read_is_dead_and_its_neighbours_are_told() {
    let world = World::new().await;
    let _alerter = world.serve("notify").await;
    let cut = world.verdict(Uuid::new_v4(), "x");
    let nul = world.verdict(Uuid::new_v4(), "a\0b");
    let values = vec![
        world.verdict(Uuid::new_v4(), "a"),
        cut[..40].to_vec(),
        b"{}".to_vec(),
        nul,
        world.verdict(Uuid::new_v4(), "b"),
    ];
    world.send("verdicts", values).await;
    assert_eq!(world.receiver.told_times(3).await.len(), 3, "a character that Postgres cannot store is replaced");
    let letters = world.records_of("dead", 2).await;
    assert!(letters.iter().all(|it| it.record.headers.text("dead-stage") == Some("notify")));
    assert_eq!(letters.len(), 2);
}
