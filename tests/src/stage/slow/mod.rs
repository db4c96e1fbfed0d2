//! Staged slowness: a server in a cgroup answers clients, something of which the truth is known makes it slow, and what a running agent
//! tells is compared with that truth. The server is a real llama.cpp; where that is not installed, as in a virtual machine, it is a
//! stand-in that reads its model for each token as well.

mod place;
mod play;
mod server;
mod table;
mod tell;

pub use play::run;
pub use table::all;

use super::scenario::Host;
use place::Stage;
pub use tell::Truth;
pub(super) use tell::{Took, Watch, config, slower};

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
    /// Whether it keeps the model in memory of its own, and does not map it.
    pub own: bool,
    /// Whether there is swap.
    pub swap: bool,
    /// How many requests it works on at once.
    pub places: usize,
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
