//! Topics as they should be, and making them so.

use std::collections::BTreeMap;

use rdkafka::{
    Offset, TopicPartitionList,
    admin::{AdminOptions, NewTopic, ResourceSpecifier, TopicReplication},
    types::RDKafkaErrorCode,
};

use super::{Admin, TIMEOUT, Topic};
use crate::error::{Error, Result};

/// A topic as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicSpec {
    /// Its name.
    pub name: String,
    /// How many partitions it has.
    pub partitions: i32,
    /// How many replicas each partition has.
    pub replication: i32,
    /// Its settings: `retention.ms` and the like. Others are the brokers' affair.
    pub config: BTreeMap<String, String>,
}

/// How a topic is, beside what it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TopicState {
    /// It is not there.
    Missing,
    /// It was made just now.
    Created,
    /// It is as it should be.
    AsWanted,
    /// It is there and different. It is left as it is.
    Different(Vec<Difference>),
}

/// One way in which a topic is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// `partitions`, `replication`, or the name of a setting.
    pub what: String,
    /// What it should be.
    pub wanted: String,
    /// What it is.
    pub actual: String,
}

impl Admin {
    /// Compares topics with what they should be, in the order of the specs. Changes nothing.
    pub async fn compare_topics(&self, specs: &[TopicSpec]) -> Result<Vec<TopicState>> {
        let names: Vec<String> = specs.iter().map(|spec| spec.name.clone()).collect();
        let topics = self.describe(&names).await?;
        let mut states = Vec::with_capacity(specs.len());
        for spec in specs {
            states.push(match topics.iter().find(|topic| topic.name == spec.name) {
                Some(topic) => self.compare(spec, topic).await?,
                None => TopicState::Missing,
            });
        }
        Ok(states)
    }

    /// Makes the topics that are missing and reports what is different about the others, in the order of the specs.
    pub async fn ensure_topics(&self, specs: &[TopicSpec]) -> Result<Vec<TopicState>> {
        let mut states = self.compare_topics(specs).await?;
        for (spec, state) in specs.iter().zip(&mut states) {
            if *state == TopicState::Missing {
                *state = self.create(spec).await?;
            }
        }
        Ok(states)
    }

    /// Deletes topics; one that does not exist is no error.
    pub async fn delete_topics(&self, topics: &[String]) -> Result<()> {
        let names: Vec<&str> = topics.iter().map(String::as_str).collect();
        let results = self.native.delete_topics(&names, &options()).await;
        for result in results.map_err(|error| Error::from_kafka("delete topics", error))? {
            match result {
                Ok(_) | Err((_, RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic)) => {}
                Err((_, code)) => return Err(refused("delete topic", code)),
            }
        }
        Ok(())
    }

    /// Removes the records before an offset of each partition given, as retention would.
    pub async fn delete_records(&self, topic: &str, before: &BTreeMap<i32, i64>) -> Result<()> {
        const WHAT: &str = "delete records";
        let mut list = TopicPartitionList::new();
        for (partition, offset) in before {
            list.add_partition_offset(topic, *partition, Offset::Offset(*offset))
                .map_err(|error| Error::from_kafka(WHAT, error))?;
        }
        let answer = self.native.delete_records(&list, &options()).await;
        for element in answer.map_err(|error| Error::from_kafka(WHAT, error))?.elements() {
            element.error().map_err(|error| Error::from_kafka(WHAT, error))?;
        }
        Ok(())
    }

    async fn create(&self, spec: &TopicSpec) -> Result<TopicState> {
        let mut topic = NewTopic::new(&spec.name, spec.partitions, TopicReplication::Fixed(spec.replication));
        for (key, value) in &spec.config {
            topic = topic.set(key, value);
        }
        let results = self.native.create_topics([&topic], &options()).await;
        match results.map_err(|error| Error::from_kafka("create topic", error))?.pop() {
            // Another replica was faster.
            Some(Err((_, RDKafkaErrorCode::TopicAlreadyExists))) => Ok(TopicState::AsWanted),
            Some(Err((_, code))) => Err(refused("create topic", code)),
            _ => Ok(TopicState::Created),
        }
    }

    async fn compare(&self, spec: &TopicSpec, topic: &Topic) -> Result<TopicState> {
        let mut differences = Vec::new();
        let mut expect = |what: &str, wanted: &str, actual: &str| {
            if wanted != actual {
                differences.push(Difference {
                    what: what.to_owned(),
                    wanted: wanted.to_owned(),
                    actual: actual.to_owned(),
                });
            }
        };
        expect("partitions", &spec.partitions.to_string(), &topic.partitions.len().to_string());
        let replicas = topic.partitions.iter().map(|partition| partition.replicas).min().unwrap_or(0);
        expect("replication", &spec.replication.to_string(), &replicas.to_string());
        if !spec.config.is_empty() {
            let actual = self.topic_config(&spec.name).await?;
            for (key, wanted) in &spec.config {
                expect(key, wanted, actual.get(key).map_or("", String::as_str));
            }
        }
        Ok(if differences.is_empty() { TopicState::AsWanted } else { TopicState::Different(differences) })
    }

    async fn topic_config(&self, topic: &str) -> Result<BTreeMap<String, String>> {
        let results = self.native.describe_configs([&ResourceSpecifier::Topic(topic)], &options()).await;
        let mut config = BTreeMap::new();
        for result in results.map_err(|error| Error::from_kafka("describe topic", error))? {
            let resource = result.map_err(|code| refused("describe topic", code))?;
            for entry in resource.entries {
                config.insert(entry.name, entry.value.unwrap_or_default());
            }
        }
        Ok(config)
    }
}

fn options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(TIMEOUT)).operation_timeout(Some(TIMEOUT))
}

fn refused(what: &'static str, code: RDKafkaErrorCode) -> Error {
    Error::from_kafka(what, rdkafka::error::KafkaError::Global(code))
}
