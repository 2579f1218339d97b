//! `millrace lake`.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    path::PathBuf,
};

use anyhow::{Context, bail};
use clap::Subcommand;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;
use millrace_aws::{Object, Objects, Wanted};
use millrace_core::{Pipeline, Span};
use millrace_kafka::Admin;
use millrace_lake::{Audit, Complete, DataFile, Finding, Folder, Late, Manifest, TopicFolder, audit, hex, late};
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::{Output, output::table};

/// Objects that are read at once.
const PARALLEL: usize = 16;
/// Bytes of a manifest, at most.
const MAX_MANIFEST: u64 = 64 << 20;

/// What to do with the lake.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Prove that every offset of a pipeline's topics is there once, or name those that are not.
    Audit(AuditArgs),
    /// Remove data files that no manifest names: what archivers that died have left.
    Sweep(SweepArgs),
}

/// Which lake.
#[derive(Debug, clap::Args)]
pub(crate) struct Place {
    /// The pipeline.
    pipeline: String,
    /// Pipeline documents: files or folders.
    #[arg(long, env = "MILLRACE_PIPELINES", value_name = "PATH", value_delimiter = ',', required = true, num_args = 1..)]
    pipelines: Vec<PathBuf>,
    /// The bucket of the lake.
    #[arg(long, env = "MILLRACE_LAKE_BUCKET", value_name = "BUCKET")]
    bucket: String,
    #[command(flatten)]
    kafka: millrace_kafka::Args,
    #[command(flatten)]
    aws: millrace_aws::Args,
}

#[derive(Debug, clap::Args)]
pub(crate) struct AuditArgs {
    #[command(flatten)]
    place: Place,
    /// Read every data file, and compare it with its manifest: size and SHA-256.
    #[arg(long)]
    content: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct SweepArgs {
    #[command(flatten)]
    place: Place,
    /// Only what was written longer ago: an archiver may still be about to name what is newer.
    #[arg(long, value_name = "SPAN", default_value = "1d")]
    older_than: Span,
    /// Only say what would be removed.
    #[arg(long)]
    dry_run: bool,
}

/// What was found in a partition.
#[derive(Clone, Debug, Serialize)]
struct Report {
    topic: String,
    partition: i32,
    #[serde(flatten)]
    audit: Audit,
    /// Offsets of the topic that are not archived yet.
    behind: i64,
    /// Data files that are not what their manifests say.
    broken: Vec<String>,
    /// Records that came after their hour was announced as complete. They are there.
    late: Vec<Late>,
}

/// What was noted of a partition beside its manifests: what has to be there, whether it still is or not.
#[derive(Clone, Copy, Debug, Default)]
struct Noted {
    /// The first offset of the first window.
    origin: Option<i64>,
    /// An offset that windows have gone beyond.
    reached: Option<i64>,
}

/// What is to be removed, or was.
#[derive(Clone, Debug, Serialize)]
struct Swept {
    key: String,
    bytes: u64,
}

impl Command {
    pub(crate) async fn run(self, output: Output) -> anyhow::Result<()> {
        match self {
            Self::Audit(args) => args.run(output).await,
            Self::Sweep(args) => args.run(output).await,
        }
    }
}

/// A lake that was found.
struct Lake {
    objects: Objects,
    bucket: String,
    admin: Admin,
    prefix: String,
    topics: [String; 2],
}

impl Place {
    fn open(self) -> anyhow::Result<Lake> {
        let Self { pipeline, pipelines, bucket, kafka, aws } = self;
        let known = Pipeline::load_all(&pipelines)?;
        let found = known.iter().find(|it| it.name() == pipeline);
        let found = found.with_context(|| format!("no document of pipeline {pipeline} among {pipelines:?}"))?;
        let lake = found.spec.lake.as_ref();
        let lake = lake.with_context(|| format!("pipeline {pipeline} has no `lake`: its topics are not archived"))?;
        Ok(Lake {
            objects: aws.client().objects(),
            bucket,
            admin: Admin::new(&kafka.client()?)?,
            prefix: lake.prefix.clone(),
            topics: [found.events_topic(), found.scores_topic()],
        })
    }
}

impl AuditArgs {
    async fn run(self, output: Output) -> anyhow::Result<()> {
        let Self { place, content } = self;
        let lake = place.open()?;
        let mut reports = Vec::new();
        for topic in &lake.topics {
            let (beginnings, ends) = (lake.admin.beginnings(topic).await?, lake.admin.moment(topic, 0).await?);
            let markers = lake.markers(topic).await?;
            for end in ends {
                // One that is not among them was made since.
                let beginning = beginnings.get(&end.partition).copied().unwrap_or_default();
                let noted = lake.noted(topic, end.partition, &markers).await?;
                let (mut report, manifests) = lake.report(topic, end.partition, beginning..end.end, noted).await?;
                report.late = late(end.partition, &manifests, &markers);
                if content {
                    report.broken = lake.broken(&manifests).await?;
                }
                reports.push(report);
            }
        }
        output.value(&reports, |reports| text(reports))?;
        let wrong = reports.iter().map(|it| it.audit.findings.len() + it.broken.len()).sum::<usize>();
        if wrong > 0 {
            bail!("the lake is not complete: {wrong} findings");
        }
        Ok(())
    }
}

impl SweepArgs {
    async fn run(self, output: Output) -> anyhow::Result<()> {
        let Self { place, older_than, dry_run } = self;
        let lake = place.open()?;
        let before = Timestamp::now() - std::time::Duration::from(older_than);
        let mut swept = Vec::new();
        for topic in &lake.topics {
            for end in lake.admin.moment(topic, 0).await? {
                let folder = lake.folder(topic, end.partition).await?;
                // The files first: what is named by a manifest that comes meanwhile is in the manifests that are read after it.
                let there = lake.listed(&folder).await?;
                let manifests = lake.manifests(&folder, &lake.listed(&folder).await?).await?;
                let named: BTreeSet<&str> = files(&manifests).map(|file| file.key.as_str()).collect();
                let is_garbage = |object: &&Object| {
                    let is_data = std::path::Path::new(&object.key).extension().is_some_and(|it| it == "avro");
                    is_data && object.modified.is_some_and(|at| at < before) && !named.contains(object.key.as_str())
                };
                for Object { key, size, .. } in there.iter().filter(is_garbage) {
                    if !dry_run {
                        lake.objects.delete(&lake.bucket, key).await?;
                    }
                    swept.push(Swept { key: key.clone(), bytes: *size });
                }
            }
        }
        output.value(&swept, |swept| {
            let keys: Vec<&str> = swept.iter().map(|it| it.key.as_str()).collect();
            let bytes: u64 = swept.iter().map(|it| it.bytes).sum();
            let did = if dry_run { "would be removed" } else { "removed" };
            format!("{}\n{} files of {bytes} bytes {did}", keys.join("\n"), keys.len()).trim_start().to_owned()
        })
    }
}

impl Lake {
    async fn folder(&self, topic: &str, partition: i32) -> anyhow::Result<Folder> {
        Ok(Folder::new(&self.prefix, topic, self.admin.topic_id(topic).await?, partition))
    }

    async fn listed(&self, folder: &Folder) -> anyhow::Result<Vec<Object>> {
        let mut objects = Vec::new();
        self.objects.walk(&self.bucket, folder.path(), None, |object| objects.push(object)).await?;
        Ok(objects)
    }

    /// The manifests of a partition, of what was listed there, in the order of their names.
    async fn manifests(&self, folder: &Folder, listed: &[Object]) -> anyhow::Result<Vec<Manifest>> {
        let keys = listed.iter().map(|object| &object.key);
        let keys: Vec<&String> = keys.filter(|key| folder.first_of(key).is_some()).collect();
        let read = keys.iter().map(|key| async move {
            let body = self.objects.read(&self.bucket, key, Wanted::default()).await?;
            anyhow::Ok(Manifest::read(folder, key, &body.all(MAX_MANIFEST).await?)?)
        });
        stream::iter(read).buffered(PARALLEL).try_collect().await
    }

    async fn report(
        &self,
        topic: &str,
        partition: i32,
        there: Range<i64>,
        noted: Noted,
    ) -> anyhow::Result<(Report, Vec<Manifest>)> {
        let folder = self.folder(topic, partition).await?;
        let listed = self.listed(&folder).await?;
        let manifests = self.manifests(&folder, &listed).await?;
        let expected = expected(&manifests, there.start, noted);
        let behind = (there.end - expected.end).max(0);
        let audit = audit(&manifests, Some(expected));
        let mut broken = unlisted(&manifests, &listed);
        if !broken.is_empty() {
            // A window may have been committed while it was listed: its files were there before.
            broken = unlisted(&manifests, &self.listed(&folder).await?);
        }
        let report = Report { topic: topic.to_owned(), partition, audit, behind, broken, late: Vec::new() };
        Ok((report, manifests))
    }

    /// The markers of hours that are complete.
    async fn markers(&self, topic: &str) -> anyhow::Result<BTreeMap<Timestamp, Complete>> {
        let folder = TopicFolder::new(&self.prefix, topic, self.admin.topic_id(topic).await?);
        let mut hours = Vec::new();
        let visit = |object: Object| hours.extend(folder.hour_of(&object.key).map(|hour| (hour, object.key)));
        self.objects.walk(&self.bucket, &folder.complete(), None, visit).await?;
        let read = hours.into_iter().map(|(hour, key)| async move {
            let body = self.objects.read(&self.bucket, &key, Wanted::default()).await?;
            anyhow::Ok((hour, Complete::read(&key, hour, &body.all(MAX_MANIFEST).await?)?))
        });
        stream::iter(read).buffered(PARALLEL).try_collect().await
    }

    /// What was noted of a partition. To be asked before its manifests are listed: what comes meanwhile is not missing.
    async fn noted(
        &self,
        topic: &str,
        partition: i32,
        markers: &BTreeMap<Timestamp, Complete>,
    ) -> anyhow::Result<Noted> {
        let folder = self.folder(topic, partition).await?;
        // The newest manifest accounts for its first offset at the least.
        let newest = self.offset(&folder.newest()).await?.map(|first| first + 1);
        let of_hours = markers.values().flat_map(|marker| &marker.partitions);
        let of_hours = of_hours.filter(|it| it.partition == partition).filter_map(|it| it.next).max();
        Ok(Noted { origin: self.offset(&folder.origin()).await?, reached: newest.max(of_hours) })
    }

    /// An object that holds an offset, if it is there.
    async fn offset(&self, key: &str) -> anyhow::Result<Option<i64>> {
        let body = match self.objects.read(&self.bucket, key, Wanted::default()).await {
            Ok(body) => body.all(MAX_MANIFEST).await?,
            Err(error) if error.kind() == millrace_aws::Kind::Missing => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let offset = std::str::from_utf8(&body).ok().and_then(|text| text.trim().parse().ok());
        Ok(Some(offset.with_context(|| format!("{key}: is not an offset"))?))
    }

    /// What is wrong with data files.
    async fn broken(&self, manifests: &[Manifest]) -> anyhow::Result<Vec<String>> {
        let looks = files(manifests).map(|file| async move {
            match self.problem(file).await {
                Ok(problem) => Ok(problem.map(|problem| format!("{}: {problem}", file.key))),
                Err(error) if error.kind() == millrace_aws::Kind::Missing => {
                    Ok(Some(format!("{}: is missing", file.key)))
                }
                Err(error) => Err(error),
            }
        });
        let looked: Vec<Option<String>> = stream::iter(looks).buffered(PARALLEL).try_collect().await?;
        Ok(looked.into_iter().flatten().collect())
    }

    async fn problem(&self, file: &DataFile) -> millrace_aws::Result<Option<String>> {
        let mut body = self.objects.read(&self.bucket, &file.key, Wanted::default()).await?;
        if body.size() != file.bytes {
            return Ok(Some(format!("has {} bytes, and its manifest says {}", body.size(), file.bytes)));
        }
        let mut hash = Sha256::new();
        while let Some(bytes) = body.next().await? {
            hash.update(&bytes);
        }
        let found = hex(&hash.finalize());
        Ok((found != file.sha256).then(|| "has other content than its manifest says".to_owned()))
    }
}

/// The offsets that have to be in the chain. What is not archived yet is not missing; what was is, whether the topic still has
/// it or not.
fn expected(manifests: &[Manifest], beginning: i64, noted: Noted) -> Range<i64> {
    let start = noted.origin.map_or(beginning, |origin| origin.min(beginning));
    let next = manifests.last().map_or(start, |last| last.next);
    start..next.max(beginning).max(noted.reached.unwrap_or(start))
}

/// Files that are not there, or have another size, by a listing.
fn unlisted(manifests: &[Manifest], listed: &[Object]) -> Vec<String> {
    let sizes: BTreeMap<&str, u64> = listed.iter().map(|object| (object.key.as_str(), object.size)).collect();
    let problem = |file: &DataFile| match sizes.get(file.key.as_str()) {
        None => Some(format!("{}: is missing", file.key)),
        Some(size) if *size != file.bytes => {
            Some(format!("{}: has {size} bytes, and its manifest says {}", file.key, file.bytes))
        }
        Some(_) => None,
    };
    files(manifests).filter_map(problem).collect()
}

fn files(manifests: &[Manifest]) -> impl Iterator<Item = &DataFile> {
    manifests.iter().flat_map(|manifest| &manifest.files)
}

fn text(reports: &[Report]) -> String {
    let head = ["TOPIC", "PARTITION", "FROM", "TO", "WINDOWS", "FILES", "RECORDS", "BEHIND", "FINDINGS"];
    let cells = |report: &Report| {
        let Report { topic, partition, audit, behind, broken, late: _ } = report;
        let (from, to) = audit.range.map_or_else(Default::default, |(from, to)| (from.to_string(), to.to_string()));
        let findings = match audit.findings.len() + broken.len() {
            0 => "none".to_owned(),
            count => count.to_string(),
        };
        let Audit { windows, files, records, .. } = audit;
        let mut cells = vec![topic.clone(), partition.to_string(), from, to];
        cells.extend([windows, files, records].map(ToString::to_string));
        cells.extend([behind.to_string(), findings]);
        cells
    };
    let mut text = table(&head, &reports.iter().map(cells).collect::<Vec<_>>());
    for Report { topic, partition, audit, broken, late, .. } in reports {
        for finding in &audit.findings {
            text += &format!("{topic}/{partition}: {}\n", sentence(finding));
        }
        for broken in broken {
            text += &format!("{broken}\n");
        }
        for Late { hour, rows } in late {
            text += &format!("{topic}/{partition}: {rows} records of {hour} came after that hour was complete\n");
        }
    }
    text.trim_end().to_owned()
}

fn sentence(finding: &Finding) -> String {
    match finding {
        Finding::Missing { first, next } => format!("offsets {first} to {} are missing", next - 1),
        Finding::Lost { first, next } => {
            format!("offsets {first} to {} had left the topic before they were archived", next - 1)
        }
        Finding::Twice { first, next } => format!("offsets {first} to {} are there twice", next - 1),
        Finding::TwiceInWindow { first, last, file, other } => {
            format!("offsets {first} to {last} are in two files, {file} and {other}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_stand_under_the_partitions() {
        let whole = Audit { range: Some((0, 10)), windows: 1, records: 9, files: 2, findings: Vec::new() };
        let gaps = vec![Finding::Missing { first: 3, next: 5 }, Finding::Lost { first: 7, next: 8 }];
        let report = |partition, audit, broken: &[&str]| Report {
            topic: "mail.events".to_owned(),
            partition,
            audit,
            behind: 4,
            broken: broken.iter().map(|it| (*it).to_owned()).collect(),
            late: Vec::new(),
        };
        let reports = [
            report(0, whole.clone(), &[]),
            report(1, Audit { findings: gaps, ..whole }, &["a.avro: is missing"]),
            Report {
                late: vec![Late { hour: "2026-11-22T05:00:00Z".parse().unwrap(), rows: 3 }],
                ..report(2, Audit::default(), &[])
            },
        ];
        let expected = "\
TOPIC        PARTITION  FROM  TO  WINDOWS  FILES  RECORDS  BEHIND  FINDINGS
mail.events  0          0     10  1        2      9        4       none
mail.events  1          0     10  1        2      9        4       3
mail.events  2                    0        0      0        4       none
mail.events/1: offsets 3 to 4 are missing
mail.events/1: offsets 7 to 7 had left the topic before they were archived
a.avro: is missing
mail.events/2: 3 records of 2026-11-22T05:00:00Z came after that hour was complete";
        assert_eq!(text(&reports), expected);
    }

    #[test]
    fn what_was_archived_has_to_be_there_and_what_was_not_has_not() {
        let window = |first, next| Manifest::new(("t", uuid(), 0), (first, next), None, Vec::new());
        let noted = |origin, reached| Noted { origin, reached };
        assert_eq!(expected(&[], 5, Noted::default()), 5..5);
        assert_eq!(expected(&[], 5, noted(Some(0), Some(8))), 0..8, "all manifests are gone");
        let windows = [window(10, 20), window(20, 30)];
        assert_eq!(expected(&windows, 5, noted(None, None)), 5..30);
        assert_eq!(expected(&windows, 40, noted(Some(10), None)), 10..40, "some have left the topic since");
        assert_eq!(expected(&windows, 15, noted(Some(0), Some(21))), 0..30, "the first are gone");
        assert_eq!(expected(&windows, 15, noted(Some(10), Some(41))), 10..41, "the last are gone");
    }

    fn uuid() -> uuid::Uuid {
        uuid::Uuid::nil()
    }
}
