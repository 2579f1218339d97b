//! What is in the lake, read as anybody could.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use millrace_aws::{Args, Object, Wanted};
use millrace_lake::{Audit, Complete, Folder, Manifest, TopicFolder, audit};
use millrace_schema::{Guid, archived, container};

use crate::world::{PARTITIONS, World};

/// A record as it is in the lake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) schema: Option<Guid>,
    pub(crate) hour: String,
    pub(crate) event_id: Option<String>,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    pub(crate) event: Vec<u8>,
}

impl World {
    /// Where a partition is in the lake.
    pub(crate) fn folder(&self, partition: i32) -> Folder {
        Folder::new("lake", &self.topic(), self.topic_id, partition)
    }

    /// Who has written files of each window of a partition, committed or not.
    pub(crate) async fn writers(&self, partition: i32) -> BTreeMap<String, BTreeSet<String>> {
        let (folder, objects) = (self.folder(partition), Args::default().client().objects());
        let mut writers: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let visit = |object: Object| {
            let name = object.key.strip_prefix(folder.path()).unwrap();
            if let [first, writer, _] = name.split('-').collect::<Vec<_>>()[..] {
                writers.entry(first.to_owned()).or_default().insert(writer.to_owned());
            }
        };
        objects.walk(self.bucket.name(), folder.path(), None, visit).await.unwrap();
        writers
    }

    /// The markers of hours that are complete, by the hour.
    pub(crate) async fn markers(&self) -> BTreeMap<Timestamp, Complete> {
        let folder = TopicFolder::new("lake", &self.topic(), self.topic_id);
        let objects = Args::default().client().objects();
        let mut hours = Vec::new();
        let visit = |object: Object| hours.push((folder.hour_of(&object.key).unwrap(), object.key));
        objects.walk(self.bucket.name(), &folder.complete(), None, visit).await.unwrap();
        let mut markers = BTreeMap::new();
        for (hour, key) in hours {
            let body = objects.read(self.bucket.name(), &key, Wanted::default()).await.unwrap();
            let marker = Complete::read(&key, hour, &body.all(1 << 20).await.unwrap()).unwrap();
            markers.insert(hour, marker);
        }
        markers
    }

    /// The manifests of a partition, in the order of their names.
    pub(crate) async fn manifests(&self, partition: i32) -> Vec<Manifest> {
        let (folder, objects) = (self.folder(partition), Args::default().client().objects());
        let mut keys = Vec::new();
        objects.walk(self.bucket.name(), folder.path(), None, |object| keys.push(object.key)).await.unwrap();
        let mut manifests = Vec::new();
        for key in keys.iter().filter(|key| folder.first_of(key).is_some()) {
            let body = objects.read(self.bucket.name(), key, Wanted::default()).await.unwrap();
            let manifest = Manifest::read(&folder, key, &body.all(1 << 20).await.unwrap()).unwrap();
            assert!(manifest.files.iter().all(|file| keys.contains(&file.key)), "{manifest:?}");
            manifests.push(manifest);
        }
        manifests
    }

    /// What an audit says of each partition, against what the topic has.
    pub(crate) async fn audits(&self) -> Vec<Audit> {
        let (beginnings, ends) = (self.admin.beginnings(&self.topic()).await.unwrap(), self.ends().await);
        let mut audits = Vec::new();
        for partition in 0..PARTITIONS {
            let manifests = self.manifests(partition).await;
            audits.push(audit(&manifests, Some(beginnings[&partition]..ends[&partition])));
        }
        audits
    }

    /// Every record in the lake, by partition and offset: none is there twice, and each is where its manifest says.
    pub(crate) async fn archived(&self) -> BTreeMap<(i32, i64), Found> {
        let objects = Args::default().client().objects();
        let mut all = BTreeMap::new();
        for partition in 0..PARTITIONS {
            for manifest in self.manifests(partition).await {
                for file in &manifest.files {
                    let body = objects.read(self.bucket.name(), &file.key, Wanted::default()).await.unwrap();
                    let bytes = body.all(1 << 30).await.unwrap();
                    assert_eq!(bytes.len() as u64, file.bytes);
                    let mut reader = container::Reader::new(bytes.as_slice(), container::Limits::default()).unwrap();
                    let schema = archived::event_schema(reader.schema()).unwrap();
                    assert_eq!(schema.map(|schema| schema.guid()), file.schema);
                    let mut offsets = Vec::new();
                    while let Some(datum) = reader.next_datum() {
                        let (head, event) = archived::decode_head(datum.unwrap()).unwrap();
                        offsets.push(head.offset);
                        let headers = head.headers.iter();
                        let found = Found {
                            schema: file.schema,
                            hour: file.hour.to_string(),
                            event_id: head.event_id.map(str::to_owned),
                            key: head.key.map(<[u8]>::to_vec),
                            headers: headers.map(|it| (it.name.to_owned(), it.value.unwrap().to_vec())).collect(),
                            event: event.to_vec(),
                        };
                        let twice = all.insert((partition, head.offset), found);
                        assert_eq!(twice, None, "partition {partition}, offset {}", head.offset);
                    }
                    let listed: Vec<i64> = file.offsets.iter().flat_map(|it| it.first..=it.last).collect();
                    assert_eq!(offsets, listed, "{}", file.key);
                }
            }
        }
        all
    }
}
