//! What a batch promises with objects, on the stand-in of the local stack.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

mod files;

use std::{collections::BTreeMap, time::Duration};

use files::{Desk, Score, avro, mail, scores, uids};
use millrace_aws::{Args, Wanted};
use millrace_schema::container::Codec;
use millrace_testkit::Bucket;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// Objects below a prefix.
async fn objects(bucket: &Bucket, prefix: &str) -> BTreeMap<String, Vec<u8>> {
    let objects = Args::default().client().objects();
    let mut found = BTreeMap::new();
    for object in objects.list(bucket.name(), prefix, false, 10_000).await.unwrap().objects {
        let body = objects.read(bucket.name(), &object.key, Wanted::default()).await.unwrap();
        found.insert(object.key, body.all(u64::MAX).await.unwrap());
    }
    found
}

fn ids<'a>(files: impl IntoIterator<Item = &'a Vec<u8>>) -> Vec<String> {
    let scores: Vec<Score> = files.into_iter().flat_map(|file| scores(file)).collect();
    let mut ids: Vec<String> = scores.into_iter().map(|score| score.event_id).collect();
    ids.sort();
    ids
}

#[tokio::test(flavor = "multi_thread")]
async fn an_inbox_of_strange_keys_is_scored_and_a_rerun_replaces() -> anyhow::Result<()> {
    let (desk, bucket) = (Desk::new(), Bucket::create("batch").await?);
    let mails = mail(7, 1_000);
    let keys = ["2026/a b+c.avro", "2026/100%25 ü.avro", "plain.avro", "no-ending"];
    for (key, mails) in keys.iter().zip(mails.chunks(250)) {
        bucket.put(&format!("mail-trust/inbox/{key}"), avro(mails, 60, Codec::Deflate)).await?;
    }
    bucket.put("mail-trust/inbox/2026/_SUCCESS", "").await?;
    let ran = desk.run_well(&["--bucket", bucket.name()]);
    assert_eq!((ran.number("objects"), ran.number("records")), (4, 1_000));
    assert_eq!(ran.summary["bucket"], bucket.name());
    let first = objects(&bucket, "mail-trust/scores/").await;
    let mut told = ran.keys();
    told.sort();
    assert!(first.keys().eq(&told), "{told:?}");
    for key in keys {
        let stem = format!("mail-trust/scores/{}.", key.strip_suffix(".avro").unwrap_or(key));
        assert!(first.keys().any(|found| found.starts_with(&stem)), "{stem} of {told:?}");
    }
    let mut uids = uids(7, 1_000);
    uids.sort();
    assert_eq!(ids(first.values()), uids);
    let objects_of = Args::default().client().objects();
    let listed = objects_of.head(bucket.name(), "mail-trust/inbox/plain.avro").await?.unwrap();
    let plain = first.iter().find(|(key, _)| key.contains("/plain.")).unwrap().1;
    assert_eq!(scores(plain)[0].received_at, listed.modified.unwrap().as_millisecond());

    // Again, and one of them by its own address: the same names.
    desk.run_well(&["--bucket", bucket.name()]);
    let one = desk.run_well(&["--bucket", bucket.name(), &bucket.uri("mail-trust/inbox/2026/a b+c.avro")]);
    let second = objects(&bucket, "mail-trust/scores/").await;
    assert!(first.keys().eq(second.keys()));
    assert!(first.contains_key(&one.keys()[0]));

    // Other bytes under the same key are another version.
    bucket.put("mail-trust/inbox/plain.avro", avro(&mails[..10], 60, Codec::Deflate)).await?;
    let changed = desk.run_well(&["--bucket", bucket.name(), &bucket.uri("mail-trust/inbox/plain.avro")]);
    assert!(!first.contains_key(&changed.keys()[0]));
    bucket.remove().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_object_is_scored_in_parts_by_several_processes() -> anyhow::Result<()> {
    let (desk, bucket) = (Desk::new(), Bucket::create("batch").await?);
    let mails = mail(7, 20_000);
    let file = avro(&mails, 130, Codec::Zstandard);
    let part = (file.len() / 5 + 11).to_string();
    bucket.put("in/large.avro", file).await?;
    let (from, to) = (bucket.uri("in/"), bucket.uri("out/"));
    let mut parts = 0;
    for shard in ["0", "1", "2"] {
        let args = ["--to", &to, &from, "--part-size", &part, "--shards", "3", "--shard", shard];
        parts += desk.run_well(&args).number("objects");
    }
    let found = objects(&bucket, "out/").await;
    assert_eq!((parts, found.len()), (5, 5));
    let mut uids = uids(7, 20_000);
    uids.sort();
    assert_eq!(ids(found.values()), uids);
    bucket.remove().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_fails_and_the_others_are_done() -> anyhow::Result<()> {
    let (desk, bucket) = (Desk::new(), Bucket::create("batch").await?);
    bucket.put("in/good.avro", avro(&mail(7, 100), 60, Codec::Deflate)).await?;
    bucket.put("in/empty.avro", "").await?;
    let (good, empty, missing) = (bucket.uri("in/good.avro"), bucket.uri("in/empty.avro"), bucket.uri("in/no.avro"));
    let ran = desk.run(&["--to", &bucket.uri("out/"), &good, &empty, &missing]);
    assert_eq!((ran.code, ran.number("objects"), ran.number("failed")), (Some(1), 1, 2), "{}", ran.said);
    assert!(ran.said.contains("in/empty.avro") && ran.said.contains("in/no.avro"), "{}", ran.said);
    assert_eq!(objects(&bucket, "out/").await.len(), 1);
    let nowhere = desk.run(&["--to", &bucket.uri("out/"), "s3://no-such-bucket-here/in/"]);
    assert_eq!(nowhere.code, Some(1), "{}", nowhere.said);
    assert!(nowhere.said.contains("no-such-bucket-here"), "{}", nowhere.said);
    bucket.remove().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_ended_leaves_whole_objects() -> anyhow::Result<()> {
    let (desk, bucket) = (Desk::new(), Bucket::create("batch").await?);
    let mails = mail(7, 4_000);
    for number in 0..20 {
        let mut mails = mails.clone();
        mails.rotate_left(number);
        bucket.put(&format!("in/{number:02}.avro"), avro(&mails, 100, Codec::Deflate)).await?;
    }
    let (from, to) = (bucket.uri("in/"), bucket.uri("out/"));
    let args = ["--to", &*to, &*from, "--objects", "2", "--threads", "1"];
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        let mut running = desk.begin(&args);
        tokio::time::sleep(Duration::from_millis(600)).await;
        kill(Pid::from_raw(i32::try_from(running.id()).unwrap()), signal).unwrap();
        running.wait().unwrap();
        for (key, object) in objects(&bucket, "out/").await {
            assert_eq!(scores(&object).len(), 4_000, "{key} is whole after {signal}");
        }
    }
    assert_eq!(desk.run_well(&args).number("objects"), 20);
    let found = objects(&bucket, "out/").await;
    assert_eq!(found.len(), 20);
    assert!(found.values().all(|object| scores(object).len() == 4_000));
    bucket.remove().await
}
