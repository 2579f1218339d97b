//! Rows per second into Postgres: raw COPY into the table as the floor, then everything that the importer does.
//!
//! `make bench` runs it, with a database of its own, which it drops. Kafka and the registry are not in the stream's figure; the
//! stand-in of S3 and SQS is in that of files.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on ends")]

mod files;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use millrace_core::{Pipeline, Source};
use millrace_demo::{Generator, Settings};
use millrace_importer::{
    batch::{PlanSet, Prepared},
    ddl,
    feed::{Feed, Kind},
    plan::Plan,
    shape::Shape,
    store::{End, Session},
};
use millrace_kafka::{
    Headers, Record,
    source::{Batch, Partition},
};
use millrace_postgres::{
    Ledger, Pool,
    copy::{self, Rows, Writer},
    ledger::Key,
};
use millrace_schema::{
    Schema, columns,
    framing::SchemaRef,
    scored::{self, Head, Reason},
};
use millrace_testkit::Database;
use uuid::Uuid;

const ROWS: usize = 100_000;
/// The default of `--batch-records`.
const BATCH: usize = 500;
const ROUNDS: usize = 3;
const SCORED: u32 = 7;
/// What is asked for of both: the share of raw COPY.
const SHARE: f64 = 0.5;
/// Rows per second of the stream.
const FLOOR: f64 = 20_000.0;
/// Rows per second of a file, on its one connection.
const FILES_FLOOR: f64 = 30_000.0;

#[tokio::main(flavor = "multi_thread")]
async fn main() {
    let database = Database::create("bench").await.unwrap();
    measure(&database).await;
    database.remove().await.unwrap();
}

struct Bench {
    pool: Pool,
    shape: Arc<Shape>,
    plans: Arc<PlanSet>,
    batches: Vec<Batch>,
}

async fn measure(database: &Database) {
    let pool = &database.pool;
    millrace_postgres::migrate(pool, millrace_importer::SCHEMA, millrace_importer::MIGRATIONS).await.unwrap();
    let event = Schema::parse(millrace_demo::SCHEMA).unwrap();
    let pipeline = Pipeline::parse(&Source::parse("pipeline.yaml", millrace_demo::PIPELINE).unwrap()).unwrap();
    let feed = Feed::of(&pipeline).remove(0);
    let shape = Arc::new(ddl::ensure(pool, &feed, &columns::of(&event).unwrap()).await.unwrap());
    let plan = Plan::compile(Kind::Scores, &scored::compose(&event).unwrap(), Some(&event), &shape).map(Arc::new);
    let plans = Arc::new(PlanSet::from([(SchemaRef::Id(SCORED), plan)]));
    let bench = Bench { pool: pool.clone(), shape, plans, batches: batches() };
    let bytes: usize = bench.batches.iter().flat_map(|b| &b.records).map(|r| r.value.as_ref().unwrap().len()).sum();

    let begun = Instant::now();
    let rows: Vec<Rows> = bench.batches.iter().map(|batch| bench.encode(batch.clone()).rows).collect();
    let encoded = begun.elapsed();
    let (mut raw, mut whole) = (Duration::MAX, Duration::MAX);
    for _ in 0..ROUNDS {
        raw = raw.min(bench.raw_copy(&rows).await);
        whole = whole.min(bench.import().await);
    }
    let files = files::measure(database, &event).await;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    println!(
        "{ROWS} scored mails of {} columns, {} bytes each, {cores} cores, best of {ROUNDS}",
        bench.shape.columns.len(),
        bytes / ROWS
    );
    let [encoding, raw, whole] = [encoded, raw, whole].map(|time| ROWS as f64 / time.as_secs_f64());
    println!("{:<44} {:>10} {:>14}", "", "rows/s", "of raw COPY");
    println!("{:<44} {encoding:>10.0}", "Avro to COPY bytes, no Postgres");
    println!("{:<44} {raw:>10.0} {:>14.2}", "raw COPY into the same table, primary key", 1.0);
    println!("{:<44} {whole:>10.0} {:>14.2}", "importer: ledger, upsert, aggregates, durable", whole / raw);
    println!("{:<44} {files:>10.0} {:>14.2}", "a file of S3: message to commit, durable", files / raw);
    for (what, rate, floor) in [("stream", whole, FLOOR), ("files", files, FILES_FLOOR)] {
        let met = rate >= floor && rate / raw >= SHARE;
        let met = if met { "met" } else { "MISSED" };
        println!("{what}: at least {floor:.0} rows/s and {SHARE:.2} of raw COPY: {met}");
    }
}

impl Bench {
    fn encode(&self, batch: Batch) -> Prepared {
        let mut writer = Writer::with_capacity(8 << 20);
        let prepared = Prepared::encode(
            vec![batch],
            Arc::clone(&self.plans),
            Arc::clone(&self.shape),
            &mut writer,
            1_700_000_000_000_000,
        );
        assert!(prepared.rejects.is_empty(), "{:?}", prepared.rejects[0]);
        prepared
    }

    async fn raw_copy(&self, rows: &[Rows]) -> Duration {
        self.empty().await;
        let names: Vec<String> = self.shape.columns.iter().map(|column| columns::quote_ident(&column.name)).collect();
        let sql = format!("COPY {} ({}) FROM STDIN (FORMAT binary)", self.shape.table, names.join(", "));
        let mut client = self.pool.get().await.unwrap();
        let begun = Instant::now();
        for rows in rows {
            let transaction = client.transaction().await.unwrap();
            let copy = transaction.prepare_cached(&sql).await.unwrap();
            copy::send(&transaction, &copy, rows, std::slice::from_ref(&(0..rows.len()))).await.unwrap();
            transaction.commit().await.unwrap();
        }
        begun.elapsed()
    }

    /// As the importer works: the next batch is encoded while one is stored.
    async fn import(&self) -> Duration {
        self.empty().await;
        let ledger = Ledger::new(millrace_importer::SCHEMA, "bench");
        let partition = &self.batches[0].partition;
        let key = Key { topic_id: partition.topic_id, partition: partition.partition };
        ledger.positions(&self.pool.get().await.unwrap(), &[key]).await.unwrap();
        let mut session = Session::open(&self.pool, ledger).await.unwrap();
        let batches = self.batches.clone();
        let begun = Instant::now();
        let mut storing: Option<tokio::task::JoinHandle<Session>> = None;
        let mut idle = Some(session);
        for batch in batches {
            let prepared = self.encode(batch);
            session = match storing.take() {
                Some(storing) => storing.await.unwrap(),
                None => idle.take().unwrap(),
            };
            storing = Some(tokio::spawn(store(session, prepared)));
        }
        storing.unwrap().await.unwrap();
        begun.elapsed()
    }

    /// Empty tables and quiet disks.
    async fn empty(&self) {
        let client = self.pool.get().await.unwrap();
        let sql = "TRUNCATE pipeline.mail_trust, pipeline.mail_trust_by_org_hour, importer.offsets";
        client.batch_execute(sql).await.unwrap();
        client.batch_execute("CHECKPOINT").await.unwrap();
    }
}

async fn store(mut session: Session, prepared: Prepared) -> Session {
    let choice = prepared.choose(&std::collections::BTreeSet::new());
    let stored =
        session.store(&prepared.shape, &prepared.batches, &prepared.rows, &choice.ranges, End::Commit).await.unwrap();
    assert_eq!(stored.inserted as usize, prepared.rows.len());
    session
}

fn batches() -> Vec<Batch> {
    let partition = Partition { topic: "mail-trust.scores".into(), topic_id: Uuid::from_u128(1), partition: 0 };
    let mut records =
        Generator::new(Settings::new(7, 1_700_000_000_000)).take(ROWS).enumerate().map(|(n, labelled)| {
            let mut value = [&[0][..], &SCORED.to_be_bytes()].concat();
            scored::encode_head(&head(&labelled.mail.uid), &mut value);
            labelled.mail.encode(&mut value);
            Record {
                offset: n as i64,
                timestamp_ms: None,
                key: None,
                value: Some(value.into()),
                headers: Headers::new(),
            }
        });
    (0..ROWS / BATCH)
        .map(|batch| Batch {
            partition: partition.clone(),
            start: (batch * BATCH) as i64,
            records: records.by_ref().take(BATCH).collect(),
            next_offset: ((batch + 1) * BATCH) as i64,
            lost: false,
        })
        .collect()
}

fn head(event_id: &str) -> Head<'_> {
    let reason = |feature, contribution| Reason { feature, value: Some("0.125"), contribution };
    Head {
        event_id,
        correlation_id: "019a5b3c-7d7e-7aaa-8000-0123456789ab",
        pipeline: "mail-trust",
        received_at: 1_700_000_000_000,
        scored_at: 1_700_000_000_050,
        source: "stream",
        model: "mail-trust",
        model_version: "0f1e2d3c4b5a",
        score: 0.125_251_872_1,
        margin: -1.94,
        reasons: vec![
            reason("baseline_domain_net", -0.81),
            reason("client_rdns_missing", 0.42),
            reason("url_count", -0.3),
            reason("subject_len", 0.12),
            reason("hour_of_day", 0.07),
        ],
    }
}
