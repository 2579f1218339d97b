//! `millrace dag backfill`: first which moments that are, then, with consent, the runs.

use jiff::{SignedDuration, Timestamp};
use millrace_proto::scheduler::v1::{BackfillRequest, BackfillResponse};
use millrace_runtime::ConfigError;
use serde::Serialize;

use super::{
    Scheduler,
    args::{Name, Params, moment, timestamp},
    consent::Consent,
    view,
};
use crate::Output;

/// Runs moments of the past in the background. Says first which ones that are.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The DAG, with its binding where it has some.
    #[arg(value_name = "DAG[/BINDING]")]
    dag: Name,
    /// Moments of the schedule from here on: 2026-11-21 (in UTC), or a moment with a zone or an offset.
    #[arg(long, value_name = "MOMENT", value_parser = moment)]
    from: Timestamp,
    /// Up to here, without it.
    #[arg(long, value_name = "MOMENT", value_parser = moment)]
    to: Timestamp,
    /// Also moments that have a run which has succeeded.
    #[arg(long)]
    all: bool,
    /// The newest moment first.
    #[arg(long)]
    newest_first: bool,
    /// Runs at once.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    max_parallel: u32,
    #[command(flatten)]
    params: Params,
    /// Say which moments would run, and run none.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    consent: Consent,
    #[command(flatten)]
    scheduler: Scheduler,
}

/// The moments that run, or would.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Backfill {
    /// Of one that is under way.
    id: Option<i64>,
    #[serde(flatten)]
    name: Name,
    count: usize,
    first: Option<Timestamp>,
    last: Option<Timestamp>,
    /// By the runs of the past, where there are some.
    estimate_seconds: Option<f64>,
    /// In the order in which they run.
    moments: Vec<Timestamp>,
}

impl Backfill {
    fn new(name: Name, answer: BackfillResponse) -> Self {
        let BackfillResponse { moments, estimate, id } = answer;
        let moments: Vec<Timestamp> = moments.into_iter().filter_map(|at| view::time(Some(at))).collect();
        Self {
            id: (id != 0).then_some(id),
            name,
            count: moments.len(),
            first: moments.iter().min().copied(),
            last: moments.iter().max().copied(),
            estimate_seconds: estimate.map(|time| time.seconds as f64 + f64::from(time.nanos) * 1e-9),
            moments,
        }
    }

    /// `24 runs of hourly/acme, from .. to ..; about 2h in all`.
    fn plan(&self) -> String {
        let Self { name, count, first, last, estimate_seconds, .. } = self;
        let Some((first, last)) = first.zip(*last) else {
            return format!("no moment of {name} has to run; `--all` takes those that have succeeded as well");
        };
        let estimate = estimate_seconds.and_then(|seconds| SignedDuration::try_from_secs_f64(seconds).ok());
        let estimate = estimate.map(|time| format!("; about {} in all", view::length(time))).unwrap_or_default();
        let runs = if *count == 1 { "run" } else { "runs" };
        format!("{count} {runs} of {name}, from {first:.0} to {last:.0}{estimate}")
    }

    fn text(&self) -> String {
        self.id.map_or_else(|| self.plan(), |id| format!("backfill {id} is under way: {}", self.plan()))
    }
}

impl Args {
    pub(super) async fn run(self, output: Output) -> anyhow::Result<()> {
        let Self { dag, from, to, all, newest_first, max_parallel, params, dry_run, consent, scheduler } = self;
        if from >= to {
            return Err(ConfigError::new(format!("--to: expected a moment after {from}, got {to}")).into());
        }
        let request = BackfillRequest {
            r#ref: Some(dag.clone().into()),
            from: Some(timestamp(from)),
            to: Some(timestamp(to)),
            all,
            newest_first,
            max_parallel,
            params: params.read()?,
            dry_run: true,
        };
        let mut client = scheduler.client()?;
        let plan = Backfill::new(dag.clone(), scheduler.answer(client.backfill(request.clone()).await)?);
        if dry_run || plan.count == 0 {
            return output.value(&plan, Backfill::text);
        }
        eprintln!("{}", plan.plan());
        consent.ask("run them?")?;
        let begun = scheduler.answer(client.backfill(BackfillRequest { dry_run: false, ..request }).await)?;
        output.value(&Backfill::new(dag, begun), Backfill::text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dag::view::tests::at;

    fn backfill(moments: &[&str], estimate: Option<i64>, id: i64) -> Backfill {
        let estimate = estimate.map(|seconds| prost_types::Duration { seconds, nanos: 0 });
        let moments = moments.iter().map(|text| at(text)).collect();
        Backfill::new("hourly/acme".parse().unwrap(), BackfillResponse { moments, estimate, id })
    }

    #[test]
    fn a_plan_says_how_many_from_when_to_when_and_how_long() {
        let newest_first = ["2026-11-21T12:05:00Z", "2026-11-21T11:05:00Z", "2026-11-21T10:05:00Z"];
        let plan = backfill(&newest_first, Some(7_200), 0);
        let expected = "3 runs of hourly/acme, from 2026-11-21T10:05:00Z to 2026-11-21T12:05:00Z; about 2h in all";
        assert_eq!(plan.text(), expected);
        assert_eq!(backfill(&newest_first, Some(7_200), 5).text(), format!("backfill 5 is under way: {expected}"));
        let one = backfill(&newest_first[..1], None, 0);
        assert_eq!(one.text(), "1 run of hourly/acme, from 2026-11-21T12:05:00Z to 2026-11-21T12:05:00Z");
        assert!(backfill(&[], None, 0).text().starts_with("no moment of hourly/acme has to run; `--all`"));
    }

    #[test]
    fn as_json_a_plan_has_no_number_yet() {
        let value = serde_json::to_value(backfill(&["2026-11-21T12:05:00Z"], Some(90), 0)).unwrap();
        assert_eq!(value["id"], serde_json::Value::Null);
        assert_eq!(value["estimate_seconds"], 90.0);
        assert_eq!(value["moments"], serde_json::json!(["2026-11-21T12:05:00Z"]));
    }
}
