//! An hour is announced when all partitions have passed it, once, whatever happens to those who announce it.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use millrace_kafka::Headers;
use millrace_lake::late;
use millrace_testkit::assert_eventually;

use crate::world::{Sent, World};

const HOUR: i64 = 3_600_000;

/// A value of no schema, for which no registry is asked.
fn plain(partition: i32, time: i64) -> Sent {
    Sent { partition, time, value: Some(b"text".to_vec()), headers: Headers::default() }
}

/// Longer than an archiver takes between two looks.
async fn some_looks() {
    tokio::time::sleep(Duration::from_secs(12)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_hour_is_announced_once_and_not_before_every_partition_has_passed_it() {
    let world = World::new(1).await;
    // Three hours ago, so that hours that are over follow those that have records.
    let start = Timestamp::now().as_millisecond().div_euclid(HOUR) * HOUR - 3 * HOUR;
    let hour = |n: i64| Timestamp::from_millisecond(start + n * HOUR).unwrap();
    let records: Vec<Sent> = (0..20).map(|n| plain(n % 2, start + i64::from(n) * 6 * 60_000)).collect();
    // The third partition waits for the registry with its only record; the fourth never has any.
    world.registry.set_away(true);
    world.send(&records).await;
    world.send(&[Sent { partition: 2, ..Sent::number(0, start) }]).await;
    let archiver = world.begin(None);
    for partition in [0, 1] {
        let archived = async || world.manifests(partition).await.iter().map(|it| it.records).sum::<u64>();
        assert_eventually!(archived().await => 10, within: 60);
    }
    some_looks().await;
    assert_eq!(world.markers().await.len(), 0, "one partition has not passed it");
    archiver.kill();
    let archiver = world.begin(None);
    some_looks().await;
    assert_eq!(world.markers().await.len(), 0);

    world.registry.set_away(false);
    assert_eventually!(world.markers().await.contains_key(&hour(2)) => true, within: 60);
    let markers = world.markers().await;
    let [first, second, third] = [0, 1, 2].map(|n| &markers[&hour(n)]);
    assert_eq!((first.rows, second.rows, third.rows), (11, 10, 0));
    assert_eq!((first.previous, second.previous, third.previous), (None, Some(hour(0)), Some(hour(1))));
    assert!(first.watermark >= hour(1), "{first:?}");
    let rows: Vec<u64> = first.partitions.iter().map(|it| it.rows).collect();
    assert_eq!(rows, [5, 5, 1, 0]);
    let next: Vec<i64> = third.partitions.iter().map(|it| it.next.unwrap_or_default()).collect();
    assert_eq!(next, [10, 10, 1, 0]);

    // Those that come later go on after it, and never write it again; what comes late is archived, and found.
    archiver.kill();
    let _archivers = [world.begin(None), world.begin(None)];
    world.send(&[plain(1, start + 1), plain(3, start + HOUR)]).await;
    world.wait_until_archived().await;
    some_looks().await;
    let after = world.markers().await;
    assert!(markers.iter().all(|(hour, marker)| after.get(hour) == Some(marker)));
    let hours: Vec<Timestamp> = after.keys().copied().collect();
    assert!(hours.windows(2).all(|pair| pair[1].duration_since(pair[0]) == SignedDuration::from_hours(1)), "{hours:?}");
    for (partition, expected) in [(0, vec![]), (1, vec![(hour(0), 1)]), (2, vec![]), (3, vec![(hour(1), 1)])] {
        let found = late(partition, &world.manifests(partition).await, &after);
        let found: Vec<_> = found.iter().map(|late| (late.hour, late.rows)).collect();
        assert_eq!(found, expected, "partition {partition}");
    }
}
