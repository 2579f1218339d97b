//! Stories that cross services, on real parts: Kafka and Postgres of the local stack and the real binaries.
#![allow(clippy::unwrap_used, reason = "a story ends at the first surprise")]

mod architecture;
mod batch;
mod faults;
mod lake;
mod mail;
mod models;
mod poison;
mod traces;
mod versions;
mod workflows;

use std::path::PathBuf;

use millrace_testkit::confluent_python;
use tokio::sync::{Mutex, MutexGuard};

/// Each story has a whole stack of its own: two at once would only measure the machine.
async fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::const_new(());
    TURN.lock().await
}

/// A Python that has the stock Confluent client.
async fn python() -> PathBuf {
    let python = || confluent_python(env!("CARGO_TARGET_TMPDIR"));
    tokio::task::spawn_blocking(python).await.unwrap().unwrap()
}
