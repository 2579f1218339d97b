//! Every offset once, whatever happens.

use std::{sync::Arc, time::Duration};

use millrace_testkit::{Flaky, assert_eventually};
use rand::RngExt as _;

use crate::world::{START, Sent, World};

/// How old windows get, in seconds.
const AGE: u64 = 2;

/// The record of that number: of one of three hours, at one of five seconds of it.
fn record(n: usize, records: usize) -> Sent {
    let place = n * 3 * 5 / records;
    Sent::number(n, START + (place / 5 * 3_600_000 + place % 5 * 1_000) as i64)
}

/// Sends so many records in so many seconds.
async fn sending(world: Arc<World>, records: usize, seconds: usize) {
    let parts = seconds * 10;
    for part in 0..parts {
        let numbers = (part * records / parts)..((part + 1) * records / parts);
        world.send(&numbers.map(|n| record(n, records)).collect::<Vec<_>>()).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// All of them, each once, and nothing else.
async fn assert_all(world: &World, records: usize) {
    world.wait_until_archived().await;
    let all = world.archived().await;
    let mut ids: Vec<usize> =
        all.values().map(|it| it.event_id.as_deref().unwrap().strip_prefix("e-").unwrap().parse().unwrap()).collect();
    ids.sort_unstable();
    assert!(ids == (0..records).collect::<Vec<_>>(), "{} of {records} records", ids.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn archivers_that_are_killed_archive_each_offset_once() {
    const RECORDS: usize = 30_000;
    let world = Arc::new(World::new(AGE).await);
    let sending = tokio::spawn(sending(Arc::clone(&world), RECORDS, 20));
    let (mut one, mut other) = (world.begin(None), world.begin(None));
    let mut kills = 0;
    while !sending.is_finished() {
        tokio::time::sleep(Duration::from_millis(rand::rng().random_range(500..3_000))).await;
        one.kill();
        one = world.begin(None);
        std::mem::swap(&mut one, &mut other);
        kills += 1;
    }
    sending.await.unwrap();
    assert_all(&world, RECORDS).await;
    println!("{RECORDS} records, {kills} kills");
    drop((one, other));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_was_thought_dead_archives_nothing_twice() {
    const RECORDS: usize = 9_000;
    let world = Arc::new(World::new(AGE).await);
    let s3 = Flaky::holding().await.unwrap();
    let zombie = world.begin(Some(s3.url()));
    world.send(&(0..RECORDS / 3).map(|n| record(n, RECORDS)).collect::<Vec<_>>()).await;
    // Its files are there, and its manifests on their way.
    let begun = async || world.writers(0).await.len();
    assert_eventually!(begun().await => 1, within: 60);
    zombie.signal("STOP");
    // When its session has ended its partitions go to the successor, while it believes that they are its own.
    let _successor = world.begin(None);
    world.wait_until_archived().await;
    s3.let_go();
    zombie.signal("CONT");
    world.send(&(RECORDS / 3..RECORDS).map(|n| record(n, RECORDS)).collect::<Vec<_>>()).await;
    assert_all(&world, RECORDS).await;
    let most = world.writers(0).await.into_values().map(|writers| writers.len()).max();
    assert_eq!(most, Some(2), "both had files for one window");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_leaves_the_topic_under_an_archiver_is_named_and_the_rest_is_there() {
    let world = World::new(AGE).await;
    let plain = |n: usize| Sent { partition: 0, value: Some(b"text".to_vec()), ..Sent::number(n, START) };
    world.registry.set_away(true);
    let archiver = world.begin(None);
    world.wait_until_begun(0).await;
    // The first waits for its schema, and the others behind it until nothing more is read.
    world.send(&[Sent { partition: 0, ..Sent::number(0, START) }]).await;
    for n in 1..16 {
        tokio::time::sleep(Duration::from_millis(300)).await;
        world.send(&[plain(n)]).await;
    }
    tokio::time::sleep(Duration::from_secs(6)).await;
    world.send(&(16..200).map(plain).collect::<Vec<_>>()).await;
    world.admin.delete_records(&world.topic(), &[(0, 150)].into()).await.unwrap();
    world.registry.set_away(false);

    let lost = world.wait_until_lost(0).await;
    assert_eq!(lost.last, 149);
    assert!((1..=16).contains(&lost.first), "what was in hand is there: {lost:?}");
    let archived: Vec<i64> = world.archived().await.into_keys().map(|(_, offset)| offset).collect();
    assert_eq!(archived, (0..lost.first).chain(150..200).collect::<Vec<_>>());
    // One that begins later names what is gone as well.
    archiver.kill();
    world.send(&(200..300).map(plain).collect::<Vec<_>>()).await;
    world.admin.delete_records(&world.topic(), &[(0, 250)].into()).await.unwrap();
    let _archiver = world.begin(None);
    let lost = world.wait_until_lost(1).await;
    assert_eq!((lost.first, lost.last), (200, 249));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_s3_that_fails_one_call_in_ten_loses_nothing() {
    const RECORDS: usize = 10_000;
    let world = Arc::new(World::new(AGE).await);
    let flaky = Flaky::start(10).await.unwrap();
    let _archiver = world.begin(Some(flaky.url()));
    sending(Arc::clone(&world), RECORDS, 5).await;
    assert_all(&world, RECORDS).await;
    assert!(flaky.failed() > 5, "{} calls failed", flaky.failed());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_s3_that_is_away_from_time_to_time_loses_nothing_of_what_goes_there_in_parts() {
    const RECORDS: usize = 480;
    let world = World::with_roll(20 << 20, AGE).await;
    // The longer ones outlast what a call is tried again for.
    let flaky = Flaky::bursts(Duration::from_secs(4), Duration::from_secs(5)).await.unwrap();
    let _archiver = world.begin(Some(flaky.url()));
    let mut random = rand::rng();
    let mut large = |n: usize| {
        let mut value = vec![b'x'; 100_000];
        random.fill(&mut value[1..]);
        Sent { partition: 0, value: Some(value), ..Sent::number(n, START) }
    };
    for part in 0..8 {
        let records: Vec<Sent> = (part * RECORDS / 8..(part + 1) * RECORDS / 8).map(&mut large).collect();
        world.send(&records).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert_all(&world, RECORDS).await;
    let files: Vec<u64> = world.manifests(0).await.iter().flat_map(|it| &it.files).map(|file| file.bytes).collect();
    assert!(files.iter().any(|bytes| *bytes > 16 << 20), "one of them went in more than two parts: {files:?}");
    assert!(flaky.failed() > 5, "{} calls failed", flaky.failed());
}
