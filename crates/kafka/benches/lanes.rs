//! What two lanes in a row cost, as between events and verdicts: the age of records at 500 a second, and how many a
//! second go through. Needs `KAFKA_BOOTSTRAP_SERVERS`.

use std::{
    collections::BTreeMap,
    thread::{self, JoinHandle},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use millrace_kafka::{
    Admin, Args, Client, Headers, Lane, Outgoing, Producer, Reader,
    admin::TopicSpec,
    lane::{Input, LaneConfig, Limits, Outputs, Processor, Unavailable},
    producer,
    reader::{From, Query},
};
use millrace_runtime::Shutdown;

const PARTITIONS: i32 = 4;
const LANES: usize = 2;
const SIZE: usize = 500;
const RATE: u64 = 500;
const SECONDS: u64 = 15;
const FLOOD: usize = 300_000;

struct Copy(String);

impl Processor for Copy {
    fn process(&mut self, batch: &[Input<'_>], out: &mut Outputs) -> Result<(), Unavailable> {
        for input in batch {
            out.send(input, &self.0, input.value.unwrap_or_default(), &[]);
        }
        Ok(())
    }
}

fn main() {
    let Ok(brokers) = std::env::var("KAFKA_BOOTSTRAP_SERVERS") else {
        println!("KAFKA_BOOTSTRAP_SERVERS is not set: nothing is measured");
        return;
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(measure(&Args::plaintext(brokers).client().expect("settings are right")));
}

async fn measure(client: &Client) {
    let name = format!("bench-{}", &uuid::Uuid::new_v4().simple().to_string()[..12]);
    let topics: Vec<String> = ["a", "b", "c", "dead"].iter().map(|kind| format!("{name}.{kind}")).collect();
    let spec = |name: &String| TopicSpec {
        name: name.clone(),
        partitions: PARTITIONS,
        replication: 1,
        config: BTreeMap::new(),
    };
    let admin = Admin::new(client).expect("a client");
    admin.ensure_topics(&topics.iter().map(spec).collect::<Vec<_>>()).await.expect("topics");
    let shutdown = Shutdown::new();
    let lanes: Vec<JoinHandle<_>> = (0..2 * LANES)
        .map(|n| lane(client, &name, [&topics[n / LANES], &topics[n / LANES + 1], &topics[3]], n, &shutdown))
        .collect();

    let mut ages = age(client, &topics[0], &topics[2]).await;
    ages.sort_unstable();
    let at = |share: f64| ages[((ages.len() - 1) as f64 * share) as usize] as f64 / 1e3;
    println!("{} cores, {LANES} lanes a stage, {PARTITIONS} partitions, {SIZE} bytes a record", cores());
    println!(
        "age after two stages at {RATE}/s: p50 {:.1} ms, p95 {:.1} ms, p99 {:.1} ms, max {:.1} ms",
        at(0.5),
        at(0.95),
        at(0.99),
        at(1.0),
    );
    let (sent, through) = flood(client, &topics[0], &topics[2]).await;
    println!(
        "{FLOOD} records: bare producer {sent:.0}/s, through two stages {through:.0}/s, ratio {:.2}",
        through / sent
    );

    shutdown.trigger();
    for lane in lanes {
        lane.join().expect("no panic").expect("an orderly end");
    }
    admin.delete_topics(&topics).await.ok();
}

fn lane(
    client: &Client,
    name: &str,
    [input, output, dead]: [&String; 3],
    n: usize,
    shutdown: &Shutdown,
) -> JoinHandle<anyhow::Result<()>> {
    let config = LaneConfig {
        service: "bench",
        pipeline: name.to_owned(),
        group: input.clone(),
        topics: vec![input.clone()],
        dead_topic: dead.clone(),
        instance_id: name.to_owned(),
        index: n,
        limits: Limits {
            linger: std::env::var("LINGER_MS")
                .ok()
                .and_then(|ms| ms.parse().ok())
                .map_or(Limits::default().linger, Duration::from_millis),
            ..Limits::default()
        },
    };
    let lane = Lane::new(client, config, Copy(output.clone()), opentelemetry::global::meter("bench"));
    let shutdown = shutdown.clone();
    thread::spawn(move || lane.run(shutdown))
}

/// Ages in microseconds, of records sent at a steady rate.
async fn age(client: &Client, from: &str, to: &str) -> Vec<u64> {
    let mut reader = follow(client, to);
    let producer = Producer::new(client, producer::Config::new("bench"), None).expect("a client");
    producer.send_all((0..100).map(|_| record(from)).collect()).await;
    for _ in 0..100 {
        reader.next().await;
    }
    // The lanes have just found each other; partitions still move between them.
    tokio::time::sleep(Duration::from_secs(8)).await;
    let sending = async {
        let mut tick = tokio::time::interval(Duration::from_millis(10));
        for _ in 0..SECONDS * 100 {
            tick.tick().await;
            let (producer, records) = (producer.clone(), (0..RATE / 100).map(|_| record(from)).collect());
            tokio::spawn(async move { producer.send_all(records).await });
        }
    };
    let reading = async {
        let mut ages = Vec::new();
        while ages.len() < (SECONDS * RATE) as usize {
            let found = reader.next().await.expect("it follows").expect("it is read");
            let value = found.record.value.unwrap_or_default();
            let sent = value.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
            ages.push(micros().saturating_sub(sent));
        }
        ages
    };
    tokio::join!(sending, reading).1
}

/// Records per second of a bare producer, and through both stages.
async fn flood(client: &Client, from: &str, to: &str) -> (f64, f64) {
    let mut reader = follow(client, to);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let producer = Producer::new(client, producer::Config::new("bench"), None).expect("a client");
    let start = Instant::now();
    let sending = async {
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..FLOOD / 100 {
            let (producer, records) = (producer.clone(), (0..100).map(|_| record(from)).collect::<Vec<_>>());
            tasks.spawn(async move { producer.send_all(records).await });
            if tasks.len() >= 64 {
                tasks.join_next().await;
            }
        }
        while tasks.join_next().await.is_some() {}
        start.elapsed()
    };
    let reading = async {
        for _ in 0..FLOOD {
            reader.next().await.expect("it follows").expect("it is read");
        }
        start.elapsed()
    };
    let (sent, through) = tokio::join!(sending, reading);
    (FLOOD as f64 / sent.as_secs_f64(), FLOOD as f64 / through.as_secs_f64())
}

fn follow(client: &Client, topic: &str) -> Reader {
    let query = Query { topic: topic.to_owned(), partition: None, from: From::End, follow: true };
    Reader::open(client, query).expect("a reader")
}

fn record(topic: &str) -> Outgoing {
    let mut value = vec![7; SIZE];
    value[..8].copy_from_slice(&micros().to_le_bytes());
    let key = uuid::Uuid::new_v4();
    Outgoing {
        topic: topic.into(),
        partition: None,
        key: Some(key.to_string().into()),
        value: Some(value.into()),
        headers: [("event-id", "x"), ("received-at", "2026-01-02T03:04:05.678Z")].into_iter().collect::<Headers>(),
        timestamp_ms: None,
    }
}

fn micros() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_micros() as u64)
}

fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}
