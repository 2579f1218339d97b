//! `millrace dag why`.

use millrace_proto::scheduler::v1::{self as proto, WhyRequest, why_request::What};
use serde::Serialize;

use super::{Scheduler, args::Target};
use crate::Output;

/// Says what a run, or a DAG, waits for.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The run's number, or the DAG, with its binding where it has some.
    #[arg(value_name = "RUN|DAG[/BINDING]")]
    target: Target,
    #[command(flatten)]
    scheduler: Scheduler,
}

#[derive(Clone, Debug, Serialize)]
struct Waiting {
    what: String,
    unmet: Vec<String>,
}

impl From<proto::Waiting> for Waiting {
    fn from(proto::Waiting { what, unmet }: proto::Waiting) -> Self {
        Self { what, unmet }
    }
}

impl Args {
    pub(super) async fn run(self, output: Output) -> anyhow::Result<()> {
        let Self { target, scheduler } = self;
        let what = match target {
            Target::Run(run) => What::Run(run),
            Target::Dag(name) => What::Ref(name.into()),
        };
        let why = scheduler.answer(scheduler.client()?.why(WhyRequest { what: Some(what) }).await)?;
        let waiting: Vec<Waiting> = why.waiting.into_iter().map(Waiting::from).collect();
        output.value(&waiting, |waiting| text(waiting))
    }
}

/// What waits, and under it all that it waits for.
fn text(waiting: &[Waiting]) -> String {
    if waiting.is_empty() {
        return "nothing waits".to_owned();
    }
    let lines = waiting.iter().flat_map(|Waiting { what, unmet }| {
        std::iter::once(what.clone()).chain(unmet.iter().map(|condition| format!("  {condition}")))
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_stand_under_what_waits_for_them() {
        let waiting = |what: &str, unmet: &[&str]| Waiting {
            what: what.to_owned(),
            unmet: unmet.iter().map(|&condition| condition.to_owned()).collect(),
        };
        let said = text(&[
            waiting("task score", &["task extract is active since 10:03:12", "pool gpu: 3 of 3 slots in use"]),
            waiting("schedule", &["paused"]),
        ]);
        let expected = "\
task score
  task extract is active since 10:03:12
  pool gpu: 3 of 3 slots in use
schedule
  paused";
        assert_eq!(said, expected);
        assert_eq!(text(&[]), "nothing waits");
    }
}
