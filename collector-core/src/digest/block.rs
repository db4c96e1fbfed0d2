//! The parts that a report is made of, whatever the format in which it is written.

/// A part of a report.
#[derive(Clone, Debug, PartialEq)]
pub enum Block {
    Title(String),
    Head(String),
    Paragraph(String),
    /// The first row has the names of the columns.
    Table {
        rows: Vec<Vec<String>>,
        /// A picture for each row but the first, or none.
        lines: Vec<Line>,
    },
    /// A picture over time, with the name of what it shows and its highest value.
    Chart {
        title: String,
        most: String,
        line: Line,
    },
}

/// Times in nanoseconds since the Unix epoch, and values; a gap where one is not known.
pub type Line = Vec<(u64, Option<f64>)>;
