//! The plans of all writers at once, against one shape of the table.
//!
//! A schema that was not seen before is asked for at the registry; what it needs is added to the table; then every
//! writer's plan is compiled anew, because all rows of a transaction have the same columns. The newest version of the
//! event gives the table its names, and is looked at every few seconds.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use millrace_postgres::Pool;
use millrace_schema::{
    Guid, Schema,
    client::{Client, Error as RegistryError, Registered},
    columns::{self, Column},
    framing::SchemaRef,
    scored,
};

use crate::{
    batch::PlanSet,
    ddl,
    error::{Reject, Result},
    feed::{Feed, Kind, verdict_columns},
    plan::Plan,
    shape::Shape,
    view::View,
};

/// How often the newest version is looked at. The client answers from its cache, mostly.
const LOOK: Duration = Duration::from_secs(1);
/// Writers whose plans are kept.
const MAX_WRITERS: usize = 512;

/// The newest version of the event's schema, as far as it is known.
#[derive(Clone)]
struct Newest {
    guid: Guid,
    version: Option<u32>,
    schema: Schema,
}

/// Plans of one feed.
pub(crate) struct Plans {
    feed: Arc<Feed>,
    registry: Client,
    pool: Pool,
    writers: HashMap<SchemaRef, Schema>,
    newest: Option<Newest>,
    looked: Option<Instant>,
    shape: Option<Arc<Shape>>,
    set: Arc<PlanSet>,
}

impl Plans {
    pub(crate) fn new(feed: Arc<Feed>, registry: Client, pool: Pool) -> Self {
        let (writers, set) = (HashMap::new(), Arc::default());
        Self { feed, registry, pool, writers, newest: None, looked: None, shape: None, set }
    }

    /// Makes the table before its first record, where the schema is known already.
    pub(crate) async fn warm(&mut self) -> Result<()> {
        self.look().await?;
        if self.newest.is_some() || self.feed.kind == Kind::Verdicts {
            self.compile().await?;
        }
        Ok(())
    }

    /// Plans for all of `schemas`, and the shape that they are for. Fails while the registry or Postgres is away; has
    /// then learned what it could.
    pub(crate) async fn of(&mut self, schemas: &HashSet<SchemaRef>) -> Result<(Arc<PlanSet>, Arc<Shape>)> {
        let mut newer = self.look().await?;
        let mut missing = Vec::new();
        let mut learned = false;
        for &schema in schemas {
            if self.set.contains_key(&schema) || self.writers.contains_key(&schema) {
                continue;
            }
            match self.registry.by_ref(schema).await {
                Ok(registered) => {
                    newer |= self.is_newest(&registered.schema).await?;
                    self.make_room(schemas);
                    self.writers.insert(schema, registered.schema.clone());
                    learned = true;
                }
                Err(error @ RegistryError::Unavailable(_)) => return Err(error.into()),
                Err(error) => missing.push((schema, Reject::new(error.code(), format!("schema {schema}: {error}")))),
            }
        }
        let planned = schemas.iter().all(|schema| self.set.contains_key(schema) || !self.writers.contains_key(schema));
        if newer || learned || !planned || self.shape.is_none() {
            self.compile().await?;
        }
        let shape = self.shape().unwrap_or_else(|| Arc::new(self.none()));
        if missing.is_empty() {
            return Ok((Arc::clone(&self.set), shape));
        }
        // Not kept: what is not registered now may be in a moment.
        let mut set = PlanSet::clone(&self.set);
        set.extend(missing.into_iter().map(|(schema, reject)| (schema, Err(reject))));
        Ok((Arc::new(set), shape))
    }

    /// The shape of the table, where it is known.
    pub(crate) fn shape(&self) -> Option<Arc<Shape>> {
        self.shape.clone()
    }

    /// The plan for records of a file that has its writer's schema in it, and the shape that it is for.
    pub(crate) async fn of_file(&mut self, writer: &Schema) -> Result<(Result<Arc<Plan>, Reject>, Arc<Shape>)> {
        let schema = SchemaRef::Guid(writer.guid());
        let mut newer = self.look().await?;
        if !self.writers.contains_key(&schema) {
            self.is_newest(writer).await?;
            self.make_room(&HashSet::new());
            self.writers.insert(schema, writer.clone());
            newer = true;
        }
        if newer || self.shape.is_none() || !self.set.contains_key(&schema) {
            // One whose columns the table cannot get must not be in the way of the others.
            if let Err(error) = self.compile().await {
                self.writers.remove(&schema);
                return Err(error);
            }
        }
        let plan = self.set.get(&schema).cloned();
        let plan = plan.unwrap_or_else(|| Err(Reject::corrupt("its schema was forgotten a moment ago")));
        match self.shape() {
            Some(shape) => Ok((plan, shape)),
            // No schema gives a table yet: then this one does not either.
            None => Ok((plan.and_then(|_| Err(Reject::corrupt("its schema gives no table"))), Arc::new(self.none()))),
        }
    }

    /// A table that nothing can be stored in.
    fn none(&self) -> Shape {
        Shape::new(&self.feed.table, Vec::new(), &[], None, &[])
    }

    fn make_room(&mut self, needed: &HashSet<SchemaRef>) {
        if self.writers.len() >= MAX_WRITERS {
            self.writers.retain(|schema, _| needed.contains(schema));
        }
    }

    /// Whether the newest version is another one than before.
    async fn look(&mut self) -> Result<bool> {
        let Some(subject) = &self.feed.subject else { return Ok(false) };
        if self.looked.is_some_and(|looked| looked.elapsed() < LOOK) {
            return Ok(false);
        }
        let found = match self.registry.latest(subject).await {
            Ok(found) => Some(found),
            Err(error @ RegistryError::Unavailable(_)) if self.newest.is_none() => return Err(error.into()),
            // The one that is known does for now; without any, each writer's own.
            Err(_) => None,
        };
        self.looked = Some(Instant::now());
        Ok(found.is_some_and(|found| self.take_newest(&found)))
    }

    /// The registry's client may know the newest version some seconds late. A writer that nobody has seen before may
    /// be of that version: then the table follows it at once, and a renamed field never lands under its old name.
    async fn is_newest(&mut self, scored: &Schema) -> Result<bool> {
        let (Some(subject), Ok(event)) = (&self.feed.subject, scored::event_schema(scored)) else { return Ok(false) };
        match self.registry.lookup(subject, &event).await {
            Ok(found) => Ok(found.is_some_and(|found| self.take_newest(&found))),
            Err(error @ RegistryError::Unavailable(_)) => Err(error.into()),
            Err(_) => Ok(false),
        }
    }

    /// Takes a version as the newest, if it is newer than the one that is known and gives a table.
    fn take_newest(&mut self, found: &Registered) -> bool {
        if self.newest.as_ref().is_some_and(|known| known.guid == found.guid || known.version >= found.version) {
            return false;
        }
        if let Err(error) = columns::of(&found.schema) {
            tracing::error!(subject = found.subject, version = found.version, %error, "newest version gives no table");
            return false;
        }
        self.newest = Some(Newest { guid: found.guid, version: found.version, schema: found.schema.clone() });
        // Its aggregates are looked at as well.
        self.shape = None;
        true
    }

    async fn compile(&mut self) -> Result<()> {
        let wanted = self.wanted();
        if !wanted.is_empty() && !self.shape.as_ref().is_some_and(|shape| shape.has(&wanted)) {
            self.shape = Some(Arc::new(ddl::ensure(&self.pool, &self.feed, &wanted).await?));
        }
        let newest = self.newest.as_ref().map(|newest| &newest.schema);
        let mut set = PlanSet::with_capacity(self.writers.len());
        for (&schema, writer) in &self.writers {
            let plan = match &self.shape {
                Some(shape) => Plan::compile(self.feed.kind, writer, newest, shape).map(Arc::new),
                None => View::of(self.feed.kind, writer, newest)
                    .map(|_| ())
                    .and_then(|()| Err(Reject::corrupt("its schema gives no table"))),
            };
            if let Err(reject) = &plan {
                tracing::warn!(%schema, %reject, "records of this schema cannot be stored");
            }
            set.insert(schema, plan);
        }
        self.set = Arc::new(set);
        Ok(())
    }

    /// The columns of the newest version, then those that only other writers have.
    fn wanted(&self) -> Vec<Column> {
        let newest = self.newest.as_ref().map(|newest| &newest.schema);
        let mut wanted = match (self.feed.kind, newest) {
            (Kind::Verdicts, _) => verdict_columns(),
            // What gives no table is never taken as the newest.
            (Kind::Scores, Some(newest)) => columns::of(newest).unwrap_or_default(),
            (Kind::Scores, None) => Vec::new(),
        };
        // A writer whose records cannot be stored is told so record by record.
        let views = self.writers.values().filter_map(|writer| View::of(self.feed.kind, writer, newest).ok());
        for view in views {
            for column in view.columns() {
                if !wanted.iter().any(|known| known.name == column.name) {
                    wanted.push(column.clone());
                }
            }
        }
        wanted
    }
}
