use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{folder::Folder, pids::MARK};
use crate::{document, exec::Attempt};

/// What a shim is to do, as it is written before the shim starts. It has the names of secrets and not their values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Spec {
    /// The attempt's name.
    pub(super) name: String,
    /// The program and its arguments.
    pub(super) argv: Vec<String>,
    /// Where it runs.
    pub(super) dir: PathBuf,
    /// What the document says of its environment.
    pub(super) env: BTreeMap<String, String>,
    /// The names of secrets, by the variables that hold them.
    pub(super) secrets: BTreeMap<String, String>,
    /// What the scheduler says of the run; it goes before the other two.
    pub(super) run: BTreeMap<String, String>,
    /// From SIGTERM to SIGKILL.
    pub(super) grace: Duration,
    /// How long the command goes on without a scheduler.
    pub(super) fence: Duration,
    /// After this it is too late to begin: another scheduler may have given the attempt up.
    pub(super) begin_before: Timestamp,
}

impl Spec {
    pub(super) fn new(attempt: &Attempt, process: &document::Process, folder: &Folder, fence: Duration) -> Self {
        let document::Process { argv, env, secrets, dir, grace } = process;
        let dir = match dir {
            Some(dir) => std::path::absolute(dir).unwrap_or_else(|_| PathBuf::from(dir)),
            None => folder.work(),
        };
        Self {
            name: attempt.name.clone(),
            argv: argv.clone(),
            dir,
            env: env.clone(),
            secrets: secrets.clone(),
            run: variables(attempt, folder),
            grace: (*grace).into(),
            fence,
            begin_before: begin_before(attempt, fence),
        }
    }
}

/// Until when the command of an attempt may be started.
pub(super) fn begin_before(attempt: &Attempt, fence: Duration) -> Timestamp {
    attempt.launched_at.checked_add(fence).unwrap_or(Timestamp::MAX)
}

fn variables(attempt: &Attempt, folder: &Folder) -> BTreeMap<String, String> {
    let Attempt { name, token, dag, run, task, item, number: _, launched_at: _, place: _ } = attempt;
    let item = item.map(|item| ("MILLRACE_ITEM", item.to_string()));
    let always = [
        (MARK, name.clone()),
        ("MILLRACE_DAG", dag.clone()),
        ("MILLRACE_OUTPUT", folder.output().to_string_lossy().into_owned()),
        ("MILLRACE_RUN", run.to_string()),
        ("MILLRACE_TASK", task.clone()),
        ("MILLRACE_TOKEN", token.to_string()),
    ];
    always.into_iter().chain(item).map(|(name, value)| (name.to_owned(), value)).collect()
}
