//! What can be changed of a cgroup: which file of the kernel, from what to what, and whether cgroup v1 has it. Knows nobody who types it.

use super::Kind;

/// A change of a cgroup. Amounts are bytes; `None` is no limit.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    MemoryMax(Option<u64>),
    MemoryHigh(Option<u64>),
    MemoryLow(u64),
    MemoryMin(u64),
    /// Swap alone, as cgroup v2 counts it.
    SwapMax(Option<u64>),
    /// 1 to 10 000; usual is 100.
    CpuWeight(u64),
    /// CPUs.
    CpuMax(Option<f64>),
    /// Lists as the kernel writes them: `0-3,8`; memory nodes only if given.
    Cpuset(String, Option<String>),
    /// 1 to 10 000; usual is 100.
    IoWeight(u64),
    /// Bytes per second that it may read from and write to a device, by the device's number: `8:0`.
    IoMax {
        device: String,
        read: Option<u64>,
        write: Option<u64>,
    },
    /// Has the kernel free so much.
    Reclaim(u64),
    Freeze,
    Thaw,
}

/// The period of a CPU quota, in microseconds, as everybody sets it.
pub(super) const PERIOD_US: u64 = 100_000;

impl Change {
    pub fn kind(&self) -> Kind {
        match self {
            Change::MemoryMax(_) => Kind::MemoryMax,
            Change::MemoryHigh(_) => Kind::MemoryHigh,
            Change::MemoryLow(_) => Kind::MemoryLow,
            Change::MemoryMin(_) => Kind::MemoryMin,
            Change::SwapMax(_) => Kind::SwapMax,
            Change::CpuWeight(_) => Kind::CpuWeight,
            Change::CpuMax(_) => Kind::CpuMax,
            Change::Cpuset(..) => Kind::Cpuset,
            Change::IoWeight(_) => Kind::IoWeight,
            Change::IoMax { .. } => Kind::IoMax,
            Change::Reclaim(_) => Kind::Reclaim,
            Change::Freeze => Kind::Freeze,
            Change::Thaw => Kind::Thaw,
        }
    }

    /// The value without the kernel's ways to write it: bytes as digits, CPUs as a number, `max` for no limit.
    pub fn value(&self) -> String {
        match self {
            Change::CpuMax(Some(cpus)) => cpus.to_string(),
            Change::CpuMax(None) => "max".to_owned(),
            other => other.unified().1,
        }
    }

    /// Whether the values can be set at all: weights and CPUs within what the kernel takes, lists of CPUs that are none of anything else.
    pub fn is_valid(&self) -> bool {
        let is_list = |list: &str| {
            let is_part = |part: &str| {
                let (from, to) = part.split_once('-').unwrap_or((part, part));
                from.parse::<u16>().ok().zip(to.parse::<u16>().ok()).is_some_and(|(from, to)| from <= to)
            };
            !list.is_empty() && list.split(',').all(is_part)
        };
        match self {
            Change::CpuWeight(weight) | Change::IoWeight(weight) => (1..=10_000).contains(weight),
            Change::CpuMax(Some(cpus)) => (0.01..=10_000.0).contains(cpus),
            Change::Cpuset(cpus, nodes) => is_list(cpus) && nodes.as_deref().is_none_or(is_list),
            Change::IoMax { device, .. } => device
                .split_once(':')
                .is_some_and(|(major, minor)| major.parse::<u32>().is_ok() && minor.parse::<u32>().is_ok()),
            Change::Reclaim(bytes) => *bytes > 0,
            _ => true,
        }
    }

    /// The file of cgroup v2, and the value that is written to it.
    pub fn unified(&self) -> (&'static str, String) {
        let amount = |limit: &Option<u64>| limit.map_or_else(|| "max".to_owned(), |bytes| bytes.to_string());
        match self {
            Change::MemoryMax(limit) => ("memory.max", amount(limit)),
            Change::MemoryHigh(limit) => ("memory.high", amount(limit)),
            Change::MemoryLow(bytes) => ("memory.low", bytes.to_string()),
            Change::MemoryMin(bytes) => ("memory.min", bytes.to_string()),
            Change::SwapMax(limit) => ("memory.swap.max", amount(limit)),
            Change::CpuWeight(weight) => ("cpu.weight", weight.to_string()),
            Change::CpuMax(cpus) => {
                ("cpu.max", quota_us(*cpus).map_or_else(|| "max".to_owned(), |quota| format!("{quota} {PERIOD_US}")))
            }
            Change::Cpuset(cpus, _) => ("cpuset.cpus", cpus.clone()),
            Change::IoWeight(weight) => ("io.weight", weight.to_string()),
            Change::IoMax { device, read, write } => {
                ("io.max", format!("{device} rbps={} wbps={}", amount(read), amount(write)))
            }
            Change::Reclaim(bytes) => ("memory.reclaim", bytes.to_string()),
            Change::Freeze => ("cgroup.freeze", "1".to_owned()),
            Change::Thaw => ("cgroup.freeze", "0".to_owned()),
        }
    }

    /// The controller, file and value of cgroup v1; `None` if it cannot do it.
    pub fn legacy(&self) -> Option<(&'static str, &'static str, String)> {
        let amount = |limit: &Option<u64>| limit.map_or_else(|| "-1".to_owned(), |bytes| bytes.to_string());
        Some(match self {
            Change::MemoryMax(limit) => ("memory", "memory.limit_in_bytes", amount(limit)),
            Change::CpuWeight(weight) => ("cpu", "cpu.shares", shares(*weight).to_string()),
            Change::CpuMax(cpus) => {
                ("cpu", "cpu.cfs_quota_us", quota_us(*cpus).map_or_else(|| "-1".to_owned(), |quota| quota.to_string()))
            }
            Change::Cpuset(cpus, _) => ("cpuset", "cpuset.cpus", cpus.clone()),
            Change::IoWeight(weight) => ("blkio", "blkio.bfq.weight", blkio(*weight).to_string()),
            Change::Freeze => ("freezer", "freezer.state", "FROZEN".to_owned()),
            Change::Thaw => ("freezer", "freezer.state", "THAWED".to_owned()),
            // Two files, one for each direction.
            Change::IoMax { .. } => return None,
            // Soft limits of v1 are no protection, and its swap limit includes memory.
            Change::MemoryHigh(_)
            | Change::MemoryLow(_)
            | Change::MemoryMin(_)
            | Change::SwapMax(_)
            | Change::Reclaim(_) => return None,
        })
    }
}

/// Microseconds of CPU in a period.
fn quota_us(cpus: Option<f64>) -> Option<u64> {
    cpus.map(|cpus| (cpus * PERIOD_US as f64).round().max(1000.0) as u64)
}

/// CPU shares of cgroup v1 for a weight: the kernel's own ratio, 1024 for 100.
pub(super) fn shares(weight: u64) -> u64 {
    (weight * 1024 / 100).clamp(2, 262_144)
}

/// Weight of IO for tools that know 10 to 1000, whose usual value is 100 as well (BFQ's of cgroup v1, Docker, podman).
pub(super) fn blkio(weight: u64) -> u64 {
    weight.clamp(10, 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_those_of_the_kernel() {
        assert_eq!(Change::CpuMax(Some(1.5)).unified(), ("cpu.max", "150000 100000".to_owned()));
        assert_eq!(Change::CpuMax(None).unified(), ("cpu.max", "max".to_owned()));
        assert_eq!(Change::CpuMax(None).legacy().unwrap().2, "-1");
        assert_eq!(Change::MemoryMax(None).legacy().unwrap(), ("memory", "memory.limit_in_bytes", "-1".to_owned()));
        assert_eq!(Change::MemoryMax(Some(7)).unified(), ("memory.max", "7".to_owned()));
        assert_eq!([1, 100, 10_000].map(shares), [10, 1024, 102_400]);
        assert_eq!(Change::MemoryLow(1).legacy(), None);
    }

    #[test]
    fn what_the_kernel_would_refuse_is_not_valid() {
        let cpuset = |cpus: &str, nodes: Option<&str>| Change::Cpuset(cpus.to_owned(), nodes.map(str::to_owned));
        for change in
            [cpuset("0-3,8", Some("0")), Change::CpuWeight(1), Change::CpuMax(Some(0.5)), Change::MemoryMax(None)]
        {
            assert!(change.is_valid(), "{change:?}");
        }
        for change in [
            cpuset("", None),
            cpuset("3-0", None),
            cpuset("0; reboot", None),
            cpuset("0", Some("a")),
            Change::CpuWeight(0),
            Change::IoWeight(10_001),
            Change::CpuMax(Some(0.0)),
            Change::CpuMax(Some(f64::NAN)),
            Change::Reclaim(0),
        ] {
            assert!(!change.is_valid(), "{change:?}");
        }
    }
}
