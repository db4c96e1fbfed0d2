//! `headroom actions`: the actuator's journal, and the undo of a change.

use super::{Way, ask, page};
use crate::cli::terminal::{colour, room};
use crate::exit::{Exit, Failure};

/// List what the actuator changed, by whom, why and until when; take a change back
///
/// Root sees all changes, everybody else their own. A change is taken back only if what is there is still what it wrote: otherwise
/// somebody else changed it since, and it is left as it is.
#[derive(clap::Args, Clone, Debug)]
#[command(after_long_help = "Examples:
  headroom actions
  headroom actions --undo 12
  headroom actions --json | jq '.actions[] | select(.state == \"done\")'

Exit status: 25 if somebody else changed it since, or there is nothing to undo.
")]
pub struct ActionsArgs {
    /// Take this change back
    #[arg(long, value_name = "ID")]
    undo: Option<u64>,
    #[command(flatten)]
    way: Way,
}

pub fn actions(args: &ActionsArgs) -> Result<Exit, Failure> {
    if let Some(id) = args.undo {
        return ask::undo(&args.way, id);
    }
    let found = ask::all(&args.way)?;
    let text = match args.way.json {
        true => ask::json(&found)?,
        false => page::list(&found.actions, room(), colour()),
    };
    crate::cli::print(&text)?;
    Ok(Exit::Success)
}
