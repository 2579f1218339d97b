//! History by months.

use jiff::{Timestamp, ToSpan as _};
use millrace_scheduler::store::{InstanceId, Outcome, Report};

use crate::world::{World, plan};

impl World {
    /// A run of one task, from its beginning to its end.
    async fn play_one(&self) {
        let plan = plan("done", "    a: {noop: {}}\n");
        self.run(&plan, &uuid::Uuid::new_v4().to_string()).await.unwrap();
        let launch = self.store.claim(InstanceId(1), 1).await.unwrap().remove(0);
        self.store.finish(&[Report::new(launch.token, Outcome::Succeeded(None))]).await.unwrap();
    }
}

#[tokio::test]
async fn history_has_a_partition_for_each_month_and_old_ones_go() {
    let world = World::new().await;
    let now = Timestamp::now();
    let back = |days: i64| now.checked_sub((24 * days).hours()).unwrap();
    world.play_one().await;
    assert_eq!(world.number("SELECT count(*) FROM ONLY scheduler.attempt_other").await, 1, "nobody has kept house yet");
    for days in [400, 90, 0] {
        world.store.keep_house(back(days), back(4_000)).await.unwrap();
    }
    let partitions = "SELECT count(*) FROM pg_inherits WHERE inhparent = 'scheduler.attempt'::regclass";
    let before = world.number(partitions).await;
    assert!((6..=7).contains(&before), "two for each time, and the one for what is in none: {before}");

    world.play_one().await;
    assert_eq!(world.number("SELECT count(*) FROM ONLY scheduler.attempt_other").await, 0, "this month has its own");
    assert_eq!(world.number("SELECT count(*) FROM scheduler.attempt").await, 2, "what came before moved there");

    world.store.keep_house(now, back(200)).await.unwrap();
    assert_eq!(world.number(partitions).await, before - 2, "of 400 days ago nothing is left");
    assert_eq!(world.number("SELECT count(*) FROM scheduler.run").await, 2, "what is younger stays");
    world.store.keep_house(now, now.checked_add(1.hour()).unwrap()).await.unwrap();
    assert_eq!(world.number("SELECT count(*) FROM scheduler.run").await, 0);
    world.database.remove().await.unwrap();
}
