use std::time::Duration;

use millrace_postgres::Listener;
use millrace_postgres::listen::Event;

use millrace_testkit::Database;

async fn next(listener: &mut Listener) -> Event {
    tokio::time::timeout(Duration::from_secs(10), listener.next()).await.expect("an event within 10 s")
}

#[tokio::test]
async fn a_listener_that_lost_its_connection_says_so_and_listens_again() {
    let database = Database::create("postgres").await.unwrap();
    let client = database.pool.get().await.unwrap();
    let mut listener = Listener::start(&database.pool, &["schemas", "Other"]);
    assert_eq!(next(&mut listener).await, Event::Connected);

    client.batch_execute("NOTIFY schemas, '42'").await.unwrap();
    assert_eq!(next(&mut listener).await, Event::Notified { channel: "schemas".into(), payload: "42".into() });

    let others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                  WHERE datname = current_database() AND pid <> pg_backend_pid()";
    client.batch_execute(others).await.unwrap();
    assert_eq!(next(&mut listener).await, Event::Connected);
    client.batch_execute("NOTIFY \"Other\"").await.unwrap();
    assert_eq!(next(&mut listener).await, Event::Notified { channel: "Other".into(), payload: String::new() });
    drop((listener, client));
    database.remove().await.unwrap();
}
