//! Units of systemd: `systemctl set-property`, which needs no reload.

use super::{as_user, line};
use crate::action::change::PERIOD_US;
use crate::action::{Change, Command, Tool};

/// The command for a unit. `None` if systemd has no setting for it, or not on cgroup v1.
pub(super) fn of_unit(
    unit: &str,
    transient: bool,
    user: Option<u32>,
    change: &Change,
    unified: bool,
) -> Option<Command> {
    if matches!(change, Change::Freeze | Change::Thaw) {
        // systemd freezes only where cgroup v2 does.
        let word = if *change == Change::Freeze { "freeze" } else { "thaw" };
        return verb(word, unit, user).filter(|_| unified);
    }
    let properties = properties(change).filter(|_| unified || !matches!(change, Change::Cpuset(..)))?;
    let mut words = as_user(user);
    words.push("systemctl".to_owned());
    words.extend(user.map(|_| "--user".to_owned()));
    words.push("set-property".to_owned());
    words.extend(transient.then(|| "--runtime".to_owned()));
    words.push(unit.to_owned());
    words.extend(properties);
    let note = match transient {
        true => "It lasts until the scope ends: who starts it must set it the next time.",
        false => {
            "It acts at once and stays (a drop-in below system.control). With --runtime it lasts until the next boot."
        }
    };
    line(Tool::Systemd, &words).map(|command| command.note(note))
}

/// `systemctl VERB UNIT`.
pub(super) fn verb(verb: &str, unit: &str, user: Option<u32>) -> Option<Command> {
    let mut words = as_user(user);
    words.push("systemctl".to_owned());
    words.extend(user.map(|_| "--user".to_owned()));
    words.extend([verb.to_owned(), unit.to_owned()]);
    line(Tool::Systemd, &words)
}

/// The settings of systemd.resource-control(5).
fn properties(change: &Change) -> Option<Vec<String>> {
    let one = |name: &str, value: String| Some(vec![format!("{name}={value}")]);
    let limit = |limit: &Option<u64>| limit.map_or_else(|| "infinity".to_owned(), size);
    match change {
        Change::MemoryMax(bytes) => one("MemoryMax", limit(bytes)),
        Change::MemoryHigh(bytes) => one("MemoryHigh", limit(bytes)),
        Change::MemoryLow(bytes) => one("MemoryLow", size(*bytes)),
        Change::MemoryMin(bytes) => one("MemoryMin", size(*bytes)),
        Change::SwapMax(bytes) => one("MemorySwapMax", limit(bytes)),
        Change::CpuWeight(weight) => one("CPUWeight", weight.to_string()),
        Change::CpuMax(cpus) => {
            one("CPUQuota", cpus.map_or_else(String::new, |cpus| format!("{}%", (cpus * 100.0).round().max(1.0))))
        }
        Change::Cpuset(cpus, nodes) => {
            let nodes = nodes.as_ref().map(|nodes| format!("AllowedMemoryNodes={nodes}"));
            Some([format!("AllowedCPUs={cpus}")].into_iter().chain(nodes).collect())
        }
        Change::IoWeight(weight) => one("IOWeight", weight.to_string()),
        Change::IoMax { device, read, write } => {
            let one = |name: &str, bytes: &Option<u64>| format!("{name}=/dev/block/{device} {}", limit(bytes));
            Some(vec![one("IOReadBandwidthMax", read), one("IOWriteBandwidthMax", write)])
        }
        Change::Reclaim(_) | Change::Freeze | Change::Thaw => None,
    }
}

/// Bytes with systemd's suffixes, which are powers of 1024, without rounding.
fn size(bytes: u64) -> String {
    let fits = [("T", 1 << 40), ("G", 1 << 30), ("M", 1 << 20), ("K", 1 << 10)].into_iter();
    let mut fits = fits.filter(|(_, unit)| bytes > 0 && bytes.is_multiple_of(*unit));
    fits.next().map_or_else(|| bytes.to_string(), |(suffix, unit)| format!("{}{suffix}", bytes / unit))
}

// A quota in whole percent of a CPU is at least what the kernel takes.
const _: () = assert!(PERIOD_US / 100 >= 1000);
