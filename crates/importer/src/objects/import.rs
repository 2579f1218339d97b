//! One object into one table, in one transaction.

use std::{
    ops::Range,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use millrace_aws::{Kind, Object, Objects, Wanted};
use millrace_core::Code;
use millrace_postgres::{Pool, Transaction};
use tokio::sync;

use super::{
    content::{self, Content, Part, Reading, Refused},
    ledger::{self, Counts, Entry, Identity},
    letters::Letters,
    notice::Change,
    route::Route,
};
use crate::{
    ddl::db,
    error::{Error, Reject},
    isolate::{self, Trial},
    metrics::Metrics,
    plan::Stamp,
    plans::Plans,
    shape::Shape,
    store::{self, Connection, Stored},
    storer::now_micros,
};

/// How long S3 may take between two parts. Not for ever: who is gone must not hold an object.
const PATIENT: &str = "SET LOCAL idle_in_transaction_session_timeout = '10min'";
/// Records of an object that Postgres may refuse; where it refuses more, it is not for the records.
const MAX_REFUSED: usize = 1_000;
/// Rows of an object whose age is measured.
const AGES: usize = 10_000;
/// How often an object is begun anew that changes while it is read.
const CHANGES: usize = 10;

/// Brings the objects of one pipeline to its table.
pub(crate) struct Import {
    pub(crate) route: Route,
    pub(crate) objects: Objects,
    pub(crate) pool: Pool,
    pub(crate) plans: sync::Mutex<Plans>,
    pub(crate) metrics: Metrics,
    /// Connections that have their temporary tables already, of all pipelines: no more than there are messages at once.
    pub(crate) idle: Arc<Mutex<Vec<Connection>>>,
}

/// What became of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It is in now.
    Imported,
    /// It was in already.
    Already,
    /// There is no such object any more.
    Gone,
    /// Somebody else is at it.
    Busy,
}

impl Outcome {
    /// A metric's label.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Imported => "imported",
            Self::Already => "already",
            Self::Gone => "gone",
            Self::Busy => "busy",
        }
    }
}

/// Why an object is not in.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Something that all objects need is away: nothing is wrong with this one.
    Away(Error),
    /// Something is wrong with this one.
    Object(Reject),
    /// Another was written over it while it was read.
    Changed,
    /// The table has another shape than it was thought to have.
    Reshaped,
}

/// What is known of an object's records from earlier tries.
#[derive(Default)]
struct Known {
    /// Of this content.
    identity: Option<Identity>,
    refused: Arc<Refused>,
}

impl Import {
    /// Imports what an object is now, unless it is in already.
    pub(crate) async fn run(&self, change: &Change) -> Result<Outcome, Failure> {
        let (mut known, mut changes) = (Known::default(), 0);
        loop {
            let mut connection = self.connection().await?;
            match self.attempt(&mut connection, change, &mut known).await {
                Ok(outcome) => {
                    self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
                    return Ok(outcome);
                }
                Err(Failure::Reshaped) => {}
                Err(Failure::Changed) if changes < CHANGES => changes += 1,
                Err(Failure::Away(error)) if error.is_data() => {
                    drop(connection);
                    self.isolate(change, &mut known, error).await?;
                }
                Err(failure) => return Err(failure),
            }
        }
    }

    async fn connection(&self) -> Result<Connection, Failure> {
        let shape = self.plans.lock().await.shape();
        let mut connection = match self.idle(shape.as_ref()) {
            Some(connection) if !connection.client.is_closed() => connection,
            _ => Connection::open(&self.pool).await?,
        };
        if let Some(shape) = shape {
            connection.stage(&shape).await?;
        }
        Ok(connection)
    }

    /// One whose tables are for that shape, or else for another.
    fn idle(&self, shape: Option<&Arc<Shape>>) -> Option<Connection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let fits =
            |it: &Connection| it.staged().is_some_and(|staged| shape.is_some_and(|shape| Arc::ptr_eq(&staged, shape)));
        let place = idle.iter().position(fits).or(idle.len().checked_sub(1))?;
        Some(idle.swap_remove(place))
    }

    async fn attempt(
        &self,
        connection: &mut Connection,
        change: &Change,
        known: &mut Known,
    ) -> Result<Outcome, Failure> {
        let Change { bucket, key, again, .. } = change;
        let begun = Instant::now();
        ledger::enter(&connection.client, bucket, key).await?;
        let staged = connection.staged();
        let tx = connection.client.transaction().await.map_err(db)?;
        let Some(entry) = ledger::lock(&tx, bucket, key).await? else { return Ok(Outcome::Busy) };
        tx.batch_execute(PATIENT).await.map_err(db)?;
        // Looked at under the lock: what is seen now is later than all that is in.
        let Some(object) = self.objects.head(bucket, key).await.map_err(aws)? else { return Ok(Outcome::Gone) };
        let identity = Identity::of(&object);
        if entry.has(&identity) && !again {
            return Ok(Outcome::Already);
        }
        let (mut content, shape) = self.open(&object, bucket, &entry, known.of(&identity)).await?;
        if !staged.is_some_and(|staged| Arc::ptr_eq(&staged, &shape)) {
            return Err(Failure::Reshaped);
        }
        let dead_key = self.route.dead_key(key, identity.word());
        let mut letters = Letters::new(&self.objects, bucket, dead_key);
        let (mut staged, mut receipts) = (0, Vec::new());
        while let Some(part) = content.next().await? {
            if part.meta.is_empty() {
                // Postgres hears of us also where there are only letters.
                tx.batch_execute("SELECT").await.map_err(db)?;
            }
            staged += store::send(&tx, &shape, &part.rows, &whole(&part)).await?;
            letters.add(&part.letters).await.map_err(aws)?;
            let room = AGES - receipts.len();
            receipts.extend(part.meta.iter().map(|(row, _)| row.received_at).take(room));
        }
        // Before the rows are locked: S3 may take its time.
        let dead = letters.finish().await.map_err(aws)?;
        let (stored, twice) = settle(&tx, &shape, &entry, staged).await?;
        let counts = Counts { rows: stored.inserted + stored.replaced, lost: stored.lost() + twice, dead };
        ledger::advance(&tx, &entry, &identity, object.size, counts).await?;
        tx.commit().await.map_err(db)?;
        self.metrics.committed(stored, begun.elapsed().as_secs_f64());
        self.metrics.lost(counts.lost);
        self.metrics.dead_rows(dead);
        self.metrics.ages(receipts.into_iter(), now_micros() / 1_000);
        tracing::info!(
            bucket,
            key,
            generation = entry.generation + 1,
            rows = counts.rows,
            lost = counts.lost,
            dead,
            ms = begun.elapsed().as_millis() as u64,
            "object imported"
        );
        Ok(Outcome::Imported)
    }

    /// Begins to read the very content that was looked at.
    async fn open(
        &self,
        object: &Object,
        bucket: &str,
        entry: &Entry,
        refused: Arc<Refused>,
    ) -> Result<(Content, Arc<Shape>), Failure> {
        let wanted = Wanted { version: object.version.clone(), etag: object.etag.clone(), range: None };
        let body = self.objects.read(bucket, &object.key, wanted).await.map_err(aws)?;
        let mut content = Content::open(body);
        let schema = content.schema().await?;
        let (plan, shape) = self.plans.lock().await.of_file(&schema).await?;
        let plan = plan.map_err(Failure::Object)?;
        let stamp = Stamp { imported_at: now_micros(), imported_from: Some(entry.id) };
        content.read(Reading { plan, stamp, refused });
        Ok((content, shape))
    }

    /// Finds the records that Postgres refuses: each part is tried in a transaction that is rolled back.
    async fn isolate(&self, change: &Change, known: &mut Known, error: Error) -> Result<(), Failure> {
        let Change { bucket, key, .. } = change;
        let mut connection = self.connection().await?;
        let tx = connection.client.transaction().await.map_err(db)?;
        let Some(entry) = ledger::lock(&tx, bucket, key).await? else { return Ok(()) };
        let Some(object) = self.objects.head(bucket, key).await.map_err(aws)? else { return Ok(()) };
        let identity = Identity::of(&object);
        let mut refused = Refused::clone(&known.of(&identity));
        let before = refused.len();
        let (mut content, shape) = self.open(&object, bucket, &entry, Arc::new(refused.clone())).await?;
        drop(tx);
        connection.stage(&shape).await?;
        while let Some(part) = content.next().await? {
            let mut trial = PartTrial { connection: &mut connection, shape: &shape, entry: &entry, part: &part };
            let bad = isolate::bad_rows((0..part.rows.len()).collect(), &mut trial).await?;
            refused.extend(bad.into_iter().map(|(row, reject)| (part.meta[row].1, reject)));
            if refused.len() > MAX_REFUSED {
                let reason = format!("more than {MAX_REFUSED} of its records are refused, such as by: {error}");
                return Err(Failure::Object(Reject::new(error.code(), reason)));
            }
        }
        if refused.len() == before {
            let reason = format!("its records cannot be stored together, though each of them can: {error}");
            return Err(Failure::Object(Reject::new(error.code(), reason)));
        }
        *known = Known { identity: Some(identity), refused: Arc::new(refused) };
        Ok(())
    }
}

impl Known {
    /// What is known of that content; of another it is forgotten.
    fn of(&mut self, identity: &Identity) -> Arc<Refused> {
        if self.identity.as_ref() != Some(identity) {
            *self = Self::default();
        }
        Arc::clone(&self.refused)
    }
}

/// Rows of a part, tried.
struct PartTrial<'a> {
    connection: &'a mut Connection,
    shape: &'a Arc<Shape>,
    entry: &'a Entry,
    part: &'a Part,
}

impl Trial for PartTrial<'_> {
    async fn fits(&mut self, ranges: &[Range<usize>]) -> Result<(), Error> {
        let tried = self.try_out(ranges).await;
        // What was rolled back still takes room in them.
        self.connection.client.batch_execute("TRUNCATE pg_temp.stage, pg_temp.replaced").await.map_err(db)?;
        tried
    }
}

impl PartTrial<'_> {
    async fn try_out(&mut self, ranges: &[Range<usize>]) -> Result<(), Error> {
        let Self { connection, shape, entry, part } = self;
        let tx = connection.client.transaction().await.map_err(db)?;
        let staged = store::send(&tx, shape, &part.rows, ranges).await?;
        settle(&tx, shape, entry, staged).await?;
        tx.rollback().await.map_err(db)
    }
}

/// The rows that the object had away, those of the stage in: what was stored, and how many were there twice.
async fn settle(tx: &Transaction<'_>, shape: &Shape, entry: &Entry, staged: u64) -> Result<(Stored, u64), Error> {
    // As long as the object is large.
    tx.batch_execute("SET LOCAL statement_timeout = 0").await.map_err(db)?;
    let Some(rewrite) = &shape.statements.rewrite else {
        let problem = "rows of objects need a table whose later rows take the place of earlier ones".to_owned();
        return Err(Error::Table { table: shape.table.clone(), problem });
    };
    let twice = store::make_unique(tx, rewrite).await?;
    let removed = if entry.generation > 0 { store::remove(tx, rewrite, entry.id).await? } else { 0 };
    Ok((store::settle(tx, shape, staged - twice, removed).await?, twice))
}

/// All rows of a part.
fn whole(part: &Part) -> Vec<Range<usize>> {
    Vec::from_iter((!part.meta.is_empty()).then_some(0..part.rows.len()))
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Away(error)
    }
}

impl From<content::Failure> for Failure {
    fn from(failure: content::Failure) -> Self {
        match failure {
            content::Failure::Aws(error) => aws(error),
            content::Failure::Object(reject) => Self::Object(reject),
            content::Failure::Unwanted => {
                Self::Object(Reject::new(Code::Internal, "its decoder has ended before its records"))
            }
        }
    }
}

/// What S3's refusal is to an object: of what may pass, and of missing credentials, all of them suffer.
fn aws(error: millrace_aws::Error) -> Failure {
    match error.kind() {
        Kind::Changed | Kind::Missing => Failure::Changed,
        Kind::Throttled | Kind::Unavailable | Kind::Credentials => Failure::Away(error.into()),
        Kind::Nowhere | Kind::Denied | Kind::Refused => Failure::Object(Reject::new(error.code(), error.to_string())),
    }
}
