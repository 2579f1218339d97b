//! Files of scores in a bucket that tells of them: S3 to SNS to SQS.

use std::{collections::BTreeMap, process::Command, time::Duration};

use millrace_aws::{Args, Objects, Queue, Topic};
use millrace_schema::{
    Schema,
    container::{Codec, Writer},
    scored,
};
use millrace_testkit::{Bucket, queue};
use serde_json::{Value, json};

use crate::world::{EVENT, Importer, Score, World};

/// What the keys of files of scores begin with.
pub(crate) const PREFIX: &str = "scores/";

/// A bucket, a topic, and two queues.
pub(crate) struct Files {
    pub(crate) bucket: Bucket,
    pub(crate) objects: Objects,
    pub(crate) queue: Queue,
    pub(crate) dead: Queue,
    topic: Topic,
}

impl Files {
    /// With that visibility timeout.
    pub(crate) async fn new(visibility: Duration) -> Self {
        let client = Args::default().client();
        let (bucket, objects) = (Bucket::create("importer").await.unwrap(), client.objects());
        let (told, dead) =
            (queue("importer", visibility).await.unwrap(), queue("importer-dead", Duration::ZERO).await.unwrap());
        let topic = Topic::create(&client, &format!("{}-scores", bucket.name())).await.unwrap();
        topic.subscribe(&told).await.unwrap();
        objects.notify(bucket.name(), PREFIX, ".avro", &topic).await.unwrap();
        Self { bucket, objects, queue: told, dead, topic }
    }

    /// Writes a file.
    pub(crate) async fn put(&self, name: &str, scores: &[Score]) {
        self.bucket.put(&format!("{PREFIX}{name}"), file(scores)).await.unwrap();
    }

    /// Has S3 say once more that a file was written.
    pub(crate) async fn tell_again(&self, name: &str) {
        self.queue.send(&notice(self.bucket.name(), &format!("{PREFIX}{name}")).to_string()).await.unwrap();
    }

    /// The importer's command line.
    pub(crate) fn command(&self, world: &World) -> Command {
        let mut command = world.command("objects");
        command
            .env("MILLRACE_BATCH_BUCKET", self.bucket.name())
            .env("MILLRACE_IMPORT_QUEUE_URL", self.queue.url())
            .env("MILLRACE_IMPORT_DEAD_QUEUE_URL", self.dead.url());
        command
    }

    pub(crate) fn import(&self, world: &World) -> Importer {
        Importer::spawn(self.command(world))
    }

    /// Waits until nobody has anything to do.
    pub(crate) async fn wait_until_empty(&self) {
        let deadline = std::time::Instant::now() + Duration::from_mins(3);
        loop {
            let depth = self.queue.depth().await.unwrap();
            if (depth.visible, depth.in_flight) == (0, 0) {
                return;
            }
            assert!(std::time::Instant::now() < deadline, "{depth:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// The dead letters: attributes and body of each.
    pub(crate) async fn letters(&self) -> Vec<(BTreeMap<String, String>, String)> {
        let mut letters = Vec::new();
        loop {
            let received = self.dead.receive(10, Duration::ZERO).await.unwrap();
            if received.is_empty() {
                return letters;
            }
            for message in received {
                self.dead.delete(&message.receipt).await.unwrap();
                letters.push((message.attributes, message.body));
            }
        }
    }

    pub(crate) async fn remove(self) {
        self.bucket.remove().await.unwrap();
        self.topic.remove().await.unwrap();
        self.queue.remove().await.unwrap();
        self.dead.remove().await.unwrap();
    }
}

/// The bytes of a file of scores.
pub(crate) fn file(scores: &[Score]) -> Vec<u8> {
    let event = Schema::parse(EVENT).unwrap();
    let mut writer = Writer::new(Vec::new(), &scored::compose(&event).unwrap(), Codec::Zstandard).unwrap();
    for score in scores {
        writer.append(&score.datum(&event)).unwrap();
    }
    writer.finish().unwrap()
}

/// S3's notification as it comes without SNS.
pub(crate) fn notice(bucket: &str, key: &str) -> Value {
    let key = key.replace('+', "%2B").replace(' ', "+");
    json!({"Records": [{"eventSource": "aws:s3", "eventName": "ObjectCreated:Put",
        "s3": {"bucket": {"name": bucket}, "object": {"key": key, "size": 1000}}}]})
}
