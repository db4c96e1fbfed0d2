//! The verbs about room on this host: `admit`, `reserve`, `release`, `touch`, `evictable`, `reservations`. They ask the agent over its socket; what a
//! need is stands in [`super::need`].

mod admit;
mod alone;
mod at;
mod list;
mod page;
mod reserve;
mod setting;

pub use admit::{AdmitArgs, admit};
pub use list::{ReservationsArgs, reservations};
pub use reserve::{EvictableArgs, ReleaseArgs, ReserveArgs, TouchArgs, evictable, release, reserve, touch};

use collector_core::lease::{Decision, Priority};

use crate::cli::need::Environment;
use crate::exit::Exit;

/// How much it matters, and where it may be.
#[derive(clap::Args, Clone, Debug)]
pub struct Terms {
    /// How much it matters: background, low, normal, high, critical, or 0 to 4. Above normal is for root, and for those in
    /// admission.high_priority
    #[arg(long, value_name = "PRIORITY", default_value = "normal")]
    pub priority: Priority,
    /// What is started, such as the name of a service
    #[arg(long, value_name = "NAME")]
    pub unit: Option<String>,
    /// The GPUs that it may use, by number [default: those with most room]
    #[arg(long, value_name = "GPU,…", value_delimiter = ',')]
    pub on_gpu: Vec<String>,
}

/// The GPUs that were named, or else those that the command's environment allows: what was learned of it may need some of which its own
/// need says nothing.
fn gpus(on_gpu: Vec<String>, command: &[String]) -> Vec<String> {
    if on_gpu.is_empty() { Environment::of(command).gpus() } else { on_gpu }
}

/// The exit code that a verdict is.
fn exit(decision: Decision, strict: bool) -> Exit {
    match decision {
        Decision::Yes => Exit::Success,
        Decision::Tight if strict => Exit::Tight,
        Decision::Tight => Exit::Success,
        Decision::Wait => Exit::Wait,
        Decision::No => Exit::No,
        Decision::Unknown => Exit::Unknown,
    }
}
