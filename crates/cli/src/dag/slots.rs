//! `millrace dag slots`.

use jiff::Timestamp;
use millrace_proto::scheduler::v1::{self as proto, ListSlotsRequest, SlotState};
use serde::Serialize;

use super::{
    Scheduler,
    args::{Name, moment, timestamp},
    view,
};
use crate::Output;

/// Lists the moments of a DAG's schedule and what became of each, newest first.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The DAG, with its binding where it has some.
    #[arg(value_name = "DAG[/BINDING]")]
    dag: Name,
    /// Only from here on: 2026-11-21 (in UTC), or a moment with a zone or an offset.
    #[arg(long, value_name = "MOMENT", value_parser = moment)]
    from: Option<Timestamp>,
    /// Only up to here, without it.
    #[arg(long, value_name = "MOMENT", value_parser = moment)]
    to: Option<Timestamp>,
    /// How many at most.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    limit: u32,
    #[command(flatten)]
    scheduler: Scheduler,
}

/// A moment of a schedule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Slot {
    at: Option<Timestamp>,
    state: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    reason: String,
    run: Option<i64>,
}

impl From<proto::Slot> for Slot {
    fn from(proto::Slot { at, state, reason, run }: proto::Slot) -> Self {
        let state = view::word(state, SlotState::as_str_name, "SLOT_");
        Self { at: view::time(at), state, reason, run: (run != 0).then_some(run) }
    }
}

const HEAD: [&str; 4] = ["AT", "STATE", "RUN", "REASON"];

impl Slot {
    fn cells(&self) -> Vec<String> {
        let Self { at, state, reason, run } = self;
        let run = run.map(|run| run.to_string()).unwrap_or_default();
        vec![view::shown(*at), state.clone(), run, view::one_line(reason)]
    }
}

impl Args {
    pub(super) async fn run(self, output: Output) -> anyhow::Result<()> {
        let Self { dag, from, to, limit, scheduler } = self;
        let request =
            ListSlotsRequest { r#ref: Some(dag.into()), from: from.map(timestamp), to: to.map(timestamp), limit };
        let listed = scheduler.answer(scheduler.client()?.list_slots(request).await)?;
        let slots: Vec<Slot> = listed.slots.into_iter().map(Slot::from).collect();
        output.rows(&slots, &HEAD, Slot::cells)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{dag::view::tests::at, output::table};

    #[test]
    fn a_moment_that_did_not_run_says_why() {
        let slots = [
            proto::Slot {
                at: Some(at("2026-11-21T10:05:00Z")),
                state: SlotState::SlotFired as i32,
                run: 17,
                ..proto::Slot::default()
            },
            proto::Slot {
                at: Some(at("2026-11-21T09:05:00Z")),
                state: SlotState::SlotDstGap as i32,
                reason: "left out in America/New_York".to_owned(),
                run: 0,
            },
        ];
        let rows: Vec<Vec<String>> = slots.into_iter().map(|slot| Slot::from(slot).cells()).collect();
        let expected = "\
AT                    STATE    RUN  REASON
2026-11-21T10:05:00Z  fired    17
2026-11-21T09:05:00Z  dst_gap       left out in America/New_York
";
        assert_eq!(table(&HEAD, &rows), expected);
    }
}
