//! History by months.

use jiff::{Timestamp, ToSpan as _};

use crate::world::{World, plan};

#[tokio::test]
async fn history_has_a_partition_for_each_month_and_old_ones_go() {
    let world = World::new().await;
    let now = Timestamp::now();
    let back = |days: i64| now.checked_sub((24 * days).hours()).unwrap();
    for days in [400, 90, 0] {
        world.store.keep_house(back(days), back(4_000)).await.unwrap();
    }
    let partitions = "SELECT count(*) FROM pg_inherits WHERE inhparent = 'scheduler.attempt'::regclass";
    let before = world.number(partitions).await;
    assert!((6..=7).contains(&before), "two for each time, and the one for what is in none: {before}");

    let plan = plan("done", "    a: {noop: {}}\n");
    world.run(&plan, "r").await.unwrap();
    let launch = world.store.claim(millrace_scheduler::store::InstanceId(1), 1).await.unwrap().remove(0);
    let done = millrace_scheduler::store::Outcome::Succeeded(None);
    world.store.finish(&[millrace_scheduler::store::Report::new(launch.token, done)]).await.unwrap();
    assert_eq!(world.number("SELECT count(*) FROM ONLY scheduler.attempt_other").await, 0, "this month has its own");
    assert_eq!(world.number("SELECT count(*) FROM scheduler.attempt").await, 1);

    world.store.keep_house(now, back(200)).await.unwrap();
    assert_eq!(world.number(partitions).await, before - 2, "of 400 days ago nothing is left");
    assert_eq!(world.number("SELECT count(*) FROM scheduler.run").await, 1, "what is younger stays");
    world.store.keep_house(now, now.checked_add(1.hour()).unwrap()).await.unwrap();
    assert_eq!(world.number("SELECT count(*) FROM scheduler.run").await, 0);
    world.database.remove().await.unwrap();
}
