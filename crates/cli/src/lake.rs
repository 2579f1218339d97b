//! `millrace lake`.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use anyhow::{Context, bail};
use clap::Subcommand;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;
use millrace_aws::{Object, Objects, Wanted};
use millrace_core::{Pipeline, Span};
use millrace_kafka::Admin;
use millrace_lake::{Audit, DataFile, Finding, Folder, Manifest, audit, hex};
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
            for end in ends {
                // One that is not among them was made since.
                let beginning = beginnings.get(&end.partition).copied().unwrap_or_default();
                reports.push(lake.report(topic, end.partition, beginning..end.end, content).await?);
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
        there: std::ops::Range<i64>,
        content: bool,
    ) -> anyhow::Result<Report> {
        let folder = self.folder(topic, partition).await?;
        let listed = self.listed(&folder).await?;
        let manifests = self.manifests(&folder, &listed).await?;
        let next = manifests.last().map_or(there.start, |last| last.next);
        // What is not archived yet is not missing.
        let audit = audit(&manifests, Some(there.start..next.max(there.start)));
        let mut broken = unlisted(&manifests, &listed);
        if content {
            broken = self.broken(&manifests).await?;
        } else if !broken.is_empty() {
            // A window may have been committed while it was listed: its files were there before.
            broken = unlisted(&manifests, &self.listed(&folder).await?);
        }
        Ok(Report { topic: topic.to_owned(), partition, audit, behind: (there.end - next).max(0), broken })
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
        let Report { topic, partition, audit, behind, broken } = report;
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
    for Report { topic, partition, audit, broken, .. } in reports {
        for finding in &audit.findings {
            text += &format!("{topic}/{partition}: {}\n", sentence(finding));
        }
        for broken in broken {
            text += &format!("{broken}\n");
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
        };
        let reports = [
            report(0, whole.clone(), &[]),
            report(1, Audit { findings: gaps, ..whole }, &["a.avro: is missing"]),
            report(2, Audit::default(), &[]),
        ];
        let expected = "\
TOPIC        PARTITION  FROM  TO  WINDOWS  FILES  RECORDS  BEHIND  FINDINGS
mail.events  0          0     10  1        2      9        4       none
mail.events  1          0     10  1        2      9        4       3
mail.events  2                    0        0      0        4       none
mail.events/1: offsets 3 to 4 are missing
mail.events/1: offsets 7 to 7 had left the topic before they were archived
a.avro: is missing";
        assert_eq!(text(&reports), expected);
    }
}
