//! Files of a cgroup that nobody else owns: cgroup v2, or the controllers of v1 where they are usually mounted.

use crate::action::change::PERIOD_US;
use crate::action::{Change, Command, Target, Tool, quote};

const ROOT: &str = "/sys/fs/cgroup";

pub(super) fn of(target: &Target, change: &Change) -> Option<Command> {
    let write = |controller: &str, file: &str, value: &str| {
        let path = format!("{ROOT}{controller}{}/{file}", target.path);
        Some(format!("{} > {}", quote::line(["echo", value])?, quote::line([&*path])?))
    };
    let (first, text) = match target.unified {
        true => {
            let (file, value) = change.unified();
            let nodes = match change {
                Change::Cpuset(_, Some(nodes)) => Some(write("", "cpuset.mems", nodes)?),
                _ => None,
            };
            (nodes, write("", file, &value)?)
        }
        false => {
            let (controller, file, value) = change.legacy()?;
            let controller = format!("/{controller}");
            let before = match change {
                Change::CpuMax(Some(_)) => Some(write(&controller, "cpu.cfs_period_us", &PERIOD_US.to_string())?),
                Change::Cpuset(_, Some(nodes)) => Some(write(&controller, "cpuset.mems", nodes)?),
                _ => None,
            };
            (before, write(&controller, file, &value)?)
        }
    };
    let text = first.into_iter().chain([text]).collect::<Vec<_>>().join(" && ");
    let lasts = match change {
        Change::Reclaim(_) => "Once. It fails with EAGAIN if less could be freed.",
        Change::MemoryMax(_) if !target.unified => {
            "It lasts while the cgroup exists. A limit above memory.memsw.limit_in_bytes is refused: raise that first."
        }
        _ => "It lasts while the cgroup exists.",
    };
    Some(Command::new(Tool::Cgroup, text).note(lasts))
}
