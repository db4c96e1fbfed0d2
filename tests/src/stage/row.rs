//! The result of one scenario: a line of JSON for whoever runs the tests, and for the table.

use serde_json::{Value, json};

/// Before a line of JSON in the output of the tests.
pub const MARK: &str = "STAGED ";

#[derive(Clone, Debug, Default)]
pub struct Row {
    pub name: String,
    pub what: String,
    /// The causes that are right.
    pub truth: String,
    /// Cause and sentence of the first report and of the last.
    pub first: String,
    pub last: String,
    pub first_right: bool,
    pub cause_right: bool,
    /// What else is wrong with what was told.
    pub faults: Vec<String>,
    /// Why it was not staged: then nothing else is known.
    pub failed: Option<String>,
}

impl Row {
    /// The truth of what is staged, before anything else is known: causes that are right, or nothing.
    pub fn of(name: &str, what: &str, causes: &[&str]) -> Row {
        let truth = if causes.is_empty() { "nothing".to_owned() } else { causes.join(" or ") };
        Row { name: name.to_owned(), what: what.to_owned(), truth, ..Row::default() }
    }

    pub fn right(&self) -> bool {
        self.failed.is_none() && self.cause_right && self.faults.is_empty()
    }

    pub fn json(&self) -> Value {
        json!({
            "name": self.name, "what": self.what, "truth": self.truth, "first": self.first, "last": self.last,
            "first_right": self.first_right, "cause_right": self.cause_right, "right": self.right(),
            "faults": self.faults, "failed": self.failed,
        })
    }
}
