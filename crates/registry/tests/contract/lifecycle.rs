//! How the process starts, stops and fails.

use std::process::{Command, Stdio};

use millrace_testkit::Database;

use crate::support::{Replica, database};

fn registry() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_millrace-registry"));
    command.env_remove("DATABASE_URL").stdout(Stdio::null());
    command
}

#[test]
fn bad_usage_and_bad_configuration_end_with_64_and_say_why() {
    for (args, why) in [
        (vec!["serve"], "--database-url"),
        (vec!["serve", "--database-url", "postgres://u@h/d", "--no-such-flag"], "--no-such-flag"),
        (vec!["serve", "--database-url", "postgres://u@h/d", "--incompatible-code", "418"], "409 or 40901"),
        (vec!["serve", "--database-url", "postgres://u@h/d", "--log", "x=loud"], "--log"),
        (
            vec!["serve", "--database-url", "postgres://u@h/d", "--tls-cert", "/no/cert", "--tls-key", "/no/key"],
            "--tls-cert /no/cert",
        ),
    ] {
        let output = registry().args(&args).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(64), "{args:?}: {said}");
        assert!(said.contains(why) && !said.contains("panicked"), "{args:?}: {said}");
    }
}

#[tokio::test]
async fn a_database_that_was_not_migrated_is_refused_and_migrate_mends_it() {
    let database = Database::create("registry").await.unwrap();
    let output = registry()
        .args(["serve", "--http-addr", "127.0.0.1:0", "--grpc-addr", "127.0.0.1:0"])
        .env("DATABASE_URL", &database.url)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("migrate"), "{said}");
    for _ in 0..2 {
        let migrated = registry().arg("migrate").env("DATABASE_URL", &database.url).output().unwrap();
        assert!(migrated.status.success(), "{}", String::from_utf8_lossy(&migrated.stderr));
    }
    let replica = Replica::start(&database);
    assert_eq!(replica.get("/subjects").await.0, 200);
    drop(replica);
    database.remove().await.unwrap();
}

#[tokio::test]
async fn sigterm_ends_it_with_0_and_watchers_do_not_hold_it_up() {
    let database = database().await;
    let replica = Replica::start(&database);
    replica.register("s", "\"int\"").await;
    let request = millrace_proto::registry::v1::WatchRequest { after_revision: 0, subject_prefix: String::new() };
    let mut changes = replica.grpc().await.watch(request).await.unwrap().into_inner();
    changes.message().await.unwrap();
    let status = tokio::task::spawn_blocking(|| replica.terminate()).await.unwrap();
    assert_eq!(status.code(), Some(0));
    assert_eq!(changes.message().await.unwrap_err().code(), tonic::Code::Unavailable);
    database.remove().await.unwrap();
}
