//! Topics, their ids, and how far groups are.

mod describe;
mod lag;
mod moment;
mod tails;
mod topics;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use rdkafka::{admin::AdminClient, config::FromClientConfigAndContext};
use uuid::Uuid;

pub(crate) use self::describe::describe_topics;
pub use self::{
    lag::{Lag, PartitionLag},
    moment::Moment,
    topics::{Difference, TopicSpec, TopicState},
};
use crate::{
    client::Client,
    context::Context,
    error::{Error, Result},
};

/// How long the brokers may take to answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A topic, as the brokers describe it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    /// Its name.
    pub name: String,
    /// Its id: another one when a topic of the same name is made anew.
    pub id: Uuid,
    /// Its partitions, in order.
    pub partitions: Vec<PartitionInfo>,
}

/// A partition, as the brokers describe it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionInfo {
    /// Its number.
    pub id: i32,
    /// The broker that leads it, when there is one.
    pub leader: Option<i32>,
    /// How many brokers hold a replica.
    pub replicas: usize,
    /// How many replicas are in sync.
    pub in_sync: usize,
}

/// Asks and tells the brokers about topics and groups. Cheap to clone.
#[derive(Clone)]
pub struct Admin {
    native: Arc<AdminClient<Context>>,
    lag: Arc<lag::Meter>,
}

impl Admin {
    /// Makes the client. Nothing is connected before the first call.
    pub fn new(client: &Client) -> Result<Self> {
        let config = client.config("admin", &[]);
        let native =
            AdminClient::from_config_and_context(&config, client.context("admin", None)).map_err(Error::Create)?;
        Ok(Self { native: Arc::new(native), lag: Arc::new(lag::Meter::new(client)?) })
    }

    /// Describes topics; one that does not exist is left out.
    pub async fn describe(&self, topics: &[String]) -> Result<Vec<Topic>> {
        let native = Arc::clone(&self.native);
        let topics = topics.to_vec();
        blocking(move || describe_topics(native.inner(), &topics, TIMEOUT)).await
    }

    /// The id of a topic.
    pub async fn topic_id(&self, topic: &str) -> Result<Uuid> {
        let topics = self.describe(&[topic.to_owned()]).await?;
        topics.first().map(|topic| topic.id).ok_or_else(|| Error::UnknownTopic(topic.to_owned()))
    }

    /// Whether the brokers answer within that time.
    pub async fn reachable(&self, timeout: Duration) -> Result<()> {
        let native = Arc::clone(&self.native);
        blocking(move || {
            native
                .inner()
                .fetch_metadata(Some("__consumer_offsets"), timeout)
                .map(drop)
                .map_err(|error| Error::from_kafka("reach the brokers", error))
        })
        .await
    }

    /// Where a moment, in milliseconds since 1970, is in each partition of a topic, in their order. Records of open
    /// transactions are not there yet.
    pub async fn moment(&self, topic: &str, at: i64) -> Result<Vec<Moment>> {
        let described = self.describe(&[topic.to_owned()]).await?;
        let described = described.into_iter().next().ok_or_else(|| Error::UnknownTopic(topic.to_owned()))?;
        let meter = Arc::clone(&self.lag);
        blocking(move || meter.moment(&described, at)).await
    }

    /// The first offset that is still there, by partition: of all of them, or an error.
    pub async fn beginnings(&self, topic: &str) -> Result<BTreeMap<i32, i64>> {
        let described = self.describe(&[topic.to_owned()]).await?;
        let described = described.into_iter().next().ok_or_else(|| Error::UnknownTopic(topic.to_owned()))?;
        let meter = Arc::clone(&self.lag);
        blocking(move || meter.beginnings(&described)).await
    }

    /// How many records a group has still to read, by partition, against the last stable offset: records of open
    /// transactions do not count, nor do the markers of ended ones.
    pub async fn lag(&self, group: &str, topics: &[String]) -> Result<Lag> {
        let described = self.describe(topics).await?;
        if let Some(missing) = topics.iter().find(|topic| described.iter().all(|known| known.name != **topic)) {
            return Err(Error::UnknownTopic(missing.clone()));
        }
        let (meter, group) = (Arc::clone(&self.lag), group.to_owned());
        blocking(move || meter.measure(&group, &described)).await
    }
}

/// Runs a blocking call of librdkafka beside the runtime.
async fn blocking<T: Send + 'static>(call: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(call).await.unwrap_or(Err(Error::Closed))
}
