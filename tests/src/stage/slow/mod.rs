//! Staged slowness: a real llama.cpp server in a cgroup answers clients, something of which the truth is known makes it slow, and what a
//! running agent tells is compared with that truth.

mod play;
mod table;

pub use play::run;
pub use table::all;

use super::scenario::Host;
use play::Stage;

/// What is staged.
#[derive(Clone)]
pub struct Slow {
    pub name: &'static str,
    /// What happens, as a phrase.
    pub what: &'static str,
    pub host: Host,
    /// Layers of the made-up model, of 45 MB each.
    pub layers: u32,
    /// Whether these are on the disk; else they are holes, which cost no IO.
    pub on_disk: bool,
    /// More flags of the server.
    pub flags: &'static [&'static str],
    /// Clients that ask all the time, before it happens.
    pub clients: usize,
    /// Before the server starts: limits.
    pub before: fn(&mut Stage),
    /// What makes it slow.
    pub fault: fn(&mut Stage),
    /// Names of causes that are right; none if nothing must be told.
    pub causes: &'static [&'static str],
    /// Each must be in the sentence.
    pub says: &'static [&'static str],
}
