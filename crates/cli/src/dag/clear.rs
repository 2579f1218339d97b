//! `millrace dag clear`: first what would run again, then, with consent, the deed.

use millrace_proto::scheduler::v1::{ClearRunRequest, ClearRunResponse};
use serde::Serialize;

use super::{Scheduler, consent::Consent};
use crate::Output;

/// Runs tasks of a run that has ended again, with what comes after them. Says first which ones that are.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The run's number, as `runs` shows it.
    run: i64,
    /// A task to begin with. May be repeated. Without one: those that failed or were cancelled.
    #[arg(long = "task", value_name = "TASK")]
    tasks: Vec<String>,
    /// With the DAG's document as it is now, not the one that the run began with.
    #[arg(long)]
    latest: bool,
    /// Say what would run again, and change nothing.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    consent: Consent,
    #[command(flatten)]
    scheduler: Scheduler,
}

/// What runs again, or would.
#[derive(Clone, Debug, Serialize)]
struct Cleared {
    run: i64,
    /// Nothing was changed.
    dry_run: bool,
    tasks: Vec<String>,
    /// What the document as it is now has otherwise.
    differences: Vec<String>,
}

impl Cleared {
    fn new(run: i64, dry_run: bool, answer: ClearRunResponse) -> Self {
        let ClearRunResponse { tasks, differences } = answer;
        Self { run, dry_run, tasks, differences }
    }

    /// The tasks, and under them what is different.
    fn text(&self) -> String {
        let Self { run, dry_run, tasks, differences } = self;
        if tasks.is_empty() {
            return format!("run {run} has no task to run again");
        }
        let will = if *dry_run { "would run again" } else { "runs again" };
        let mut text = format!("of run {run} {will}: {}", tasks.join(", "));
        if !differences.is_empty() {
            text += "\nthe DAG's document is not as it was:";
        }
        differences.iter().fold(text, |text, difference| format!("{text}\n  {difference}"))
    }
}

impl Args {
    pub(super) async fn run(self, output: Output) -> anyhow::Result<()> {
        let Self { run, tasks, latest, dry_run, consent, scheduler } = self;
        let request = ClearRunRequest { run, tasks, latest, dry_run: true };
        let mut client = scheduler.client()?;
        let plan = Cleared::new(run, true, scheduler.answer(client.clear_run(request.clone()).await)?);
        if dry_run || plan.tasks.is_empty() {
            return output.value(&plan, Cleared::text);
        }
        eprintln!("{}", plan.text());
        consent.ask("run them again?")?;
        let cleared = scheduler.answer(client.clear_run(ClearRunRequest { dry_run: false, ..request }).await)?;
        output.value(&Cleared::new(run, false, cleared), Cleared::text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_stand_under_the_tasks() {
        let cleared = |tasks: &[&str], differences: &[&str]| {
            let owned = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
            Cleared::new(17, true, ClearRunResponse { tasks: owned(tasks), differences: owned(differences) })
        };
        let said = cleared(&["score", "load"], &["task score: retry.max 2 -> 4"]).text();
        let expected = "\
of run 17 would run again: score, load
the DAG's document is not as it was:
  task score: retry.max 2 -> 4";
        assert_eq!(said, expected);
        let done = Cleared { dry_run: false, ..cleared(&["score"], &[]) };
        assert_eq!(done.text(), "of run 17 runs again: score");
        assert_eq!(cleared(&[], &[]).text(), "run 17 has no task to run again");
    }
}
