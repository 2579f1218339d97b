//! One transaction: the ledger, the rows, the aggregates, or nothing.

use std::{ops::Range, sync::Arc};

use futures::future::try_join_all;
use millrace_kafka::source::{Batch, Partition};
use millrace_postgres::{
    Client, Ledger, Pool, Transaction,
    copy::{self, Rows},
    ledger::Key,
};

use crate::{
    ddl::db,
    error::Result,
    shape::{Add, Replace, Rewrite, Shape},
};

/// Memory for the staged rows of a session; a batch is at most 8 MiB of records.
const STAGE_BUFFERS: &str = "SET temp_buffers = '32MB'";

/// What a transaction did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// Rows that were sent.
    pub staged: u64,
    /// Of these, rows of ids that were not there.
    pub inserted: u64,
    /// Of these, rows that took the place of an earlier one.
    pub replaced: u64,
}

impl Stored {
    /// Rows that gave way to what was there.
    pub fn lost(&self) -> u64 {
        self.staged - self.inserted - self.replaced
    }
}

/// Whether a transaction is meant, or only tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Commit.
    Commit,
    /// Roll back: was Postgres content with the rows?
    Rollback,
}

/// A connection with its temporary tables.
pub(crate) struct Connection {
    pub(crate) client: Client,
    staged: Option<Arc<Shape>>,
}

impl Connection {
    /// Takes a connection out of the pool for as long as it works.
    pub(crate) async fn open(pool: &Pool) -> Result<Self> {
        let client = pool.get().await?;
        client.batch_execute(STAGE_BUFFERS).await.map_err(db)?;
        Ok(Self { client, staged: None })
    }

    /// The shape that its temporary tables are for.
    pub(crate) fn staged(&self) -> Option<Arc<Shape>> {
        self.staged.clone()
    }

    /// Makes the temporary tables for a shape, unless they are there. Not within a transaction: one that is rolled back
    /// would take them along.
    pub(crate) async fn stage(&mut self, shape: &Arc<Shape>) -> Result<()> {
        if !self.staged.as_ref().is_some_and(|staged| Arc::ptr_eq(staged, shape)) {
            self.client.batch_execute(&shape.statements.prepare).await.map_err(db)?;
            // Statements that know the tables of before.
            self.client.statement_cache.clear();
            self.staged = Some(Arc::clone(shape));
        }
        Ok(())
    }
}

/// A connection of the stream's: what it stores, it stores with the ledger of offsets.
pub struct Session {
    connection: Connection,
    ledger: Ledger,
}

impl Session {
    /// Takes a connection out of the pool for as long as it works.
    pub async fn open(pool: &Pool, ledger: Ledger) -> Result<Self> {
        Ok(Self { connection: Connection::open(pool).await?, ledger })
    }

    /// Stores some ranges of `rows` and moves the ledger over `batches`, in one transaction. Fails as fenced, without
    /// any effect, when the ledger is not where the batches begin.
    pub async fn store(
        &mut self,
        shape: &Arc<Shape>,
        batches: &[Batch],
        rows: &Rows,
        ranges: &[Range<usize>],
        end: End,
    ) -> Result<Stored> {
        self.connection.stage(shape).await?;
        let transaction = self.connection.client.transaction().await.map_err(db)?;
        // First: who comes second waits here, and then finds that it has been done.
        let advances = batches
            .iter()
            .map(|batch| self.ledger.advance(&transaction, key(&batch.partition), batch.start, batch.next_offset));
        try_join_all(advances).await?;
        let staged = send(&transaction, shape, rows, ranges).await?;
        let stored = settle(&transaction, shape, staged, 0).await?;
        match end {
            End::Commit => transaction.commit().await.map_err(db)?,
            End::Rollback => transaction.rollback().await.map_err(db)?,
        }
        Ok(stored)
    }

    /// Where the ledger is, for each of `partitions`.
    pub async fn positions(&self, partitions: &[Partition]) -> Result<Vec<i64>> {
        let keys: Vec<Key> = partitions.iter().map(key).collect();
        Ok(self.ledger.positions(&self.connection.client, &keys).await?)
    }
}

/// The ledger's name of a partition.
pub(crate) fn key(partition: &Partition) -> Key {
    Key { topic_id: partition.topic_id, partition: partition.partition }
}

/// Sends some ranges of `rows` to the stage: how many there were.
pub(crate) async fn send(tx: &Transaction<'_>, shape: &Shape, rows: &Rows, ranges: &[Range<usize>]) -> Result<u64> {
    if ranges.is_empty() {
        return Ok(0);
    }
    let copy = tx.prepare_cached(&shape.statements.copy).await.map_err(db)?;
    Ok(copy::send(tx, &copy, rows, ranges).await?)
}

/// Brings the stage, which has so many rows and none twice, to the table and to its aggregates. So many rows were
/// `removed` from the table before, and kept for the aggregates.
pub(crate) async fn settle(tx: &Transaction<'_>, shape: &Shape, staged: u64, removed: u64) -> Result<Stored> {
    if staged + removed == 0 {
        return Ok(Stored::default());
    }
    let statements = &shape.statements;
    let (mut inserted, mut replaced) = (execute(tx, &statements.insert).await?, 0);
    if let Some(replace) = &statements.replace {
        while inserted + replaced < staged {
            replaced += give_way(tx, replace).await?;
            // A row that was in the way may have been removed since, with the object that it was of.
            let more = execute(tx, &statements.insert).await?;
            inserted += more;
            if more == 0 {
                break;
            }
        }
    }
    for add in &statements.aggregates {
        if removed == 0 && inserted == staged {
            execute(tx, &add.all).await?;
        } else if removed + inserted + replaced > 0 {
            add_changed(tx, add, removed + replaced).await?;
        }
    }
    Ok(Stored { staged, inserted, replaced })
}

/// Removes the rows that an object has in the table, keeps them for the aggregates, and says how many there were.
pub(crate) async fn remove(tx: &Transaction<'_>, rewrite: &Rewrite, object: i64) -> Result<u64> {
    let statement = tx.prepare_cached(&rewrite.remove).await.map_err(db)?;
    tx.execute(&statement, &[&object]).await.map_err(db)
}

/// Leaves of each id one row in the stage, and says how many went.
pub(crate) async fn make_unique(tx: &Transaction<'_>, rewrite: &Rewrite) -> Result<u64> {
    let statement = tx.prepare_cached(&rewrite.repeats).await.map_err(db)?;
    if tx.query_one(&statement, &[]).await.map_err(db)?.get(0) { execute(tx, &rewrite.unique).await } else { Ok(0) }
}

async fn give_way(tx: &Transaction<'_>, replace: &Replace) -> Result<u64> {
    if execute(tx, &replace.keep).await? == 0 {
        return Ok(0);
    }
    execute(tx, &replace.update).await
}

async fn add_changed(tx: &Transaction<'_>, add: &Add, replaced: u64) -> Result<()> {
    execute(tx, &add.changed).await?;
    if replaced > 0 {
        execute(tx, &add.sweep).await?;
    }
    Ok(())
}

async fn execute(tx: &Transaction<'_>, sql: &str) -> Result<u64> {
    let statement = tx.prepare_cached(sql).await.map_err(db)?;
    tx.execute(&statement, &[]).await.map_err(db)
}
