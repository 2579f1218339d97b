//! `millrace dag apply` and `plan`: documents, checked together, and what they change.

use std::path::PathBuf;

use millrace_proto::scheduler::v1::{self as proto, ApplyRequest, change::Action};
use millrace_runtime::ConfigError;
use serde::Serialize;

use super::{Scheduler, documents, view};
use crate::{Output, output::table};

/// The exit code of a plan that would change something, where that was asked for. 1 is a failure.
const CHANGES: i32 = 2;

/// Checks documents together and puts them in force: all of them or none.
#[derive(Debug, clap::Args)]
pub(crate) struct Apply {
    /// Documents, or folders of them. A file may hold several.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Say what would change, and change nothing.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    scheduler: Scheduler,
}

/// Checks documents together and says what `apply` would change.
#[derive(Debug, clap::Args)]
pub(crate) struct Plan {
    /// Documents, or folders of them. A file may hold several.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// End with exit code 2 when something would change.
    #[arg(long)]
    exit_code: bool,
    #[command(flatten)]
    scheduler: Scheduler,
}

/// What becomes of one document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Change {
    #[serde(rename = "change")]
    what: String,
    kind: String,
    name: String,
    details: Vec<String>,
    hash: String,
    #[serde(skip)]
    action: Action,
}

impl From<proto::Change> for Change {
    fn from(change: proto::Change) -> Self {
        let action = change.action();
        let what = view::word(change.action, Action::as_str_name, "");
        let proto::Change { kind, name, details, hash, .. } = change;
        Self { what, kind, name, details, hash, action }
    }
}

impl Apply {
    pub(super) async fn run(self, output: Output) -> anyhow::Result<()> {
        let Self { files, dry_run, scheduler } = self;
        let changes = changes(&files, dry_run, &scheduler).await?;
        output.value(&changes, |changes| text(changes, dry_run))
    }
}

impl Plan {
    pub(super) async fn run(self, output: Output) -> anyhow::Result<()> {
        let Self { files, exit_code, scheduler } = self;
        let changes = changes(&files, true, &scheduler).await?;
        output.value(&changes, |changes| text(changes, true))?;
        if exit_code && changes.iter().any(|change| change.action != Action::Unchanged) {
            // All is said; what is left is an answer that is no failure.
            std::process::exit(CHANGES);
        }
        Ok(())
    }
}

async fn changes(files: &[PathBuf], dry_run: bool, scheduler: &Scheduler) -> anyhow::Result<Vec<Change>> {
    let documents = documents::read(files)?;
    let applied = scheduler.answer(scheduler.client()?.apply(ApplyRequest { documents, dry_run }).await)?;
    ConfigError::check(faults(applied.faults))?;
    Ok(applied.changes.into_iter().map(Change::from).collect())
}

/// In the order of reading, as `millrace pipeline check` says them.
fn faults(mut faults: Vec<proto::Fault>) -> Vec<String> {
    faults.sort_by(|a, b| (&a.document, a.line, &a.path).cmp(&(&b.document, b.line, &b.path)));
    let fault = |proto::Fault { document, path, line, message }: proto::Fault| match line {
        0 => format!("{document}: {path}: {message}"),
        line => format!("{document}:{line}: {path}: {message}"),
    };
    faults.into_iter().map(fault).collect()
}

/// A row for each change, and under it one for each further detail.
fn text(changes: &[Change], dry_run: bool) -> String {
    let rows = changes.iter().flat_map(|Change { what, kind, name, details, .. }| {
        let first = details.first().cloned().unwrap_or_default();
        let more = details.iter().skip(1).map(|detail| {
            let [what, kind, name] = <[String; 3]>::default();
            vec![what, kind, name, detail.clone()]
        });
        std::iter::once(vec![what.clone(), kind.clone(), name.clone(), first]).chain(more)
    });
    let rows: Vec<Vec<String>> = rows.collect();
    table(&["CHANGE", "KIND", "NAME", "DETAIL"], &rows) + &summary(changes, dry_run)
}

fn summary(changes: &[Change], dry_run: bool) -> String {
    let count = |action| changes.iter().filter(|change| change.action == action).count();
    let (created, updated, unchanged) = (count(Action::Create), count(Action::Update), count(Action::Unchanged));
    if dry_run {
        format!("{created} to create, {updated} to update, {unchanged} unchanged; nothing was changed")
    } else {
        format!("{created} created, {updated} updated, {unchanged} unchanged")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(action: Action, name: &str, details: &[&str]) -> Change {
        let details = details.iter().map(|&detail| detail.to_owned()).collect();
        let change = proto::Change {
            kind: "Dag".to_owned(),
            name: name.to_owned(),
            action: action as i32,
            details,
            hash: "0a1b".to_owned(),
        };
        change.into()
    }

    #[test]
    fn each_further_detail_has_a_row_of_its_own() {
        let changes = [
            change(Action::Create, "nightly", &[]),
            change(Action::Update, "hourly", &["task score: retry.max 2 -> 4", "task load: removed"]),
            change(Action::Unchanged, "weekly", &[]),
        ];
        let expected = "\
CHANGE     KIND  NAME     DETAIL
create     Dag   nightly
update     Dag   hourly   task score: retry.max 2 -> 4
                          task load: removed
unchanged  Dag   weekly
1 created, 1 updated, 1 unchanged";
        assert_eq!(text(&changes, false), expected);
        assert!(text(&changes, true).ends_with("\n1 to create, 1 to update, 1 unchanged; nothing was changed"));
        let value = serde_json::to_value(&changes[1]).unwrap();
        assert_eq!(value["change"], "update");
        assert_eq!(value["details"][1], "task load: removed");
    }

    #[test]
    fn faults_come_in_the_order_of_reading() {
        let fault = |document: &str, line, message: &str| proto::Fault {
            document: document.to_owned(),
            path: "$.spec".to_owned(),
            line,
            message: message.to_owned(),
        };
        let said =
            faults(vec![fault("b.yaml", 2, "second"), fault("b.yaml", 0, "first"), fault("a.yaml", 9, "before")]);
        assert_eq!(said, ["a.yaml:9: $.spec: before", "b.yaml: $.spec: first", "b.yaml:2: $.spec: second"]);
    }
}
