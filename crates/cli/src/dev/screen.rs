//! What `dev up` shows: a table that is drawn anew on a terminal, else a line now and then. Messages go above the table.

use std::fmt::Write as _;
use std::io::{Write as _, stdout};

use super::status::Figures;

/// The place where the table is, if there is one.
pub(super) struct Screen {
    live: bool,
    /// Lines of the table that stand there now.
    drawn: usize,
}

impl Screen {
    /// `live`: the output is a terminal that somebody looks at.
    pub(super) fn new(live: bool) -> Self {
        Self { live, drawn: 0 }
    }

    pub(super) fn is_live(&self) -> bool {
        self.live
    }

    /// A line that stays.
    pub(super) fn say(&mut self, line: &str) {
        let erase = self.erase();
        put(&format!("{erase}{line}\n"));
    }

    /// The table of this moment, with what troubles the load.
    pub(super) fn show(&mut self, figures: &Figures, trouble: Option<&str>) {
        if !self.live {
            let trouble = trouble.map(|trouble| format!("; {trouble}")).unwrap_or_default();
            put(&format!("{}{trouble}\n", line(figures)));
            return;
        }
        let mut text = table(figures);
        if let Some(trouble) = trouble {
            let _ = writeln!(text, "the load waits: {trouble}"); // writing to a String cannot fail
        }
        let erase = self.erase();
        self.drawn = text.lines().count();
        put(&format!("{erase}{text}"));
    }

    /// Moves up to the table's first line and clears from there on.
    fn erase(&mut self) -> String {
        match std::mem::take(&mut self.drawn) {
            0 => String::new(),
            lines => format!("\x1b[{lines}F\x1b[J"),
        }
    }
}

/// A reader that went away is no reason to stop the stack.
fn put(text: &str) {
    let mut out = stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

fn line(figures: &Figures) -> String {
    let rates: Vec<String> =
        figures.flow.iter().map(|flow| format!("{} {}/s", flow.name, number(flow.per_second))).collect();
    let [p50, p95, p99] = figures.age.map(millis);
    format!("{}; lag {}; age p50 {p50} p95 {p95} p99 {p99}", rates.join(", "), number(figures.lag()))
}

fn table(figures: &Figures) -> String {
    let row = |head: &str, cells: Vec<String>| {
        cells.iter().fold(format!("{head:<18}"), |line, cell| line + &format!("{cell:>14}")) + "\n"
    };
    let flow = &figures.flow;
    let mut text = "\n".to_owned();
    text += &row("", flow.iter().map(|flow| flow.name.to_owned()).collect());
    text += &row("per second", flow.iter().map(|flow| number(flow.per_second)).collect());
    text += &row("in all", flow.iter().map(|flow| number(flow.total)).collect());
    text += &row("", figures.lags.iter().map(|lag| lag.0.to_owned()).collect());
    text += &row("lag", figures.lags.iter().map(|lag| number(lag.1.map(|lag| lag as f64))).collect());
    text += &row("", ["p50", "p95", "p99"].map(str::to_owned).into());
    text += &row("age of verdicts", figures.age.map(millis).into());
    text
}

/// Whole, with separators; what is not known is no zero.
fn number(value: Option<f64>) -> String {
    let Some(value) = value else { return "-".into() };
    let digits = format!("{:.0}", value.max(0.0));
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().filter_map(|group| std::str::from_utf8(group).ok()).collect();
    groups.join(",")
}

fn millis(seconds: Option<f64>) -> String {
    seconds.map_or_else(|| "-".into(), |seconds| format!("{:.0} ms", seconds * 1000.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dev::status::Flow;

    #[test]
    fn numbers_are_grouped_and_the_unknown_is_no_zero() {
        assert_eq!(number(Some(1_234_567.4)), "1,234,567");
        assert_eq!(number(Some(0.0)), "0");
        assert_eq!(number(Some(999.0)), "999");
        assert_eq!(number(None), "-");
    }

    #[test]
    fn a_line_says_what_the_table_says() {
        let flow = |name, per_second| Flow { name, per_second, total: Some(9.0) };
        let figures = Figures {
            flow: vec![flow("accepted", Some(200.0)), flow("stored", None)],
            lags: vec![("scorer", Some(3)), ("importer", Some(4))],
            age: [Some(0.0123), Some(0.25), None],
        };
        assert_eq!(line(&figures), "accepted 200/s, stored -/s; lag 7; age p50 12 ms p95 250 ms p99 -");
        assert!(table(&figures).contains("per second                   200             -"));
    }
}
