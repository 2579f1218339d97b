//! What is archived is what was there.

use millrace_kafka::Headers;
use millrace_schema::{Guid, Schema, archived};

use crate::world::{EVENTS, START, Sent, World, datum, framed};

const HOUR: i64 = 3_600_000;

#[tokio::test(flavor = "multi_thread")]
async fn every_record_is_there_with_all_that_it_is() {
    let world = World::new(1).await;
    let mut padded = datum(1);
    padded.extend([4, 7, 7]);
    let mut corrupt = framed(1, &datum(2));
    corrupt.push(9);
    let guid = |place: usize| Some(Guid::of(&Schema::parse(EVENTS[place].1).unwrap()));
    let mut headers = Headers::new();
    headers.push("correlation-id", "c");
    headers.push("traceparent", "00-1");
    let plain = |value: Option<Vec<u8>>, time: i64| Sent { partition: 0, time, value, headers: Headers::new() };
    let records = [
        Sent { partition: 0, ..Sent::number(0, START) },
        plain(Some(framed(2, &padded)), START + 1),
        plain(Some(corrupt.clone()), START + 2),
        plain(Some(framed(99, b"x")), START + 3),
        plain(Some(b"text".to_vec()), START + 4),
        plain(None, START + 5),
        plain(Some(framed(1, &datum(6))), START + HOUR),
        // Late: of the hour before.
        plain(Some(framed(1, &datum(7))), START + HOUR - 1),
        // For one group only: it is a record of the topic all the same.
        Sent { headers: [("redrive-for", "somebody else")].into_iter().collect(), ..plain(None, START + HOUR) },
    ];
    world.send(&records).await;
    let _archiver = world.begin(None);
    world.wait_until_archived().await;

    let all = world.archived().await;
    let at = |offset: i64| &all[&(0, offset)];
    assert_eq!(all.len(), records.len());
    let schemas: Vec<Option<Guid>> = (0..8).map(|offset| at(offset).schema).collect();
    assert_eq!(schemas, [guid(0), guid(1), None, None, None, None, guid(0), guid(0)]);
    let hours: Vec<&str> = (0..8).map(|offset| at(offset).hour.as_str()).collect();
    let (first, second) = ("2026-01-01T00:00:00Z", "2026-01-01T01:00:00Z");
    assert_eq!(hours, [first, first, first, first, first, first, second, first]);
    let raw = |value: Option<&[u8]>| {
        let mut out = Vec::new();
        archived::encode_unknown(value, &mut out);
        out
    };
    assert_eq!((&at(0).event, at(0).event_id.as_deref()), (&datum(0), Some("e-0")));
    assert_eq!(at(1).event, padded);
    assert_eq!(at(2).event, raw(Some(&corrupt)), "as it was, with its frame");
    assert_eq!(at(4).event, raw(Some(b"text")));
    assert_eq!(at(5).event, raw(None));
    assert_eq!(at(0).key.as_deref(), Some(b"key".as_slice()));
    assert_eq!(at(0).headers, []);
    assert_eq!(at(8).headers, [("redrive-for".to_owned(), b"somebody else".to_vec())]);

    // A schema that is not known yet, while the registry is away; it comes back.
    world.registry.set_away(true);
    world.send(&[Sent { headers, ..plain(Some(framed(3, &datum(8))), START + HOUR) }]).await;
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    assert_eq!(world.archived().await.len(), records.len());
    world.registry.set_away(false);
    world.wait_until_archived().await;
    let all = world.archived().await;
    assert_eq!((all[&(0, 9)].schema, &all[&(0, 9)].event), (guid(2), &datum(8)));
    assert_eq!(all[&(0, 9)].headers, [("traceparent".to_owned(), b"00-1".to_vec())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn windows_end_by_size_and_an_archiver_that_is_stopped_leaves_nothing_half() {
    let world = World::new(3600).await;
    let padding = vec![7; 10_000];
    let mut pad = Vec::new();
    millrace_schema::wire::put_bytes(&mut pad, &padding);
    let records: Vec<Sent> = (0..1_000)
        .map(|n| {
            let value = framed(2, &[datum(n), pad.clone()].concat());
            Sent { partition: 0, value: Some(value), ..Sent::number(n, START) }
        })
        .collect();
    let (early, later) = records.split_at(400);
    world.send(early).await;
    let archiver = world.begin(None);
    while world.manifests(0).await.len() < 3 {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    archiver.signal("TERM");
    assert!(archiver.wait(), "it ends in order");
    // The window that had not ended was never there; those that had are whole.
    let before = world.manifests(0).await;
    let archived = world.archived().await;
    assert_eq!(archived.len() as u64, before.iter().map(|it| it.records).sum::<u64>());
    assert!(archived.len() < early.len(), "nothing was open");
    world.send(later).await;

    // Another ends windows where the first would have.
    let _archiver = world.begin(None);
    while world.manifests(0).await.iter().map(|it| it.records).sum::<u64>() < 900 {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let records: Vec<u64> = world.manifests(0).await.iter().map(|it| it.records).collect();
    assert!(records.iter().all(|count| *count == records[0]), "{records:?}");
}
