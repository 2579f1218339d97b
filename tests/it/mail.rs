//! Real mail: trained on the earlier part, published with the command line, scored, stored and judged, each once.

use std::{
    collections::HashSet,
    fs::File,
    io::BufReader,
    path::{Path, PathBuf},
};

use millrace_schema::{FieldPath, Projection, Schema, Slot, container};
use millrace_testkit::{World, assert_eventually};

/// Where the real records are, in a checkout that has them beside it.
fn records() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/email");
    folder.is_dir().then_some(folder)
}

/// A mail of the labelled file.
struct Mail {
    received_at: i64,
    datum: Vec<u8>,
}

fn read(file: &Path) -> (Schema, Vec<Mail>) {
    let input = BufReader::new(File::open(file).unwrap());
    let mut reader = container::Reader::new(input, container::Limits::default()).unwrap();
    let schema = reader.schema().clone();
    let path: FieldPath = "received_at".parse().unwrap();
    let projection = Projection::compile(&schema, &schema, &[path]).unwrap();
    let mut mails = Vec::new();
    while let Some(datum) = reader.next_datum() {
        let datum = datum.unwrap().to_vec();
        let mut slots = Vec::new();
        projection.read(&datum, &mut slots).unwrap();
        let Slot::Long(received_at) = slots[0] else { panic!("received_at is {:?}", slots[0]) };
        mails.push(Mail { received_at, datum });
    }
    (schema, mails)
}

fn write(file: &Path, schema: &Schema, mails: &[Mail]) {
    let mut writer = container::Writer::new(File::create(file).unwrap(), schema, container::Codec::Deflate).unwrap();
    for mail in mails {
        writer.append(&mail.datum).unwrap();
    }
    writer.finish().unwrap();
}

/// The probability that a positive is scored over a negative.
fn auc(mut scored: Vec<(f64, bool)>) -> f64 {
    scored.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut ranks, mut i) = (0.0, 0);
    while i < scored.len() {
        let end = i + scored[i..].iter().take_while(|(score, _)| score.total_cmp(&scored[i].0).is_eq()).count();
        let rank = (i + 1 + end) as f64 / 2.0;
        ranks += rank * scored[i..end].iter().filter(|(_, positive)| *positive).count() as f64;
        i = end;
    }
    let positives = scored.iter().filter(|(_, positive)| *positive).count() as f64;
    (ranks - positives * (positives + 1.0) / 2.0) / (positives * (scored.len() as f64 - positives))
}

#[tokio::test(flavor = "multi_thread")]
async fn real_mail_is_scored_stored_and_judged_exactly_once() {
    let Some(folder) = records() else {
        eprintln!("left out: the real records are not beside this checkout");
        return;
    };
    let _turn = crate::turn().await;
    let scratch = tempfile::tempdir().unwrap();
    let (schema, mut mails) = read(&folder.join("spamassassin-2002-train.avro"));
    mails.sort_by_key(|mail| mail.received_at);
    let later = mails.split_off(mails.len() * 7 / 10);
    let [training, labelled] = ["training.avro", "labelled.avro"].map(|name| scratch.path().join(name));
    write(&training, &schema, &mails);
    write(&labelled, &schema, &later);
    let unlabelled = folder.join("spamassassin-2002-heldout-unlabelled.avro");
    let sent = later.len() + read(&unlabelled).1.len();

    let world = World::builder().training(&training).start().await.unwrap();
    for file in [&labelled, &unlabelled] {
        let file = file.to_str().unwrap();
        let done = world.cli(["publish", file, "--pipeline", "mail-trust", "--output", "json"]).await.unwrap();
        assert_eq!(done.code, Some(0), "{done:?}");
        assert_eq!(done.json()["rejected"], 0, "{done:?}");
    }

    let sent = i64::try_from(sent).unwrap();
    assert_eventually!(world.number("SELECT count(*) FROM pipeline.mail_trust").await => sent, within: 60);
    assert_eventually!(world.number("SELECT count(*) FROM pipeline.mail_trust_verdicts").await => sent, within: 60);
    let judged = "SELECT count(DISTINCT event_id) FROM pipeline.mail_trust_verdicts";
    assert_eq!(world.number(judged).await, sent);

    let rows = world.client().await.unwrap();
    let rows = rows.query("SELECT score, label FROM pipeline.mail_trust WHERE label <> 'unknown'", &[]).await.unwrap();
    let scored: Vec<(f64, bool)> = rows.iter().map(|row| (row.get(0), row.get::<_, &str>(1) != "ham")).collect();
    assert_eq!(scored.len(), later.len());
    let auc = auc(scored);
    eprintln!("ROC-AUC on the later labelled part: {auc:.4}");
    assert!(auc >= 0.95, "{auc}");

    a_stock_consumer_reads_the_scores(&world, sent).await;
    world.end().await.unwrap();
}

/// The Python client of Confluent, as it comes, with its deserializer and its registry client.
async fn a_stock_consumer_reads_the_scores(world: &World, sent: i64) {
    let python = crate::python().await;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/read_scores.py");
    let [kafka, registry] = ["KAFKA_BOOTSTRAP_SERVERS", "MILLRACE_REGISTRY_HTTP"].map(|name| world.env(name));
    let count = sent.to_string();
    let args = [script.to_str().unwrap(), &kafka, &registry, "mail-trust.scores", &count];
    let done = world.execute(python.as_ref(), args).await.unwrap();
    assert_eq!(done.code, Some(0), "{done:?}");
    let mut ids = HashSet::new();
    for line in done.stdout.lines() {
        let scored: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(scored["event_id"], scored["uid"]);
        assert_eq!((scored["fields"].as_u64(), scored["reasons"].as_u64()), (Some(69), Some(5)), "{scored}");
        ids.insert(scored["event_id"].to_string());
    }
    assert_eq!(ids.len() as i64, sent);
}
