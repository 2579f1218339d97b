//! Queues of SQS.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use aws_sdk_sqs::{
    config::Region,
    types::{self, MessageSystemAttributeName, QueueAttributeName},
};
use base64::{Engine as _, prelude::BASE64_STANDARD};

use crate::{Client, Error, Kind, Result};

/// The most messages that one call receives.
const MOST: usize = 10;
/// The longest that a call waits for messages.
const LONGEST: Duration = Duration::from_secs(20);

/// SQS's own, in seconds, for a queue that does not say.
const DEFAULT_VISIBILITY: u64 = 30;

/// One queue. Cheap to clone.
#[derive(Clone)]
pub struct Queue {
    client: Client,
    url: String,
    /// Where its URL says that it is.
    region: Option<Region>,
}

/// A message that is ours until its visibility timeout has passed. What is not deleted by then comes again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The same whenever it comes again.
    pub id: String,
    /// What deletes it: another one whenever it comes again.
    pub receipt: String,
    /// What its sender wrote.
    pub body: String,
    /// Its sender's attributes; of a binary one its base64.
    pub attributes: BTreeMap<String, String>,
    /// What SQS says of it: `SentTimestamp`, `ApproximateReceiveCount`, `MessageGroupId` and so on.
    pub system: BTreeMap<String, String>,
}

/// About how many messages there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Depth {
    /// That can be received.
    pub visible: u64,
    /// That somebody has received and not deleted.
    pub in_flight: u64,
}

impl Queue {
    pub(crate) fn new(client: Client, url: String) -> Self {
        let region = region(&url).map(|region| Region::new(region.to_owned()));
        Self { client, url, region }
    }

    /// Makes a queue, which hides a message for so long from others once it is received.
    pub async fn create(client: &Client, name: &str, visibility: Duration) -> Result<Self> {
        let sqs = &client.sdk("make queue", name).await?.sqs;
        let seconds = visibility.as_secs().to_string();
        let request = sqs.create_queue().queue_name(name).attributes(QueueAttributeName::VisibilityTimeout, seconds);
        let made = request.send().await.map_err(|error| Error::sdk("make queue", name, &error))?;
        Ok(client.queue(made.queue_url().unwrap_or_default()))
    }

    /// The SDK's client of the region that the queue is in: what AWS has in another one would not find it.
    async fn sqs(&self, what: &'static str) -> Result<Cow<'_, aws_sdk_sqs::Client>> {
        let sqs = &self.client.sdk(what, &self.url).await?.sqs;
        let Some(region) = self.region.as_ref().filter(|&region| sqs.config().region() != Some(region)) else {
            return Ok(Cow::Borrowed(sqs));
        };
        let config = sqs.config().to_builder().region(region.clone()).build();
        Ok(Cow::Owned(aws_sdk_sqs::Client::from_conf(config)))
    }

    /// Its URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Receives messages, ten at most, and waits for the first for so long, 20 s at most.
    pub async fn receive(&self, most: usize, wait: Duration) -> Result<Vec<Message>> {
        let sqs = self.sqs("receive from").await?;
        let request = sqs
            .receive_message()
            .queue_url(&self.url)
            .max_number_of_messages(most.clamp(1, MOST) as i32)
            .wait_time_seconds(wait.min(LONGEST).as_secs() as i32)
            .message_system_attribute_names(MessageSystemAttributeName::All)
            .message_attribute_names("All");
        let received = request.send().await.map_err(|error| Error::sdk("receive from", &self.url, &error))?;
        Ok(received.messages.unwrap_or_default().into_iter().map(read).collect())
    }

    /// Removes a message that is done, by its receipt.
    pub async fn delete(&self, receipt: &str) -> Result<()> {
        let sqs = self.sqs("delete a message from").await?;
        let deleted = sqs.delete_message().queue_url(&self.url).receipt_handle(receipt).send().await;
        deleted.map(drop).map_err(|error| Error::sdk("delete a message from", &self.url, &error))
    }

    /// Hides a message for so long from now on; zero gives it back.
    pub async fn hide(&self, receipt: &str, time: Duration) -> Result<()> {
        let sqs = self.sqs("hide a message of").await?;
        let request = sqs.change_message_visibility().queue_url(&self.url).receipt_handle(receipt);
        let hidden = request.visibility_timeout(time.as_secs() as i32).send().await;
        hidden.map(drop).map_err(|error| Error::sdk("hide a message of", &self.url, &error))
    }

    /// Sends a message.
    pub async fn send(&self, body: &str) -> Result<()> {
        self.send_with(body, []).await
    }

    /// Sends a message with attributes, ten at most, none of them empty.
    pub async fn send_with(&self, body: &str, attributes: impl IntoIterator<Item = (&str, &str)>) -> Result<()> {
        const WHAT: &str = "send to";
        let sqs = self.sqs(WHAT).await?;
        let mut request = sqs.send_message().queue_url(&self.url).message_body(body);
        for (name, value) in attributes {
            let value = types::MessageAttributeValue::builder().data_type("String").string_value(value).build();
            let value = value.map_err(|error| Error::new(Kind::Refused, WHAT, &self.url, error.to_string()))?;
            request = request.message_attributes(name, value);
        }
        request.send().await.map(drop).map_err(|error| Error::sdk(WHAT, &self.url, &error))
    }

    /// About how many messages it holds.
    pub async fn depth(&self) -> Result<Depth> {
        use QueueAttributeName::{
            ApproximateNumberOfMessages as Visible, ApproximateNumberOfMessagesNotVisible as InFlight,
        };
        let known = self.look([Visible, InFlight]).await?;
        let number =
            |name: QueueAttributeName| known.get(&name).and_then(|number| number.parse().ok()).unwrap_or_default();
        Ok(Depth { visible: number(Visible), in_flight: number(InFlight) })
    }

    /// How long a message is hidden from others once it is received.
    pub async fn visibility(&self) -> Result<Duration> {
        let known = self.look([QueueAttributeName::VisibilityTimeout]).await?;
        let seconds = known.get(&QueueAttributeName::VisibilityTimeout).and_then(|seconds| seconds.parse().ok());
        Ok(Duration::from_secs(seconds.unwrap_or(DEFAULT_VISIBILITY)))
    }

    /// Its name in full.
    pub async fn arn(&self) -> Result<String> {
        Ok(self.look([QueueAttributeName::QueueArn]).await?.remove(&QueueAttributeName::QueueArn).unwrap_or_default())
    }

    async fn look<const N: usize>(
        &self,
        names: [QueueAttributeName; N],
    ) -> Result<HashMap<QueueAttributeName, String>> {
        let sqs = self.sqs("look at").await?;
        let request = sqs.get_queue_attributes().queue_url(&self.url).set_attribute_names(Some(names.to_vec()));
        let known = request.send().await.map_err(|error| Error::sdk("look at", &self.url, &error))?;
        Ok(known.attributes.unwrap_or_default())
    }

    /// Removes the queue with all that is in it.
    pub async fn remove(&self) -> Result<()> {
        let sqs = self.sqs("remove").await?;
        let removed = sqs.delete_queue().queue_url(&self.url).send().await;
        removed.map(drop).map_err(|error| Error::sdk("remove", &self.url, &error))
    }
}

/// The region in the URL of a queue of AWS: `https://sqs.<region>.amazonaws.com/<account>/<name>`. None in another's.
fn region(url: &str) -> Option<&str> {
    let host = url.split_once("://")?.1.split(['/', ':']).next()?;
    let (region, domain) = host.strip_prefix("sqs.")?.split_once('.')?;
    domain.starts_with("amazonaws.com").then_some(region)
}

fn read(message: types::Message) -> Message {
    let text = |value: &types::MessageAttributeValue| match (value.string_value(), value.binary_value()) {
        (Some(text), _) => text.to_owned(),
        (None, Some(bytes)) => BASE64_STANDARD.encode(bytes),
        (None, None) => String::new(),
    };
    let attributes = message.message_attributes.iter().flatten().map(|(name, value)| (name.clone(), text(value)));
    let system = message.attributes.iter().flatten().map(|(name, value)| (name.as_str().to_owned(), value.clone()));
    Message {
        attributes: attributes.collect(),
        system: system.collect(),
        id: message.message_id.unwrap_or_default(),
        receipt: message.receipt_handle.unwrap_or_default(),
        body: message.body.unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_of_a_queue_of_aws_says_where_it_is() {
        assert_eq!(region("https://sqs.eu-central-1.amazonaws.com/123456789012/inbox"), Some("eu-central-1"));
        assert_eq!(region("https://sqs.cn-north-1.amazonaws.com.cn/123456789012/inbox"), Some("cn-north-1"));
        assert_eq!(region("http://127.0.0.1:5000/123456789012/inbox"), None);
        assert_eq!(region("http://sqs.amazonaws.com/123456789012/inbox"), None);
    }
}
