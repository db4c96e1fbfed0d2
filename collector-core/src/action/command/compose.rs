//! Compose: the part of the file that says what a service may have. Compose itself is not asked: the name of a container shows it.

use crate::action::change::{blkio, shares};
use crate::action::{Change, Command, Tool, quote};

/// A fragment for the service of this container, if Compose named it: `PROJECT-SERVICE-NUMBER`.
pub(super) fn fragment(container: &str, change: &Change) -> Option<Command> {
    let (before, number) = container.rsplit_once('-')?;
    number.parse::<u32>().ok()?;
    let (project, service) = before.split_once('-')?;
    // Both may have dashes themselves: then the name does not show where the service's begins.
    let surely = !project.is_empty() && !service.is_empty() && !service.contains('-');
    let name = if surely { service } else { "SERVICE" };
    let of = match surely {
        true => String::new(),
        false => format!(" In place of SERVICE: the service of the container {container}."),
    };
    let text = format!("services:\n  {}:\n{}", quote::quoted(name), lines(change)?);
    let note = format!("Then: docker compose up -d, which recreates the container.{of}");
    Some(Command::new(Tool::Compose, text).file("compose.override.yaml").note(note))
}

/// What stands below the service. What `docker update` cannot do stays in the file as well: it is the lasting place.
fn lines(change: &Change) -> Option<String> {
    let limits = |line: String| format!("    deploy:\n      resources:\n        limits:\n          {line}\n");
    let own = |line: String| format!("    {line}\n");
    Some(match change {
        Change::MemoryMax(Some(bytes)) => limits(format!("memory: \"{bytes}\"")),
        Change::MemoryLow(bytes) => {
            format!("    deploy:\n      resources:\n        reservations:\n          memory: \"{bytes}\"\n")
        }
        Change::CpuMax(Some(cpus)) => limits(format!("cpus: \"{cpus}\"")),
        Change::CpuWeight(weight) => own(format!("cpu_shares: {}", shares(*weight))),
        Change::Cpuset(cpus, _) => own(format!("cpuset: \"{cpus}\"")),
        Change::IoWeight(weight) => format!("    blkio_config:\n      weight: {}\n", blkio(*weight)),
        _ => return None,
    })
}
