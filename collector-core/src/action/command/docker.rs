//! Docker: `docker update`, and what it cannot do.

use super::line;
use crate::action::change::{blkio, shares};
use crate::action::{Change, Command, Known, Tool};

/// The command for a container. `None` if `docker update` has no option for it: memory.high, memory.min, swap alone, limits of IO, and
/// taking a limit away (it takes 0 for "as it is").
pub(super) fn update(container: &str, known: &Known, change: &Change) -> Option<Command> {
    let word = match change {
        Change::Freeze => Some("pause"),
        Change::Thaw => Some("unpause"),
        _ => None,
    };
    if let Some(word) = word {
        return verb(word, container);
    }
    let mut words: Vec<String> = ["docker", "update"].map(str::to_owned).into();
    words.extend(options(known, change)?);
    words.push(container.to_owned());
    let lasts =
        "It acts at once and survives restarts of the container, but not its recreation: change what creates it, too.";
    let swap = match change {
        Change::MemoryMax(_) if !known.limits => {
            " Docker refuses a limit above the one for memory and swap together: then give --memory-swap as well."
        }
        _ => "",
    };
    line(Tool::Docker, &words).map(|command| command.note(format!("{lasts}{swap}")))
}

pub(super) fn verb(verb: &str, container: &str) -> Option<Command> {
    line(Tool::Docker, &["docker", verb, container].map(str::to_owned))
}

/// The options that Docker and podman share.
pub(super) fn options(known: &Known, change: &Change) -> Option<Vec<String>> {
    let option = |name: &str, value: String| Some(vec![name.to_owned(), value]);
    match change {
        Change::MemoryMax(Some(bytes)) => {
            let mut words = vec!["--memory".to_owned(), bytes.to_string()];
            // It counts memory and swap together: what may be swapped stays as it is.
            let swap = known.swap_max.map_or_else(|| "-1".to_owned(), |swap| bytes.saturating_add(swap).to_string());
            words.extend(known.limits.then(|| ["--memory-swap".to_owned(), swap]).into_iter().flatten());
            Some(words)
        }
        Change::MemoryLow(bytes) if *bytes > 0 => option("--memory-reservation", bytes.to_string()),
        Change::CpuWeight(weight) => option("--cpu-shares", shares(*weight).to_string()),
        Change::CpuMax(Some(cpus)) => option("--cpus", cpus.to_string()),
        Change::Cpuset(cpus, nodes) => {
            let nodes = nodes.as_ref().map(|nodes| ["--cpuset-mems".to_owned(), nodes.clone()]);
            Some(["--cpuset-cpus".to_owned(), cpus.clone()].into_iter().chain(nodes.into_iter().flatten()).collect())
        }
        Change::IoWeight(weight) => option("--blkio-weight", blkio(*weight).to_string()),
        _ => None,
    }
}
