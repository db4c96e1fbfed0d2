//! `headroom run`: start → run → stop. What the agent consists of is started here; a source, the outbox and the journal
//! start the threads that they own themselves, and say so; `http` spawns tasks on the runtime that it is given.
//!
//! | thread | does |
//! |---|---|
//! | main | waits for the rings, reads the sources once a tick, folds every sample: it alone owns the engine |
//! | `serve` | HTTP, from snapshots (`snapshot`); its pool renders and compresses |
//! | `deliver`, `journal` | see `deliver` and `sink::journal` |
//! | those of the sources | see `source` |

mod endpoint;
mod fold;
pub mod round;
mod run;
pub mod snapshot;
mod start;
mod stop;

use anyhow::Context as _;

use crate::config::load::Effective;
use crate::exit::Failure;

pub use start::{Options, access, trim};

/// Runs the agent until it is told to stop.
///
/// # Errors
/// With an exit code of its own for each of: privileges that are missing, another instance running, an address that
/// cannot be bound, too few probes attached.
pub fn run(effective: &Effective, options: &Options) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("start the runtime")?;
    let mut agent = {
        let _inside = runtime.enter();
        start::start(effective, options)?
    };
    let ran = runtime.block_on(run::run(&mut agent));
    let stopped = runtime.block_on(stop::stop(agent));
    Ok(ran.and(stopped)?)
}
