//! BPF objects of a process, and whether the kernel still has them when the process is gone.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::{Duration, Instant};

use crate::agent::PATIENCE;

/// Kernel memory of a process's maps in bytes, by what the kernel says of each.
pub fn map_memory(pid: u32) -> u64 {
    let mut maps = BTreeMap::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fdinfo")).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap_or_default();
        let field =
            |name| -> Option<u64> { text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok()) };
        if let (Some(id), Some(memory)) = (field("map_id:"), field("memlock:")) {
            // Some kernels count nothing for a ring.
            let ring = field("map_type:") == Some(27);
            maps.insert(id, if ring { memory.max(field("max_entries:").unwrap()) } else { memory });
        }
    }
    maps.values().sum()
}

/// Ids of programs and maps that a process has open, or that are loaded.
#[derive(Debug, Default, PartialEq)]
pub struct Objects {
    pub programs: BTreeSet<u32>,
    pub maps: BTreeSet<u32>,
}

impl Objects {
    /// Of a process, from /proc.
    pub fn of(pid: u32) -> Objects {
        let mut objects = Objects::default();
        for entry in fs::read_dir(format!("/proc/{pid}/fdinfo")).unwrap() {
            let text = fs::read_to_string(entry.unwrap().path()).unwrap_or_default();
            let id =
                |name| -> Option<u32> { text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok()) };
            // The descriptor of a link also names its program.
            objects.programs.extend(id("prog_id:"));
            objects.maps.extend(id("map_id:"));
        }
        objects
    }

    /// Those that the kernel still has.
    pub fn left(&self) -> Objects {
        let programs = aya::programs::loaded_programs().filter_map(|program| Some(program.ok()?.id()));
        let maps = aya::maps::loaded_maps().filter_map(|map| Some(map.ok()?.id()));
        Objects {
            programs: programs.filter(|id| self.programs.contains(id)).collect(),
            maps: maps.filter(|id| self.maps.contains(id)).collect(),
        }
    }

    /// Waits until all are gone: the kernel frees them a moment after the last descriptor is closed.
    pub fn await_gone(&self) {
        let deadline = Instant::now() + PATIENCE;
        while self.left() != Objects::default() {
            assert!(Instant::now() < deadline, "still in the kernel: {:?}", self.left());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}
