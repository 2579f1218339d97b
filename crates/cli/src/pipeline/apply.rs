//! Making what a document needs: first the plan, then the deed. Applying twice changes nothing the second time.

use std::{collections::BTreeMap, path::PathBuf};

use anyhow::Context;
use millrace_core::{
    Code, Pipeline,
    pipeline::Topics,
    record::{SIGNAL_SCHEMA, SIGNALS_TOPIC, VERDICT_SCHEMA},
};
use millrace_kafka::{
    Admin,
    admin::{Difference, TopicSpec, TopicState},
};
use millrace_schema::{
    Schema,
    client::{self, Client},
    columns::{Column, Table, quote_ident},
    compatibility::Level,
};
use serde::Serialize;

use super::check::{self, Checked};
use crate::Output;

/// The Postgres schema of the pipelines' tables.
const TABLES: &str = "pipeline";

/// Makes the topics, subjects and tables that documents need.
#[derive(Debug, clap::Args)]
pub struct Apply {
    /// Documents, or folders of them.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Say what would change, and change nothing.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    target: Target,
}

/// Where the things are made.
#[derive(Clone, Debug, clap::Args)]
pub struct Target {
    #[command(flatten)]
    kafka: millrace_kafka::Args,
    #[command(flatten)]
    registry: client::Args,
    #[command(flatten)]
    postgres: millrace_postgres::Args,
}

/// One thing that a document needs, and what is done about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Step {
    pipeline: String,
    /// `topic`, `subject` or `table`.
    kind: &'static str,
    name: String,
    change: Change,
    /// What exactly, for a person.
    detail: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Change {
    /// Not there: is made.
    Create,
    /// There: gets more.
    Extend,
    /// There, and as it should be.
    Keep,
    /// There, and different in a way that is not changed from here.
    Differs,
    /// Would be refused.
    Refused,
}

impl Apply {
    pub(crate) async fn run(self, output: Output) -> anyhow::Result<()> {
        let Self { files, dry_run, target } = self;
        let documents = check::all(&files)?;
        let mut steps = Vec::new();
        for checked in &documents {
            steps.extend(target.plan(checked).await?);
        }
        show(&steps, output)?;
        refuse(&steps)?;
        let changes = |checked: &&Checked| steps.iter().any(|step| step.is_change_of(&checked.pipeline));
        for checked in documents.iter().filter(changes).filter(|_| !dry_run) {
            target.apply(checked).await?;
            if !output.is_json() {
                output.line(&format!("pipeline {} is applied", checked.pipeline.name()))?;
            }
        }
        Ok(())
    }
}

impl Step {
    fn is_change_of(&self, pipeline: &Pipeline) -> bool {
        self.pipeline == pipeline.name() && matches!(self.change, Change::Create | Change::Extend)
    }
}

/// Before anything is changed: half of an apply helps nobody.
fn refuse(steps: &[Step]) -> anyhow::Result<()> {
    let refused = steps.iter().filter(|step| step.change == Change::Refused);
    let refused: Vec<String> = refused.map(|Step { name, detail, .. }| format!("{name}: {detail}")).collect();
    if refused.is_empty() {
        return Ok(());
    }
    anyhow::bail!("nothing was changed, the registry would refuse the schema of {}", refused.join(", and of "))
}

fn show(steps: &[Step], output: Output) -> anyhow::Result<()> {
    output.rows(steps, &["CHANGE", "KIND", "NAME", "DETAIL"], |step| {
        let change = format!("{:?}", step.change).to_lowercase();
        vec![change, step.kind.to_owned(), step.name.clone(), step.detail.clone()]
    })
}

impl Target {
    /// Makes everything that one document needs, without a word.
    pub async fn ensure(&self, file: &std::path::Path) -> anyhow::Result<()> {
        self.apply(&check::check(file)?).await
    }

    async fn plan(&self, checked: &Checked) -> anyhow::Result<Vec<Step>> {
        let pipeline = checked.pipeline.name().to_owned();
        let step = |kind, name: &str, (change, detail)| Step {
            pipeline: pipeline.clone(),
            kind,
            name: name.to_owned(),
            change,
            detail,
        };
        let mut steps = Vec::new();
        let specs = topics(&checked.pipeline);
        let states = Admin::new(&self.kafka.client()?)?.compare_topics(&specs).await.context("look at the topics")?;
        for (spec, state) in specs.iter().zip(states) {
            let detail = format!("{} partitions, replication {}", spec.partitions, spec.replication);
            steps.push(step("topic", &spec.name, topic_change(&state, detail)));
        }
        let registry = Client::new(&self.registry)?;
        for (subject, schema) in subjects(checked)? {
            steps.push(step("subject", &subject, subject_change(&registry, &subject, &schema).await?));
        }
        if let Some(import) = &checked.pipeline.spec.import {
            let name = format!("{TABLES}.{}", import.table);
            steps.push(step("table", &name, self.table_change(&import.table, &checked.columns).await?));
        }
        Ok(steps)
    }

    async fn apply(&self, checked: &Checked) -> anyhow::Result<()> {
        let admin = Admin::new(&self.kafka.client()?)?;
        admin.ensure_topics(&topics(&checked.pipeline)).await.context("make the topics")?;
        let registry = Client::new(&self.registry)?;
        for (subject, schema) in subjects(checked)? {
            registry.register(&subject, &schema).await.with_context(|| format!("register {subject}"))?;
        }
        // Composed schemas come in any order; what may follow what was decided by the events' own subject.
        let scores = format!("{}-value", checked.pipeline.scores_topic());
        registry.set_compatibility(&scores, Level::None).await.with_context(|| format!("configure {scores}"))?;
        if let Some(import) = &checked.pipeline.spec.import {
            self.make_table(&import.table, &checked.schema, &checked.columns).await?;
        }
        Ok(())
    }

    async fn table_change(&self, table: &str, columns: &[Column]) -> anyhow::Result<(Change, String)> {
        let there = self.columns_of(table).await?;
        let missing: Vec<&str> = columns
            .iter()
            .map(|column| column.name.as_str())
            .filter(|name| !there.iter().any(|known| known == name))
            .collect();
        Ok(match (there.len(), missing.as_slice()) {
            (0, _) => (Change::Create, format!("{} columns", columns.len())),
            (_, []) => (Change::Keep, format!("{} columns", there.len())),
            (_, missing) => (Change::Extend, format!("new columns: {}", missing.join(", "))),
        })
    }

    async fn columns_of(&self, table: &str) -> anyhow::Result<Vec<String>> {
        let client = self.postgres.pool()?.get().await.context("reach Postgres")?;
        let sql =
            "SELECT column_name::text FROM information_schema.columns WHERE table_schema = $1 AND table_name = $2";
        let rows = client.query(sql, &[&TABLES, &table]).await.context("look at the table")?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }

    async fn make_table(&self, name: &str, event: &Schema, columns: &[Column]) -> anyhow::Result<()> {
        let table = Table::of(name, event)?;
        let there = self.columns_of(name).await?;
        let mut sql = format!("CREATE SCHEMA IF NOT EXISTS {};\n{};\n", quote_ident(TABLES), table.create_sql(TABLES));
        for column in columns.iter().filter(|column| !there.is_empty() && !there.contains(&column.name)) {
            sql += &format!("{};\n", table.add_column_sql(TABLES, column));
        }
        let client = self.postgres.pool()?.get().await.context("reach Postgres")?;
        client.batch_execute(&sql).await.with_context(|| format!("make table {TABLES}.{name}"))
    }
}

/// The topics of a pipeline, and the one of all installations.
fn topics(pipeline: &Pipeline) -> Vec<TopicSpec> {
    let Topics { partitions, replication, min_insync, retention } = pipeline.spec.topics.clone();
    let settings = |retention: u64| {
        BTreeMap::from([
            ("min.insync.replicas".to_owned(), min_insync.to_string()),
            ("retention.ms".to_owned(), retention.to_string()),
        ])
    };
    let spec =
        |name: String, partitions| TopicSpec { name, partitions, replication, config: settings(retention.as_millis()) };
    let mut specs: Vec<TopicSpec> = pipeline.topics().into_iter().map(|name| spec(name, partitions)).collect();
    specs.push(spec(SIGNALS_TOPIC.to_owned(), 1));
    specs
}

/// The subjects of a pipeline with their schemas.
fn subjects(checked: &Checked) -> anyhow::Result<Vec<(String, Schema)>> {
    let verdicts = format!("{}-value", checked.pipeline.verdicts_topic());
    let ours = [(verdicts, VERDICT_SCHEMA), (format!("{SIGNALS_TOPIC}-value"), SIGNAL_SCHEMA)];
    let events = &checked.pipeline.spec.events.subject;
    let mut subjects = vec![(events.clone(), checked.schema.clone())];
    for (subject, text) in ours {
        subjects.push((subject, Schema::parse(text)?));
    }
    Ok(subjects)
}

async fn subject_change(registry: &Client, subject: &str, schema: &Schema) -> anyhow::Result<(Change, String)> {
    match registry.lookup(subject, schema).await {
        Ok(Some(known)) => Ok((Change::Keep, format!("version {}", known.version.unwrap_or_default()))),
        Ok(None) => match registry.latest(subject).await {
            Ok(latest) => {
                let problems = registry.incompatibilities(subject, schema).await?;
                if !problems.is_empty() {
                    return Ok((Change::Refused, problems.join("; ")));
                }
                Ok((Change::Extend, format!("new version after {}", latest.version.unwrap_or_default())))
            }
            Err(error) if error.code() == Code::NotFound => Ok((Change::Create, "version 1".to_owned())),
            Err(error) => Err(error).with_context(|| format!("look at subject {subject}")),
        },
        Err(error) if error.code() == Code::NotFound => Ok((Change::Create, "version 1".to_owned())),
        Err(error) => Err(error).with_context(|| format!("look at subject {subject}")),
    }
}

fn topic_change(state: &TopicState, detail: String) -> (Change, String) {
    match state {
        TopicState::Missing | TopicState::Created => (Change::Create, detail),
        TopicState::AsWanted => (Change::Keep, detail),
        TopicState::Different(differences) => {
            let said: Vec<String> = differences
                .iter()
                .map(|Difference { what, wanted, actual }| format!("{what} is {actual}, not {wanted}"))
                .collect();
            (Change::Differs, said.join("; "))
        }
    }
}
