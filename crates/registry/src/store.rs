//! The Postgres schema `registry`: what is asked of it, and the cache of what never changes.

mod changes;
mod deletions;
mod lists;
mod writes;

pub(crate) use changes::CHANNEL;
pub(crate) use deletions::text_of;

use std::{collections::HashSet, sync::Arc};

use millrace_postgres::{Client, GenericClient, Pool, Row};
use millrace_schema::{Guid, Schema, compatibility::Level};
use moka::future::Cache;
use uuid::Uuid;

use crate::{
    Error, Result,
    model::{Content, Pick, Reference, Version, Visible},
    subject::Subject,
};

/// Contents kept in memory.
const CAPACITY: u64 = 10_000;
/// How deep references may refer to references.
const MAX_DEPTH: usize = 16;
/// How many a schema may have, with those of its references.
const MAX_REFERENCES: usize = 256;
/// The level where none is set.
const DEFAULT_LEVEL: Level = Level::Backward;
/// The name under which the default of all subjects is stored.
const EVERYONE: &str = "";

pub(crate) struct Store {
    pool: Pool,
    contents: Cache<u32, Arc<Content>>,
    guids: Cache<Guid, u32>,
    schemas: Cache<u32, Schema>,
}

impl Store {
    pub(crate) fn new(pool: Pool) -> Self {
        Self { pool, contents: Cache::new(CAPACITY), guids: Cache::new(CAPACITY), schemas: Cache::new(CAPACITY) }
    }

    pub(crate) async fn client(&self) -> Result<Client> {
        Ok(self.pool.get().await?)
    }

    /// The content of an id.
    pub(crate) async fn by_id(&self, id: u32) -> Result<Option<Arc<Content>>> {
        if let Some(known) = self.contents.get(&id).await {
            return Ok(Some(known));
        }
        let Ok(id) = i32::try_from(id) else { return Ok(None) };
        let client = self.client().await?;
        let sql = "SELECT id, guid, schema, refs FROM registry.schemas WHERE id = $1";
        match one(&client, sql, &[&id]).await? {
            Some(row) => self.keep(&row).await.map(Some),
            None => Ok(None),
        }
    }

    /// The content of a GUID.
    pub(crate) async fn by_guid(&self, guid: Guid) -> Result<Option<Arc<Content>>> {
        if let Some(id) = self.guids.get(&guid).await {
            return self.by_id(id).await;
        }
        let client = self.client().await?;
        let sql = "SELECT id, guid, schema, refs FROM registry.schemas WHERE guid = $1";
        match one(&client, sql, &[&Uuid::from_bytes(guid.0)]).await? {
            Some(row) => self.keep(&row).await.map(Some),
            None => Ok(None),
        }
    }

    /// One version of a subject.
    pub(crate) async fn version(
        &self,
        client: &impl GenericClient,
        subject: &Subject,
        pick: Pick,
        visible: Visible,
    ) -> Result<Option<Version>> {
        let number = match pick {
            Pick::Number(number) => i32::try_from(number).map_err(|_| Error::InvalidVersion(number.to_string()))?,
            Pick::Latest => 0,
        };
        let sql = "SELECT v.version, v.deleted, s.id, s.guid, s.schema, s.refs \
                   FROM registry.versions v JOIN registry.schemas s ON s.id = v.schema_id \
                   WHERE v.subject = $1 AND ($2 = 0 OR v.version = $2) AND (NOT v.deleted OR $3) \
                   ORDER BY v.version DESC LIMIT 1";
        match one(client, sql, &[&subject.as_str(), &number, &(visible != Visible::Live)]).await? {
            Some(row) => self.read_version(subject, &row).await.map(Some),
            None => Ok(None),
        }
    }

    /// Every version of a subject, oldest first.
    pub(crate) async fn versions(
        &self,
        client: &impl GenericClient,
        subject: &Subject,
        visible: Visible,
    ) -> Result<Vec<Version>> {
        let sql = "SELECT v.version, v.deleted, s.id, s.guid, s.schema, s.refs \
                   FROM registry.versions v JOIN registry.schemas s ON s.id = v.schema_id \
                   WHERE v.subject = $1 AND (NOT v.deleted OR $2) AND (v.deleted OR NOT $3) ORDER BY v.version";
        let flags = (visible != Visible::Live, visible == Visible::Deleted);
        let mut versions = Vec::new();
        for row in all(client, sql, &[&subject.as_str(), &flags.0, &flags.1]).await? {
            versions.push(self.read_version(subject, &row).await?);
        }
        Ok(versions)
    }

    /// The version of a subject that has this content.
    pub(crate) async fn find(
        &self,
        client: &impl GenericClient,
        subject: &Subject,
        guid: Guid,
        visible: Visible,
    ) -> Result<Option<Version>> {
        let sql = "SELECT v.version, v.deleted, s.id, s.guid, s.schema, s.refs \
                   FROM registry.versions v JOIN registry.schemas s ON s.id = v.schema_id \
                   WHERE v.subject = $1 AND s.guid = $2 AND (NOT v.deleted OR $3) \
                   ORDER BY v.deleted, v.version DESC LIMIT 1";
        let all = visible != Visible::Live;
        match one(client, sql, &[&subject.as_str(), &Uuid::from_bytes(guid.0), &all]).await? {
            Some(row) => self.read_version(subject, &row).await.map(Some),
            None => Ok(None),
        }
    }

    /// The level in force: the subject's own, else the default.
    pub(crate) async fn level(&self, client: &impl GenericClient, subject: &Subject) -> Result<Level> {
        match self.own_level(client, Some(subject)).await? {
            Some(level) => Ok(level),
            None => Ok(self.own_level(client, None).await?.unwrap_or(DEFAULT_LEVEL)),
        }
    }

    /// The default level.
    pub(crate) async fn default_level(&self, client: &impl GenericClient) -> Result<Level> {
        Ok(self.own_level(client, None).await?.unwrap_or(DEFAULT_LEVEL))
    }

    /// The level that was set for a subject, or as the default.
    pub(crate) async fn own_level(
        &self,
        client: &impl GenericClient,
        subject: Option<&Subject>,
    ) -> Result<Option<Level>> {
        let sql = "SELECT compatibility FROM registry.config WHERE subject = $1";
        let row = one(client, sql, &[&subject.map_or(EVERYONE, Subject::as_str)]).await?;
        row.map(|row| parse_level(row.get(0))).transpose()
    }

    /// The content as a schema, with what it refers to.
    pub(crate) async fn schema(&self, client: &impl GenericClient, content: &Content) -> Result<Schema> {
        if let Some(known) = self.schemas.get(&content.id).await {
            return Ok(known);
        }
        let schema = self.parse(client, &content.text, &content.references).await?;
        self.schemas.insert(content.id, schema.clone()).await;
        Ok(schema)
    }

    /// A text as a schema. What it refers to must exist.
    pub(crate) async fn parse(
        &self,
        client: &impl GenericClient,
        text: &str,
        references: &[Reference],
    ) -> Result<Schema> {
        let mut resolved = Resolved::default();
        self.resolve(client, references, MAX_DEPTH, &mut resolved).await?;
        Schema::parse_with(text, &resolved.schemas).map_err(|error| Error::InvalidSchema(error.to_string()))
    }

    /// Collects schemas so that each comes after those that it refers to, and once.
    async fn resolve(
        &self,
        client: &impl GenericClient,
        references: &[Reference],
        depth: usize,
        resolved: &mut Resolved,
    ) -> Result<()> {
        if depth == 0 && !references.is_empty() {
            return Err(Error::InvalidSchema(format!("references are deeper than {MAX_DEPTH}")));
        }
        for reference in references {
            if !resolved.seen.insert((reference.subject.clone(), reference.version)) {
                continue;
            }
            if resolved.seen.len() > MAX_REFERENCES {
                return Err(Error::InvalidSchema(format!(
                    "more than {MAX_REFERENCES} references, with those of references"
                )));
            }
            let pick = Pick::parse(&reference.version.to_string())?;
            let found = self.version(client, &reference.subject()?, pick, Visible::All).await?.ok_or_else(|| {
                let Reference { name, subject, version } = reference;
                Error::InvalidSchema(format!(
                    "no schema found for reference {name:?}: subject {subject:?}, version {version}"
                ))
            })?;
            Box::pin(self.resolve(client, &found.content.references, depth - 1, resolved)).await?;
            let schema = Schema::parse_with(&found.content.text, &resolved.schemas)
                .map_err(|error| Error::InvalidSchema(format!("reference {:?}: {error}", reference.name)))?;
            resolved.schemas.push(schema);
        }
        Ok(())
    }

    async fn read_version(&self, subject: &Subject, row: &Row) -> Result<Version> {
        Ok(Version {
            subject: subject.as_str().to_owned(),
            number: row.get::<_, i32>("version").unsigned_abs(),
            deleted: row.get("deleted"),
            content: self.keep(row).await?,
        })
    }

    /// Reads a content and keeps it.
    async fn keep(&self, row: &Row) -> Result<Arc<Content>> {
        let id = row.get::<_, i32>("id").unsigned_abs();
        if let Some(known) = self.contents.get(&id).await {
            return Ok(known);
        }
        let guid = Guid(row.get::<_, Uuid>("guid").into_bytes());
        let references = serde_json::from_value(row.get("refs"))
            .map_err(|error| Error::InvalidSchema(format!("references of schema {id}: {error}")))?;
        let content = Arc::new(Content { id, guid, text: row.get("schema"), references });
        self.contents.insert(id, Arc::clone(&content)).await;
        self.guids.insert(guid, id).await;
        Ok(content)
    }
}

/// What a schema refers to, as far as it was looked up.
#[derive(Default)]
struct Resolved {
    schemas: Vec<Schema>,
    /// Subjects and versions: a schema that two others refer to is read once.
    seen: HashSet<(String, u32)>,
}

type Parameter<'a> = &'a (dyn millrace_postgres::types::ToSql + Sync);

/// At most one row, by a statement that is prepared once per connection.
pub(crate) async fn one(client: &impl GenericClient, sql: &str, parameters: &[Parameter<'_>]) -> Result<Option<Row>> {
    let statement = client.prepare_cached(sql).await.map_err(millrace_postgres::Error::from)?;
    Ok(client.query_opt(&statement, parameters).await.map_err(millrace_postgres::Error::from)?)
}

/// All rows.
pub(crate) async fn all(client: &impl GenericClient, sql: &str, parameters: &[Parameter<'_>]) -> Result<Vec<Row>> {
    let statement = client.prepare_cached(sql).await.map_err(millrace_postgres::Error::from)?;
    Ok(client.query(&statement, parameters).await.map_err(millrace_postgres::Error::from)?)
}

/// How many rows were changed.
pub(crate) async fn change(client: &impl GenericClient, sql: &str, parameters: &[Parameter<'_>]) -> Result<u64> {
    let statement = client.prepare_cached(sql).await.map_err(millrace_postgres::Error::from)?;
    Ok(client.execute(&statement, parameters).await.map_err(millrace_postgres::Error::from)?)
}

/// Levels are read without regard to case, as Confluent does.
pub(crate) fn parse_level(text: &str) -> Result<Level> {
    text.to_ascii_uppercase().parse().map_err(|_| Error::InvalidLevel(text.to_owned()))
}
