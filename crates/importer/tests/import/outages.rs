//! What is away is waited for.

use std::{sync::Arc, time::Duration};

use crate::{
    proxy::Proxy,
    world::{Score, World},
};

#[tokio::test(flavor = "multi_thread")]
async fn while_postgres_is_away_nothing_is_given_up() {
    let mut world = World::new().await;
    let direct = world.database_url.clone();
    let server = direct.rsplit_once('@').unwrap().1.split_once('/').unwrap().0;
    let proxy = Proxy::to(server.to_owned()).await;
    world.database_url = direct.replace(server, &proxy.address.to_string());
    let _importer = world.stream();
    world.database_url = direct;
    let world = Arc::new(world);
    let sending = {
        let world = Arc::clone(&world);
        tokio::spawn(async move {
            for part in (0..10_000).map(Score::number).collect::<Vec<_>>().chunks(500) {
                world.send_scores(part).await;
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        })
    };
    for seconds in [0, 1, 3] {
        world.wait_for_rows(world.rows().await + 1).await;
        proxy.cut(Duration::from_secs(seconds)).await;
    }
    sending.await.unwrap();
    world.wait_for_ledger(10_000).await;
    assert_eq!(world.rows().await, 10_000);
    world.assert_aggregates_equal_rows().await;
    assert!(world.dead().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_registry_is_away_nothing_is_given_up() {
    let world = World::new().await;
    world.registry.set_away(true);
    let _importer = world.stream();
    world.send_scores(&(0..100).map(Score::number).collect::<Vec<_>>()).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(world.rows().await, 0);
    world.registry.set_away(false);
    world.wait_for_ledger(100).await;
    assert_eq!(world.rows().await, 100);
    assert!(world.dead().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_schema_the_importer_says_what_to_run() {
    let world = World::new().await;
    world.pool.get().await.unwrap().batch_execute("DROP SCHEMA importer CASCADE").await.unwrap();
    let output = world.command("stream").stderr(std::process::Stdio::piped()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("migrate") && said.contains("importer"), "{said}");
}
