//! Exactly once, whatever happens to the process.

use std::{sync::Arc, time::Duration};

use crate::world::{Score, World};

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_importer_stores_each_event_once() {
    let world = Arc::new(World::new().await);
    let scores: Vec<Score> = (0..20_000).map(Score::number).collect();
    let importer = world.stream();
    let sending = {
        let (world, scores) = (Arc::clone(&world), scores.clone());
        tokio::spawn(async move {
            for part in scores.chunks(1_000) {
                world.send_scores(part).await;
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        })
    };
    let mut importer = Some(importer);
    for least in [1, 5_000, 12_000] {
        world.wait_for_rows(least).await;
        importer.take().unwrap().kill();
        importer = Some(world.stream());
    }
    sending.await.unwrap();

    world.wait_for_ledger(20_000).await;
    assert_eq!(world.rows().await, 20_000);
    assert_eq!(world.number("SELECT count(*) FROM pipeline.mail WHERE reasons->0->>'feature' = 'size'").await, 20_000);
    world.assert_aggregates_equal_rows().await;
    assert!(world.dead().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zombie_stores_nothing() {
    let world = World::new().await;
    let zombie = world.stream();
    world.send_scores(&(0..2_000).map(Score::number).collect::<Vec<_>>()).await;
    world.wait_for_ledger(2_000).await;
    // Its group gives its partitions to the successor, while it believes that they are its own.
    zombie.signal("STOP");
    let successor = world.stream();
    world.send_scores(&(2_000..4_000).map(Score::number).collect::<Vec<_>>()).await;
    world.wait_for_ledger(4_000).await;
    zombie.signal("CONT");
    world.send_scores(&(4_000..6_000).map(Score::number).collect::<Vec<_>>()).await;
    world.wait_for_ledger(6_000).await;
    drop(zombie);
    drop(successor);
    assert_eq!(world.rows().await, 6_000);
    world.assert_aggregates_equal_rows().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_importer_ends_in_order_and_its_successor_goes_on_where_it_was() {
    let world = World::new().await;
    let first = world.stream();
    world.send_scores(&(0..500).map(Score::number).collect::<Vec<_>>()).await;
    world.wait_for_ledger(500).await;
    first.signal("TERM");
    assert!(first.wait());
    world.send_scores(&(500..1_000).map(Score::number).collect::<Vec<_>>()).await;
    let _second = world.stream();
    world.wait_for_ledger(1_000).await;
    assert_eq!(world.rows().await, 1_000);
}
