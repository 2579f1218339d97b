//! Events per second through the real service: gRPC, batches of 100 Avro values of the mail record, validated, acks=all.
//!
//! Beside it, in the same run, a bare idempotent producer of the same records to the same topic. Client, service and
//! broker share the machine. Needs `KAFKA_BOOTSTRAP_SERVERS` and `DATABASE_URL`; `MILLRACE_BENCH_SECONDS` is 10.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on stops where it stands")]

#[path = "../tests/it/registry.rs"]
#[expect(dead_code, reason = "the tests use the rest")]
mod registry;
#[path = "../tests/it/support.rs"]
#[expect(dead_code, reason = "the tests use the rest")]
mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::StreamExt;
use millrace_demo as demo;
use millrace_gateway::{Limits, Receipt};
use millrace_kafka::{
    Outgoing,
    producer::{Config, Producer},
};
use millrace_proto::gateway::v1::{
    Event, EventStatus, PublishRequest, PublishStreamRequest, SchemaRef, event::Payload, schema_ref::Ref,
};

use crate::support::{Gateway, World, authorized, brokers, kafka_client};

const BATCH: usize = 100;
/// Different batches, sent round and round.
const BATCHES: usize = 200;
/// Streams of the client, each on a connection of its own.
const STREAMS: usize = 4;
/// Batches under way at once in each.
const WINDOW: usize = 8;
/// What the gateway has to do at least.
const FLOOR: f64 = 50_000.0;

#[tokio::main]
async fn main() {
    let seconds = std::env::var("MILLRACE_BENCH_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(10);
    let time = Duration::from_secs(seconds);
    let world = World::with_schema(demo::SCHEMA).await;
    let gateway = world.gateway_with(Limits { stream_window: WINDOW as u16, ..Limits::default() }).await;
    let key = world.key(&gateway).await;
    let mails: Vec<Bytes> = demo::Generator::new(demo::Settings::new(7, 1_767_225_600_000))
        .take(BATCH * BATCHES)
        .map(|labelled| {
            let mut datum = Vec::new();
            labelled.mail.encode(&mut datum);
            Bytes::from(datum)
        })
        .collect();
    let bytes: usize = mails.iter().map(Bytes::len).sum();

    let batches: Arc<Vec<PublishStreamRequest>> =
        Arc::new(mails.chunks(BATCH).map(|mails| batch(&world, mails)).collect());
    publish(&gateway, &key, &batches, Duration::from_secs(2)).await; // connections, plans, leaders
    let through_gateway = publish(&gateway, &key, &batches, time).await;
    let records: Arc<Vec<Vec<Outgoing>>> = Arc::new(world.records_like(&mails, BATCH));
    produce(&records, Duration::from_secs(2)).await;
    let bare = produce(&records, time).await;

    println!(
        "gateway: gRPC, {STREAMS} streams of batches of {BATCH} Avro values of {} bytes, acks=all",
        bytes / mails.len()
    );
    println!("cores: {}", std::thread::available_parallelism().map_or(0, usize::from));
    println!("{:<28} {:>12} {:>8}", "what", "events/s", "ratio");
    println!("{:<28} {:>12.0} {:>8.2}", "gateway", through_gateway, through_gateway / bare);
    println!("{:<28} {:>12.0} {:>8.2}", "bare idempotent producer", bare, 1.0);
    println!("{:<28} {:>12.0} {:>8.2}", "floor", FLOOR, FLOOR / bare);
    if let Some(kib) = resident_kib() {
        println!("resident memory, client and service together: {} MiB", kib / 1024);
    }
    println!("{}", if through_gateway >= FLOOR { "ok" } else { "BELOW THE FLOOR" });
}

fn batch(world: &World, mails: &[Bytes]) -> PublishStreamRequest {
    let event = |mail: &Bytes| Event { payload: Some(Payload::Avro(mail.clone())), ..Event::default() };
    PublishStreamRequest {
        batch: Some(PublishRequest {
            pipeline: world.pipeline.clone(),
            schema: Some(SchemaRef { r#ref: Some(Ref::Id(1)) }),
            events: mails.iter().map(event).collect(),
        }),
    }
}

/// Accepted events per second.
async fn publish(gateway: &Gateway, key: &str, batches: &Arc<Vec<PublishStreamRequest>>, time: Duration) -> f64 {
    let accepted = Arc::new(AtomicUsize::new(0));
    let begun = Instant::now();
    let streams = (0..STREAMS).map(|stream| {
        let batches = Arc::clone(batches);
        let requests = futures::stream::iter(stream * 7..)
            .take_while(move |_| futures::future::ready(begun.elapsed() < time))
            .map(move |i| batches[i % batches.len()].clone());
        let (mut events, request, accepted) = (gateway.events(), authorized(requests, key), Arc::clone(&accepted));
        tokio::spawn(async move {
            let mut answers = events.publish_stream(request).await.unwrap().into_inner();
            while let Some(answer) = answers.message().await.unwrap() {
                assert!(answer.results.iter().all(|result| result.status() == EventStatus::Accepted));
                accepted.fetch_add(answer.results.len(), Ordering::Relaxed);
            }
        })
    });
    for stream in streams.collect::<Vec<_>>() {
        stream.await.unwrap();
    }
    accepted.load(Ordering::Relaxed) as f64 / begun.elapsed().as_secs_f64()
}

/// Acknowledged records per second.
async fn produce(batches: &Arc<Vec<Vec<Outgoing>>>, time: Duration) -> f64 {
    let producer = Producer::new(&kafka_client(&brokers()), Config::new("bare"), None).unwrap();
    let acked = Arc::new(AtomicUsize::new(0));
    let begun = Instant::now();
    let tasks = (0..STREAMS * WINDOW).map(|task| {
        let (batches, producer, acked) = (Arc::clone(batches), producer.clone(), Arc::clone(&acked));
        tokio::spawn(async move {
            for i in task * 7.. {
                if begun.elapsed() >= time {
                    break;
                }
                let sent = producer.send_all(batches[i % batches.len()].clone()).await;
                acked.fetch_add(sent.iter().filter(|sent| sent.is_ok()).count(), Ordering::Relaxed);
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    acked.load(Ordering::Relaxed) as f64 / begun.elapsed().as_secs_f64()
}

fn resident_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

impl World {
    /// The records that the gateway makes of these values, made by the gateway's own code.
    fn records_like(&self, mails: &[Bytes], batch: usize) -> Vec<Vec<Outgoing>> {
        let plan = self.plan();
        let receipt = Receipt::now(Bytes::from_static(b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"));
        let incoming = |mail: &Bytes| millrace_gateway::Incoming {
            event_id: String::new(),
            correlation_id: String::new(),
            payload: millrace_gateway::Payload::Avro(mail.clone()),
        };
        let prepare = |mails: &[Bytes]| {
            millrace_gateway::prepare(mails.iter().map(incoming).collect(), &plan, &receipt, usize::MAX).records
        };
        mails.chunks(batch).map(prepare).collect()
    }

    fn plan(&self) -> millrace_gateway::Plan {
        let document = millrace_core::Source::parse("pipeline.yaml", &self.document()).unwrap();
        let pipeline = millrace_core::Pipeline::parse(&document).unwrap();
        let schema = millrace_schema::Schema::parse(demo::SCHEMA).unwrap();
        let registered = millrace_schema::client::Registered {
            id: 1,
            guid: schema.guid(),
            subject: None,
            version: None,
            schema: schema.clone(),
        };
        let topic = pipeline.events_topic().into();
        millrace_gateway::Plan::compile(topic, &pipeline.spec.events, &registered, &schema).unwrap()
    }
}
