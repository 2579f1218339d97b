//! Champions change under load: every event is scored once, by a whole model that was the champion, and no partition goes back.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use millrace_aws::Args as Aws;
use millrace_core::{header, record::SIGNAL_SCHEMA};
use millrace_demo::{Generator, Settings};
use millrace_devstack::{Child, Part, http_get};
use millrace_kafka::{
    Args as Kafka, Reader,
    reader::{Found, From, Query},
};
use millrace_schema::{Schema, json, scored};
use millrace_testkit::{Models, Outcome, Sender, World, assert_eventually};
use serde_json::Value;

/// A model's name and version.
type Model = (String, String);

/// A score, as far as models are concerned.
#[derive(Debug)]
struct Score {
    partition: i32,
    offset: i64,
    event: String,
    revision: u64,
    model: Model,
    /// Milliseconds since 1970.
    at: i64,
}

/// Every committed record of a topic.
async fn read(world: &World, topic: &str) -> Vec<Found> {
    let client = Kafka::plaintext(world.env("KAFKA_BOOTSTRAP_SERVERS")).client().unwrap();
    let query = Query { topic: topic.to_owned(), partition: None, from: From::Beginning, follow: false };
    let mut reader = Reader::open(&client, query).unwrap();
    let mut all = Vec::new();
    while let Some(found) = reader.next().await {
        all.push(found.unwrap());
    }
    all
}

async fn scores(world: &World) -> Vec<Score> {
    let score = |found: Found| {
        let value = found.record.value.as_deref().unwrap();
        let (head, _) = scored::decode_head(&value[5..]).unwrap();
        Score {
            partition: found.partition,
            offset: found.record.offset,
            event: head.event_id.to_owned(),
            revision: found.record.headers.text(header::MODEL_REVISION).unwrap().parse().unwrap(),
            model: (head.model.to_owned(), head.model_version.to_owned()),
            at: head.scored_at,
        }
    };
    let mut scores: Vec<Score> = read(world, "mail-trust.scores").await.into_iter().map(score).collect();
    scores.sort_by_key(|score| (score.partition, score.offset));
    scores
}

/// Small bundles, each another one than the others.
async fn bundles(world: &World, count: usize) -> Vec<std::path::PathBuf> {
    let file = world.made_up_training().unwrap();
    let mut bundles = Vec::new();
    for number in 0..count {
        let out = world.folder().join(format!("bundle-{number}"));
        let shrinkage = format!("0.{}", number + 1);
        world.train(&file, &out, &["--rounds", "10", "--shrinkage", &shrinkage]).await.unwrap();
        bundles.push(out);
    }
    bundles
}

fn mails(seed: u64, count: usize) -> Vec<(String, Vec<u8>)> {
    encoded(Generator::new(Settings::new(seed, 1_767_225_600_000)).take(count))
}

fn encoded(mails: impl Iterator<Item = millrace_demo::Labelled>) -> Vec<(String, Vec<u8>)> {
    mails
        .map(|labelled| {
            let mut datum = Vec::new();
            labelled.mail.encode(&mut datum);
            (labelled.mail.uid, datum)
        })
        .collect()
}

/// Events per request, about five requests a second.
const BATCH: usize = 100;

/// Sends until it is told to stop.
async fn send(world: Arc<World>, stop: Arc<AtomicBool>) -> Outcome {
    let mut sender = Sender::new(&world, 1).unwrap();
    let mut outcome = Outcome::default();
    let mut mails = Generator::new(Settings::new(42, 1_767_225_600_000));
    let mut tick = tokio::time::interval(Duration::from_millis(200));
    while !stop.load(Ordering::Relaxed) {
        tick.tick().await;
        sender.send(encoded(mails.by_ref().take(BATCH)), &mut outcome).await.unwrap();
    }
    outcome
}

/// A second scorer of the same pipeline, with a cache of its own.
fn second_scorer(world: &World) -> Child {
    let binary = world.stack().binaries().join("millrace-scorer");
    let log = std::fs::File::create(world.stack().log("scorer-1")).unwrap();
    let command = [binary.into_os_string(), "stream".into()];
    let cache = world.folder().join("second-cache");
    let spawned = world.stack().spawn("scorer-1", &command, |command| {
        command
            .env("MILLRACE_MODELS_FROM", "registry")
            .env("MILLRACE_MODEL_CACHE", cache)
            .env("MILLRACE_INSTANCE_ID", "scorer-1")
            .env("MILLRACE_ADMIN_ADDR", "127.0.0.1:0")
            .stdout(log.try_clone().unwrap())
            .stderr(log);
    });
    spawned.unwrap()
}

/// How often another model becomes the champion.
const PROMOTIONS: usize = 50;

#[tokio::test(flavor = "multi_thread")]
async fn fifty_promotions_under_load_lose_nothing_double_nothing_and_no_partition_goes_back() {
    let _turn = crate::turn().await;
    let world = Arc::new(World::builder().models_from_registry().start().await.unwrap());
    let mut models = Models::of(&world).unwrap();
    let mut versions = Vec::new();
    for bundle in bundles(&world, 3).await {
        versions.push(models.push(&bundle).await.unwrap());
    }
    let second = second_scorer(&world);
    let stop = Arc::new(AtomicBool::new(false));
    let sending = tokio::spawn(send(Arc::clone(&world), Arc::clone(&stop)));

    for number in 0..PROMOTIONS {
        tokio::time::sleep(Duration::from_millis(700)).await;
        let champion = models.assignment().await.unwrap().champion;
        if number % 7 == 6 {
            models.roll_back().await.unwrap();
        } else {
            let mut others = (0..versions.len()).map(|step| &versions[(number + step) % versions.len()]);
            let next = others.find(|model| Some(*model) != champion.as_ref()).unwrap();
            models.promote(next).await.unwrap();
        }
        if number % 16 == 8 {
            world.crash("scorer").await.unwrap();
        }
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    stop.store(true, Ordering::Relaxed);
    let outcome = sending.await.unwrap();
    let accepted = outcome.accepted.len();
    assert_eventually!(read(&world, "mail-trust.scores").await.len() => accepted, within: 120);

    let champions: BTreeMap<u64, Model> = models
        .promotions()
        .await
        .unwrap()
        .into_iter()
        .map(|promotion| {
            let model = promotion.model.unwrap();
            (promotion.revision, (model.name, model.version))
        })
        .collect();
    assert_eq!(champions.len(), PROMOTIONS + 1);
    let scores = scores(&world).await;
    let events: BTreeSet<String> = scores.iter().map(|score| score.event.clone()).collect();
    assert_eq!((scores.len(), &events), (accepted, &outcome.accepted), "each accepted event is scored once");
    for score in &scores {
        assert_eq!(
            champions.get(&score.revision),
            Some(&score.model),
            "{score:?}: by its revision another one was champion"
        );
    }
    for pair in scores.windows(2).filter(|pair| pair[0].partition == pair[1].partition) {
        assert!(pair[0].revision <= pair[1].revision, "{} goes back: {pair:?}", pair[0].partition);
    }
    let used: BTreeSet<u64> = scores.iter().map(|score| score.revision).collect();
    assert!(used.len() > PROMOTIONS / 2, "only {} of the revisions have scored: {used:?}", used.len());
    let mut times: Vec<i64> = scores.iter().map(|score| score.at).collect();
    times.sort_unstable();
    let gap = times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
    println!(
        "{PROMOTIONS} promotions, {accepted} events, {} revisions have scored; the longest time without a score: {gap} ms",
        used.len()
    );
    assert!(read(&world, "mail-trust.dead").await.is_empty());
    second.stop(Duration::from_secs(35)).await;
    Arc::into_inner(world).unwrap().end().await.unwrap();
}

/// Sends mails and waits for their scores: the models and revisions of all scores so far.
async fn score_more(world: &World, seed: u64) -> Vec<(u64, String)> {
    let before = read(world, "mail-trust.scores").await.len();
    let mut outcome = Outcome::default();
    Sender::new(world, 1).unwrap().send(mails(seed, 50), &mut outcome).await.unwrap();
    assert_eventually!(read(world, "mail-trust.scores").await.len() => before + 50, within: 60);
    let sent: BTreeSet<String> = outcome.accepted;
    let scores = scores(world).await.into_iter().filter(|score| sent.contains(&score.event));
    let mut by: Vec<(u64, String)> = scores.map(|score| (score.revision, score.model.1)).collect();
    by.sort();
    by.dedup();
    by
}

/// The revision of the model that the stack's scorer uses, by its own word.
async fn revision_in_use(world: &World) -> String {
    let admin = world.stack().ports().admin(Part::Scorer).unwrap();
    let (_, text) = http_get(admin, "/metrics", Duration::from_secs(2)).await.unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("scorer_model_revision"));
    line.and_then(|line| line.rsplit(' ').next()).unwrap_or_default().to_owned()
}

/// The signals of refused models: state and version.
async fn signals(world: &World) -> Vec<(String, String)> {
    let schema = Schema::parse(SIGNAL_SCHEMA).unwrap();
    let signal = |found: Found| json::to_json(&schema, &found.record.value.as_deref().unwrap()[5..]).unwrap();
    let all: Vec<Value> = read(world, "millrace.signals").await.into_iter().map(signal).collect();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let refused = all.iter().filter(|signal| signal["kind"] == "refused-model");
    refused.map(|signal| (text(&signal["state"]), text(&signal["labels"]["version"]))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_that_is_not_what_its_manifest_says_is_refused_and_alerted_and_the_old_one_scores() {
    let _turn = crate::turn().await;
    let world = World::builder().models_from_registry().start().await.unwrap();
    let mut models = Models::of(&world).unwrap();
    let first = models.assignment().await.unwrap().champion.unwrap();
    assert_eq!(score_more(&world, 1).await, [(1, first.version.clone())]);

    let bundles = bundles(&world, 2).await;
    let broken = models.push(&bundles[0]).await.unwrap();
    break_stored(&world, &bundles[0]).await;
    models.promote(&broken).await.unwrap();
    assert_eventually!(signals(&world).await => vec![("firing".to_owned(), broken.version.clone())], within: 60);
    assert_eq!(score_more(&world, 2).await, [(1, first.version.clone())], "the old one scores on");

    let good = models.push(&bundles[1]).await.unwrap();
    models.promote(&good).await.unwrap();
    assert_eventually!(revision_in_use(&world).await => "3".to_owned(), within: 60);
    assert_eq!(score_more(&world, 3).await, [(3, good.version.clone())]);
    let told = vec![("firing".to_owned(), broken.version), ("resolved".to_owned(), good.version)];
    assert_eventually!(signals(&world).await => told.clone(), within: 60);
    world.end().await.unwrap();
}

/// Changes a byte of a bundle's model where the registry keeps it.
async fn break_stored(world: &World, bundle: &std::path::Path) {
    let manifest = std::fs::read_to_string(bundle.join("manifest.json")).unwrap();
    let manifest: Value = serde_json::from_str(&manifest).unwrap();
    let entry = &manifest["files"]["model"];
    let (hash, mut bytes) =
        (entry["sha256"].as_str().unwrap(), std::fs::read(bundle.join(entry["file"].as_str().unwrap())).unwrap());
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    let args = Aws {
        aws_endpoint_url: Some(world.env("AWS_ENDPOINT_URL")),
        aws_region: Some(world.env("AWS_REGION")),
        aws_path_style: Some(true),
    };
    let store = world.env("MILLRACE_MODEL_STORE");
    let (objects, bucket) = (args.client().objects(), store.strip_prefix("s3://").unwrap());
    let listed = objects.list(bucket, "", false, 10_000).await.unwrap();
    let object = listed.objects.iter().find(|object| object.key.ends_with(hash)).expect("the registry has it");
    objects.put(bucket, &object.key, bytes).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scorer_begins_with_the_last_champion_while_the_registry_is_away() {
    let _turn = crate::turn().await;
    let world = World::builder().models_from_registry().start().await.unwrap();
    let mut models = Models::of(&world).unwrap();
    let first = models.assignment().await.unwrap().champion.unwrap();
    assert_eq!(score_more(&world, 1).await, [(1, first.version.clone())]);

    world.stack().stop("registry").await.unwrap();
    let began = Instant::now();
    // It is ready, which it is not without a model.
    world.crash("scorer").await.unwrap();
    println!("ready without the registry after {:?}", began.elapsed());
    assert_eq!(revision_in_use(&world).await, "1");
    world.stack().start("registry").await.unwrap();
    assert_eq!(score_more(&world, 2).await, [(1, first.version)]);

    let bundle = bundles(&world, 1).await.remove(0);
    let next = models.push(&bundle).await.unwrap();
    models.promote(&next).await.unwrap();
    assert_eventually!(revision_in_use(&world).await => "2".to_owned(), within: 60);
    assert_eq!(score_more(&world, 3).await, [(2, next.version)]);
    world.end().await.unwrap();
}
