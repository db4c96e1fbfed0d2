//! What somebody should change, as it was judged last, and what became of earlier advice. Decides nothing.

use std::sync::Arc;

use crate::advice::Lacking;
use crate::standing::{Standing, State};

/// Most advice that holds, and most of the other.
pub const LISTED: usize = 200;
pub const PAST: usize = 100;
/// Most of what could not be judged.
pub const LACKING: usize = 200;

#[derive(Clone, Debug, Default)]
pub struct Advices {
    /// When it was judged last, in nanoseconds since the Unix epoch; zero: never.
    pub judged: u64,
    /// What holds, the surest that saves most first; then what was followed, then what is gone, the newest first.
    pub standing: Arc<Vec<Standing>>,
    /// How many more hold.
    pub left_out: u32,
    pub lacking: Arc<Vec<Lacking>>,
    pub lacking_left_out: u32,
}

impl Advices {
    pub fn holding(&self) -> impl Iterator<Item = &Standing> {
        self.standing.iter().filter(|standing| standing.state == State::Holds)
    }
}
