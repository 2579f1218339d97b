//! Stories that cross services, on real parts: Kafka and Postgres of the local stack and the real binaries.
#![allow(clippy::unwrap_used, reason = "a story ends at the first surprise")]

mod architecture;
mod faults;
mod mail;
mod poison;
mod versions;

use std::{path::PathBuf, process::Stdio};

use tokio::{
    process::Command,
    sync::{Mutex, MutexGuard},
};

/// Each story has a whole stack of its own: two at once would only measure the machine.
async fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::const_new(());
    TURN.lock().await
}

/// A Python that has the stock Confluent client, in an environment of its own under the target folder.
async fn python() -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("python");
    let requirements = concat!(env!("CARGO_MANIFEST_DIR"), "/python/requirements.txt");
    let python = folder.join("bin/python");
    let done = folder.join("installed");
    let wanted = std::fs::read_to_string(requirements).unwrap();
    if std::fs::read_to_string(&done).is_ok_and(|installed| installed == wanted) {
        return python;
    }
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder)).await;
    run(Command::new(&python).args(["-m", "pip", "install", "--quiet", "--requirement", requirements])).await;
    std::fs::write(done, wanted).unwrap();
    python
}

async fn run(command: &mut Command) {
    let status = command.stdin(Stdio::null()).status().await.unwrap();
    assert!(status.success(), "{command:?}: {status}");
}
