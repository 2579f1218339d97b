//! Confluent's Python client, unchanged, from PyPI.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

use crate::support::{Database, Replica};

/// Pinned: what it asks of a registry changes from version to version.
const PACKAGE: &str = "confluent-kafka[avro,schemaregistry]==2.15.0";
const SCRIPT: &str = include_str!("stock_client.py");

/// Python with the client, in a venv below the target folder that later runs find again.
fn python() -> Result<PathBuf, String> {
    let venv = Path::new(env!("CARGO_TARGET_TMPDIR")).join("confluent-kafka-2.15.0");
    let python = venv.join("bin/python");
    let done = venv.join("complete");
    if done.exists() {
        return Ok(python);
    }
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv))?;
    run(Command::new(&python).args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", PACKAGE]))?;
    std::fs::write(&done, PACKAGE).map_err(|error| error.to_string())?;
    Ok(python)
}

fn run(command: &mut Command) -> Result<Output, String> {
    let program = Path::new(command.get_program()).display().to_string();
    let output = command.output().map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(output);
    }
    Err(format!(
        "{program}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    ))
}

#[tokio::test]
async fn confluents_python_client_produces_consumes_and_evolves() {
    let python = match python() {
        Ok(python) => python,
        Err(why) => {
            eprintln!("skipped: {PACKAGE} needs python3 with venv, and PyPI: {why}");
            return;
        }
    };
    let database = Database::create().await;
    let replica = Replica::start(&database);
    let url = replica.http.clone();
    let said =
        tokio::task::spawn_blocking(move || run(Command::new(python).arg("-c").arg(SCRIPT).arg(&url))).await.unwrap();
    let said = said.unwrap_or_else(|why| panic!("{why}"));
    assert_eq!(String::from_utf8_lossy(&said.stdout).lines().last(), Some("every call answered as by Confluent"));
    drop(replica);
    database.remove().await;
}
