//! What commands print on standard output: text for people, or JSON for programs.

use std::io::{self, ErrorKind, Write};

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::failure::Failure;

/// How a command prints.
#[derive(Args, Clone, Copy, Debug)]
pub(super) struct OutputArgs {
    /// How the result is printed
    #[arg(short = 'o', long, value_enum, default_value_t = OutputFormat::Text)]
    output: OutputFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum OutputFormat {
    /// For people
    Text,
    /// For programs
    Json,
}

impl OutputArgs {
    /// Prints `result` as JSON, or as what `text` makes of it.
    pub(super) fn print<T: Serialize>(self, result: &T, text: impl FnOnce(&T) -> String) -> Result<(), Failure> {
        match self.output {
            OutputFormat::Text => print(&text(result)),
            OutputFormat::Json => {
                let json = serde_json::to_string_pretty(result).map_err(Failure::failed)?;
                print(&json)
            }
        }
    }

    /// Whether it is for programs.
    pub(super) fn is_json(self) -> bool {
        self.output == OutputFormat::Json
    }
}

/// Prints text and a line's end, unless it has one. A reader that has gone (`| head`) is no failure.
pub(super) fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    let end = if text.ends_with('\n') || text.is_empty() { "" } else { "\n" };
    let written =
        out.write_all(text.as_bytes()).and_then(|()| out.write_all(end.as_bytes())).and_then(|()| out.flush());
    match written {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::failed(format!("standard output: {error}")))
        }
        _ => Ok(()),
    }
}

/// Rows of cells as columns, the first row being their heads.
pub(super) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_aligned_columns_without_trailing_blanks() {
        let rows = [["TOPIC", "ID"], ["a-long-name", "1"], ["b", ""]].map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(table(&rows), "TOPIC        ID\na-long-name  1\nb\n");
    }
}
