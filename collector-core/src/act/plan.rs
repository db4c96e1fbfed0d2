//! Which files a change writes, in which order, and with which values, on cgroup v1 and v2. Knows the kernel's files, and who reads them only
//! as [`Files`].

use super::record::Step;
use super::value::{bytes, canonical, same};
use crate::action::Change;

/// Unlimited on cgroup v1.
const NO_LIMIT: &str = "-1";
/// The least quota that the kernel takes, in microseconds.
const LEAST_QUOTA: u64 = 1000;
/// The period of a CPU quota, if the kernel does not say it.
const PERIOD: u64 = 100_000;

/// The files of one cgroup.
pub trait Files {
    /// The inode number of its directory in the controller's hierarchy, and whether that is cgroup v2. The name is that of cgroup v1.
    fn find(&self, controller: &str) -> Result<(u64, bool), String>;
    /// The content of a file; `None` if there is none.
    fn read(&self, controller: &str, file: &str) -> Option<String>;
    /// Whether there is a file, which may not be readable.
    fn has(&self, controller: &str, file: &str) -> bool;
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Planned {
    Steps(Vec<Step>),
    /// It has that value already.
    Already(String),
    /// This host cannot do it; why.
    Unsupported(String),
}

/// The steps of a change. `page` is the size of a page in bytes.
pub fn plan(change: &Change, files: &dyn Files, page: u64) -> Planned {
    match steps(change, files, page) {
        Ok(steps) if matches!(change, Change::Reclaim(_)) => Planned::Steps(steps),
        Ok(steps) if steps.iter().all(|step| same(&step.file, &step.after, &step.before, page)) => {
            let values = steps.iter().map(|step| format!("{} is {} already", step.file, step.before));
            Planned::Already(values.collect::<Vec<_>>().join(", "))
        }
        Ok(steps) => Planned::Steps(steps),
        Err(why) => Planned::Unsupported(format!("unsupported here: {why}")),
    }
}

fn steps(change: &Change, files: &dyn Files, page: u64) -> Result<Vec<Step>, String> {
    let at = Site { files, controller: controller(change) };
    let (_, unified) = files.find(at.controller)?;
    match (change, unified) {
        (Change::Reclaim(amount), true) => {
            at.step("memory.reclaim", amount.to_string(), Some("memory.current")).map(|step| vec![step])
        }
        (Change::CpuMax(cpus), true) => {
            let before = at.value("cpu.max")?;
            let period = before.split_whitespace().nth(1).and_then(|period| period.parse().ok()).unwrap_or(PERIOD);
            let quota = cpus.map_or_else(|| "max".to_owned(), |cpus| quota(cpus, period).to_string());
            Ok(vec![at.step("cpu.max", format!("{quota} {period}"), None)?])
        }
        (Change::CpuMax(cpus), false) => {
            let period = at.value("cpu.cfs_period_us")?.parse().unwrap_or(PERIOD);
            let quota = cpus.map_or_else(|| NO_LIMIT.to_owned(), |cpus| quota(cpus, period).to_string());
            Ok(vec![at.step("cpu.cfs_quota_us", quota, None)?])
        }
        (Change::IoWeight(weight), true) => {
            let file = if files.read(at.controller, "io.weight").is_some() { "io.weight" } else { "io.bfq.weight" };
            let missing = |_| {
                "this kernel has neither io.weight nor io.bfq.weight: weights act with BFQ or the cost model alone"
                    .to_owned()
            };
            Ok(vec![at.step(file, format!("default {weight}"), None).map_err(missing)?])
        }
        (Change::MemoryMax(limit), false) => memory(&at, *limit, page),
        (change, true) => {
            let (file, value) = change.unified();
            Ok(vec![at.step(file, value, None)?])
        }
        (change, false) => match change.legacy() {
            Some((_, file, value)) => Ok(vec![at.step(file, value, None)?]),
            None => Err(format!("cgroup v1 has no {}{}", change.unified().0, instead(change))),
        },
    }
}

/// Whose hierarchy, as cgroup v1 calls it.
fn controller(change: &Change) -> &'static str {
    match change {
        Change::CpuWeight(_) | Change::CpuMax(_) => "cpu",
        Change::Cpuset(..) => "cpuset",
        Change::IoWeight(_) | Change::IoMax { .. } => "blkio",
        Change::Freeze | Change::Thaw => "freezer",
        _ => "memory",
    }
}

fn instead(change: &Change) -> &'static str {
    match change {
        Change::MemoryHigh(_) => ": nothing there slows what is above a mark; memory.max ends it",
        Change::MemoryLow(_) | Change::MemoryMin(_) => ": its soft limit protects nothing",
        Change::SwapMax(_) => ": its limit of swap includes memory",
        Change::Reclaim(_) => ": nothing there frees an amount",
        _ => "",
    }
}

fn quota(cpus: f64, period: u64) -> u64 {
    ((cpus * period as f64).round() as u64).max(LEAST_QUOTA)
}

/// The limit of memory of cgroup v1, and with it that of memory and swap together, which may never be lower: the room for swap stays the same.
fn memory(at: &Site<'_>, limit: Option<u64>, page: u64) -> Result<Vec<Step>, String> {
    let show = |limit: Option<u64>| limit.map_or_else(|| NO_LIMIT.to_owned(), |bytes| bytes.to_string());
    let own = at.step("memory.limit_in_bytes", show(limit), None)?;
    let Some(both) = at.files.read(at.controller, "memory.memsw.limit_in_bytes") else { return Ok(vec![own]) };
    // Without a limit there is nothing to keep.
    let Some(both) = bytes(&both, page) else { return Ok(vec![own]) };
    let before = bytes(&own.before, page);
    let room = before.map_or(0, |before| both.saturating_sub(before));
    let both = at.step("memory.memsw.limit_in_bytes", show(limit.map(|limit| limit.saturating_add(room))), None)?;
    let raises = match (limit, before) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(limit), Some(before)) => limit > before,
    };
    Ok(if raises { vec![both, own] } else { vec![own, both] })
}

/// Where a change writes.
struct Site<'a> {
    files: &'a dyn Files,
    controller: &'static str,
}

impl Site<'_> {
    fn value(&self, file: &str) -> Result<String, String> {
        let content = self.files.read(self.controller, file);
        content.map(|content| canonical(file, &content)).ok_or_else(|| {
            format!("the cgroup has no {file}: its controller is not enabled there, or this kernel lacks it")
        })
    }

    /// A write to a file. What it changes is seen in the same file, or in `seen`.
    fn step(&self, file: &str, after: String, seen: Option<&str>) -> Result<Step, String> {
        let (cgroup, _) = self.files.find(self.controller)?;
        if seen.is_some() && !self.files.has(self.controller, file) {
            return Err(format!("this kernel has no {file}"));
        }
        // What frees memory can be written, and not read.
        let before = self.value(seen.unwrap_or(file))?;
        let (controller, file) = (self.controller.to_owned(), file.to_owned());
        Ok(Step { controller, file, cgroup, before, after, read_back: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Made(bool, Vec<(&'static str, &'static str)>);

    impl Files for Made {
        fn find(&self, controller: &str) -> Result<(u64, bool), String> {
            match controller {
                "freezer" if self.1.is_empty() => Err("no freezer".to_owned()),
                _ => Ok((7, self.0)),
            }
        }

        fn read(&self, _: &str, file: &str) -> Option<String> {
            self.1.iter().find(|(name, _)| *name == file).map(|(_, content)| (*content).to_owned())
        }

        fn has(&self, _: &str, file: &str) -> bool {
            self.1.iter().any(|(name, _)| *name == file)
        }
    }

    fn written(change: &Change, files: &Made) -> Vec<(String, String, String)> {
        match plan(change, files, 4096) {
            Planned::Steps(steps) => steps.into_iter().map(|it| (it.file, it.before, it.after)).collect(),
            other => panic!("{other:?}"),
        }
    }

    fn row(file: &str, before: &str, after: &str) -> (String, String, String) {
        (file.to_owned(), before.to_owned(), after.to_owned())
    }

    #[test]
    fn cgroup_v2_has_a_file_for_each_change() {
        let files = Made(
            true,
            vec![
                ("memory.max", "max\n"),
                ("cpu.max", "max 50000\n"),
                ("io.weight", "default 100\n8:0 50\n"),
                ("memory.current", "81920\n"),
                ("memory.reclaim", ""),
                ("cgroup.freeze", "0\n"),
            ],
        );
        assert_eq!(written(&Change::MemoryMax(Some(4096)), &files), [row("memory.max", "max", "4096")]);
        assert_eq!(written(&Change::CpuMax(Some(2.0)), &files), [row("cpu.max", "max 50000", "100000 50000")]);
        assert_eq!(written(&Change::IoWeight(50), &files), [row("io.weight", "default 100", "default 50")]);
        assert_eq!(written(&Change::Reclaim(4096), &files), [row("memory.reclaim", "81920", "4096")]);
        assert_eq!(written(&Change::Freeze, &files), [row("cgroup.freeze", "0", "1")]);
        assert!(matches!(plan(&Change::MemoryMax(None), &files, 4096), Planned::Already(_)));
        assert!(matches!(plan(&Change::MemoryLow(1), &files, 4096), Planned::Unsupported(_)), "no such file");
    }

    #[test]
    fn on_cgroup_v1_the_room_for_swap_moves_with_the_limit() {
        let (both, own) = ("memory.memsw.limit_in_bytes", "memory.limit_in_bytes");
        let files = Made(false, vec![(own, "81920\n"), (both, "122880\n")]);
        let lower = written(&Change::MemoryMax(Some(40960)), &files);
        assert_eq!(lower, [row(own, "81920", "40960"), row(both, "122880", "81920")]);
        let higher = written(&Change::MemoryMax(Some(819_200)), &files);
        assert_eq!(higher, [row(both, "122880", "860160"), row(own, "81920", "819200")]);
        let none = written(&Change::MemoryMax(None), &files);
        assert_eq!(none, [row(both, "122880", "-1"), row(own, "81920", "-1")]);
        let unlimited = Made(false, vec![(own, "81920\n"), (both, "9223372036854771712\n")]);
        assert_eq!(written(&Change::MemoryMax(Some(4096)), &unlimited).len(), 1);
    }

    #[test]
    fn cgroup_v1_does_what_it_can_and_says_what_it_cannot() {
        let files =
            Made(false, vec![("cpu.cfs_period_us", "50000\n"), ("cpu.cfs_quota_us", "-1\n"), ("cpu.shares", "1024\n")]);
        assert_eq!(written(&Change::CpuMax(Some(0.5)), &files), [row("cpu.cfs_quota_us", "-1", "25000")]);
        assert_eq!(written(&Change::CpuWeight(200), &files), [row("cpu.shares", "1024", "2048")]);
        for change in [
            Change::MemoryHigh(None),
            Change::MemoryLow(1),
            Change::SwapMax(None),
            Change::Reclaim(1),
            Change::IoWeight(10),
            Change::Cpuset("0".to_owned(), None),
        ] {
            let planned = plan(&change, &files, 4096);
            assert!(
                matches!(&planned, Planned::Unsupported(why) if why.starts_with("unsupported here: ")),
                "{planned:?}"
            );
        }
    }
}
