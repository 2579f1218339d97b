use millrace_postgres::{Args, Class};

use millrace_testkit::Database;

#[tokio::test]
async fn a_pool_is_made_without_a_server_and_says_that_it_is_away() {
    let pool = Args::from_url("postgres://nobody@127.0.0.1:1/none").pool().unwrap();
    let error = pool.get().await.err().unwrap();
    assert_eq!(error.class(), Class::Unavailable, "{error}");
    assert!(error.is_retriable());
}

#[tokio::test]
async fn sessions_are_named_bounded_and_in_utc() {
    let database = Database::create("postgres").await.unwrap();
    let client = database.pool.get().await.unwrap();
    for (setting, value) in [("statement_timeout", "30s"), ("lock_timeout", "10s"), ("TimeZone", "UTC")] {
        let row = client.query_one(&format!("SHOW {setting}"), &[]).await.unwrap();
        assert_eq!(row.get::<_, &str>(0), value, "{setting}");
    }
    let name: String = client.query_one("SHOW application_name", &[]).await.unwrap().get(0);
    assert!(name.starts_with("postgres-"), "the test binary's name, got {name}");
    drop(client);
    database.remove().await.unwrap();
}

#[tokio::test]
async fn a_connection_that_the_server_ended_is_not_handed_out_again() {
    let database = Database::create("postgres").await.unwrap();
    let client = database.pool.get().await.unwrap();
    let error = client.batch_execute("SELECT pg_terminate_backend(pg_backend_pid())").await.unwrap_err();
    assert!(millrace_postgres::Error::from(error).is_retriable());
    // The server's last word comes before the end of the stream does.
    while !client.is_closed() {
        tokio::task::yield_now().await;
    }
    drop(client);
    database.pool.ready().await.unwrap();
    database.remove().await.unwrap();
}

#[tokio::test]
async fn failures_are_told_apart_by_their_sqlstate() {
    let database = Database::create("postgres").await.unwrap();
    let client = database.pool.get().await.unwrap();
    client.batch_execute("CREATE TABLE t (id bigint PRIMARY KEY); INSERT INTO t VALUES (1)").await.unwrap();
    for (sql, class) in [
        ("INSERT INTO t VALUES (1)", Class::Duplicate),
        ("INSERT INTO t VALUES (NULL)", Class::Constraint),
        ("INSERT INTO t VALUES ('x')", Class::Data),
        ("SELECT * FROM nowhere", Class::Undefined),
        ("SET statement_timeout = 10; SELECT pg_sleep(5)", Class::Timeout),
    ] {
        let error = millrace_postgres::Error::from(client.batch_execute(sql).await.unwrap_err());
        assert_eq!(error.class(), class, "{sql}: {error}");
        assert!(error.sqlstate().is_some());
    }
    drop(client);
    database.remove().await.unwrap();
}
