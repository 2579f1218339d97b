//! Objects and queues, on the stand-in of the local stack.

use std::time::Duration;

use millrace_aws::{Args, Depth, Kind};
use millrace_testkit::{Bucket, assert_eventually, queue};

#[tokio::test]
async fn an_object_is_known_by_what_it_is_and_missing_is_not_nowhere() -> anyhow::Result<()> {
    let (bucket, objects) = (Bucket::create("objects").await?, Args::default().client().objects());
    bucket.put("in/a b+c%20.avro", "rows").await?;
    let found = objects.head(bucket.name(), "in/a b+c%20.avro").await?.expect("was written");
    assert_eq!((found.size, found.version.as_deref()), (4, None));
    assert!(found.etag.is_some_and(|etag| !etag.contains('"')) && found.modified.is_some());
    assert_eq!(objects.head(bucket.name(), "in/other").await?, None);
    let nowhere = objects.head("no-such-bucket-here", "key").await.unwrap_err();
    assert_eq!(nowhere.kind(), Kind::Nowhere, "{nowhere}");
    assert!(!nowhere.is_retriable());
    let nowhere = objects.list("no-such-bucket-here", "", false, 1).await.unwrap_err();
    assert_eq!(nowhere.kind(), Kind::Nowhere, "{nowhere}");
    bucket.remove().await
}

#[tokio::test]
async fn a_listing_is_in_order_flat_where_it_is_to_be_and_says_that_there_is_more() -> anyhow::Result<()> {
    let (bucket, objects) = (Bucket::create("listing").await?, Args::default().client().objects());
    for key in ["in/b", "in/a", "in/deep/c", "out/d"] {
        bucket.put(key, "").await?;
    }
    let keys = async |flat, most| {
        let listing = objects.list(bucket.name(), "in/", flat, most).await?;
        let keys: Vec<String> = listing.objects.into_iter().map(|object| object.key).collect();
        anyhow::Ok((keys.join(" "), listing.more))
    };
    assert_eq!(keys(false, 10).await?, ("in/a in/b in/deep/c".to_owned(), false));
    assert_eq!(keys(true, 10).await?, ("in/a in/b".to_owned(), false));
    assert_eq!(keys(false, 2).await?, ("in/a in/b".to_owned(), true));
    bucket.remove().await
}

#[tokio::test]
async fn a_message_is_hidden_given_back_and_deleted() -> anyhow::Result<()> {
    let queue = queue("messages", Duration::from_mins(10)).await?;
    queue.send(r#"{"order": 7}"#).await?;
    let first = queue.receive(10, Duration::from_secs(5)).await?.remove(0);
    assert_eq!(first.body, r#"{"order": 7}"#);
    assert_eq!(first.system["ApproximateReceiveCount"], "1");
    assert_eq!(queue.depth().await?, Depth { visible: 0, in_flight: 1 });
    queue.hide(&first.receipt, Duration::ZERO).await?;
    assert_eventually!(queue.depth().await?.visible => 1, within: 10);
    let again = queue.receive(10, Duration::from_secs(5)).await?.remove(0);
    assert_eq!(again.id, first.id, "the same message");
    assert_ne!(again.receipt, first.receipt);
    queue.delete(&again.receipt).await?;
    assert_eq!(queue.depth().await?, Depth::default());
    queue.remove().await?;
    let gone = queue.receive(1, Duration::ZERO).await.unwrap_err();
    assert_eq!(gone.kind(), Kind::Nowhere, "{gone}");
    Ok(())
}
