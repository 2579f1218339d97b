use millrace_postgres::Ledger;
use millrace_postgres::ledger::Key;
use uuid::Uuid;

use millrace_testkit::Database;

fn key(partition: i32) -> Key {
    Key { topic_id: Uuid::from_u128(7), partition }
}

#[tokio::test]
async fn the_one_who_comes_second_is_fenced() {
    let database = Database::create("postgres").await.unwrap();
    let mut first = database.pool.get().await.unwrap();
    let mut second = database.pool.get().await.unwrap();
    first.batch_execute("CREATE SCHEMA s").await.unwrap();
    Ledger::ensure(&first, "s").await.unwrap();
    Ledger::ensure(&first, "s").await.unwrap();
    let ledger = Ledger::new("s", "group");
    assert_eq!(ledger.positions(&first, &[key(1), key(0)]).await.unwrap(), [0, 0]);

    // The zombie began before its successor committed, and waits for the row.
    let transaction = first.transaction().await.unwrap();
    ledger.advance(&transaction, key(0), 0, 10).await.unwrap();
    let zombie = async {
        let transaction = second.transaction().await.unwrap();
        ledger.advance(&transaction, key(0), 0, 5).await
    };
    let commit = async {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        transaction.commit().await.unwrap();
    };
    let (fenced, ()) = tokio::join!(zombie, commit);
    assert!(fenced.unwrap_err().is_fenced());

    assert_eq!(ledger.positions(&first, &[key(1), key(0)]).await.unwrap(), [0, 10]);
    assert_eq!(Ledger::new("s", "another").positions(&first, &[key(0)]).await.unwrap(), [0]);
    drop((first, second));
    database.remove().await.unwrap();
}

#[tokio::test]
async fn a_transaction_that_rolls_back_leaves_the_ledger_where_it_was() {
    let database = Database::create("postgres").await.unwrap();
    let mut client = database.pool.get().await.unwrap();
    client.batch_execute("CREATE SCHEMA s").await.unwrap();
    Ledger::ensure(&client, "s").await.unwrap();
    let ledger = Ledger::new("s", "group");
    ledger.positions(&client, &[key(0)]).await.unwrap();
    let transaction = client.transaction().await.unwrap();
    ledger.advance(&transaction, key(0), 0, 10).await.unwrap();
    transaction.rollback().await.unwrap();
    assert_eq!(ledger.positions(&client, &[key(0)]).await.unwrap(), [0]);
    drop(client);
    database.remove().await.unwrap();
}
