//! What was accepted is in the lake, every offset once, and an audit that a user runs finds what is taken out of it.

use millrace_aws::{Args, Objects};
use millrace_demo::{Generator, Settings};
use millrace_testkit::{Finished, Outcome, Sender, World, assert_eventually};
use serde_json::Value;

/// The demo's documents, with windows of a second.
fn documents() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    millrace_demo::write_documents(folder.path()).unwrap();
    let document = folder.path().join("mail-trust.yaml");
    let text = std::fs::read_to_string(&document).unwrap();
    let short = text.replace("roll: {bytes: 134217728, age: 15m}", "roll: {bytes: 134217728, age: 1s}");
    assert_ne!(short, text, "the demo's document rolls in another way");
    std::fs::write(document, short).unwrap();
    folder
}

fn mails(count: usize) -> Vec<(String, Vec<u8>)> {
    let mail = |labelled: millrace_demo::Labelled| {
        let mut datum = Vec::new();
        labelled.mail.encode(&mut datum);
        (labelled.mail.uid, datum)
    };
    Generator::new(Settings::new(11, 1_767_225_600_000)).take(count).map(mail).collect()
}

struct Lake<'a> {
    world: &'a World,
    objects: Objects,
    bucket: String,
}

impl<'a> Lake<'a> {
    fn of(world: &'a World) -> Self {
        let args = Args {
            aws_endpoint_url: Some(world.env("AWS_ENDPOINT_URL")),
            aws_region: Some(world.env("AWS_REGION")),
            aws_path_style: Some(true),
        };
        Self { world, objects: args.client().objects(), bucket: world.env("MILLRACE_LAKE_BUCKET") }
    }

    async fn audit(&self, more: &[&str]) -> Finished {
        let args = ["lake", "audit", "mail-trust", "--output", "json"];
        self.world.cli(args.iter().chain(more)).await.unwrap()
    }

    /// What is archived of a topic, and how far the lake is behind.
    async fn archived(&self, topic: &str) -> (i64, i64) {
        let done = self.audit(&[]).await;
        assert_eq!(done.code, Some(0), "{done:?}");
        let sum = |what: &str| of(&done.json(), topic).iter().map(|it| it[what].as_i64().unwrap()).sum();
        (sum("records"), sum("behind"))
    }

    /// Keys of a topic that end so, in their order.
    async fn keys(&self, topic: &str, end: &str) -> Vec<String> {
        let mut keys = Vec::new();
        let prefix = format!("mail-trust/{topic}/");
        self.objects.walk(&self.bucket, &prefix, None, |object| keys.push(object.key)).await.unwrap();
        keys.retain(|key| key.ends_with(end));
        keys
    }
}

/// The partitions of a topic in a report.
fn of(report: &Value, topic: &str) -> Vec<Value> {
    report.as_array().unwrap().iter().filter(|it| it["topic"] == topic).cloned().collect()
}

fn findings(done: &Finished, what: &str) -> Vec<Value> {
    let lists = done.json();
    lists.as_array().unwrap().iter().flat_map(|it| it[what].as_array().unwrap().clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_audit_is_content_with_the_lake_and_names_what_is_taken_out_of_it() {
    const EVENTS: i64 = 400;
    let _turn = crate::turn().await;
    let documents = documents();
    let world = World::builder().documents(documents.path()).environment("MILLRACE_ARCHIVE_IDLE", "1s").start().await;
    let world = world.unwrap();
    let lake = Lake::of(&world);
    let mut outcome = Outcome::default();
    Sender::new(&world, 1).unwrap().send(mails(EVENTS as usize), &mut outcome).await.unwrap();
    assert_eq!(outcome.accepted.len() as i64, EVENTS);

    // Of the scores the markers of their transactions as well.
    assert_eventually!(lake.archived("mail-trust.events").await => (EVENTS, 0), within: 90);
    assert_eventually!(lake.archived("mail-trust.scores").await => (EVENTS, 0), within: 90);
    let done = lake.audit(&["--content"]).await;
    assert_eq!(
        (done.code, findings(&done, "findings"), findings(&done, "broken")),
        (Some(0), vec![], vec![]),
        "{done:?}"
    );

    // Nobody archives again what is taken out from here on.
    world.stack().stop("archiver").await.unwrap();
    let file = lake.keys("mail-trust.events", ".avro").await.pop().unwrap();
    lake.objects.delete(&lake.bucket, &file).await.unwrap();
    let done = lake.audit(&[]).await;
    assert_eq!((done.code, findings(&done, "broken")), (Some(1), vec![Value::from(format!("{file}: is missing"))]));
    let done = lake.audit(&["--content"]).await;
    assert_eq!((done.code, findings(&done, "broken").len()), (Some(1), 1), "{done:?}");

    // The newest window of a partition: what was noted beside it says that it was there.
    let scores = lake.keys("mail-trust.scores", ".json").await;
    let newest = scores.iter().filter(|key| key.contains("/0/")).max().unwrap();
    let first: i64 = newest.rsplit('/').next().unwrap().strip_suffix(".json").unwrap().parse().unwrap();
    lake.objects.delete(&lake.bucket, newest).await.unwrap();
    let done = lake.audit(&[]).await;
    assert_eq!(done.code, Some(1), "{done:?}");
    let found = findings(&done, "findings");
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!((&found[0]["finding"], found[0]["first"].as_i64()), (&Value::from("missing"), Some(first)));
    let text = world.cli(["lake", "audit", "mail-trust"]).await.unwrap();
    assert!(text.stdout.contains(&format!("mail-trust.scores/0: offsets {first} to ")), "{text:?}");
    assert!(text.stderr.contains("the lake is not complete: 2 findings"), "{text:?}");
    world.end().await.unwrap();
}
