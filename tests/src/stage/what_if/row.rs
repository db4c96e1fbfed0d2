//! [`Row`]: what came of a pair. Judges nothing.

/// A pair that was staged.
#[derive(Clone, Debug, Default)]
pub struct Row {
    pub name: String,
    pub what: String,
    /// What happened without the change and with it, and what was said.
    pub was: String,
    pub would: String,
    pub said: String,
    pub direction: bool,
    /// `None`: there is no size.
    pub size: Option<bool>,
    pub failed: Option<String>,
}
