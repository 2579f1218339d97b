//! What a source promises, against a real broker.

use std::{collections::HashMap, time::Duration};

use crate::support::{brokers, client, outgoing, producer, send, topics, unique};
use millrace_kafka::{
    Admin, Source,
    source::{Batch, Event, Partition, SourceConfig},
};
use rdkafka::{
    ClientConfig,
    producer::{BaseProducer, BaseRecord, Producer as _},
};

/// A ledger in memory, and every record that was entered in it.
#[derive(Default)]
struct Ledger {
    next: HashMap<Partition, i64>,
    values: Vec<String>,
    /// What had left the topic before it was read: first and next offsets.
    lost: Vec<(i64, i64)>,
}

impl Ledger {
    /// Refuses a batch that does not follow the one before.
    fn enter(&mut self, batch: &Batch) {
        let next = self.next.entry(batch.partition.clone()).or_insert(0);
        assert_eq!(batch.start, *next, "{:?}", batch.partition);
        assert!(batch.next_offset > batch.start);
        if batch.lost {
            assert!(batch.records.is_empty());
            self.lost.push((batch.start, batch.next_offset));
        }
        *next = batch.next_offset;
        self.values.extend(
            batch.records.iter().map(|r| String::from_utf8(r.value.as_deref().unwrap_or_default().to_vec()).unwrap()),
        );
    }

    /// Serves a source until `done`.
    async fn follow(&mut self, source: &mut Source, done: impl Fn(&Self) -> bool) {
        let reading = async {
            while !done(self) {
                match source.next().await.unwrap() {
                    Event::Assigned(partitions) => {
                        let at: Vec<_> =
                            partitions.into_iter().map(|p| (p.clone(), self.next.get(&p).copied())).collect();
                        source.start_at(&at);
                    }
                    Event::Batch(batch) => {
                        self.enter(&batch);
                        source.commit(&batch.partition, batch.next_offset);
                    }
                    Event::Revoked(_) => {}
                }
            }
        };
        tokio::time::timeout(Duration::from_mins(1), reading).await.expect("the records come");
    }

    fn numbers(&self) -> Vec<usize> {
        let mut numbers: Vec<usize> = self.values.iter().map(|value| value.parse().unwrap()).collect();
        numbers.sort_unstable();
        numbers
    }
}

fn config(name: &str, topic: &str) -> SourceConfig {
    SourceConfig { max_records: 70, ..SourceConfig::new(name, topic, vec![topic.to_owned()]) }
}

/// Writes transactions of ten records; each third is aborted.
fn transactions(topic: &str, count: usize) {
    let producer: BaseProducer =
        ClientConfig::new().set("bootstrap.servers", brokers()).set("transactional.id", topic).create().unwrap();
    producer.init_transactions(Duration::from_secs(30)).unwrap();
    for transaction in 0..count {
        producer.begin_transaction().unwrap();
        for n in 0..10 {
            let value = (transaction * 10 + n).to_string();
            producer.send(BaseRecord::<(), str>::to(topic).payload(&value).partition((n % 2) as i32)).unwrap();
        }
        producer.flush(Duration::from_secs(30)).unwrap();
        if transaction % 3 == 2 {
            producer.abort_transaction(Duration::from_secs(30)).unwrap();
        } else {
            producer.commit_transaction(Duration::from_secs(30)).unwrap();
        }
    }
}

#[tokio::test]
async fn batches_are_consecutive_over_markers_and_aborted_records() {
    let topic = unique("gaps");
    topics(&[&topic], 2).await;
    let name = topic.clone();
    tokio::task::spawn_blocking(move || transactions(&name, 30)).await.unwrap();
    let mut source = Source::new(&client(), config("gaps", &topic), None).unwrap();
    let mut ledger = Ledger::default();
    ledger.follow(&mut source, |ledger| ledger.values.len() >= 200).await;
    let expected: Vec<usize> = (0..300).filter(|n| n / 10 % 3 != 2).collect();
    assert_eq!(ledger.numbers(), expected);
    // Nothing follows the last marker: it is told all the same.
    let ends: i64 = Admin::new(&client()).unwrap().moment(&topic, 0).await.unwrap().iter().map(|it| it.end).sum();
    ledger.follow(&mut source, |ledger| ledger.next.values().sum::<i64>() >= ends).await;
    source.close(Duration::from_secs(10)).await;
}

#[tokio::test]
async fn a_source_begins_where_the_ledger_says_and_not_where_the_group_is() {
    let topic = unique("ledger");
    topics(&[&topic], 2).await;
    send(&topic, 0..500).await;
    let mut ledger = Ledger::default();
    let mut source = Source::new(&client(), config("first", &topic), None).unwrap();
    ledger.follow(&mut source, |ledger| ledger.values.len() >= 500).await;
    drop(source);
    // The ledger lost its last transaction: the group is ahead of it.
    let partition = ledger.next.keys().next().unwrap().clone();
    let back = *ledger.next.get(&partition).unwrap() - 10;
    ledger.next.insert(partition, back);
    let mut source = Source::new(&client(), config("second", &topic), None).unwrap();
    ledger.follow(&mut source, |ledger| ledger.values.len() >= 510).await;
    send(&topic, 500..600).await;
    ledger.follow(&mut source, |ledger| ledger.values.len() >= 610).await;
    let mut numbers = ledger.numbers();
    numbers.dedup();
    assert_eq!(numbers, (0..600).collect::<Vec<_>>());
}

#[tokio::test]
async fn partitions_move_between_sources_and_the_ledger_stays_whole() {
    let topic = unique("moves");
    topics(&[&topic], 6).await;
    send(&topic, 0..1_000).await;
    let mut ledger = Ledger::default();
    let mut first = Source::new(&client(), config("first", &topic), None).unwrap();
    ledger.follow(&mut first, |ledger| ledger.values.len() >= 1_000).await;
    let mut second = Source::new(&client(), config("second", &topic), None).unwrap();
    // Both enter their batches into one ledger: one that came twice would not follow.
    let (mut revoked, mut assigned) = (Vec::new(), Vec::new());
    let moving = async {
        while revoked.is_empty() || assigned.is_empty() {
            let (event, source) = tokio::select! {
                event = first.next() => (event.unwrap(), &first),
                event = second.next() => (event.unwrap(), &second),
            };
            match event {
                Event::Assigned(partitions) => {
                    let at: Vec<_> = partitions.iter().map(|p| (p.clone(), ledger.next.get(p).copied())).collect();
                    source.start_at(&at);
                    assigned.extend(partitions);
                }
                Event::Batch(batch) => ledger.enter(&batch),
                Event::Revoked(partitions) => revoked.extend(partitions),
            }
        }
    };
    tokio::time::timeout(Duration::from_mins(1), moving).await.expect("the second gets its share");
    assert!(assigned.iter().all(|partition| revoked.contains(partition)), "{assigned:?} {revoked:?}");
    let begin = std::time::Instant::now();
    first.close(Duration::from_secs(10)).await;
    // It has left: nobody waits for its session to end, which is where a close that hangs would come to.
    assert!(begin.elapsed() < Duration::from_secs(3), "{:?}", begin.elapsed());
    send(&topic, 1_000..2_000).await;
    ledger.follow(&mut second, |ledger| ledger.values.len() >= 2_000).await;
    assert_eq!(ledger.numbers(), (0..2_000).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_slow_caller_is_waited_for_and_nothing_is_lost() {
    let topic = unique("slow");
    topics(&[&topic], 2).await;
    send(&topic, 0..5_000).await;
    let mut source = Source::new(&client(), config("slow", &topic), None).unwrap();
    let mut ledger = Ledger::default();
    ledger.follow(&mut source, |ledger| ledger.values.len() >= 100).await;
    // Longer than the source's patience: the partitions are paused.
    tokio::time::sleep(Duration::from_secs(4)).await;
    ledger.follow(&mut source, |ledger| ledger.values.len() >= 5_000).await;
    assert_eq!(ledger.numbers(), (0..5_000).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_retention_takes_from_a_source_that_reads_is_told_and_the_rest_comes() {
    let topic = unique("overtaken");
    topics(&[&topic], 1).await;
    send(&topic, 0..1_000).await;
    let mut source = Source::new(&client(), config("overtaken", &topic), None).unwrap();
    let mut ledger = Ledger::default();
    ledger.follow(&mut source, |ledger| ledger.values.len() >= 70).await;
    // Longer than the source's patience: what was prefetched is forgotten, and has to be read again.
    tokio::time::sleep(Duration::from_secs(4)).await;
    let admin = Admin::new(&client()).unwrap();
    admin.delete_records(&topic, &[(0, 900)].into()).await.unwrap();
    ledger.follow(&mut source, |ledger| ledger.next.values().sum::<i64>() >= 1_000).await;
    let [(first, next)] = ledger.lost[..] else { panic!("{:?}", ledger.lost) };
    assert_eq!(next, 900);
    let there: Vec<usize> = (0..first as usize).chain(900..1_000).collect();
    assert_eq!(ledger.numbers(), there);
    // It goes on as before.
    send(&topic, 1_000..1_100).await;
    ledger.follow(&mut source, |ledger| ledger.next.values().sum::<i64>() >= 1_100).await;
    assert_eq!((ledger.values.len(), ledger.lost.len()), (there.len() + 100, 1));
}

#[tokio::test]
async fn a_source_that_begins_before_the_topic_does_is_told_what_is_gone() {
    let topic = unique("begins");
    topics(&[&topic], 1).await;
    send(&topic, 0..100).await;
    let admin = Admin::new(&client()).unwrap();
    admin.delete_records(&topic, &[(0, 60)].into()).await.unwrap();
    assert_eq!(admin.beginnings(&topic).await.unwrap(), [(0, 60)].into());
    // The ledger of one that has read nothing begins with 0.
    let mut ledger = Ledger::default();
    ledger.next.insert(
        Partition { topic: topic.as_str().into(), topic_id: admin.topic_id(&topic).await.unwrap(), partition: 0 },
        0,
    );
    let mut source = Source::new(&client(), config("begins", &topic), None).unwrap();
    ledger.follow(&mut source, |ledger| ledger.next.values().sum::<i64>() >= 100).await;
    assert_eq!((ledger.lost, ledger.values.len()), (vec![(0, 60)], 40));
}

#[tokio::test]
async fn a_record_redriven_for_another_group_is_passed_over() {
    let topic = unique("redriven");
    topics(&[&topic], 1).await;
    let mut records: Vec<_> = (0..3).map(|n| outgoing(&topic, n.to_string())).collect();
    records[0].headers.push("redrive-for", "somebody else");
    records[1].headers.push("redrive-for", topic.clone());
    for sent in producer().send_all(records).await {
        sent.unwrap();
    }
    let mut source = Source::new(&client(), config("redriven", &topic), None).unwrap();
    let mut ledger = Ledger::default();
    ledger.follow(&mut source, |ledger| ledger.next.values().sum::<i64>() >= 3).await;
    assert_eq!(ledger.numbers(), [1, 2]);
    // Who keeps what is in the topic gets all of it.
    let config = SourceConfig { redriven_for_others: true, ..config("keeper", &format!("{topic}-keeper")) };
    let config = SourceConfig { topics: vec![topic.clone()], ..config };
    let mut source = Source::new(&client(), config, None).unwrap();
    let mut ledger = Ledger::default();
    ledger.follow(&mut source, |ledger| ledger.next.values().sum::<i64>() >= 3).await;
    assert_eq!(ledger.numbers(), [0, 1, 2]);
}

#[tokio::test]
async fn a_topic_made_anew_is_another_topic() {
    let topic = unique("anew");
    let admin = Admin::new(&client()).unwrap();
    topics(&[&topic], 1).await;
    let before = admin.topic_id(&topic).await.unwrap();
    admin.delete_topics(std::slice::from_ref(&topic)).await.unwrap();
    crate::support::eventually("the topic is gone", Duration::from_secs(10), async || {
        admin.describe(std::slice::from_ref(&topic)).await.is_ok_and(|topics| topics.is_empty())
    })
    .await;
    topics(&[&topic], 1).await;
    let mut source = Source::new(&client(), config("anew", &topic), None).unwrap();
    let Event::Assigned(partitions) = source.next().await.unwrap() else { panic!("nothing is assigned yet") };
    assert_ne!(partitions[0].topic_id, before);
}
