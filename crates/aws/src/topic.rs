//! Topics of SNS.

use std::borrow::Cow;

use aws_sdk_sns::config::Region;

use crate::{Client, Error, Queue, Result};

/// One topic. Cheap to clone.
#[derive(Clone)]
pub struct Topic {
    client: Client,
    arn: String,
    /// Where its name says that it is.
    region: Option<Region>,
}

impl Topic {
    pub(crate) fn new(client: Client, arn: String) -> Self {
        let region = region(&arn).map(|region| Region::new(region.to_owned()));
        Self { client, arn, region }
    }

    /// Makes a topic, or finds it: whoever makes one of a name gets the same.
    pub async fn create(client: &Client, name: &str) -> Result<Self> {
        let sns = &client.sdk("make topic", name).await?.sns;
        let made = sns.create_topic().name(name).send().await;
        let made = made.map_err(|error| Error::sdk("make topic", name, &error))?;
        Ok(client.topic(made.topic_arn().unwrap_or_default()))
    }

    /// The SDK's client of the region that the topic is in.
    async fn sns(&self, what: &'static str) -> Result<Cow<'_, aws_sdk_sns::Client>> {
        let sns = &self.client.sdk(what, &self.arn).await?.sns;
        let Some(region) = self.region.as_ref().filter(|&region| sns.config().region() != Some(region)) else {
            return Ok(Cow::Borrowed(sns));
        };
        let config = sns.config().to_builder().region(region.clone()).build();
        Ok(Cow::Owned(aws_sdk_sns::Client::from_conf(config)))
    }

    /// Its name in full.
    pub fn arn(&self) -> &str {
        &self.arn
    }

    /// Tells all who have subscribed. A subject is what e-mail shows, 100 characters at most.
    pub async fn publish(&self, subject: Option<&str>, body: &str) -> Result<()> {
        const WHAT: &str = "publish to";
        let request = self.sns(WHAT).await?.publish().topic_arn(&self.arn).message(body);
        let told = request.set_subject(subject.map(str::to_owned)).send().await;
        told.map(drop).map_err(|error| Error::sdk(WHAT, &self.arn, &error))
    }

    /// Has a queue told, each message in an envelope of SNS's. The queue's policy must let the topic send.
    pub async fn subscribe(&self, queue: &Queue) -> Result<()> {
        const WHAT: &str = "subscribe to";
        let queue = queue.arn().await?;
        let request = self.sns(WHAT).await?.subscribe().topic_arn(&self.arn).protocol("sqs").endpoint(queue);
        request.send().await.map(drop).map_err(|error| Error::sdk(WHAT, &self.arn, &error))
    }

    /// Removes the topic and its subscriptions.
    pub async fn remove(&self) -> Result<()> {
        const WHAT: &str = "remove";
        let removed = self.sns(WHAT).await?.delete_topic().topic_arn(&self.arn).send().await;
        removed.map(drop).map_err(|error| Error::sdk(WHAT, &self.arn, &error))
    }
}

/// The region in the name of a topic: `arn:aws:sns:<region>:<account>:<name>`.
fn region(arn: &str) -> Option<&str> {
    arn.split(':').nth(3).filter(|region| !region.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_is_where_its_name_says() {
        assert_eq!(region("arn:aws:sns:eu-west-1:123456789012:objects"), Some("eu-west-1"));
        assert_eq!(region("objects"), None);
    }
}
