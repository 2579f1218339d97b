//! How far each partition is done, in the same transaction as the work.
//!
//! A consumer that keeps its results in Postgres keeps its offsets there too. Before anything else, a transaction moves
//! the ledger from the offset that its batch starts at; when the row is not there any more, somebody else has taken the
//! partition over, and the transaction ends with [`Error::Fenced`]. The row's lock makes the two wait for each other,
//! so that nothing can be stored twice, whatever the broker believes about who owns the partition.

use deadpool_postgres::{GenericClient, Transaction};
use uuid::Uuid;

use crate::{Error, Result};

/// A partition of one incarnation of a topic: a topic that is made anew has a new id and starts anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// Kafka's id of the topic.
    pub topic_id: Uuid,
    /// The partition's number.
    pub partition: i32,
}

/// The offsets of one consumer: rows of the table `offsets` in the service's own Postgres schema.
#[derive(Clone, Debug)]
pub struct Ledger {
    table: String,
    consumer: String,
}

impl Ledger {
    /// Of `consumer` (a group's id) in `<schema>.offsets`.
    pub fn new(schema: &str, consumer: impl Into<String>) -> Self {
        Self { table: table(schema), consumer: consumer.into() }
    }

    /// Whose it is.
    pub fn consumer(&self) -> &str {
        &self.consumer
    }

    /// The statement that makes the table: belongs into the service's migrations, or goes through [`Ledger::ensure`].
    pub fn create_sql(schema: &str) -> String {
        format!(
            "CREATE TABLE IF NOT EXISTS {} (\n\
             \x20   consumer   text        NOT NULL,\n\
             \x20   topic_id   uuid        NOT NULL,\n\
             \x20   partition  integer     NOT NULL,\n\
             \x20   next       bigint      NOT NULL,\n\
             \x20   advanced_at timestamptz NOT NULL DEFAULT now(),\n\
             \x20   PRIMARY KEY (consumer, topic_id, partition)\n\
             ) WITH (fillfactor = 50)",
            table(schema)
        )
    }

    /// Makes the table where it is missing.
    pub async fn ensure(client: &impl GenericClient, schema: &str) -> Result<()> {
        Ok(client.batch_execute(&Self::create_sql(schema)).await?)
    }

    /// The offset to read next, for each of `partitions` in their order: 0 where nothing was read yet. After this call
    /// each of them has its row.
    pub async fn positions(&self, client: &impl GenericClient, partitions: &[Key]) -> Result<Vec<i64>> {
        let topics: Vec<Uuid> = partitions.iter().map(|key| key.topic_id).collect();
        let numbers: Vec<i32> = partitions.iter().map(|key| key.partition).collect();
        let insert = format!(
            "INSERT INTO {} (consumer, topic_id, partition, next) SELECT $1, t, p, 0 FROM unnest($2::uuid[], $3::int[]) AS k(t, p) ON CONFLICT DO NOTHING",
            self.table
        );
        client.execute(&insert, &[&self.consumer, &topics, &numbers]).await?;
        let select = format!(
            "SELECT o.next FROM unnest($2::uuid[], $3::int[]) WITH ORDINALITY AS k(t, p, n) JOIN {} o ON o.consumer = $1 AND o.topic_id = k.t AND o.partition = k.p ORDER BY k.n",
            self.table
        );
        let rows = client.query(&select, &[&self.consumer, &topics, &numbers]).await?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }

    /// Moves a partition from `first`, where this transaction's work starts, to `next`, the offset after it. The first
    /// statement of the transaction.
    pub async fn advance(&self, transaction: &Transaction<'_>, key: Key, first: i64, next: i64) -> Result<()> {
        let update = format!(
            "UPDATE {} SET next = $5, advanced_at = now() WHERE consumer = $1 AND topic_id = $2 AND partition = $3 AND next = $4",
            self.table
        );
        let update = transaction.prepare_cached(&update).await?;
        match transaction.execute(&update, &[&self.consumer, &key.topic_id, &key.partition, &first, &next]).await? {
            1 => Ok(()),
            _ => Err(Error::Fenced { consumer: self.consumer.clone(), partition: key.partition, expected: first }),
        }
    }
}

fn table(schema: &str) -> String {
    format!("\"{}\".offsets", schema.replace('"', "\"\""))
}
