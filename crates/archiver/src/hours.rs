//! Announces the hours of a topic that are complete.
//!
//! ```text
//! ends of the topic, then the chains' windows since the last marker --> Hours (pure) --> <topic>/complete/<hour>.json, put where there is none
//! ```
//!
//! Whoever has the topic's first partition does it: that is one at a time, without another group or lock. Two at a time do no
//! harm, for a marker is written once, and whoever is late goes on after it.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use millrace_aws::Objects;
use millrace_kafka::Admin;
use millrace_lake::{Complete, Hours, TopicFolder};
use uuid::Uuid;

use crate::{
    chain::{Chain, get},
    error::{Error, Result},
    metrics::Metrics,
    topic::pause,
};

/// Between looks.
const LOOK: Duration = Duration::from_secs(5);
/// Hours that are announced at a look, at most.
const MOST: usize = 100;

/// Announces the hours of one topic.
pub(crate) struct Announcer {
    pub(crate) topic: String,
    pub(crate) topic_id: Uuid,
    pub(crate) folder: TopicFolder,
    pub(crate) bucket: String,
    pub(crate) objects: Objects,
    pub(crate) admin: Admin,
    /// How late records may be.
    pub(crate) lateness: SignedDuration,
    pub(crate) metrics: Metrics,
}

impl Announcer {
    /// Announces for as long as it is let. What fails is tried again, after what the lake has.
    pub(crate) async fn run(self) -> Result<()> {
        let mut hours = None;
        let mut pauses = pause();
        loop {
            match self.look(&mut hours).await {
                Ok(()) => pauses = pause(),
                Err(error) => {
                    self.metrics.retry(error.tag());
                    tracing::warn!(topic = self.topic, %error, "cannot say which hours are complete, trying again");
                    hours = None;
                    tokio::time::sleep(pauses.next().unwrap_or_default()).await;
                    continue;
                }
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn look(&self, known: &mut Option<Hours>) -> Result<()> {
        let hours = match known {
            Some(hours) => hours,
            None => known.insert(self.resume().await?),
        };
        // The time first, then the ends, then the chains: what a chain has to an end, it had all of at that time.
        let now = Timestamp::now();
        let (ends, firsts) = (self.admin.moment(&self.topic, 0).await?, self.admin.beginnings(&self.topic).await?);
        for end in &ends {
            self.follow(hours, end.partition).await?;
            let next = hours.next(end.partition).or_else(|| firsts.get(&end.partition).copied());
            if next.is_some_and(|next| next >= end.end) {
                hours.all_there(end.partition, now);
            }
        }
        let partitions = ends.iter().map(|end| end.partition);
        let Some(watermark) = hours.watermark(partitions, now, self.lateness) else { return Ok(()) };
        self.metrics.watermark(watermark);
        for _ in 0..MOST {
            let Some(complete) = hours.complete(watermark) else { break };
            if let Some(theirs) = self.announce(&complete).await? {
                *hours = Hours::after(&theirs);
                break;
            }
            hours.announce(complete.hour);
        }
        Ok(())
    }

    /// Where the newest marker has left off.
    async fn resume(&self) -> Result<Hours> {
        let mut newest = None;
        let visit = |object: millrace_aws::Object| newest = newest.max(self.folder.hour_of(&object.key));
        self.objects.walk(&self.bucket, &self.folder.complete(), None, visit).await?;
        let Some(hour) = newest else { return Ok(Hours::new(&self.topic, self.topic_id)) };
        Ok(Hours::after(&self.read(hour).await?))
    }

    /// Takes the windows that are new in a partition's chain.
    async fn follow(&self, hours: &mut Hours, partition: i32) -> Result<()> {
        let folder = self.folder.partition(partition);
        let chain = Chain { objects: self.objects.clone(), bucket: self.bucket.clone(), folder };
        if hours.next(partition).is_none() {
            let Some(first) = chain.said_origin().await? else { return Ok(()) };
            hours.begin(partition, first);
        }
        while let Some(next) = hours.next(partition) {
            let Some(window) = chain.read(next).await? else { break };
            let late = hours.take(&window);
            if late > 0 {
                self.metrics.late(late);
                tracing::warn!(
                    topic = self.topic,
                    partition,
                    late,
                    first = window.first,
                    "records of hours that were announced"
                );
            }
        }
        Ok(())
    }

    /// Writes the marker of an hour; gives the one that is there, if it is another's.
    async fn announce(&self, complete: &Complete) -> Result<Option<Complete>> {
        let key = self.folder.hour(complete.hour);
        if !self.objects.put_new(&self.bucket, &key, complete.to_json()).await? {
            // It may be our own, of a try whose answer was lost.
            let there = self.read(complete.hour).await?;
            return Ok((there != *complete).then_some(there));
        }
        self.metrics.complete();
        tracing::info!(topic = self.topic, hour = %complete.hour, rows = complete.rows, "hour is complete");
        Ok(None)
    }

    async fn read(&self, hour: Timestamp) -> Result<Complete> {
        let key = self.folder.hour(hour);
        let json = get(&self.objects, &self.bucket, &key).await?;
        let json = json.ok_or_else(|| millrace_lake::Error::new(&key, "was there, and is not any more"))?;
        Complete::read(&key, hour, &json).map_err(Error::Manifest)
    }
}
