//! Where a process is: its memory cgroup, and the limits of that and of all above it. Reads /proc and cgroupfs, whose files block on
//! nothing; opens no other file, and none that somebody else could have made.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use collector_core::cgroup::contains;
use collector_core::lease::{Caller, Ceiling};

use crate::source::cgroup::{Controller, Hierarchies, Hierarchy, path_in};
use crate::source::root::Root;
use crate::source::text::{fields, lines, number};

/// Bytes that are read of one file.
const FILE: u64 = 64 << 10;
/// Cgroups above one that are looked at: deeper ones count as unknown.
const DEPTH: usize = 64;
/// On v1 no limit is a number near the largest.
const NO_LIMIT: u64 = 1 << 62;

#[derive(Clone, Debug)]
pub struct Places {
    pub proc: PathBuf,
    /// None if this host has no memory controller: then there are no limits.
    pub memory: Option<Hierarchy>,
}

/// The beginning of a process's `stat`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life {
    /// In clock ticks since boot.
    pub started: u64,
    /// It has ended, and waits for its parent to learn of it.
    pub ended: bool,
}

impl Places {
    pub fn new(root: &Root, hierarchies: &Hierarchies) -> Places {
        let memory = hierarchies.of(Controller::Memory).cloned();
        Places { proc: root.at("/proc"), memory }
    }

    pub fn process(&self, pid: u32) -> PathBuf {
        self.proc.join(pid.to_string())
    }

    /// None if there is no such process.
    pub fn life(&self, pid: u32) -> Option<Life> {
        life(&read(&self.process(pid).join("stat"))?)
    }

    /// Who runs a process, and whether it is in a pid namespace of its own.
    pub fn user(&self, pid: u32) -> Option<(u32, bool)> {
        let status = read(&self.process(pid).join("status"))?;
        let value = |name: &[u8]| lines(&status).find_map(|line| line.strip_prefix(name));
        let uid = number(fields(value(b"Uid:")?).next()?)?;
        let nested = value(b"NSpid:").is_some_and(|pids| fields(pids).count() > 1);
        Some((u32::try_from(uid).ok()?, nested))
    }

    /// The path of a process's memory cgroup.
    ///
    /// # Errors
    /// With what is not known, if it is not.
    pub fn of(&self, pid: u32) -> Result<Option<String>, String> {
        let Some(memory) = &self.memory else { return Ok(None) };
        let text = read(&self.process(pid).join("cgroup")).filter(|_| pid > 0);
        let path = text.as_deref().and_then(|text| path_in(text, memory.id));
        path.map(|path| Some(path.into_owned())).ok_or_else(|| format!("the memory cgroup of process {pid}"))
    }

    /// A caller whose work will be in this cgroup, with the limits above it; or with what of that is not known.
    pub fn locate(&self, caller: Caller, place: Result<Option<String>, String>) -> Caller {
        let found = place.and_then(|cgroup| Ok((self.ceilings(cgroup.as_deref())?, cgroup)));
        match found {
            Ok((ceilings, cgroup)) => Caller { cgroup, ceilings, ..caller },
            Err(why) => Caller { missing: Some(why), ..caller },
        }
    }

    /// The directory of a cgroup that exists.
    pub fn directory(&self, path: &str) -> Option<PathBuf> {
        self.memory.as_ref()?.directory(path.trim_end_matches('/')).filter(|directory| directory.is_dir())
    }

    /// A cgroup with all above it, nearest first, without the root, which has no limit.
    ///
    /// # Errors
    /// With what is not known.
    pub fn ceilings(&self, path: Option<&str>) -> Result<Vec<Ceiling>, String> {
        let (Some(memory), Some(path)) = (&self.memory, path) else { return Ok(Vec::new()) };
        let above = std::iter::successors(Some(path), |path| path.rsplit_once('/').map(|(above, _)| above));
        let above: Vec<&str> = above.filter(|path| !path.is_empty()).take(DEPTH + 1).collect();
        if above.len() > DEPTH {
            return Err(format!("the limits of {path}: it is too deep"));
        }
        // What is above the mount point of a container is the limit of the container's own host.
        let seen = above.into_iter().filter(|path| memory.prefix.is_empty() || contains(&memory.prefix, path));
        let unknown = |path: &str| format!("the limit of {path}");
        seen.filter(|path| *path != "/")
            .map(|path| {
                let directory = memory.directory(path).ok_or_else(|| unknown(path))?;
                ceiling(memory.id == 0, path, &directory).ok_or_else(|| unknown(path))
            })
            .collect()
    }
}

/// Field 3 is the state, field 22 the start; the second field may contain any text in parentheses (proc_pid_stat(5)).
fn life(stat: &[u8]) -> Option<Life> {
    let end = stat.iter().rposition(|byte| *byte == b')')?;
    let mut rest = fields(stat.get(end + 1..)?);
    let ended = matches!(rest.next()?, b"Z" | b"X" | b"x");
    Some(Life { started: number(rest.nth(18)?)?, ended })
}

fn ceiling(v2: bool, path: &str, directory: &Path) -> Option<Ceiling> {
    let read = |name: &str| read(&directory.join(name));
    let amount = |name: &str| {
        let text = read(name)?;
        let first = lines(&text).next()?;
        Some(if first == b"max" { u64::MAX } else { number(first)? })
    };
    let [most, high, current] = match v2 {
        true => ["memory.max", "memory.high", "memory.current"],
        false => ["memory.limit_in_bytes", "", "memory.usage_in_bytes"],
    };
    // On v2 a cgroup has no limit of its own where the controller is not switched on.
    if v2 && !directory.join(most).exists() && directory.join("cgroup.controllers").exists() {
        return Some(Ceiling { path: path.to_owned(), ..Ceiling::default() });
    }
    let most = amount(most)?;
    let high = if high.is_empty() { u64::MAX } else { amount(high)? };
    let limit = most.min(high);
    if limit >= NO_LIMIT {
        return Some(Ceiling { path: path.to_owned(), ..Ceiling::default() });
    }
    let used = amount(current)?;
    let stat = read("memory.stat")?;
    let names: [&[u8]; 3] = match v2 {
        true => [b"inactive_file", b"active_file", b"slab_reclaimable"],
        false => [b"total_inactive_file", b"total_active_file", b""],
    };
    let value = |name: &[u8]| named(&stat, name).unwrap_or(0);
    let reclaimable = names.iter().map(|name| value(name)).fold(0, u64::saturating_add);
    Some(Ceiling { path: path.to_owned(), limit: Some(limit), high: high < most, used, reclaimable })
}

/// The number after a name in a file of names and numbers.
pub fn named(text: &[u8], name: &[u8]) -> Option<u64> {
    lines(text).find_map(|line| number(line.strip_prefix(name)?.strip_prefix(b" ")?))
}

/// The beginning of a file.
pub fn read(path: &Path) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    fs::File::open(path).ok()?.take(FILE).read_to_end(&mut text).ok()?;
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Folder {
            let path = std::env::temp_dir().join(format!("headroom-place-{}-{name}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            Folder(path)
        }

        fn write(&self, name: &str, text: &str) {
            let path = self.0.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }

        fn places(&self, id: u64) -> Places {
            let memory = Hierarchy { id, root: self.0.join("cgroup"), prefix: String::new() };
            Places { proc: self.0.join("proc"), memory: Some(memory) }
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn the_lower_limit_of_each_cgroup_counts_and_page_cache_can_be_had_back() {
        let folder = Folder::new("v2");
        for (path, max, high) in [("a", "1000", "900"), ("a/b", "max", "max"), ("a/b/c", "500", "max")] {
            folder.write(&format!("cgroup/{path}/memory.max"), &format!("{max}\n"));
            folder.write(&format!("cgroup/{path}/memory.high"), &format!("{high}\n"));
            folder.write(&format!("cgroup/{path}/memory.current"), "400\n");
            folder.write(
                &format!("cgroup/{path}/memory.stat"),
                "anon 7\ninactive_file 30\nactive_file 20\nslab_reclaimable 5\n",
            );
        }
        folder.write("proc/7/cgroup", "0::/a/b/c\n");
        let places = folder.places(0);
        let path = places.of(7).unwrap();
        assert_eq!(path.as_deref(), Some("/a/b/c"));
        let ceilings = places.ceilings(path.as_deref()).unwrap();
        let left: Vec<_> = ceilings.iter().map(|it| (it.path.as_str(), it.left(), it.high)).collect();
        assert_eq!(left, [("/a/b/c", Some(155), false), ("/a/b", None, false), ("/a", Some(555), true)]);
        folder.write("cgroup/a/off/cgroup.controllers", "");
        let off: Vec<_> = places.ceilings(Some("/a/off")).unwrap().iter().map(Ceiling::left).collect();
        assert_eq!(off, [None, Some(555)], "without the controller it has no limit of its own");
        assert_eq!(places.ceilings(Some("/gone")), Err("the limit of /gone".to_owned()));
        assert_eq!(places.of(8), Err("the memory cgroup of process 8".to_owned()));
        assert_eq!(places.ceilings(Some("/")), Ok(Vec::new()));
        let deep = "/x".repeat(DEPTH + 1);
        assert!(places.ceilings(Some(&deep)).unwrap_err().contains("too deep"));
    }

    #[test]
    fn v1_has_other_files_and_a_host_without_the_controller_no_limits() {
        let folder = Folder::new("v1");
        folder.write("cgroup/a/memory.limit_in_bytes", "1000\n");
        folder.write("cgroup/a/memory.usage_in_bytes", "300\n");
        folder.write("cgroup/a/memory.stat", "inactive_file 1\ntotal_inactive_file 100\ntotal_active_file 50\n");
        folder.write("cgroup/b/memory.limit_in_bytes", "9223372036854771712\n");
        let places = folder.places(4);
        assert_eq!(places.ceilings(Some("/a")).unwrap()[0].left(), Some(850));
        assert_eq!(places.ceilings(Some("/b")).unwrap()[0].left(), None);
        assert_eq!(Places { memory: None, ..places }.ceilings(Some("/a")), Ok(Vec::new()));
    }

    #[test]
    fn the_name_of_a_process_hides_neither_its_state_nor_its_start() {
        let stat =
            |name: &str, state: &str| format!("7 ({name}) {state} 1 7 7 0 -1 4 1 0 0 0 1 2 0 0 20 0 1 0 4711 9 9\n");
        for (text, wanted) in [
            (stat("a) Z 1 (b", "S"), Some(Life { started: 4711, ended: false })),
            (stat("", "Z"), Some(Life { started: 4711, ended: true })),
            ("7 (x".to_owned(), None),
            (String::new(), None),
        ] {
            assert_eq!(life(text.as_bytes()), wanted, "{text}");
        }
        let own = Places { proc: "/proc".into(), memory: None };
        assert!(!own.life(std::process::id()).unwrap().ended);
        assert_eq!(own.user(std::process::id()).unwrap().0, rustix::process::getuid().as_raw());
    }
}
