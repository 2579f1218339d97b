//! What Postgres knows of models.

use millrace_postgres::{GenericClient, Transaction};
use serde_json::Value;

use super::{
    assign::{self, Crowned, Ref, Stage, Stages, Step},
    condition::Condition,
    manifest::Manifest,
};
use crate::{
    Error, Result,
    store::{CHANNEL, Store, all, change, one},
};

/// A version that is stored.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) model: Ref,
    pub(crate) manifest: String,
    pub(crate) bytes: u64,
    /// Milliseconds since 1970.
    pub(crate) pushed_at: i64,
    pub(crate) pushed_by: String,
    /// Pipeline, stage, revision.
    pub(crate) stages: Vec<(String, Stage, u64)>,
}

/// Who scores a pipeline.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Assignment {
    pub(crate) revision: u64,
    pub(crate) champion: Option<Ref>,
    pub(crate) shadows: Vec<Ref>,
}

/// One line of the audit trail.
#[derive(Clone, Debug)]
pub(crate) struct Promotion {
    pub(crate) revision: u64,
    pub(crate) step: Step,
    pub(crate) conditions: Vec<String>,
    pub(crate) by: String,
    pub(crate) reason: String,
    /// Milliseconds since 1970.
    pub(crate) at: i64,
}

/// Who asks for what under which conditions.
pub(crate) struct Asked {
    pub(crate) pipeline: String,
    /// Whatever it is where it is 0.
    pub(crate) if_revision: u64,
    pub(crate) by: String,
    pub(crate) reason: String,
}

const STORED: &str = "SELECT m.name, m.version, m.manifest, m.bytes, m.pushed_by, \
    (extract(epoch FROM m.pushed_at) * 1000)::bigint AS pushed_at, \
    coalesce((SELECT jsonb_agg(jsonb_build_array(s.pipeline, s.stage, s.revision) ORDER BY s.pipeline) \
              FROM registry.model_stages s WHERE s.name = m.name AND s.version = m.version), '[]') AS stages \
    FROM registry.models m";

impl Store {
    /// Remembers a bundle; false where it was known.
    pub(crate) async fn add_model(&self, manifest: &Manifest, by: &str) -> Result<bool> {
        let sql = "INSERT INTO registry.models (name, version, manifest, bytes, pushed_by) VALUES ($1, $2, $3, $4, $5) \
                   ON CONFLICT DO NOTHING";
        let Manifest { name, version, text, .. } = manifest;
        let client = self.client().await?;
        let added = change(&client, sql, &[name, version, text, &manifest.bytes().cast_signed(), &by]).await?;
        let sql = "SELECT manifest FROM registry.models WHERE name = $1 AND version = $2";
        let known = one(&client, sql, &[name, version]).await?;
        if known.is_some_and(|row| row.get::<_, &str>(0) != text.as_str()) {
            let problem = "is there already, with the same files and another manifest";
            return Err(Error::Unmet(format!("model {name} {version} {problem}")));
        }
        Ok(added == 1)
    }

    /// One version.
    pub(crate) async fn model(&self, model: &Ref) -> Result<Stored> {
        let sql = format!("{STORED} WHERE m.name = $1 AND m.version = $2");
        let row = one(&self.client().await?, &sql, &[&model.name, &model.version]).await?;
        row.map(|row| stored(&row)).ok_or_else(|| Error::ModelNotFound(model.to_string()))
    }

    /// Versions of a name, or of all, newest first.
    pub(crate) async fn models(&self, name: &str, pipeline: &str) -> Result<Vec<Stored>> {
        let sql = format!(
            "{STORED} WHERE ($1 = '' OR m.name = $1) AND ($2 = '' OR EXISTS (SELECT FROM registry.model_stages s \
             WHERE s.name = m.name AND s.version = m.version AND s.pipeline = $2)) ORDER BY m.pushed_at DESC, m.version"
        );
        Ok(all(&self.client().await?, &sql, &[&name, &pipeline]).await?.iter().map(stored).collect())
    }

    /// Who scores a pipeline now.
    pub(crate) async fn assignment(&self, pipeline: &str) -> Result<Assignment> {
        read_assignment(&self.client().await?, pipeline).await
    }

    /// What was done to a pipeline's models, newest first.
    pub(crate) async fn promotions(&self, pipeline: &str, limit: u32) -> Result<Vec<Promotion>> {
        let sql = "SELECT revision, name, version, from_stage, to_stage, before_name, before_version, conditions, \
                   done_by, reason, (extract(epoch FROM done_at) * 1000)::bigint AS at \
                   FROM registry.promotions WHERE pipeline = $1 ORDER BY revision DESC LIMIT $2";
        Ok(all(&self.client().await?, sql, &[&pipeline, &i64::from(limit)]).await?.iter().map(promotion).collect())
    }

    /// Gives a version another stage, if all conditions hold.
    pub(crate) async fn promote(
        &self,
        asked: &Asked,
        model: Ref,
        to: Stage,
        conditions: &[Condition],
    ) -> Result<Assignment> {
        let mut client = self.client().await?;
        let tx = begin(&mut client, asked).await?;
        let stages = read_stages(&tx, &asked.pipeline).await?;
        let manifest = manifest_of(&tx, &model).await?;
        let champion = match assign::champion(&stages) {
            Some(champion) => Some(manifest_of(&tx, champion).await?),
            None => None,
        };
        conditions.iter().try_for_each(|condition| condition.check(&manifest, champion.as_ref()))?;
        let conditions: Vec<String> = conditions.iter().map(ToString::to_string).collect();
        let step = assign::promote(&stages, model, to)?;
        finish(tx, asked, &step, &conditions, false).await
    }

    /// Makes the champion before the present one the champion.
    pub(crate) async fn roll_back(&self, asked: &Asked) -> Result<Assignment> {
        let mut client = self.client().await?;
        let tx = begin(&mut client, asked).await?;
        let stages = read_stages(&tx, &asked.pipeline).await?;
        let sql = "SELECT name, version, is_rollback FROM registry.promotions \
                   WHERE pipeline = $1 AND to_stage = 'champion' ORDER BY revision";
        let rows = all(&tx, sql, &[&asked.pipeline]).await?;
        let history: Vec<Crowned> = rows
            .iter()
            .map(|row| Crowned { model: Ref { name: row.get(0), version: row.get(1) }, is_rollback: row.get(2) })
            .collect();
        let step = assign::roll_back(&stages, &history)?;
        finish(tx, asked, &step, &[], true).await
    }
}

/// A transaction in which nobody else promotes in the pipeline.
async fn begin<'c>(client: &'c mut millrace_postgres::Client, asked: &Asked) -> Result<Transaction<'c>> {
    let tx = client.transaction().await.map_err(millrace_postgres::Error::from)?;
    let sql =
        "SELECT 1 FROM (SELECT pg_advisory_xact_lock(hashtextextended('millrace.registry.models.' || $1, 0))) AS held";
    one(&tx, sql, &[&asked.pipeline]).await?;
    let revision = read_revision(&tx, &asked.pipeline).await?;
    if asked.if_revision != 0 && asked.if_revision != revision {
        let (pipeline, expected) = (&asked.pipeline, asked.if_revision);
        return Err(Error::Unmet(format!("pipeline {pipeline} is at revision {revision}, and not at {expected}")));
    }
    Ok(tx)
}

async fn finish(
    tx: Transaction<'_>,
    asked: &Asked,
    step: &Step,
    conditions: &[String],
    is_rollback: bool,
) -> Result<Assignment> {
    let Asked { pipeline, by, reason, .. } = asked;
    let revision = (read_revision(&tx, pipeline).await? + 1).cast_signed();
    let set = "INSERT INTO registry.model_stages (pipeline, name, version, stage, revision) VALUES ($1, $2, $3, $4, $5) \
               ON CONFLICT (pipeline, name, version) DO UPDATE SET stage = excluded.stage, revision = excluded.revision";
    // The one before first: at no moment there are two champions.
    let retired = step.before.as_ref().map(|before| (before, Stage::Retired));
    for (model, stage) in retired.into_iter().chain([(&step.model, step.to)]) {
        change(&tx, set, &[pipeline, &model.name, &model.version, &stage.as_str(), &revision]).await?;
    }
    let sql = "INSERT INTO registry.promotions (pipeline, revision, name, version, from_stage, to_stage, before_name, \
               before_version, conditions, done_by, reason, is_rollback) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)";
    let before = step.before.as_ref();
    let (before_name, before_version) = (before.map(|it| &it.name), before.map(|it| &it.version));
    let from = step.from.map(Stage::as_str);
    let Ref { name, version } = &step.model;
    let to = step.to.as_str();
    change(
        &tx,
        sql,
        &[
            pipeline,
            &revision,
            name,
            version,
            &from,
            &to,
            &before_name,
            &before_version,
            &conditions,
            by,
            reason,
            &is_rollback,
        ],
    )
    .await?;
    one(&tx, "SELECT 1 FROM (SELECT pg_notify($1, '')) AS said", &[&CHANNEL]).await?;
    let assignment = read_assignment(&tx, pipeline).await?;
    tx.commit().await.map_err(millrace_postgres::Error::from)?;
    tracing::info!(pipeline, revision, model = %step.model, from, to, by, reason, "model promoted");
    Ok(assignment)
}

async fn read_revision(client: &impl GenericClient, pipeline: &str) -> Result<u64> {
    let sql = "SELECT coalesce(max(revision), 0) FROM registry.promotions WHERE pipeline = $1";
    Ok(one(client, sql, &[&pipeline]).await?.map_or(0, |row| row.get::<_, i64>(0)).unsigned_abs())
}

async fn read_stages(client: &impl GenericClient, pipeline: &str) -> Result<Stages> {
    let sql =
        "SELECT name, version, stage FROM registry.model_stages WHERE pipeline = $1 ORDER BY revision, name, version";
    let rows = all(client, sql, &[&pipeline]).await?;
    Ok(rows
        .iter()
        .filter_map(|row| Some((Ref { name: row.get(0), version: row.get(1) }, Stage::parse(row.get(2))?)))
        .collect())
}

/// In one statement: stages and revision of one moment.
async fn read_assignment(client: &impl GenericClient, pipeline: &str) -> Result<Assignment> {
    let sql = "SELECT p.revision, s.name, s.version, s.stage \
               FROM (SELECT coalesce(max(revision), 0) AS revision FROM registry.promotions WHERE pipeline = $1) p \
               LEFT JOIN registry.model_stages s ON s.pipeline = $1 AND s.stage IN ('champion', 'shadow') \
               ORDER BY s.revision, s.name, s.version";
    let mut assignment = Assignment::default();
    for row in all(client, sql, &[&pipeline]).await? {
        assignment.revision = row.get::<_, i64>(0).unsigned_abs();
        let (Some(name), Some(version)) = (row.get(1), row.get(2)) else { continue };
        let model = Ref { name, version };
        match row.get(3) {
            Some("champion") => assignment.champion = Some(model),
            _ => assignment.shadows.push(model),
        }
    }
    Ok(assignment)
}

async fn manifest_of(client: &impl GenericClient, model: &Ref) -> Result<Value> {
    let sql = "SELECT manifest FROM registry.models WHERE name = $1 AND version = $2";
    let row = one(client, sql, &[&model.name, &model.version]).await?;
    let row = row.ok_or_else(|| Error::ModelNotFound(model.to_string()))?;
    Ok(serde_json::from_str(row.get(0)).unwrap_or_default())
}

fn stored(row: &millrace_postgres::Row) -> Stored {
    let stages: Vec<(String, String, u64)> = serde_json::from_value(row.get("stages")).unwrap_or_default();
    Stored {
        model: Ref { name: row.get("name"), version: row.get("version") },
        manifest: row.get("manifest"),
        bytes: row.get::<_, i64>("bytes").unsigned_abs(),
        pushed_at: row.get("pushed_at"),
        pushed_by: row.get("pushed_by"),
        stages: stages.into_iter().filter_map(|(name, stage, at)| Some((name, Stage::parse(&stage)?, at))).collect(),
    }
}

fn promotion(row: &millrace_postgres::Row) -> Promotion {
    let stage = |name: &str| row.get::<_, Option<&str>>(name).and_then(Stage::parse);
    let before: Option<(String, String)> = Option::zip(row.get("before_name"), row.get("before_version"));
    Promotion {
        revision: row.get::<_, i64>("revision").unsigned_abs(),
        step: Step {
            model: Ref { name: row.get("name"), version: row.get("version") },
            from: stage("from_stage"),
            to: stage("to_stage").unwrap_or(Stage::Candidate),
            before: before.map(|(name, version)| Ref { name, version }),
        },
        conditions: row.get("conditions"),
        by: row.get("done_by"),
        reason: row.get("reason"),
        at: row.get("at"),
    }
}
