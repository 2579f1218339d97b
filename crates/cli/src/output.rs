//! Results for people and for programs.

use std::io::{IsTerminal, Write};

use serde::Serialize;

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Tables and sentences.
    Text,
    /// One JSON value, or one per line where results come one by one.
    Json,
}

/// Where results go. Progress and remarks go to standard error, so that results can be piped.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    format: Format,
}

impl Output {
    /// Of that format, to standard output.
    pub fn new(format: Format) -> Self {
        Self { format }
    }

    /// Whether a program reads it.
    pub fn is_json(self) -> bool {
        self.format == Format::Json
    }

    /// Whether a person watches.
    pub fn is_terminal(self) -> bool {
        std::io::stderr().is_terminal()
    }

    /// One result: as JSON, or as the text that `text` makes of it.
    pub fn value<T: Serialize>(self, value: &T, text: impl FnOnce(&T) -> String) -> anyhow::Result<()> {
        let line = if self.is_json() { serde_json::to_string(value)? } else { text(value) };
        self.line(&line)
    }

    /// Rows of one kind: a JSON array, or a table.
    pub fn rows<T: Serialize>(
        self,
        rows: &[T],
        head: &[&str],
        cells: impl Fn(&T) -> Vec<String>,
    ) -> anyhow::Result<()> {
        if self.is_json() {
            return self.line(&serde_json::to_string(rows)?);
        }
        let rows: Vec<Vec<String>> = rows.iter().map(cells).collect();
        self.line(table(head, &rows).trim_end())
    }

    /// A line as it is. A reader that went away (`| head`) ends the process quietly, as it does for every tool.
    pub fn line(self, line: &str) -> anyhow::Result<()> {
        let mut out = std::io::stdout().lock();
        match writeln!(out, "{line}").and_then(|()| out.flush()) {
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
            result => Ok(result?),
        }
    }
}

/// Columns as wide as their widest cell.
pub(crate) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain([head[column].chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let padded: Vec<String> = cells.zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        format!("{}\n", padded.join("  ").trim_end())
    };
    let mut text = line(&mut head.iter().copied());
    for row in rows {
        text += &line(&mut row.iter().map(String::as_str));
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [vec!["a".to_owned(), "long cell".to_owned()], vec!["bcd".to_owned(), "x".to_owned()]];
        assert_eq!(super::table(&["ID", "NAME"], &rows), "ID   NAME\na    long cell\nbcd  x\n");
    }
}
