//! Values of the kernel's files: what of a file's content is the value, and whether two texts mean the same. Knows no change.

use std::collections::BTreeSet;

/// The value in the content of a file.
pub fn canonical(file: &str, content: &str) -> String {
    let content = content.trim();
    match file {
        // Devices with a weight of their own follow.
        "io.weight" | "io.bfq.weight" | "blkio.bfq.weight" => {
            content.lines().find(|line| line.starts_with("default ")).unwrap_or(content).trim().to_owned()
        }
        _ => content.to_owned(),
    }
}

/// Whether the kernel, after `one` is written to the file, shows `other`: it rounds amounts down to pages, and has its own words for no
/// limit. `page` is the size of a page in bytes.
pub fn same(file: &str, one: &str, other: &str, page: u64) -> bool {
    let (one, other) = (one.trim(), other.trim());
    if one == other {
        return true;
    }
    match file {
        "cpuset.cpus" | "cpuset.mems" => cpus(one).is_some_and(|one| cpus(other) == Some(one)),
        "cpu.max" => quota(one) == quota(other),
        "freezer.state" => is_frozen(one) == is_frozen(other),
        "io.weight" | "io.bfq.weight" | "blkio.bfq.weight" => weight(one) == weight(other),
        _ if file.starts_with("memory.") => match (amount(one, page), amount(other, page)) {
            (Some(one), Some(other)) => one == other,
            _ => false,
        },
        _ => false,
    }
}

/// Whether the kernel has stopped the cgroup, or is about to.
pub fn is_frozen(state: &str) -> bool {
    matches!(state.trim(), "FROZEN" | "FREEZING" | "1")
}

/// Pages; no limit is the most.
fn amount(text: &str, page: u64) -> Option<u64> {
    let page = page.max(1);
    // What cgroup v1 shows for no limit (PAGE_COUNTER_MAX, in bytes).
    let none = (i64::MAX as u64) / page;
    match text {
        "max" | "-1" => Some(none),
        text => text.parse::<u64>().ok().map(|bytes| (bytes / page).min(none)),
    }
}

/// An amount of bytes in a file of memory; `None` for no limit and for what is no amount.
pub fn bytes(text: &str, page: u64) -> Option<u64> {
    let limit = amount(text.trim(), page)?;
    (limit < (i64::MAX as u64) / page.max(1)).then(|| text.trim().parse().ok())?
}

/// A quota, with its period if the text names one: the kernel keeps the present one otherwise.
fn quota(text: &str) -> Option<(String, Option<u64>)> {
    let mut words = text.split_whitespace();
    let quota = words.next()?.to_owned();
    let period = words.next().and_then(|period| period.parse().ok());
    // Without a limit it has no meaning.
    Some(if quota == "max" { (quota, None) } else { (quota, period) })
}

fn weight(text: &str) -> Option<u64> {
    text.strip_prefix("default ").unwrap_or(text).trim().parse().ok()
}

/// Single numbers, ordered, each once.
fn cpus(list: &str) -> Option<BTreeSet<u16>> {
    let mut all = BTreeSet::new();
    for part in list.split(',').filter(|part| !part.is_empty()) {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        let (from, to) = (from.trim().parse::<u16>().ok()?, to.trim().parse::<u16>().ok()?);
        all.extend(from..=to);
    }
    Some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_words_for_a_value_mean_the_value() {
        for (file, one, other, wanted) in [
            ("memory.max", "max", "max\n", true),
            ("memory.max", "2000000", "1998848", true),
            ("memory.max", "2000000", "2000001", true),
            ("memory.max", "1998848", "2002944", false),
            ("memory.max", "max", "1998848", false),
            ("memory.limit_in_bytes", "-1", "9223372036854771712", true),
            ("memory.limit_in_bytes", "4096", "9223372036854771712", false),
            ("cpu.max", "max", "max 100000", true),
            ("cpu.max", "max 50000", "max 100000", true),
            ("cpu.max", "150000 100000", "150000 100000", true),
            ("cpu.max", "150000 100000", "150000 50000", false),
            ("cpu.cfs_quota_us", "-1", "-1", true),
            ("cpu.cfs_quota_us", "1000", "2000", false),
            ("cpuset.cpus", "0,1,2", "0-2", true),
            ("cpuset.cpus", "", "", true),
            ("cpuset.cpus", "0", "", false),
            ("freezer.state", "FROZEN", "FREEZING", true),
            ("freezer.state", "FROZEN", "THAWED", false),
            ("cgroup.freeze", "1", "0", false),
            ("io.weight", "50", "default 50", true),
            ("io.weight", "50", "default 60", false),
            ("cpu.shares", "1024", "1025", false),
        ] {
            assert_eq!(same(file, one, other, 4096), wanted, "{file}: {one} {other}");
        }
    }

    #[test]
    fn a_value_is_a_part_of_its_file() {
        assert_eq!(canonical("io.weight", "default 100\n8:0 200\n"), "default 100");
        assert_eq!(canonical("memory.max", "max\n"), "max");
        assert_eq!((bytes("max", 4096), bytes("9223372036854771712", 4096)), (None, None));
        assert_eq!((bytes("8192\n", 4096), bytes("", 4096)), (Some(8192), None));
    }
}
