//! The parts that a report is made of, whatever the format in which it is written.

/// A part of a report.
#[derive(Clone, Debug)]
pub enum Block {
    Title(String),
    Head(String),
    Paragraph(String),
    /// What stands out, the worst first.
    Findings(Vec<Finding>),
    Table(Table),
    Chart(Chart),
    Events(Vec<Entry>),
}

/// A sentence of the summary.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    pub weight: Weight,
    pub text: String,
}

/// How a finding is to be taken. Shown as a word, so that nobody depends on a colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    Bad,
    Worse,
    Note,
    Better,
    Same,
    Good,
}

impl Weight {
    pub fn word(self) -> &'static str {
        match self {
            Weight::Bad => "Problem",
            Weight::Worse => "Worse",
            Weight::Note => "Note",
            Weight::Better => "Better",
            Weight::Same => "Same",
            Weight::Good => "Fine",
        }
    }
}

#[derive(Clone, Debug)]
pub struct Table {
    pub head: Vec<String>,
    /// So many columns are words, aligned left. The others are numbers.
    pub words: usize,
    pub rows: Vec<Vec<String>>,
    /// A small picture for each row, and what the column is called.
    pub pictures: Option<(&'static str, Vec<Picture>)>,
}

/// Curves over the same time and up to the same height.
#[derive(Clone, Debug)]
pub struct Picture {
    /// In nanoseconds since the Unix epoch.
    pub span: (u64, u64),
    /// The value at the upper edge. The lower edge is zero.
    pub top: f64,
    pub curves: Vec<Curve>,
}

#[derive(Clone, Debug)]
pub struct Curve {
    pub name: String,
    pub stroke: Stroke,
    pub line: Line,
}

/// How a curve is drawn, so that curves differ without colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stroke {
    Solid,
    Thin,
    Dashed,
}

/// A large picture with axes.
#[derive(Clone, Debug)]
pub struct Chart {
    pub title: String,
    pub picture: Picture,
    /// Values of the vertical axis, with their units.
    pub heights: Vec<(f64, String)>,
    /// Moments of the horizontal axis, in local time.
    pub times: Vec<(u64, String)>,
    /// Moments of incidents.
    pub marks: Vec<(u64, String)>,
    /// The highest value, and when the picture begins and ends, for formats without axes.
    pub most: String,
    pub edges: [String; 2],
}

/// Times in nanoseconds since the Unix epoch, and values; a gap where one is not known.
pub type Line = Vec<(u64, Option<f64>)>;

/// Something that happened.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// When it did, or how often.
    pub time: String,
    /// Empty if it has none.
    pub id: String,
    pub title: String,
    pub detail: String,
}

impl Table {
    pub fn new<const N: usize>(head: [&str; N], words: usize) -> Table {
        Table { head: head.map(str::to_owned).to_vec(), words, rows: Vec::new(), pictures: None }
    }
}
