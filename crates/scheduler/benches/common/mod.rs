//! What the benchmarks have in common: documents, and lines of a table.
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on ends")]
#![allow(dead_code, reason = "each benchmark uses some of it")]

use std::sync::{Arc, Mutex, PoisonError};

use millrace_core::Source;
use millrace_scheduler::plan::{Plan, Templates};

/// The head of the table of [`say`].
pub(crate) fn head() {
    println!("| what | measured | bar | | taken by the host |\n|---|---|---|---|---|");
    taken();
}

/// A line with a bar.
pub(crate) fn say(what: &str, measured: &str, bar: &str, met: bool) {
    line(what, measured, bar, if met { "met" } else { "MISSED" });
}

/// A line of any kind. Last stands how much of the processors' time since the line before it a virtual machine did not get:
/// where it is much, the other figures are the host's.
pub(crate) fn line(what: &str, measured: &str, bar: &str, note: &str) {
    println!("| {what} | {measured} | {bar} | {note} | {:.0} % |", taken() * 100.0);
}

/// The share of all processors' time that the host has given to others since it was asked last; none where it does not say.
fn taken() -> f64 {
    static LAST: Mutex<(u64, u64)> = Mutex::new((0, 0));
    let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let times = stat.lines().next().into_iter().flat_map(|line| line.split_whitespace().skip(1));
    let times: Vec<u64> = times.filter_map(|time| time.parse().ok()).collect();
    // user nice system idle iowait irq softirq steal: see proc(5).
    let now = (times.iter().take(8).sum(), times.get(7).copied().unwrap_or_default());
    let last = std::mem::replace(&mut *LAST.lock().unwrap_or_else(PoisonError::into_inner), now);
    (now.1 - last.1) as f64 / (now.0 - last.0).max(1) as f64
}

/// So many tasks that wait for nothing.
pub(crate) fn tasks(count: usize, action: &str) -> String {
    (0..count).map(|task| format!("    t{task}: {{{action}}}\n")).collect::<Vec<_>>().concat()
}

/// So many tasks, each of which waits for the one before it.
pub(crate) fn chain(count: usize, action: &str) -> String {
    let task = |task: usize| match task {
        0 => format!("    t0: {{{action}}}\n"),
        _ => format!("    t{task}: {{needs: [t{}], {action}}}\n", task - 1),
    };
    (0..count).map(task).collect::<Vec<_>>().concat()
}

/// The plan of a DAG with that name; `tasks`, and whatever follows them in `spec`, is indented by four.
pub(crate) fn plan(name: &str, tasks: &str) -> Arc<Plan> {
    let text = format!("apiVersion: millrace.dev/v1\nkind: Dag\nmetadata: {{name: {name}}}\nspec:\n  tasks:\n{tasks}");
    let source = Source::parse("dag.yaml", &text).unwrap();
    Arc::new(Plan::parse(&source, &Templates::default(), jiff::Timestamp::UNIX_EPOCH).unwrap())
}
