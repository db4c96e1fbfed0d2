//! The result of a benchmark: a table, notes on the figures, and whether the aims are met; for a terminal and for
//! docs/cost.md.

use std::fmt;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::machine;

#[derive(Debug, Default)]
pub struct Report {
    head: Vec<String>,
    rows: Vec<Vec<String>>,
    notes: Vec<String>,
    aims: Vec<(String, bool)>,
}

impl Report {
    pub fn new(head: &[&str]) -> Report {
        Report { head: head.iter().map(|name| (*name).to_owned()).collect(), ..Report::default() }
    }

    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// Adds a line on what the figures mean.
    pub fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// Adds an aim, with the figure that decides it.
    pub fn aim(&mut self, aim: impl Into<String>, met: bool) {
        self.aims.push((aim.into(), met));
    }

    /// Whether every aim is met.
    pub fn met(&self) -> bool {
        self.aims.iter().all(|(_, met)| *met)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = || std::iter::once(&self.head).chain(&self.rows);
        let width = |column: usize| lines().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max();
        let widths: Vec<usize> = (0..self.head.len()).map(|column| width(column).unwrap_or(0)).collect();
        for (number, line) in lines().enumerate() {
            for (cell, width) in line.iter().zip(&widths) {
                write!(f, "| {cell:width$} ")?;
            }
            writeln!(f, "|")?;
            if number == 0 {
                writeln!(f, "|{}|", widths.iter().map(|width| "-".repeat(width + 2)).collect::<Vec<_>>().join("|"))?;
            }
        }
        writeln!(f)?;
        for note in &self.notes {
            writeln!(f, "- {note}")?;
        }
        for (aim, met) in &self.aims {
            writeln!(f, "- **{}**: {aim}", if *met { "aim met" } else { "aim missed" })?;
        }
        Ok(())
    }
}

/// The section of a benchmark in the document.
pub struct Section {
    pub name: &'static str,
    pub rounds: usize,
    pub report: Report,
}

impl fmt::Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Section { name, rounds, report } = self;
        writeln!(f, "`cargo xtask bench {name}` on {}; {rounds} rounds.\n", machine::describe())?;
        write!(f, "{report}")
    }
}

impl Section {
    /// Replaces the section between its markers in the document.
    pub fn write(&self, document: &Path) -> Result<()> {
        let text = fs::read_to_string(document).with_context(|| format!("read {}", document.display()))?;
        let (begin, end) = (format!("<!-- {} begins -->\n", self.name), format!("<!-- {} ends -->\n", self.name));
        let (head, rest) =
            text.split_once(&begin).with_context(|| format!("{} lacks {begin:?}", document.display()))?;
        let (_, tail) = rest.split_once(&end).with_context(|| format!("{} lacks {end:?}", document.display()))?;
        let text = format!("{head}{begin}{self}{end}{tail}");
        fs::write(document, text).with_context(|| format!("write {}", document.display()))
    }
}
