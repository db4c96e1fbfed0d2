//! Model files that processes use, and stores, as they were last read. Decides nothing.

mod again;
mod line;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::stage::Stage;
use crate::statistic::model_file::{FILES, How, Process, Reading, Store};
use crate::view::coverage::Coverage;

pub use again::Again;
pub use line::{Key, Line};

/// At most this many processes and stores are kept. More are counted as lost, stage `model_file`.
pub const PROCESSES: usize = 256;
pub const STORES: usize = 64;

#[derive(Clone, Debug, Default)]
pub struct ModelFiles {
    /// By pid.
    pub processes: BTreeMap<u32, Used>,
    /// By name.
    pub stores: BTreeMap<Arc<str>, Arc<Store>>,
}

/// A process, and what was seen of its files since it was first read.
#[derive(Clone, Debug)]
pub struct Used {
    /// When, in nanoseconds since the Unix epoch.
    pub time: u64,
    pub process: Arc<Process>,
    /// Of each file, in the order of the process's.
    pub again: Vec<Again>,
    /// Major page faults of processes that have ended, of the same server and cgroup.
    pub inherited: u64,
}

impl ModelFiles {
    pub(crate) fn fold(&mut self, time: u64, reading: &Reading, coverage: &mut Coverage) {
        match reading {
            Reading::Used(process) => self.used(time, process, coverage),
            Reading::Gone { pid } => {
                if let Some(gone) = self.processes.remove(pid) {
                    self.inherit(&gone);
                }
            }
            Reading::Store(store) => {
                if self.stores.len() >= STORES && !self.stores.contains_key(&store.name) {
                    return coverage.lose(Stage::ModelFile, 1);
                }
                self.stores.insert(store.name.clone(), store.clone());
            }
            Reading::StoreGone { name } => drop(self.stores.remove(name)),
        }
    }

    fn used(&mut self, time: u64, process: &Arc<Process>, coverage: &mut Coverage) {
        let before = self.processes.get(&process.pid);
        if before.is_none() && self.processes.len() >= PROCESSES {
            return coverage.lose(Stage::ModelFile, 1);
        }
        if process.files.len() > FILES {
            coverage.lose(Stage::ModelFile, (process.files.len() - FILES) as u64);
        }
        // Fewer faults: another process has this pid now.
        let same = before.filter(|before| before.process.faults <= process.faults);
        // Faults are of the process: they tell of a file only if it maps no other.
        let alone = process.files.len() == 1;
        let grown = same.and_then(|before| process.faults?.checked_sub(before.process.faults?)).filter(|_| alone);
        let grew = same.and_then(|before| process.refaulted?.checked_sub(before.process.refaulted?));
        // Without a page fault that needed IO nothing that is mapped was read again: it was another file of the cgroup.
        let mapped = process.files.iter().all(|file| file.how == How::Mapped);
        let grew = grew.filter(|_| alone && !self.has_others(process) && !(mapped && grown == Some(0)));
        let again = process.files.iter().take(FILES).map(|file| {
            let at = same.and_then(|before| before.process.files.iter().position(|other| other.id == file.id));
            let known = same.zip(at).and_then(|(before, at)| before.again.get(at));
            known.copied().unwrap_or_default().next(file, grown, grew)
        });
        let inherited = before.map_or(0, |before| before.inherited);
        let used = Used { time, process: process.clone(), again: again.collect(), inherited };
        self.processes.insert(process.pid, used);
    }

    /// What a process saw of its files, and its page faults, those that are left of its server go on with: what is counted does not fall.
    fn inherit(&mut self, gone: &Used) {
        let of = |used: &Used| (used.process.cgroup, used.process.server.clone());
        let mut same = self.processes.values_mut().filter(|used| of(used) == of(gone)).peekable();
        if let Some(first) = same.peek_mut() {
            let faults = gone.process.faults.unwrap_or(0).saturating_add(gone.inherited);
            first.inherited = first.inherited.saturating_add(faults);
        }
        for used in same {
            for (file, again) in used.process.files.iter().zip(&mut used.again) {
                let at = gone.process.files.iter().position(|other| other.id == file.id);
                if let Some(before) = at.and_then(|at| gone.again.get(at)) {
                    (again.evicted, again.read) = (again.evicted.max(before.evicted), again.read.max(before.read));
                }
            }
        }
    }

    /// Whether processes of the same cgroup use other files, too.
    fn has_others(&self, process: &Process) -> bool {
        let same = self.processes.values().filter(|used| used.process.cgroup == process.cgroup);
        let mut files = same.flat_map(|used| &used.process.files);
        files.any(|file| process.files.iter().all(|own| own.id != file.id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistic::model_file::{File, Tier};

    const PAGE: u64 = 4096;

    fn process(pid: u32, faults: u64, files: &[(u64, u64, u64)]) -> Reading {
        let file = |(inode, cached, evicted): &(u64, u64, u64)| File {
            name: format!("{inode}.gguf").into(),
            id: (1, *inode),
            how: How::Mapped,
            bytes: 1000 * PAGE,
            cached: Some(cached * PAGE),
            evicted: Some(evicted * PAGE),
            tier: Tier::Ssd,
            fstype: "ext4".into(),
        };
        Reading::Used(Arc::new(Process {
            pid,
            server: None,
            cgroup: None,
            files: files.iter().map(file).collect(),
            faults: Some(faults),
            refaulted: None,
        }))
    }

    fn again(files: &ModelFiles) -> Vec<(u64, u64)> {
        files.processes[&7].again.iter().map(|again| (again.evicted / PAGE, again.read / PAGE)).collect()
    }

    #[test]
    fn what_falls_and_rises_was_read_again_and_the_first_reading_was_not() {
        let (mut files, mut coverage) = (ModelFiles::default(), Coverage::default());
        let mut fold = |reading: Reading| {
            files.fold(1, &reading, &mut coverage);
            again(&files)
        };
        assert_eq!(fold(process(7, 10, &[(1, 0, 0)])), [(0, 0)]);
        assert_eq!(fold(process(7, 40, &[(1, 1000, 0)])), [(0, 0)], "it is loaded");
        assert_eq!(fold(process(7, 40, &[(1, 400, 600)])), [(600, 0)]);
        assert_eq!(fold(process(7, 40, &[(1, 900, 100)])), [(600, 500)]);
        // It holds as much as before, and the process waited for 300 pages: others went for them.
        assert_eq!(fold(process(7, 340, &[(1, 900, 100)])), [(900, 800)]);
        // Another process has the pid.
        assert_eq!(fold(process(7, 5, &[(1, 1000, 0)])), [(0, 0)]);
    }

    #[test]
    fn faults_of_a_process_with_several_files_are_nobodys_and_a_first_reading_counts_as_that() {
        let (mut files, mut coverage) = (ModelFiles::default(), Coverage::default());
        let mut fold = |reading: Reading| {
            files.fold(1, &reading, &mut coverage);
            again(&files)
        };
        fold(process(7, 0, &[(1, 500, 100), (2, 500, 100)]));
        assert_eq!(fold(process(7, 99, &[(1, 500, 100), (2, 450, 150)])), [(0, 0), (50, 0)]);
        let (mut files, mut coverage) = (ModelFiles::default(), Coverage::default());
        files.fold(1, &process(7, 0, &[(1, 500, 100)]), &mut coverage);
        // 200 of the 250 pages that it waited for had never been seen: it is still being read for the first time.
        files.fold(2, &process(7, 250, &[(1, 500, 300)]), &mut coverage);
        assert_eq!(again(&files), [(250, 50)]);
    }

    #[test]
    fn what_the_cgroup_reads_again_is_the_only_files_that_is_not_all_there() {
        let (mut files, mut coverage) = (ModelFiles::default(), Coverage::default());
        let mut faults = 0;
        let mut fold = |pid, file: (u64, u64, u64), refaulted: u64| {
            // A page that is mapped is read again at a fault.
            faults += 1;
            let Reading::Used(process) = process(pid, faults, &[file]) else { panic!() };
            let process = Process { refaulted: Some(refaulted * PAGE), ..Process::clone(&process) };
            files.fold(1, &Reading::Used(Arc::new(process)), &mut coverage);
            again(&files)
        };
        fold(7, (1, 600, 400), 50);
        // As much is there as before, and all of it is other pages.
        assert_eq!(fold(7, (1, 600, 400), 1050), [(1000, 1000)]);
        // Another process uses the same file, and then a third another one: then it is not known whose it was.
        fold(8, (1, 600, 400), 1050);
        assert_eq!(fold(7, (1, 600, 400), 1060), [(1010, 1010)]);
        fold(9, (2, 600, 400), 1060);
        assert_eq!(fold(7, (1, 600, 400), 1090), [(1012, 1012)], "but for its own faults");
        assert_eq!(fold(7, (1, 1000, 0), 1090), [(1012, 1412)], "what rose was read");
    }

    #[test]
    fn what_ended_processes_saw_is_not_forgotten_while_others_of_the_server_go_on() {
        let (mut files, mut coverage) = (ModelFiles::default(), Coverage::default());
        for (pid, faults) in [(7, 10), (8, 1000)] {
            for cached in [1000, 400, 900] {
                files.fold(1, &process(pid, faults, &[(1, cached, 1000 - cached)]), &mut coverage);
            }
        }
        files.processes.get_mut(&8).unwrap().again[0].read = 700 * PAGE;
        files.fold(2, &Reading::Gone { pid: 8 }, &mut coverage);
        assert_eq!((again(&files), files.processes[&7].inherited), (vec![(600, 700)], 1000));
        files.fold(3, &process(7, 10, &[(1, 900, 100)]), &mut coverage);
        assert_eq!((again(&files), files.processes[&7].inherited), (vec![(600, 700)], 1000));
    }

    #[test]
    fn what_the_cgroup_reads_again_of_other_files_is_not_of_what_is_mapped() {
        let (mut files, mut coverage) = (ModelFiles::default(), Coverage::default());
        for refaulted in [50, 1050] {
            let Reading::Used(process) = process(7, 5, &[(1, 600, 400)]) else { panic!() };
            let process = Process { refaulted: Some(refaulted * PAGE), ..Process::clone(&process) };
            files.fold(1, &Reading::Used(Arc::new(process)), &mut coverage);
        }
        assert_eq!(again(&files), [(0, 0)]);
    }

    #[test]
    fn as_many_as_anybody_names_are_bounded_and_who_is_gone_is_forgotten() {
        let (mut files, mut coverage) = (ModelFiles::default(), Coverage::default());
        for pid in 0..PROCESSES as u32 + 7 {
            files.fold(1, &process(pid, 0, &[(1, 0, 0)]), &mut coverage);
        }
        assert_eq!((files.processes.len(), coverage.lost(Stage::ModelFile)), (PROCESSES, 7));
        files.fold(1, &Reading::Gone { pid: 7 }, &mut coverage);
        assert!(!files.processes.contains_key(&7));
        let many: Vec<_> = (0..FILES as u64 + 3).map(|inode| (inode, 0, 0)).collect();
        files.fold(1, &process(7, 0, &many), &mut coverage);
        assert_eq!((files.processes[&7].again.len(), coverage.lost(Stage::ModelFile)), (FILES, 10));
    }
}
