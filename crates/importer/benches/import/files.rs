//! A file of S3, from the message that tells of it to its commit: the real binary, one message at a time, so one connection.

use std::{
    process::{Child, Command},
    time::{Duration, Instant},
};

use millrace_aws::Args;
use millrace_demo::{Generator, Settings};
use millrace_postgres::Pool;
use millrace_schema::{
    Schema,
    container::{Codec, Writer},
    scored,
};
use millrace_testkit::{Bucket, Database, Registry, queue};

use crate::{ROUNDS, ROWS, head};

/// The importer at work; it ends with the benchmark.
struct Importer(Child);

impl Drop for Importer {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// Rows per second, best of several rounds.
pub(crate) async fn measure(database: &Database, event: &Schema) -> f64 {
    let (bucket, objects) = (Bucket::create("bench").await.unwrap(), Args::default().client().objects());
    let queue = queue("bench", Duration::from_mins(5)).await.unwrap();
    let registry = Registry::start().await.unwrap();
    registry.add(1, &event.java_string());
    registry.add_version("mail-trust.events-value", 1);
    let folder = tempfile::tempdir().unwrap();
    let document = folder.path().join("pipeline.yaml");
    std::fs::write(&document, millrace_demo::PIPELINE).unwrap();
    let importer = Command::new(env!("CARGO_BIN_EXE_millrace-importer"))
        .args(["objects", "--messages", "1"])
        .env("DATABASE_URL", &database.url)
        .env("MILLRACE_LOG", "warn")
        .env("MILLRACE_PIPELINES", &document)
        .env("MILLRACE_REGISTRY_HTTP", registry.url())
        .env("MILLRACE_BATCH_BUCKET", bucket.name())
        .env("MILLRACE_IMPORT_QUEUE_URL", queue.url())
        .spawn();
    let _importer = Importer(importer.unwrap());
    let mut best = Duration::MAX;
    for (round, rows) in [1_000].into_iter().chain([ROWS; ROUNDS]).enumerate() {
        let key = format!("mail-trust/scores/{round}.avro");
        objects.put(bucket.name(), &key, file(event, rows)).await.unwrap();
        empty(&database.pool).await;
        let notice = serde_json::json!({"source": "aws.s3", "detail-type": "Object Created", "detail": {
            "bucket": {"name": bucket.name()}, "object": {"key": key}}});
        let begun = Instant::now();
        queue.send(&notice.to_string()).await.unwrap();
        while imported(&database.pool).await <= round as i64 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        if rows == ROWS {
            best = best.min(begun.elapsed());
        }
    }
    queue.remove().await.unwrap();
    bucket.remove().await.unwrap();
    ROWS as f64 / best.as_secs_f64()
}

fn file(event: &Schema, rows: usize) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new(), &scored::compose(event).unwrap(), Codec::Zstandard).unwrap();
    let mut datum = Vec::new();
    for labelled in Generator::new(Settings::new(7, 1_700_000_000_000)).take(rows) {
        datum.clear();
        scored::encode_head(&head(&labelled.mail.uid), &mut datum);
        labelled.mail.encode(&mut datum);
        writer.append(&datum).unwrap();
    }
    writer.finish().unwrap()
}

async fn empty(pool: &Pool) {
    let sql = "TRUNCATE pipeline.mail_trust, pipeline.mail_trust_by_org_hour";
    let client = pool.get().await.unwrap();
    client.batch_execute(sql).await.unwrap();
    client.batch_execute("CHECKPOINT").await.unwrap();
}

async fn imported(pool: &Pool) -> i64 {
    let sql = "SELECT count(*) FROM importer.objects WHERE generation > 0";
    pool.get().await.unwrap().query_one(sql, &[]).await.unwrap().get(0)
}
