//! Objects of S3.

use aws_sdk_s3::{
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
    primitives::{ByteStream, DateTime},
    types,
};
use backon::{BackoffBuilder as _, ExponentialBuilder};
use bytes::Bytes;
use jiff::Timestamp;

use crate::{Client, Error, Kind, Result, Topic};

/// How often a write that somebody else was in the way of is tried again.
const TRIES: usize = 3;

/// Objects of all buckets that the credentials reach. Cheap to clone.
#[derive(Clone)]
pub struct Objects(Client);

/// What is known of an object without reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Its key, as it is: not encoded for an address.
    pub key: String,
    /// Another one for other bytes, without quotes.
    pub etag: Option<String>,
    /// Its version, in a bucket that keeps versions. A listing has none.
    pub version: Option<String>,
    /// Bytes.
    pub size: u64,
    /// When it was written, to the second.
    pub modified: Option<Timestamp>,
}

impl From<&types::Object> for Object {
    fn from(object: &types::Object) -> Self {
        Self {
            key: object.key().unwrap_or_default().to_owned(),
            etag: object.e_tag().map(unquoted),
            version: None,
            size: object.size().map(i64::unsigned_abs).unwrap_or_default(),
            modified: object.last_modified().and_then(instant),
        }
    }
}

/// Objects whose keys begin alike, in the order of their keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// The objects.
    pub objects: Vec<Object>,
    /// There are more than were asked for.
    pub more: bool,
}

impl Objects {
    pub(crate) fn new(client: Client) -> Self {
        Self(client)
    }

    pub(crate) async fn s3(&self, what: &'static str, bucket: &str) -> Result<&aws_sdk_s3::Client> {
        Ok(&self.0.sdk(what, bucket).await?.s3)
    }

    /// Looks at one object; none where it is not there. A bucket that is not there is an error.
    pub async fn head(&self, bucket: &str, key: &str) -> Result<Option<Object>> {
        const WHAT: &str = "look at";
        let s3 = self.s3(WHAT, bucket).await?;
        let found = match s3.head_object().bucket(bucket).key(key).send().await {
            Ok(found) => found,
            Err(error) => {
                let error = Error::sdk(WHAT, uri(bucket, key), &error);
                return if error.kind() == Kind::Missing { self.in_bucket(bucket).await } else { Err(error) };
            }
        };
        Ok(Some(Object {
            key: key.to_owned(),
            etag: found.e_tag().map(unquoted),
            version: found.version_id().map(str::to_owned),
            size: found.content_length().map(i64::unsigned_abs).unwrap_or_default(),
            modified: found.last_modified().and_then(instant),
        }))
    }

    /// HEAD of an object says no more than that nothing is there: the object, or the whole bucket.
    async fn in_bucket(&self, bucket: &str) -> Result<Option<Object>> {
        const WHAT: &str = "find bucket";
        let s3 = self.s3(WHAT, bucket).await?;
        match s3.head_bucket().bucket(bucket).send().await {
            Ok(_) => Ok(None),
            Err(error) => match Error::sdk(WHAT, bucket, &error) {
                error if error.kind() == Kind::Missing => Err(Error::nowhere(WHAT, bucket)),
                // To look at objects is one right, to look at the bucket another.
                error if error.kind() == Kind::Denied => Ok(None),
                error => Err(error),
            },
        }
    }

    /// Lists the objects whose keys begin with `prefix`, `most` of them at most. `flat`: not those that have another `/`
    /// after it.
    pub async fn list(&self, bucket: &str, prefix: &str, flat: bool, most: usize) -> Result<Listing> {
        let s3 = self.s3("list", bucket).await?;
        let delimiter = flat.then(|| "/".to_owned());
        let request = s3.list_objects_v2().bucket(bucket).prefix(prefix).set_delimiter(delimiter);
        let mut pages = request.into_paginator().send();
        let (mut listing, mut folders) = (Listing::default(), 0);
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| Error::sdk("list", uri(bucket, prefix), &error))?;
            // A flat one has a bound over folders as well: each page has a thousand of them at most.
            folders += page.common_prefixes().len();
            if folders > most {
                return Ok(Listing { more: true, ..listing });
            }
            for object in page.contents() {
                if listing.objects.len() == most {
                    return Ok(Listing { more: true, ..listing });
                }
                listing.objects.push(Object::from(object));
            }
        }
        Ok(listing)
    }

    /// Goes through all objects whose keys begin with `prefix` and, where it is given, are behind `after`, in the order of
    /// their keys.
    pub async fn walk(
        &self,
        bucket: &str,
        prefix: &str,
        after: Option<&str>,
        mut visit: impl FnMut(Object),
    ) -> Result<()> {
        const WHAT: &str = "list";
        let request = self.s3(WHAT, bucket).await?.list_objects_v2().bucket(bucket).prefix(prefix);
        let mut pages = request.set_start_after(after.map(str::to_owned)).into_paginator().send();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| Error::sdk(WHAT, uri(bucket, prefix), &error))?;
            page.contents().iter().map(Object::from).for_each(&mut visit);
        }
        Ok(())
    }

    /// Writes an object, unless there is one: whether it was written. Of all who try, one is told so.
    ///
    /// Where an answer gets lost, the writer may be told that there is one, and it is its own: it has to look.
    pub async fn put_new(&self, bucket: &str, key: &str, bytes: impl Into<Bytes>) -> Result<bool> {
        const WHAT: &str = "write";
        let bytes = bytes.into();
        let mut pauses = ExponentialBuilder::new().with_jitter().with_max_times(TRIES).build();
        loop {
            let request = self.s3(WHAT, bucket).await?.put_object().bucket(bucket).key(key).if_none_match("*");
            match done(WHAT, uri(bucket, key), request.body(ByteStream::from(bytes.clone())).send().await) {
                Ok(()) => return Ok(true),
                Err(error) if error.kind() == Kind::Changed => return Ok(false),
                // The SDK does not try again where somebody else was writing at the same moment.
                Err(error)
                    if error.is_retriable()
                        && let Some(pause) = pauses.next() =>
                {
                    tokio::time::sleep(pause).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Writes an object, over what is there.
    pub async fn put(&self, bucket: &str, key: &str, bytes: impl Into<Bytes>) -> Result<()> {
        let s3 = self.s3("write", bucket).await?;
        let put = s3.put_object().bucket(bucket).key(key).body(ByteStream::from(bytes.into())).send().await;
        done("write", uri(bucket, key), put)
    }

    /// Removes an object; one that is not there is as good.
    pub async fn delete(&self, bucket: &str, key: &str) -> Result<()> {
        let s3 = self.s3("remove", bucket).await?;
        done("remove", uri(bucket, key), s3.delete_object().bucket(bucket).key(key).send().await)
    }

    /// Makes a bucket.
    pub async fn create_bucket(&self, bucket: &str) -> Result<()> {
        let s3 = self.s3("make bucket", bucket).await?;
        done("make bucket", bucket, s3.create_bucket().bucket(bucket).send().await)
    }

    /// Has a bucket keep the versions of its objects.
    pub async fn keep_versions(&self, bucket: &str) -> Result<()> {
        const WHAT: &str = "keep versions in";
        let status = types::BucketVersioningStatus::Enabled;
        let versions = types::VersioningConfiguration::builder().status(status).build();
        let request = self.s3(WHAT, bucket).await?.put_bucket_versioning().bucket(bucket);
        done(WHAT, bucket, request.versioning_configuration(versions).send().await)
    }

    /// Has a topic told of every object that is written under `prefix` and whose key ends so, and nobody else told of anything.
    pub async fn notify(&self, bucket: &str, prefix: &str, suffix: &str, topic: &Topic) -> Result<()> {
        const WHAT: &str = "have a topic told of";
        let rule = |name, value: &str| types::FilterRule::builder().name(name).value(value).build();
        let rules = [rule(types::FilterRuleName::Prefix, prefix), rule(types::FilterRuleName::Suffix, suffix)];
        let key = types::S3KeyFilter::builder().set_filter_rules(Some(rules.to_vec())).build();
        let told = types::TopicConfiguration::builder()
            .topic_arn(topic.arn())
            .events(types::Event::S3ObjectCreated)
            .filter(types::NotificationConfigurationFilter::builder().key(key).build())
            .build()
            .map_err(|error| Error::new(Kind::Refused, WHAT, bucket, error.to_string()))?;
        let all = types::NotificationConfiguration::builder().topic_configurations(told).build();
        let request = self.s3(WHAT, bucket).await?.put_bucket_notification_configuration().bucket(bucket);
        done(WHAT, bucket, request.notification_configuration(all).send().await)
    }

    /// Removes a bucket that holds nothing.
    pub async fn delete_bucket(&self, bucket: &str) -> Result<()> {
        let s3 = self.s3("remove bucket", bucket).await?;
        done("remove bucket", bucket, s3.delete_bucket().bucket(bucket).send().await)
    }
}

fn done<T, E: ProvideErrorMetadata + std::error::Error + 'static>(
    what: &'static str,
    target: impl Into<String>,
    answer: Result<T, SdkError<E, HttpResponse>>,
) -> Result<()> {
    answer.map(drop).map_err(|error| Error::sdk(what, target, &error))
}

pub(crate) fn uri(bucket: &str, key: &str) -> String {
    format!("s3://{bucket}/{key}")
}

fn unquoted(etag: &str) -> String {
    etag.trim_matches('"').to_owned()
}

fn instant(at: &DateTime) -> Option<Timestamp> {
    Timestamp::new(at.secs(), at.subsec_nanos() as i32).ok()
}
