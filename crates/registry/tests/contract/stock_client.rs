//! Confluent's Python client, unchanged, from PyPI.

use std::process::Command;

use crate::support::{Replica, database};

const SCRIPT: &str = include_str!("stock_client.py");

#[tokio::test]
async fn confluents_python_client_produces_consumes_and_evolves() {
    let database = database().await;
    let replica = Replica::start(&database);
    let url = replica.http.clone();
    let said = tokio::task::spawn_blocking(move || {
        let python = millrace_testkit::confluent_python(env!("CARGO_TARGET_TMPDIR")).unwrap();
        Command::new(python).arg("-c").arg(SCRIPT).arg(&url).output().unwrap()
    });
    let said = said.await.unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    assert_eq!(String::from_utf8_lossy(&said.stdout).lines().last(), Some("every call answered as by Confluent"));
    drop(replica);
    database.remove().await.unwrap();
}
