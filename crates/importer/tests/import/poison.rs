//! Messages and files that cannot be done: dead letters with their reasons, and what stands beside them is stored.

use std::time::Duration;

use millrace_aws::Wanted;
use millrace_schema::{
    Schema,
    container::{Codec, Writer},
};
use serde_json::{Value, json};

use crate::{
    files::{Files, PREFIX, file, notice},
    world::{Importer, Score, World},
};

fn impatient(files: &Files, world: &World) -> Importer {
    let mut command = files.command(world);
    command.args(["--receives", "2", "--pause", "1s"]);
    Importer::spawn(command)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_done_is_a_dead_letter_with_its_reason() {
    let (world, files) = (World::new().await, Files::new(Duration::from_secs(30)).await);
    let _importer = impatient(&files, &world);
    let good: Vec<Score> = (0..2_000).map(Score::number).collect();
    let whole = file(&good);
    let put = async |name: &str, bytes: Vec<u8>| files.bucket.put(&format!("{PREFIX}{name}"), bytes).await.unwrap();
    put("cut.avro", whole[..whole.len() - 100].to_vec()).await;
    put("empty.avro", Vec::new()).await;
    put("text.avro", b"id,score\n1,0.5\n".to_vec()).await;
    let stranger =
        Schema::parse(r#"{"type":"record","name":"Stranger","fields":[{"name":"a","type":"int"}]}"#).unwrap();
    let mut writer = Writer::new(Vec::new(), &stranger, Codec::Null).unwrap();
    writer.append(&[2]).unwrap();
    put("stranger.avro", writer.finish().unwrap()).await;
    let send = async |body: &Value| files.queue.send(&body.to_string()).await.unwrap();
    send(&notice("another-bucket", "scores/a.avro")).await;
    send(&notice(files.bucket.name(), "in/a.avro")).await;
    send(&json!({"hello": "world"})).await;
    files.queue.send("no JSON").await.unwrap();
    // These are no failures: nothing is there any more, S3 tries its notifications, an object was removed.
    send(&notice(files.bucket.name(), "scores/deleted.avro")).await;
    send(&json!({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": files.bucket.name()})).await;
    let mut removed = notice(files.bucket.name(), "scores/good.avro");
    removed["Records"][0]["eventName"] = json!("ObjectRemoved:Delete");
    send(&removed).await;
    put("good.avro", whole).await;

    world.wait_for_rows(2_000).await;
    files.wait_until_empty().await;
    assert_eq!(world.rows().await, 2_000);
    world.assert_aggregates_equal_rows().await;
    let letters = files.letters().await;
    let reasons: Vec<&str> = letters.iter().map(|(attributes, _)| attributes["dead-reason"].as_str()).collect();
    for (about, words) in [
        ("cut.avro", "cut short"),
        ("empty.avro", "not a whole Avro container file"),
        ("text.avro", "does not begin with Obj"),
        ("stranger.avro", "millrace.v1.Scored"),
        ("another-bucket", "mend the notification"),
        ("in/a.avro", "batch.scores"),
        ("message is no notification of S3", "neither Records"),
        ("message is no notification of S3", "no JSON"),
    ] {
        let found = reasons.iter().filter(|reason| reason.contains(about) && reason.contains(words)).count();
        assert_eq!(found, 1, "{about}, {words}: {reasons:#?}");
    }
    assert_eq!(letters.len(), 8, "{reasons:#?}");
    for (attributes, _) in &letters {
        assert_eq!((attributes["dead-stage"].as_str(), attributes["dead-receives"].as_str()), ("importer", "2"));
        assert!(!attributes["dead-code"].is_empty());
    }
    files.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_rows_of_a_file_are_put_aside_and_come_again_when_they_are_asked_for() {
    let (world, files) = (World::new().await, Files::new(Duration::from_secs(30)).await);
    let _importer = impatient(&files, &world);
    files.put("first.avro", &[Score::number(0)]).await;
    world.wait_for_rows(1).await;
    let rule = "ALTER TABLE pipeline.mail ADD CONSTRAINT small CHECK (size < 900 OR size > 905)";
    world.pool.get().await.unwrap().batch_execute(rule).await.unwrap();
    let mut scores: Vec<Score> = (1..2_000).map(Score::number).collect();
    scores[300].event["subject"] = json!("a\u{0}b");
    scores[500].id = String::new();
    files.put("a.avro", &scores).await;
    let key = format!("{PREFIX}a.avro");
    world.wait("SELECT coalesce(max(generation), 0) FROM importer.objects WHERE key LIKE '%a.avro'", 1).await;
    assert_eq!(world.rows().await, 2_000 - 6 - 2);
    world.assert_aggregates_equal_rows().await;
    let ledger =
        format!("SELECT concat_ws(' ', generation, rows, lost, dead) FROM importer.objects WHERE key = '{key}'");
    assert_eq!(world.text(&ledger).await, "1 1991 0 8");

    let letters = letters(&files).await;
    let records: Vec<u64> = letters.iter().map(|letter| letter["record"].as_u64().unwrap()).collect();
    assert_eq!(records, [300, 500, 899, 900, 901, 902, 903, 904]);
    assert_eq!((&letters[0]["code"], &letters[0]["event_id"]), (&json!("INVALID_EVENT"), &json!("e-301")));
    assert_eq!(letters[0]["value"]["event"]["subject"], json!("a\u{0}b"));
    assert!(letters[2]["reason"].as_str().unwrap().contains("small"), "{}", letters[2]);

    // The cause is mended, and the file asked for once more.
    world.pool.get().await.unwrap().batch_execute("ALTER TABLE pipeline.mail DROP CONSTRAINT small").await.unwrap();
    files.tell_again("a.avro").await;
    files.wait_until_empty().await;
    assert_eq!(world.text(&ledger).await, "1 1991 0 8", "it is in already");
    let again = json!({"source": "aws.s3", "detail-type": "Object Created", "detail": {
        "reason": "millrace:again", "bucket": {"name": files.bucket.name()}, "object": {"key": key}}});
    files.queue.send(&again.to_string()).await.unwrap();
    world.wait("SELECT coalesce(max(generation), 0) FROM importer.objects WHERE key LIKE '%a.avro'", 2).await;
    assert_eq!(world.text(&ledger).await, "2 1997 0 2");
    assert_eq!(world.rows().await, 1_998);
    world.assert_aggregates_equal_rows().await;
    files.remove().await;
}

/// The lines of the one object of letters.
async fn letters(files: &Files) -> Vec<Value> {
    let listed = files.objects.list(files.bucket.name(), "scores.dead/", false, 10).await.unwrap().objects;
    let [object] = listed.as_slice() else { panic!("{listed:?}") };
    assert!(
        object.key.starts_with("scores.dead/a.avro.") && object.key.strip_suffix(".jsonl").is_some(),
        "{}",
        object.key
    );
    let body = files.objects.read(files.bucket.name(), &object.key, Wanted::default()).await.unwrap();
    let text = String::from_utf8(body.all(1 << 20).await.unwrap()).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}
