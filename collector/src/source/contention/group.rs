//! What cgroups say of a workload that is watched: its processes, what of its memory is read again, and CPU quotas, its own and those
//! above it, which hold back what is below them but are counted only where they are set.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use collector_core::cgroup::Id;
use collector_core::statistic::contention::{Statistic, Values};

use crate::source::cgroup::{Controller, Hierarchies, Hierarchy, path_in};
use crate::source::text::{fields, lines, number};

/// At most this many cgroups below a workload's own, processes of it, and bytes of a file.
const CGROUPS: usize = 64;
const PROCESSES: usize = 256;
const BYTES: u64 = 64 << 10;
/// At most this many cgroups above.
const ABOVE: usize = 16;

#[derive(Debug)]
pub struct Groups {
    proc: PathBuf,
    memory: Hierarchy,
    cpu: Option<Hierarchy>,
    page: u64,
    /// Of each workload, by the directory of a quota: its periods and those throttled when last read; and the sums.
    quotas: HashMap<Arc<str>, Quotas>,
}

#[derive(Debug, Default)]
struct Quotas {
    known: HashMap<PathBuf, (u64, u64)>,
    periods: u64,
    throttled: u64,
    read: bool,
}

impl Groups {
    pub fn new(proc: PathBuf, hierarchies: &Hierarchies) -> Groups {
        let cpu = hierarchies.of(Controller::Cpu).cloned();
        let page = rustix::param::page_size() as u64;
        Groups { proc, memory: hierarchies.memory.clone(), cpu, page, quotas: HashMap::new() }
    }

    /// The cgroup at this path of the memory controller's hierarchy, and the processes in it and below it; `None` if it is gone.
    pub fn enter(&self, top: &str) -> Option<(Id, Vec<u32>)> {
        let id = self.memory.cgroup_at(top)?;
        let mut pids = Vec::new();
        let mut folders = vec![self.memory.directory(top.trim_end_matches('/'))?];
        let mut seen = 0;
        while let Some(folder) = folders.pop().filter(|_| seen < CGROUPS && pids.len() < PROCESSES) {
            seen += 1;
            let text = read(&folder.join("cgroup.procs")).unwrap_or_default();
            let found =
                lines(&text).filter_map(number).filter_map(|pid| u32::try_from(pid).ok()).filter(|pid| *pid != 0);
            pids.extend(found);
            // Below the root is everything.
            if top == "/" {
                break;
            }
            let below = fs::read_dir(&folder).into_iter().flatten().flatten();
            let below = below.filter(|entry| entry.file_type().is_ok_and(|it| it.is_dir()));
            folders.extend(below.map(|entry| entry.path()).take(CGROUPS));
        }
        pids.truncate(PROCESSES);
        Some((id, pids))
    }

    /// Reads its files. On cgroup v1 its place in the CPU controller's hierarchy is that of its first process.
    pub fn read(&mut self, top: &Arc<str>, pid: Option<u32>, values: &mut Values) {
        self.memory(top, values);
        let path = match &self.cpu {
            Some(cpu) if cpu.id == self.memory.id => Some((**top).to_owned()),
            Some(cpu) => pid.and_then(|pid| {
                let text = read(&self.proc.join(pid.to_string()).join("cgroup"))?;
                path_in(&text, cpu.id).map(|path| path.into_owned())
            }),
            None => None,
        };
        let folder = path.and_then(|path| self.cpu.as_ref()?.directory(path.trim_end_matches('/')));
        let root = self.cpu.as_ref().map(|cpu| cpu.root.clone()).unwrap_or_default();
        if let Some(folder) = folder {
            self.quotas.entry(top.clone()).or_default().look(&folder, &root, values);
        }
    }

    /// Forgets those that were not read in this round.
    pub fn end(&mut self) {
        self.quotas.retain(|_, quotas| std::mem::take(&mut quotas.read));
    }

    /// Its directory in the memory controller's hierarchy.
    pub fn memory_of(&self, top: &str) -> Option<PathBuf> {
        self.memory.directory(top.trim_end_matches('/'))
    }

    fn memory(&self, top: &str, values: &mut Values) {
        let Some(text) = self.memory_of(top).and_then(|folder| read(&folder.join("memory.stat"))) else { return };
        let v2 = self.memory.id == 0;
        for line in lines(&text) {
            let mut parts = fields(line);
            let (Some(key), Some(value)) = (parts.next(), parts.next().and_then(number)) else { continue };
            // On v1 only the totals have what is below.
            let key = match key.strip_prefix(b"total_") {
                Some(key) if !v2 => key,
                None if v2 => key,
                _ => continue,
            };
            match key {
                b"pgmajfault" => values.set(Statistic::MajorFaults, value),
                // Before 5.9 there is one number, which is that of files.
                b"workingset_refault_file" | b"workingset_refault" => {
                    values.set(Statistic::RefaultFile, value.saturating_mul(self.page));
                }
                b"workingset_refault_anon" => values.set(Statistic::RefaultAnon, value.saturating_mul(self.page)),
                _ => {}
            }
        }
    }
}

impl Quotas {
    fn look(&mut self, folder: &Path, root: &Path, values: &mut Values) {
        self.read = true;
        let (mut least, mut periods, mut throttled, mut known) = (None, 0u64, 0u64, HashMap::new());
        let above = folder.ancestors().take_while(|folder| folder.starts_with(root) && *folder != root);
        for folder in above.take(ABOVE) {
            let Some(quota) = quota(folder) else { continue };
            least = Some(least.map_or(quota, |least: u64| least.min(quota)));
            let Some(now) = counts(folder) else { continue };
            // One that is new here has counted from zero, or for somebody else.
            let before = self.known.get(folder).copied().unwrap_or(now);
            periods = periods.max(now.0.saturating_sub(before.0));
            throttled = throttled.saturating_add(now.1.saturating_sub(before.1));
            known.insert(folder.to_owned(), now);
        }
        self.known = known;
        self.periods = self.periods.saturating_add(periods);
        self.throttled = self.throttled.saturating_add(throttled.min(periods));
        values.put(Statistic::CpuQuota, least);
        values.set(Statistic::CpuPeriods, self.periods);
        values.set(Statistic::CpuThrottledPeriods, self.throttled);
    }
}

/// The CPU quota of a cgroup in thousandths of a CPU; `None` if there is none.
fn quota(folder: &Path) -> Option<u64> {
    let one = |name: &str| lines(&read(&folder.join(name))?).next().and_then(number);
    let (quota, period) = match read(&folder.join("cpu.max")) {
        Some(text) => {
            let mut parts = fields(text.trim_ascii_end()).map(number);
            (parts.next()??, parts.next()??)
        }
        // Without a quota it is -1, which is no number here.
        None => (one("cpu.cfs_quota_us")?, one("cpu.cfs_period_us")?),
    };
    quota.saturating_mul(1000).checked_div(period)
}

/// Periods of the quota, and those in which it throttled.
fn counts(folder: &Path) -> Option<(u64, u64)> {
    let text = read(&folder.join("cpu.stat"))?;
    let value = |name: &[u8]| {
        let line = lines(&text).find_map(|line| line.strip_prefix(name))?;
        number(line.trim_ascii())
    };
    Some((value(b"nr_periods ")?, value(b"nr_throttled ")?))
}

/// The beginning of one of the kernel's files.
pub(super) fn read(path: &Path) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    File::open(path).ok()?.take(BYTES).read_to_end(&mut text).ok()?;
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Folder(PathBuf);

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    impl Folder {
        fn write(&self, name: &str, text: &str) {
            let path = self.0.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
    }

    #[test]
    fn the_least_quota_holds_and_throttling_above_counts() {
        let folder = Folder(std::env::temp_dir().join(format!("headroom-quota-{}", std::process::id())));
        let mut quotas = Quotas::default();
        let mut look = || {
            let mut values = Values::new();
            quotas.look(&folder.0.join("a/b"), &folder.0, &mut values);
            let get = |statistic| values.get(statistic);
            (get(Statistic::CpuQuota), get(Statistic::CpuPeriods), get(Statistic::CpuThrottledPeriods))
        };
        folder.write("a/b/cpu.max", "max 100000\n");
        folder.write("a/b/cpu.stat", "usage_usec 5\nnr_periods 0\nnr_throttled 0\n");
        folder.write("a/cpu.cfs_quota_us", "-1\n");
        folder.write("a/cpu.cfs_period_us", "100000\n");
        folder.write("a/cpu.stat", "nr_periods 100\nnr_throttled 50\nthrottled_time 7\n");
        assert_eq!(look(), (None, Some(0), Some(0)));
        folder.write("a/cpu.cfs_quota_us", "50000\n");
        assert_eq!(look(), (Some(500), Some(0), Some(0)), "what it counted before is nobody's");
        folder.write("a/cpu.stat", "nr_periods 110\nnr_throttled 58\n");
        folder.write("a/b/cpu.max", "200000 100000\n");
        folder.write("a/b/cpu.stat", "nr_periods 40\nnr_throttled 30\n");
        assert_eq!(look(), (Some(500), Some(10), Some(8)));
        folder.write("a/b/cpu.stat", "nr_periods 50\nnr_throttled 31\n");
        assert_eq!(look(), (Some(500), Some(20), Some(9)));
    }
}
