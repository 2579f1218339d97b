//! Objects by their bytes, on the stand-in of the local stack: in ranges, in parts, over connections that break.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use millrace_aws::{Args, Kind, Objects, Wanted};
use millrace_testkit::{Bucket, assert_eventually};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

/// Bytes that differ everywhere.
fn bytes(count: usize) -> Vec<u8> {
    (0..count as u64).flat_map(|number| number.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_le_bytes()).take(count).collect()
}

async fn read(objects: &Objects, bucket: &Bucket, key: &str, wanted: Wanted) -> Result<Vec<u8>, millrace_aws::Error> {
    objects.read(bucket.name(), key, wanted).await?.all(u64::MAX).await
}

#[tokio::test]
async fn a_range_is_read_of_the_object_that_is_meant_and_of_no_other() -> anyhow::Result<()> {
    let (bucket, objects) = (Bucket::create("ranges").await?, Args::default().client().objects());
    let content = bytes(1000);
    bucket.put("a b+c", content.clone()).await?;
    bucket.put("empty", "").await?;
    let range = |start, end| Wanted { range: Some(start..end), ..Wanted::default() };
    assert_eq!(read(&objects, &bucket, "a b+c", Wanted::default()).await?, content);
    assert_eq!(read(&objects, &bucket, "a b+c", range(10, 20)).await?, content[10..20]);
    assert_eq!(read(&objects, &bucket, "a b+c", range(990, 5000)).await?, content[990..]);
    assert_eq!(read(&objects, &bucket, "empty", Wanted::default()).await?, b"");
    let body = objects.read(bucket.name(), "a b+c", range(10, 20)).await?;
    assert_eq!(body.size(), 1000);
    let etag = body.etag().map(str::to_owned);
    let over = body.all(9).await.unwrap_err();
    assert_eq!(over.kind(), Kind::Refused, "{over}");

    let pinned = Wanted { etag, ..Wanted::default() };
    assert_eq!(read(&objects, &bucket, "a b+c", pinned.clone()).await?, content);
    bucket.put("a b+c", "another").await?;
    let changed = read(&objects, &bucket, "a b+c", pinned).await.unwrap_err();
    assert_eq!(changed.kind(), Kind::Changed, "{changed}");
    assert!(!changed.is_retriable());
    let missing = read(&objects, &bucket, "nothing", Wanted::default()).await.unwrap_err();
    assert_eq!(missing.kind(), Kind::Missing, "{missing}");
    let nowhere = objects.read("no-such-bucket-here", "a", Wanted::default()).await.err().unwrap();
    assert_eq!(nowhere.kind(), Kind::Nowhere, "{nowhere}");
    bucket.remove().await
}

#[tokio::test]
async fn of_all_who_write_a_new_object_one_is_told_that_it_has() -> anyhow::Result<()> {
    let (bucket, objects) = (Bucket::create("new").await?, Args::default().client().objects());
    for round in 0..5 {
        let key = format!("commit-{round}");
        let writers: Vec<_> = (0..8)
            .map(|writer| {
                let (objects, bucket, key) = (objects.clone(), bucket.name().to_owned(), key.clone());
                tokio::spawn(async move { objects.put_new(&bucket, &key, writer.to_string()).await })
            })
            .collect();
        let mut first = Vec::new();
        for (number, writer) in writers.into_iter().enumerate() {
            if writer.await?? {
                first.push(number.to_string());
            }
        }
        let [first] = first.as_slice() else { panic!("{first:?}") };
        assert_eq!(read(&objects, &bucket, &key, Wanted::default()).await?, first.as_bytes());
    }
    bucket.remove().await
}

#[tokio::test]
async fn an_object_of_many_parts_is_there_when_it_is_whole() -> anyhow::Result<()> {
    let (bucket, objects) = (Bucket::create("parts").await?, Args::default().client().objects());
    // In pieces that do not fit the parts; the last part is a short one.
    let content = bytes(35 << 20);
    let mut upload = objects.upload(bucket.name(), "large");
    for piece in content.chunks(3_000_001) {
        upload.write(piece).await?;
    }
    assert_eq!(upload.size(), content.len() as u64);
    assert_eq!(objects.head(bucket.name(), "large").await?, None);
    upload.finish().await?;
    assert!(read(&objects, &bucket, "large", Wanted::default()).await? == content, "other bytes");

    // Exactly so many parts, less than one, none.
    for size in [16 << 20, 100, 0] {
        let mut upload = objects.upload(bucket.name(), "exact");
        upload.write(&content[..size]).await?;
        upload.finish().await?;
        assert!(read(&objects, &bucket, "exact", Wanted::default()).await? == content[..size], "{size}: other bytes");
    }
    bucket.remove().await
}

#[tokio::test]
async fn an_object_that_was_not_finished_leaves_nothing() -> anyhow::Result<()> {
    let (bucket, objects) = (Bucket::create("dropped").await?, Args::default().client().objects());
    let mut upload = objects.upload(bucket.name(), "large");
    upload.write(&bytes(20 << 20)).await?;
    assert_eventually!(unfinished(&bucket).await => 1, within: 10);
    drop(upload);
    assert_eventually!(unfinished(&bucket).await => 0, within: 10);
    assert_eq!(objects.head(bucket.name(), "large").await?, None);
    bucket.remove().await
}

/// Uploads that have begun and not ended, as S3 lists them.
async fn unfinished(bucket: &Bucket) -> usize {
    let endpoint = std::env::var("AWS_ENDPOINT_URL").unwrap();
    let address = endpoint.strip_prefix("http://").unwrap();
    let mut connection = TcpStream::connect(address).await.unwrap();
    let request = format!("GET /{}?uploads HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n", bucket.name());
    connection.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.unwrap();
    assert!(answer.contains("ListMultipartUploadsResult"), "{answer}");
    answer.matches("<UploadId>").count()
}

#[tokio::test]
async fn a_reading_goes_on_where_its_connection_broke() -> anyhow::Result<()> {
    let bucket = Bucket::create("broken").await?;
    let content = bytes(5 << 20);
    bucket.put("large", content.clone()).await?;
    // Each connection is cut after a megabyte, wherever that is.
    let (endpoint, connections) = cutting_proxy(1 << 20).await;
    let objects = Args { aws_endpoint_url: Some(endpoint), ..Args::default() }.client().objects();
    let range = Wanted { range: Some(7..content.len() as u64), ..Wanted::default() };
    assert!(read(&objects, &bucket, "large", range).await? == content[7..], "other bytes");
    assert!(connections.load(Ordering::Relaxed) >= 5, "was not cut");
    bucket.remove().await
}

#[tokio::test]
async fn a_reading_does_not_go_on_with_another_object() -> anyhow::Result<()> {
    let bucket = Bucket::create("changed").await?;
    bucket.put("large", bytes(5 << 20)).await?;
    let (endpoint, _) = cutting_proxy(1 << 20).await;
    let objects = Args { aws_endpoint_url: Some(endpoint), ..Args::default() }.client().objects();
    let mut body = objects.read(bucket.name(), "large", Wanted::default()).await?;
    body.next().await?.unwrap();
    bucket.put("large", vec![0; 5 << 20]).await?;
    let changed = body.all(u64::MAX).await.unwrap_err();
    assert_eq!(changed.kind(), Kind::Changed, "{changed}");
    bucket.remove().await
}

/// Passes connections on to the stand-in, and ends each after so many bytes of answers.
async fn cutting_proxy(after: u64) -> (String, Arc<AtomicUsize>) {
    let target = std::env::var("AWS_ENDPOINT_URL").unwrap().strip_prefix("http://").unwrap().to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let connections = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&connections);
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::Relaxed);
            let target = target.clone();
            tokio::spawn(async move {
                let mut server = TcpStream::connect(target).await.unwrap();
                let ((mut from_client, mut to_client), (from_server, mut to_server)) = (client.split(), server.split());
                let mut answers = from_server.take(after);
                tokio::select! {
                    _ = tokio::io::copy(&mut from_client, &mut to_server) => {}
                    _ = tokio::io::copy(&mut answers, &mut to_client) => {}
                }
            });
        }
    });
    (endpoint, connections)
}
