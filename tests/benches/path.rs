//! The whole path on one machine: events per second sustained, and the time from receipt to verdict.
//!
//! ```text
//! Sender --gRPC--> gateway -> Kafka -> scorer -> Kafka -> importer -> Postgres
//!   ^                                               '--> judge -> Kafka -> Reader (latency)
//!   '------ no more than WINDOW ahead of what is stored ------'
//! ```

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use millrace_core::header;
use millrace_demo::{Generator, Settings};
use millrace_devstack::{Part, http_get};
use millrace_kafka::{
    Outgoing, Producer, Reader, producer,
    reader::{From, Query},
};
use millrace_testkit::{Outcome, Sender, World};

/// How far sending may be ahead of storing, in events: what is on its way is bounded, so that the rate is the path's.
const WINDOW: u64 = 40_000;
/// Clients, each with a connection and one request under way.
const CLIENTS: u64 = 4;
const BATCH: usize = 100;

fn seconds(name: &str, default: u64) -> Duration {
    Duration::from_secs(std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default))
}

fn main() -> anyhow::Result<()> {
    // `cargo test --benches` asks every bench whether it has tests.
    if std::env::args().any(|arg| arg == "--test" || arg == "--list") {
        return Ok(());
    }
    tokio::runtime::Runtime::new()?.block_on(run())
}

async fn run() -> anyhow::Result<()> {
    let world = Arc::new(World::builder().start().await?);
    let cores = std::thread::available_parallelism()?;
    println!("\nwhole path, {cores} cores, everything on this machine");
    let bare = bare(&world, seconds("MILLRACE_BENCH_FLOOR_SECONDS", 10)).await?;
    let stored = throughput(&world, seconds("MILLRACE_BENCH_SECONDS", 60)).await?;
    let [p50, p95, p99] = latency(&world, seconds("MILLRACE_BENCH_LATENCY_SECONDS", 20)).await?;
    let met = |met| if met { "met" } else { "MISSED" };
    println!("| what | measured | bar | | beside it |");
    println!("|---|---|---|---|---|");
    println!(
        "| whole path, sustained | {stored:.0} events/s | at least 10,000 | {} | bare producer and consumer {bare:.0}/s, ratio {:.2} |",
        met(stored >= 10_000.0),
        stored / bare
    );
    println!(
        "| receipt to verdict at 500/s | p50 {p50:.0} ms, p95 {p95:.0} ms, p99 {p99:.0} ms | p95 250 ms, p99 500 ms | {} | published reference 3,000 ms, ratio {:.3} |",
        met(p95 <= 250.0 && p99 <= 500.0),
        p95 / 3000.0
    );
    for part in Part::SERVICES {
        if let Some(pid) = world.stack().pid(part.name()).await? {
            let peak = peak_mib(pid)?;
            println!("| {part}, peak resident memory | {peak:.0} MiB | under 150 MiB | {} | |", met(peak < 150.0));
        }
    }
    Arc::into_inner(world).map(World::end).expect("every task that shared it has ended").await
}

/// Made-up mail, by client.
fn mails(client: u64) -> impl Iterator<Item = (String, Vec<u8>)> {
    Generator::new(Settings::new(100 + client, 1_767_225_600_000)).map(|labelled| {
        let mut datum = Vec::with_capacity(1024);
        labelled.mail.encode(&mut datum);
        (labelled.mail.uid, datum)
    })
}

/// The floor: the same records through a producer (acks=all, idempotent) and a consumer, nothing between them.
async fn bare(world: &World, time: Duration) -> anyhow::Result<f64> {
    let client = kafka(world)?;
    let topic = "mail-trust.feedback"; // nobody else uses it here
    let producer = Producer::new(&client, producer::Config::new("bare"), None)?;
    let query = Query { topic: topic.to_owned(), partition: None, from: From::End, follow: true };
    let mut reader = Reader::open(&client, query)?;
    let sent = Arc::new(AtomicU64::new(0));
    let begin = Instant::now();
    let mut tasks = Vec::new();
    for client in 0..CLIENTS {
        let (producer, sent) = (producer.clone(), Arc::clone(&sent));
        tasks.push(tokio::spawn(async move {
            let mut mails = mails(client);
            while begin.elapsed() < time {
                let batch = mails.by_ref().take(BATCH * 10).map(|(id, datum)| Outgoing {
                    topic: topic.into(),
                    partition: None,
                    key: Some(id.into()),
                    value: Some(datum.into()),
                    headers: millrace_kafka::Headers::new(),
                    timestamp_ms: None,
                });
                let acked = producer.send_all(batch.collect()).await;
                sent.fetch_add(acked.iter().filter(|sent| sent.is_ok()).count() as u64, Ordering::Relaxed);
            }
        }));
    }
    let mut read = 0_u64;
    let mut ended = false;
    while !ended || read < sent.load(Ordering::Relaxed) {
        if let Ok(Some(found)) = tokio::time::timeout(Duration::from_millis(500), reader.next()).await {
            found?;
            read += 1;
        }
        ended = tasks.iter().all(tokio::task::JoinHandle::is_finished);
        if begin.elapsed() > time * 3 {
            break;
        }
    }
    Ok(read as f64 / begin.elapsed().as_secs_f64())
}

/// Events that are stored per second, in the steady state.
async fn throughput(world: &Arc<World>, time: Duration) -> anyhow::Result<f64> {
    let sent = Arc::new(AtomicU64::new(0));
    let stored = Arc::new(AtomicU64::new(0));
    let begin = Instant::now();
    let warm_up = Duration::from_secs(5);
    let mut tasks = Vec::new();
    for client in 0..CLIENTS {
        let (world, sent, stored) = (Arc::clone(world), Arc::clone(&sent), Arc::clone(&stored));
        tasks.push(tokio::spawn(async move {
            let mut sender = Sender::new(&world, 1)?;
            let mut mails = mails(client + 10);
            while begin.elapsed() < time + warm_up {
                if sent.load(Ordering::Relaxed) > stored.load(Ordering::Relaxed) + WINDOW {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                    continue;
                }
                let mut outcome = Outcome::default();
                sender.send(mails.by_ref().take(BATCH).collect(), &mut outcome).await?;
                sent.fetch_add(outcome.accepted.len() as u64, Ordering::Relaxed);
            }
            anyhow::Ok(())
        }));
    }
    let mut first = None;
    while begin.elapsed() < time + warm_up {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let now = judged(world).await?.min(imported(world).await?);
        stored.store(now, Ordering::Relaxed);
        if first.is_none() && begin.elapsed() > warm_up {
            first = Some((Instant::now(), now));
        }
    }
    let (since, before) = first.expect("the measurement is longer than its warm-up");
    let rate = (stored.load(Ordering::Relaxed) - before) as f64 / since.elapsed().as_secs_f64();
    for task in tasks {
        task.await??;
    }
    drained(world, sent.load(Ordering::Relaxed)).await?;
    Ok(rate)
}

/// Waits until everything that was accepted is stored and judged.
async fn drained(world: &World, sent: u64) -> anyhow::Result<()> {
    let deadline = Instant::now() + Duration::from_mins(2);
    while judged(world).await?.min(imported(world).await?) < sent {
        anyhow::ensure!(Instant::now() < deadline, "not drained after two minutes");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Ok(())
}

/// Milliseconds from receipt until a reader of committed verdicts has it: p50, p95, p99.
async fn latency(world: &Arc<World>, time: Duration) -> anyhow::Result<[f64; 3]> {
    let query = Query { topic: "mail-trust.verdicts".to_owned(), partition: None, from: From::End, follow: true };
    let mut reader = Reader::open(&kafka(world)?, query)?;
    let sending = tokio::spawn({
        let world = Arc::clone(world);
        async move {
            let mut sender = Sender::new(&world, 1)?;
            let mut mails = mails(99);
            let mut tick = tokio::time::interval(Duration::from_millis(10));
            let begin = Instant::now();
            let mut outcome = Outcome::default();
            while begin.elapsed() < time {
                tick.tick().await;
                sender.send(mails.by_ref().take(5).collect(), &mut outcome).await?;
            }
            anyhow::Ok(outcome.accepted.len())
        }
    });
    let mut ages = Vec::new();
    while let Ok(Some(found)) = tokio::time::timeout(Duration::from_secs(3), reader.next()).await {
        let found = found?;
        let received = found.record.headers.text(header::RECEIVED_AT).and_then(|at| at.parse::<jiff::Timestamp>().ok());
        if let Some(received) = received {
            ages.push(jiff::Timestamp::now().as_millisecond() as f64 - received.as_millisecond() as f64);
        }
    }
    let sent = sending.await??;
    anyhow::ensure!(ages.len() * 10 >= sent * 9, "{} verdicts for {sent} events", ages.len());
    // The first second is that of groups and plans that wake up.
    let mut ages = ages.split_off(500.min(ages.len() / 4));
    ages.sort_by(f64::total_cmp);
    Ok([0.50, 0.95, 0.99].map(|q| ages[((ages.len() - 1) as f64 * q) as usize]))
}

/// Rows that the importer has stored, by its own count.
async fn imported(world: &World) -> anyhow::Result<u64> {
    counter(world, Part::Importer, "importer_stored_rows_total", "feed=\"scores\"").await
}

async fn judged(world: &World) -> anyhow::Result<u64> {
    counter(world, Part::Importer, "importer_stored_rows_total", "feed=\"verdicts\"").await
}

/// The sum of a counter's series whose labels contain a text.
async fn counter(world: &World, part: Part, name: &str, label: &str) -> anyhow::Result<u64> {
    let Some(admin) = world.stack().ports().admin(part) else { return Ok(0) };
    let (_, text) = http_get(admin, "/metrics", Duration::from_secs(2)).await?;
    let series = text.lines().filter(|line| line.starts_with(name) && line.contains(label));
    Ok(series.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum::<f64>() as u64)
}

fn kafka(world: &World) -> anyhow::Result<millrace_kafka::Client> {
    #[derive(clap::Parser)]
    struct Flags {
        #[command(flatten)]
        kafka: millrace_kafka::Args,
    }
    let flags = ["bench", "--kafka-brokers", &world.env("KAFKA_BOOTSTRAP_SERVERS")];
    Ok(<Flags as clap::Parser>::parse_from(flags).kafka.client()?)
}

/// The most memory that a process has ever had resident.
fn peak_mib(pid: u32) -> anyhow::Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("0");
    Ok(line.trim().trim_end_matches(" kB").trim().parse::<f64>()? / 1024.0)
}
