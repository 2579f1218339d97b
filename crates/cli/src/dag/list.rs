//! `millrace dag list`, `pause` and `resume`.

use anyhow::Context;
use millrace_proto::scheduler::v1::{ListDagsRequest, SetPausedRequest};

use super::{
    Scheduler,
    args::Name,
    view::{Dag, shown},
};
use crate::Output;

/// Lists DAGs, each once for each binding.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only those whose names begin so.
    #[arg(default_value = "", hide_default_value = true)]
    prefix: String,
    #[command(flatten)]
    scheduler: Scheduler,
}

/// Stops a DAG's schedule, or lets it go on.
#[derive(Debug, clap::Args)]
pub(crate) struct Pause {
    /// The DAG, with its binding where it has some.
    #[arg(value_name = "DAG[/BINDING]")]
    dag: Name,
    #[command(flatten)]
    scheduler: Scheduler,
}

impl Args {
    pub(super) async fn run(self, output: Output) -> anyhow::Result<()> {
        let Self { prefix, scheduler } = self;
        let listed = scheduler.answer(scheduler.client()?.list_dags(ListDagsRequest { prefix }).await)?;
        let dags: Vec<Dag> = listed.dags.into_iter().map(Dag::from).collect();
        output.rows(&dags, &HEAD, cells)
    }
}

impl Pause {
    pub(super) async fn set(self, paused: bool, output: Output) -> anyhow::Result<()> {
        let Self { dag, scheduler } = self;
        let request = SetPausedRequest { r#ref: Some(dag.into()), paused };
        let dag = scheduler.answer(scheduler.client()?.set_paused(request).await)?.dag;
        let dag = Dag::from(dag.context("the scheduler's answer has no DAG")?);
        output.value(&dag, |dag| {
            if dag.paused {
                return format!("{} is paused", dag.name);
            }
            let next = dag.next_at.map(|at| format!("; it is due at {at:.0}")).unwrap_or_default();
            format!("{} is resumed{next}", dag.name)
        })
    }
}

const HEAD: [&str; 7] = ["DAG", "SCHEDULE", "NEXT", "TASKS", "RUNNING", "QUEUED", "LAST RUN"];

fn cells(dag: &Dag) -> Vec<String> {
    let last = dag.last_run.as_ref().map(|run| format!("{} {}", run.id, run.state)).unwrap_or_default();
    vec![
        dag.name.to_string(),
        dag.schedule.clone(),
        if dag.paused { "paused".to_owned() } else { shown(dag.next_at) },
        dag.tasks.to_string(),
        dag.running.to_string(),
        dag.queued.to_string(),
        last,
    ]
}

#[cfg(test)]
mod tests {
    use millrace_proto::scheduler::v1::{self as proto, RunState};

    use super::*;
    use crate::{
        dag::view::tests::{at, run},
        output::table,
    };

    #[test]
    fn a_paused_dag_has_no_next_moment() {
        let dag = proto::Dag {
            r#ref: Some(proto::DagRef { dag: "hourly".to_owned(), binding: "acme".to_owned() }),
            schedule: "5 * * * * UTC".to_owned(),
            next_at: Some(at("2026-11-21T10:05:00Z")),
            tasks: 4,
            running: 1,
            last_run: Some(run(17, RunState::RunSucceeded)),
            ..proto::Dag::default()
        };
        let by_hand = proto::DagRef { dag: "by-hand".to_owned(), binding: String::new() };
        let dags = [
            dag.clone(),
            proto::Dag { paused: true, ..dag },
            proto::Dag { r#ref: Some(by_hand), tasks: 1, ..proto::Dag::default() },
        ];
        let rows: Vec<Vec<String>> = dags.into_iter().map(|dag| cells(&dag.into())).collect();
        let expected = "\
DAG          SCHEDULE       NEXT                  TASKS  RUNNING  QUEUED  LAST RUN
hourly/acme  5 * * * * UTC  2026-11-21T10:05:00Z  4      1        0       17 succeeded
hourly/acme  5 * * * * UTC  paused                4      1        0       17 succeeded
by-hand                                           1      0        0
";
        assert_eq!(table(&HEAD, &rows), expected);
    }
}
