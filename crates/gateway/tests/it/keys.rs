//! API keys between gateways, and while Postgres is away.

use std::time::{Duration, Instant};

use millrace_gateway::{Limits, Settings};
use millrace_proto::gateway::v1::RevokeKeyRequest;
use serde_json::json;

use crate::{
    proxy::Proxy,
    support::{ADMIN_TOKEN, Gateway, World, authorized, eventually, key_id},
};

async fn publish(world: &World, gateway: &Gateway, key: &str) -> u16 {
    let event = json!({"uid": "1", "url_count": 1});
    gateway.post(&world.pipeline, key).json(&event).send().await.unwrap().status().as_u16()
}

async fn revoke(gateway: &Gateway, key: &str) {
    gateway.keys().revoke_key(authorized(RevokeKeyRequest { id: key_id(key) }, ADMIN_TOKEN)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_made_or_revoked_at_one_gateway_is_so_at_the_others_within_seconds() {
    let world = World::new().await;
    let (one, other) = (world.gateway().await, world.gateway().await);
    let key = world.key(&one).await;
    assert_eq!(publish(&world, &other, &key).await, 200);
    tokio::time::sleep(Duration::from_millis(500)).await; // the other one listens by now
    let revoked = Instant::now();
    revoke(&one, &key).await;
    assert_eq!(publish(&world, &one, &key).await, 401);
    eventually("the other gateway refuses the key", async || publish(&world, &other, &key).await == 401).await;
    assert!(revoked.elapsed() < Duration::from_secs(3), "after {:?}", revoked.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn while_postgres_is_away_known_keys_go_on_and_others_get_503() {
    let world = World::new().await;
    let proxy = Proxy::to(world.database_addr()).await;
    let gateway = Gateway::start(world.settings_through(proxy.addr)).await;
    let (used, unused) = (world.key(&gateway).await, world.key(&gateway).await);
    // The notice that the keys were made comes before: it drops what is known of them.
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(publish(&world, &gateway, &used).await, 200);
    proxy.cut();
    assert_eq!(publish(&world, &gateway, &used).await, 200);
    assert_eq!(publish(&world, &gateway, &unused).await, 503);
    assert_eq!(publish(&world, &gateway, &format!("mr_{:016x}_{:064x}", 1, 2)).await, 503);
    // What is malformed needs no look-up to be refused, nor does a known key with another secret.
    assert_eq!(publish(&world, &gateway, "nonsense").await, 401);
    assert_eq!(publish(&world, &gateway, &format!("{}{}", &used[..used.len() - 4], "0000")).await, 401);
    // Long enough for what is cached to be looked up again, in vain.
    tokio::time::sleep(Duration::from_secs(11)).await;
    assert_eq!(publish(&world, &gateway, &used).await, 200);
    proxy.mend();
    eventually("the unused key is known", async || publish(&world, &gateway, &unused).await == 200).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_that_nobody_heard_of_is_seen_when_postgres_is_back() {
    let world = World::new().await;
    let proxy = Proxy::to(world.database_addr()).await;
    let cut_off = Gateway::start(world.settings_through(proxy.addr)).await;
    let other = Gateway::start(Settings { ..world.settings(Limits::default()) }).await;
    let key = world.key(&other).await;
    assert_eq!(publish(&world, &cut_off, &key).await, 200);
    tokio::time::sleep(Duration::from_millis(500)).await;
    proxy.cut();
    revoke(&other, &key).await;
    assert_eq!(publish(&world, &cut_off, &key).await, 200);
    proxy.mend();
    eventually("the gateway refuses the key", async || publish(&world, &cut_off, &key).await == 401).await;
}
