//! Topics, lag and readers, against a real broker.

use std::{collections::BTreeMap, time::Duration};

use crate::support::{client, eventually, outgoing, producer, send, text, topics, unique};
use millrace_kafka::{
    Admin, Args, Error, Reader,
    admin::{TopicSpec, TopicState},
    reader::{From, Query},
};

fn spec(name: &str, partitions: i32) -> TopicSpec {
    let config = BTreeMap::from([("retention.ms".to_owned(), "3600000".to_owned())]);
    TopicSpec { name: name.to_owned(), partitions, replication: 1, config }
}

#[tokio::test]
async fn a_topic_is_made_once_and_differences_are_reported() {
    let (admin, name) = (Admin::new(&client()).unwrap(), unique("topics"));
    assert_eq!(admin.compare_topics(&[spec(&name, 3)]).await.unwrap(), [TopicState::Missing]);
    assert_eq!(admin.ensure_topics(&[spec(&name, 3)]).await.unwrap(), [TopicState::Created]);
    eventually("the topic is known", Duration::from_secs(10), async || {
        admin.ensure_topics(&[spec(&name, 3)]).await.is_ok_and(|states| states == [TopicState::AsWanted])
    })
    .await;
    let mut other = spec(&name, 4);
    other.config.insert("retention.ms".to_owned(), "7".to_owned());
    // A broker that has made a topic may not know of it a moment later.
    eventually("the difference is told", Duration::from_secs(10), async || {
        let states = admin.compare_topics(std::slice::from_ref(&other)).await;
        states.is_ok_and(|states| matches!(states[..], [TopicState::Different(_)]))
    })
    .await;
    let states = admin.ensure_topics(&[other]).await.unwrap();
    let [TopicState::Different(differences)] = &states[..] else { panic!("{states:?}") };
    let all: Vec<_> = differences.iter().map(|d| (&*d.what, &*d.wanted, &*d.actual)).collect();
    assert_eq!(all, [("partitions", "4", "3"), ("retention.ms", "7", "3600000")]);
    let topic = admin.describe(std::slice::from_ref(&name)).await.unwrap().remove(0);
    assert_eq!(topic.partitions.iter().map(|p| p.id).collect::<Vec<_>>(), [0, 1, 2]);
    assert!(topic.partitions.iter().all(|p| p.leader.is_some() && p.replicas == 1 && p.in_sync == 1));
    assert!(!topic.id.is_nil());
}

#[tokio::test]
async fn what_does_not_exist_or_answer_is_an_error_and_not_a_zero() {
    let admin = Admin::new(&client()).unwrap();
    let missing = unique("missing");
    assert!(admin.describe(std::slice::from_ref(&missing)).await.unwrap().is_empty());
    assert!(
        matches!(admin.lag("g", std::slice::from_ref(&missing)).await, Err(Error::UnknownTopic(name)) if name == missing)
    );
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let away = Admin::new(&Args::plaintext(nobody).client().unwrap()).unwrap();
    let error = away.reachable(Duration::from_millis(500)).await.unwrap_err();
    assert!(error.is_retriable(), "{error}");
    admin.reachable(Duration::from_secs(10)).await.unwrap();
}

#[tokio::test]
async fn a_group_that_has_not_begun_lags_by_all_there_is() {
    let (admin, topic) = (Admin::new(&client()).unwrap(), unique("lag"));
    topics(&[&topic], 3).await;
    send(&topic, 0..90).await;
    let lag = admin.lag(&unique("group"), &[topic]).await.unwrap();
    assert_eq!((lag.total(), lag.0.len()), (Some(90), 3));
    assert!(lag.0.iter().all(|partition| partition.committed.is_none() && partition.end.is_some()));
}

#[tokio::test]
async fn a_reader_finds_by_offset_and_by_time_and_follows() {
    let topic = unique("reader");
    topics(&[&topic], 2).await;
    let records = (0..100)
        .map(|n| {
            let mut record = outgoing(&topic, n.to_string());
            record.timestamp_ms = Some(1_700_000_000_000 + n);
            record
        })
        .collect();
    for sent in producer().send_all(records).await {
        sent.unwrap();
    }
    let read = async |partition, from| {
        let query = Query { topic: topic.clone(), partition, from, follow: false };
        let mut reader = Reader::open(&client(), query).unwrap();
        let mut values = Vec::new();
        while let Some(found) = reader.next().await {
            values.push(text(&found.unwrap()).parse::<i64>().unwrap());
        }
        values.sort_unstable();
        values
    };
    assert_eq!(read(None, From::Beginning).await, (0..100).collect::<Vec<_>>());
    assert_eq!(read(None, From::Time(1_700_000_000_090)).await, (90..100).collect::<Vec<_>>());
    assert_eq!(read(None, From::Last(2)).await.len(), 4);
    assert!(read(None, From::End).await.is_empty());
    assert_eq!(read(Some(0), From::Offset(0)).await.len() + read(Some(1), From::Offset(0)).await.len(), 100);

    let query = Query { topic: topic.clone(), partition: None, from: From::End, follow: true };
    let mut tail = Reader::open(&client(), query).unwrap();
    let following = async {
        let mut seen = Vec::new();
        while seen.len() < 3 {
            seen.push(text(&tail.next().await.unwrap().unwrap()));
        }
        seen.sort_unstable();
        seen
    };
    let later = async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        send(&topic, 200..203).await;
    };
    let (seen, ()) = tokio::join!(following, later);
    assert_eq!(seen, ["200", "201", "202"]);

    let nowhere = Query { topic: unique("nowhere"), partition: None, from: From::Beginning, follow: false };
    assert!(matches!(Reader::open(&client(), nowhere).unwrap().next().await, Some(Err(Error::UnknownTopic(_)))));
}
