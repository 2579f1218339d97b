//! Models: bundles that come back as they went in, and one champion whatever happens.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use millrace_proto::registry::v1::{
    Assignment, GetAssignmentRequest, GetModelRequest, ListModelsRequest, ListPromotionsRequest, ModelRef, Piece,
    PromoteModelRequest, Promotion, PullModelRequest, PushModelRequest, PushModelResponse, RollbackModelRequest, Stage,
    WatchAssignmentRequest, WatchAssignmentResponse,
    model_service_client::ModelServiceClient,
    pull_model_response,
    push_model_request::{Begin, Part},
};
use millrace_testkit::{Bucket, Database};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tokio::task::JoinSet;
use tonic::{Code, Status, transport::Channel};

use crate::support::{Replica, database};

type Client = ModelServiceClient<Channel>;

/// A bundle: its manifest, and its files by key.
#[derive(Clone)]
struct Bundle {
    model: ModelRef,
    manifest: String,
    files: BTreeMap<String, Vec<u8>>,
}

fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap();
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

fn bundle(number: u32, roc_auc: f64) -> Bundle {
    let files = BTreeMap::from([
        ("features".to_owned(), b"[]".to_vec()),
        ("model".to_owned(), format!("trees {number}").into_bytes()),
        // The same in all: it is stored once.
        ("schema".to_owned(), vec![7; 100_000]),
    ]);
    with_files(files, roc_auc)
}

fn with_files(files: BTreeMap<String, Vec<u8>>, roc_auc: f64) -> Bundle {
    let mut version = Sha256::new();
    let mut entries = serde_json::Map::new();
    for (key, bytes) in &files {
        let sha256 = hex(&Sha256::digest(bytes));
        version.update(format!("{key} {sha256}\n"));
        entries.insert(key.clone(), json!({"file": format!("{key}.bin"), "sha256": sha256, "bytes": bytes.len()}));
    }
    let version = hex(&version.finalize())[..16].to_owned();
    let manifest = json!({"format": 1, "name": "mail", "version": version, "files": entries,
        "training": {"metrics": {"roc_auc": roc_auc}}});
    Bundle { model: ModelRef { name: "mail".to_owned(), version }, manifest: manifest.to_string(), files }
}

struct World {
    database: Database,
    bucket: Bucket,
}

impl World {
    async fn new() -> Self {
        Self { database: database().await, bucket: Bucket::create("models").await.unwrap() }
    }

    fn replica(&self) -> Replica {
        Replica::start_with(&self.database, &["--model-store", &self.bucket.uri("models")])
    }

    async fn remove(self) {
        self.database.remove().await.unwrap();
        self.bucket.remove().await.unwrap();
    }
}

async fn client(replica: &Replica) -> Client {
    Client::connect(replica.grpc.clone()).await.unwrap()
}

/// In pieces of ten thousand bytes.
async fn push(client: &mut Client, bundle: &Bundle) -> Result<PushModelResponse, Status> {
    let begin = Part::Begin(Begin { manifest: bundle.manifest.clone(), by: "tester".to_owned() });
    let pieces = bundle.files.iter().flat_map(|(file, bytes)| {
        bytes.chunks(10_000).map(|bytes| Part::Piece(Piece { file: file.clone(), bytes: bytes.to_vec() }))
    });
    let parts: Vec<PushModelRequest> =
        [begin].into_iter().chain(pieces).map(|part| PushModelRequest { part: Some(part) }).collect();
    client.push_model(tokio_stream::iter(parts)).await.map(tonic::Response::into_inner)
}

async fn pull(client: &mut Client, model: &ModelRef) -> Result<(String, BTreeMap<String, Vec<u8>>), Status> {
    let mut parts = client.pull_model(PullModelRequest { model: Some(model.clone()) }).await?.into_inner();
    let (mut manifest, mut files) = (String::new(), BTreeMap::<String, Vec<u8>>::new());
    while let Some(answer) = parts.message().await? {
        match answer.part.unwrap() {
            pull_model_response::Part::Manifest(text) => manifest = text,
            pull_model_response::Part::Piece(Piece { file, bytes }) => files.entry(file).or_default().extend(bytes),
        }
    }
    Ok((manifest, files))
}

fn promotion(model: &ModelRef, to: Stage) -> PromoteModelRequest {
    PromoteModelRequest {
        pipeline: "p".to_owned(),
        model: Some(model.clone()),
        stage: to.into(),
        by: "tester".to_owned(),
        reason: "because".to_owned(),
        ..PromoteModelRequest::default()
    }
}

async fn promote(client: &mut Client, model: &ModelRef, to: Stage) -> Result<Assignment, Status> {
    Ok(client.promote_model(promotion(model, to)).await?.into_inner().assignment.unwrap())
}

async fn roll_back(client: &mut Client) -> Result<Assignment, Status> {
    let request = RollbackModelRequest { pipeline: "p".to_owned(), by: "tester".to_owned(), ..Default::default() };
    Ok(client.rollback_model(request).await?.into_inner().assignment.unwrap())
}

async fn history(client: &mut Client) -> Vec<Promotion> {
    let request = ListPromotionsRequest { pipeline: "p".to_owned(), limit: 1_000 };
    client.list_promotions(request).await.unwrap().into_inner().promotions
}

#[tokio::test]
async fn a_bundle_comes_back_as_it_went_in() {
    let world = World::new().await;
    let replica = world.replica();
    let mut client = client(&replica).await;
    let mut files = bundle(1, 0.9).files;
    files.insert(
        "baselines".to_owned(),
        (0..20_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect(),
    );
    files.insert("empty".to_owned(), Vec::new());
    let large = with_files(files, 0.9);
    // An empty file has no piece unless one is sent for it.
    let pushed = push(&mut client, &large).await.unwrap_err();
    assert!(pushed.message().contains("without its files empty"), "{pushed}");
    let mut files = large.files;
    files.remove("empty");
    let large = with_files(files, 0.9);
    assert!(!push(&mut client, &large).await.unwrap().known);
    assert!(push(&mut client, &large).await.unwrap().known);
    let (manifest, files) = pull(&mut client, &large.model).await.unwrap();
    assert_eq!(manifest, large.manifest);
    assert!(files == large.files, "other bytes");
    let request = ListModelsRequest { name: "mail".to_owned(), pipeline: String::new() };
    let listed = client.list_models(request).await.unwrap().into_inner().models;
    assert_eq!((listed.len(), listed[0].pushed_by.as_str()), (1, "tester"));
    drop(replica);
    world.remove().await;
}

#[tokio::test]
async fn a_bundle_that_is_not_what_it_says_is_never_there() {
    let world = World::new().await;
    let replica = world.replica();
    let mut client = client(&replica).await;
    let good = bundle(1, 0.9);
    let with = |change: &dyn Fn(&mut Bundle)| {
        let mut wrong = good.clone();
        change(&mut wrong);
        wrong
    };
    for (wrong, word) in [
        (with(&|it| it.files.get_mut("model").unwrap()[0] ^= 1), "SHA-256"),
        (with(&|it| it.files.get_mut("model").unwrap().push(0)), "more than the 7 bytes"),
        (with(&|it| it.files.get_mut("model").unwrap().truncate(6)), "SHA-256"),
        (with(&|it| drop(it.files.remove("model"))), "without its files model"),
        (with(&|it| drop(it.files.insert("other".to_owned(), vec![1]))), "does not list it"),
        (with(&|it| it.manifest = it.manifest.replace("\"version\":\"", "\"version\":\"0")), "not that of its files"),
        (with(&|it| it.manifest.truncate(20)), "manifest"),
    ] {
        let refused = push(&mut client, &wrong).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
        assert!(refused.message().contains(word), "{word}: {}", refused.message());
    }
    let found = client.get_model(GetModelRequest { model: Some(good.model.clone()) }).await.unwrap_err();
    assert_eq!(found.code(), Code::NotFound, "{found}");
    let refused = promote(&mut client, &good.model, Stage::Champion).await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound, "{refused}");
    drop(replica);

    let without = Replica::start(&world.database);
    let refused = push(&mut self::client(&without).await, &good).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("--model-store"), "{}", refused.message());
    drop(without);
    world.remove().await;
}

#[tokio::test]
async fn conditions_decide_and_the_trail_says_who_and_why() {
    let world = World::new().await;
    let replica = world.replica();
    let mut client = client(&replica).await;
    let (good, better, worse) = (bundle(1, 0.90), bundle(2, 0.95), bundle(3, 0.80));
    for bundle in [&good, &better, &worse] {
        push(&mut client, bundle).await.unwrap();
    }
    assert_eq!(promote(&mut client, &good.model, Stage::Champion).await.unwrap().revision, 1);
    promote(&mut client, &better.model, Stage::Shadow).await.unwrap();
    let asked = client.get_assignment(GetAssignmentRequest { pipeline: "p".to_owned() }).await.unwrap().into_inner();
    let assignment = asked.assignment.unwrap();
    assert_eq!((assignment.champion, assignment.shadows), (Some(good.model.clone()), vec![better.model.clone()]));

    let gate = |model: &ModelRef, condition: &str, if_revision| PromoteModelRequest {
        conditions: vec!["roc_auc >= 0.5".to_owned(), condition.to_owned()],
        if_revision,
        ..promotion(model, Stage::Champion)
    };
    for (request, word) in [
        (gate(&worse.model, "roc_auc >= champion - 0.01", 0), "does not hold"),
        (gate(&better.model, "roc_auc >= champion", 1), "revision 2"),
        (promotion(&good.model, Stage::Retired), "is the champion"),
    ] {
        let refused = client.promote_model(request).await.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition);
        assert!(refused.message().contains(word), "{}", refused.message());
    }
    client.promote_model(gate(&better.model, "roc_auc >= champion", 2)).await.unwrap();
    let back = roll_back(&mut client).await.unwrap();
    assert_eq!((back.revision, back.champion), (4, Some(good.model.clone())));
    let refused = roll_back(&mut client).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");

    let history = history(&mut client).await;
    let told: Vec<(u64, Stage, Option<ModelRef>)> =
        history.iter().map(|it| (it.revision, it.to(), it.before.clone())).collect();
    assert_eq!(
        told,
        [
            (4, Stage::Champion, Some(better.model.clone())),
            (3, Stage::Champion, Some(good.model.clone())),
            (2, Stage::Shadow, None),
            (1, Stage::Champion, None),
        ]
    );
    assert_eq!((history[1].by.as_str(), history[1].reason.as_str()), ("tester", "because"));
    assert_eq!(history[1].conditions, ["roc_auc >= 0.5", "roc_auc >= champion"]);
    drop(replica);
    world.remove().await;
}

#[tokio::test]
async fn there_is_one_champion_whoever_promotes_and_whoever_is_killed() {
    const MODELS: u32 = 8;
    let world = World::new().await;
    let replicas = Arc::new([world.replica(), world.replica()]);
    let victim = world.replica();
    let bundles: Arc<Vec<Bundle>> = Arc::new((0..MODELS).map(|n| bundle(n, 0.9)).collect());
    for bundle in bundles.iter() {
        push(&mut client(&replicas[0]).await, bundle).await.unwrap();
    }
    let mut watcher = client(&replicas[0]).await;
    let mut tasks = JoinSet::new();
    for n in 0..60_usize {
        let (replicas, bundles) = (Arc::clone(&replicas), Arc::clone(&bundles));
        let url = if n % 3 == 2 { victim.grpc.clone() } else { replicas[n % 2].grpc.clone() };
        tasks.spawn(async move {
            let Ok(mut client) = Client::connect(url).await else { return };
            // Refused where it is the champion already; unanswered where its replica was killed.
            promote(&mut client, &bundles[n % bundles.len()].model, Stage::Champion).await.ok();
        });
    }
    tokio::time::sleep(Duration::from_millis(30)).await;
    victim.kill();
    tasks.join_all().await;

    let history = history(&mut watcher).await;
    let revisions: Vec<u64> = history.iter().rev().map(|it| it.revision).collect();
    assert_eq!(revisions, (1..=history.len() as u64).collect::<Vec<_>>());
    assert!(history.len() > 10, "{}", history.len());
    // Each retired the one before it.
    for pair in history.windows(2) {
        assert_eq!(pair[0].before, pair[1].model, "revision {}", pair[0].revision);
    }
    let request = ListModelsRequest { name: String::new(), pipeline: "p".to_owned() };
    let models = watcher.list_models(request).await.unwrap().into_inner().models;
    let champions = models.iter().flat_map(|it| &it.stages).filter(|it| it.stage() == Stage::Champion).count();
    assert_eq!(champions, 1);
    drop(replicas);
    world.remove().await;
}

#[tokio::test]
async fn a_watcher_hears_the_last_word_also_from_another_replica() {
    let world = World::new().await;
    let (one, other) = (world.replica(), world.replica());
    let mut promoter = client(&one).await;
    let (first, second) = (bundle(1, 0.9), bundle(2, 0.9));
    for bundle in [&first, &second] {
        push(&mut promoter, bundle).await.unwrap();
    }
    let watch = async |client: &mut Client| {
        client.watch_assignment(WatchAssignmentRequest { pipeline: "p".to_owned() }).await.unwrap().into_inner()
    };
    let mut stream = watch(&mut client(&other).await).await;
    let said = async |stream: &mut tonic::Streaming<WatchAssignmentResponse>| {
        let said = tokio::time::timeout(Duration::from_secs(20), stream.message()).await.expect("a word within 20 s");
        said.unwrap().unwrap().assignment.unwrap()
    };
    assert_eq!(said(&mut stream).await.revision, 0);
    promote(&mut promoter, &first.model, Stage::Champion).await.unwrap();
    let told = said(&mut stream).await;
    assert_eq!((told.revision, told.champion), (1, Some(first.model.clone())));
    other.kill();
    assert!(stream.message().await.is_err());
    promote(&mut promoter, &second.model, Stage::Champion).await.unwrap();
    let mut stream = watch(&mut promoter).await;
    assert_eq!(said(&mut stream).await.revision, 2);
    drop(one);
    world.remove().await;
}
