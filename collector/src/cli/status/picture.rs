//! What is shown, and what a part of the screen is. Knows neither where it comes from nor how it is drawn.

use collector_core::api::status::Status;
use collector_core::api::workloads;

use crate::cli::sheet::Line;

/// What is shown.
#[derive(Clone, Debug, Default)]
pub struct Picture {
    pub host: String,
    /// Whether an agent said it; else it was read from the host's files.
    pub agent: bool,
    /// Whether times are shown in UTC.
    pub utc: bool,
    pub status: Status,
    pub workloads: Vec<workloads::Line>,
}

/// A part of the screen: its lines, the first of which matter most.
pub struct Part {
    pub lines: Vec<Line>,
    /// It has this many at least, if it has that many at all.
    pub least: usize,
    /// It gets lines before those with a greater number do.
    pub order: u8,
    /// Whether an empty line is before it, if there is room.
    pub apart: bool,
}
