//! `headroom run`: start → run → stop. This module starts all parts of the agent. Sources, the outbox and the journal start
//! their own threads; `http` spawns tasks on the runtime that it is given.
//!
//! | thread | task |
//! |---|---|
//! | main | waits for the rings, reads the sources every tick, folds every sample; sole owner of the engine |
//! | `serve` | HTTP, from snapshots (`snapshot`); its pool renders and compresses |
//! | `past` | reads the last days, for advice |
//! | `deliver`, `journal`, `history` | see `deliver`, `sink::journal` and `sink::history` |
//! | those of the sources | see `source` |

mod endpoint;
mod fold;
mod memory;
mod options;
mod pace;
pub mod past;
mod reload;
mod request;
pub mod round;
mod run;
mod schedule;
pub mod snapshot;
mod start;
mod stop;
mod trail;

use anyhow::Context as _;

use crate::config::load::Effective;
use crate::exit::Failure;

pub use memory::trim;
pub use options::{Options, Read};
pub use start::access;

/// Runs the agent until SIGTERM or SIGINT.
///
/// # Errors
/// With its own exit code for each of: missing privileges, another running instance, an address that cannot be bound, too few
/// attached probes if they are required.
pub fn run(effective: &Effective, options: &Options) -> Result<(), Failure> {
    memory::return_blocks();
    memory::small_stacks();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("start the runtime")?;
    let mut agent = {
        let _inside = runtime.enter();
        start::start(effective, options)?
    };
    let ran = runtime.block_on(run::run(&mut agent));
    let stopped = runtime.block_on(stop::stop(agent));
    Ok(ran.and(stopped)?)
}
