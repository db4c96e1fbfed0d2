//! [`Line`]: a model file as one workload, or one model server, uses it: what metrics and the API show. Several of its processes use a
//! file together, and files of one name are added up.

use std::collections::BTreeMap;

use super::{Again, ModelFiles};
use crate::statistic::model_file::{File, How, Tier};
use crate::view::workload::Workloads;

/// The labels of a workload, the name of the server or nothing, and the name of the file.
pub type Key<'a> = ([&'a str; 4], &'a str, &'a str);

#[derive(Clone, Debug)]
pub struct Line<'a> {
    /// The first of the files of this name.
    pub file: &'a File,
    pub files: u64,
    pub bytes: u64,
    /// Absent if it is not known of one of them.
    pub cached: Option<u64>,
    pub evicted: u64,
    pub again: u64,
    pub tier: Tier,
    pub how: How,
    /// When it was last read, in nanoseconds since the Unix epoch.
    pub time: u64,
    /// Those that are added up.
    ids: Vec<(u64, u64)>,
}

impl ModelFiles {
    /// The files of workloads that are known.
    pub fn lines<'a>(&'a self, workloads: &'a Workloads) -> BTreeMap<Key<'a>, Line<'a>> {
        let mut lines = BTreeMap::<Key<'a>, Line<'a>>::new();
        for used in self.processes.values() {
            let Some(workload) = used.process.cgroup.and_then(|id| workloads.of(id)) else { continue };
            let server = used.process.server.as_deref().unwrap_or_default();
            for (file, again) in used.process.files.iter().zip(&used.again) {
                let key = (workload.labels(), server, &*file.name);
                match lines.get_mut(&key) {
                    Some(line) => line.add(file, again, used.time),
                    None => drop(lines.insert(key, Line::of(file, again, used.time))),
                }
            }
        }
        lines
    }

    /// Major page faults of the processes of each workload and server.
    pub fn servers<'a>(&'a self, workloads: &'a Workloads) -> BTreeMap<([&'a str; 4], &'a str), u64> {
        let mut servers = BTreeMap::new();
        for used in self.processes.values() {
            let Some(workload) = used.process.cgroup.and_then(|id| workloads.of(id)) else { continue };
            let Some(faults) = used.process.faults.filter(|_| !used.process.files.is_empty()) else { continue };
            let server = used.process.server.as_deref().unwrap_or_default();
            let sum: &mut u64 = servers.entry((workload.labels(), server)).or_default();
            *sum = sum.saturating_add(faults).saturating_add(used.inherited);
        }
        servers
    }
}

impl<'a> Line<'a> {
    fn of(file: &'a File, again: &Again, time: u64) -> Line<'a> {
        Line {
            file,
            files: 1,
            bytes: file.bytes,
            cached: file.cached,
            evicted: again.evicted,
            again: again.read,
            tier: file.tier,
            how: file.how,
            time,
            ids: vec![file.id],
        }
    }

    fn add(&mut self, file: &File, again: &Again, time: u64) {
        self.how = self.how.min(file.how);
        self.time = self.time.max(time);
        if self.ids.contains(&file.id) {
            // Another process sees the same file: what one missed, the other may have seen.
            (self.evicted, self.again) = (self.evicted.max(again.evicted), self.again.max(again.read));
            return;
        }
        self.ids.push(file.id);
        self.files += 1;
        self.bytes = self.bytes.saturating_add(file.bytes);
        self.cached = self.cached.zip(file.cached).map(|(one, other)| one.saturating_add(other));
        self.evicted = self.evicted.saturating_add(again.evicted);
        self.again = self.again.saturating_add(again.read);
        self.tier = if self.tier == file.tier { self.tier } else { Tier::Unknown };
    }
}
