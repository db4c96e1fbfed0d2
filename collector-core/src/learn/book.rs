//! What was learned of all work, bounded for each user and in all. What one user's work needed never says anything about another's.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::peak::Peaks;
use super::run::Run;
use super::work::Work;

/// Entries of one user, and of all.
const OF_USER: usize = 128;
const ALL: usize = 2048;

/// What was measured of one piece of work. In times, nanoseconds since the Unix epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    pub id: u64,
    pub uid: u32,
    pub work: Work,
    /// The model of the GPUs that it used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu: Option<String>,
    /// Runs that counted.
    pub times: u64,
    pub peaks: Peaks,
    /// The longest that a start took, in nanoseconds.
    pub settled_ns: u64,
    pub first: u64,
    pub last: u64,
    /// The OOM killer ended the last run: what it needs may be more than it ever had.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub killed: bool,
}

/// What is to be kept for a restart, or no more.
#[allow(clippy::large_enum_variant, reason = "the outcome that has it is boxed")]
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    Kept(Entry),
    Forgotten(u64),
}

#[derive(Clone, Debug, Default)]
pub struct Book {
    entries: BTreeMap<u64, Entry>,
    last_id: u64,
}

impl Book {
    /// What was kept of before a restart.
    pub fn restore(&mut self, entry: Entry) {
        self.last_id = self.last_id.max(entry.id);
        self.entries.insert(entry.id, entry);
        // Kept by a version that kept more.
        while self.surplus().is_some_and(|id| self.entries.remove(&id).is_some()) {}
    }

    /// Entries of one user, or of all.
    pub fn of(&self, uid: Option<u32>) -> impl Iterator<Item = &Entry> {
        self.entries.values().filter(move |entry| uid.is_none_or(|uid| entry.uid == uid))
    }

    pub fn get(&self, id: u64) -> Option<&Entry> {
        self.entries.get(&id)
    }

    /// What this user's own work needed on GPUs of this model, or without any.
    pub fn find(&self, uid: u32, work: &Work, gpu: Option<&str>) -> Option<&Entry> {
        let fits = |entry: &&Entry| entry.gpu.is_none() || entry.gpu.as_deref() == gpu;
        let same = self.of(Some(uid)).filter(|entry| entry.work.is_same(work)).filter(fits);
        same.max_by_key(|entry| (entry.gpu.is_some(), entry.last))
    }

    /// Counts a run. Returns its entry, and what changed.
    pub fn count(&mut self, run: &Run, gpu: Option<&str>, settled_ns: u64, now: u64) -> (u64, Vec<Change>) {
        let gpu = gpu.filter(|_| !run.peaks.vram.is_empty());
        let exact = self.of(Some(run.uid)).find(|entry| entry.work.is_same(&run.work) && entry.gpu.as_deref() == gpu);
        let id = exact.map(|entry| entry.id);
        let id = id.unwrap_or_else(|| {
            self.last_id += 1;
            self.last_id
        });
        let entry = self.entries.entry(id).or_insert_with(|| Entry {
            id,
            uid: run.uid,
            work: run.work.clone(),
            gpu: gpu.map(str::to_owned),
            times: 0,
            peaks: Peaks::default(),
            settled_ns: 0,
            first: now,
            last: now,
            killed: false,
        });
        entry.times = entry.times.saturating_add(1);
        entry.peaks.join(&run.peaks);
        entry.settled_ns = entry.settled_ns.max(settled_ns);
        (entry.last, entry.killed) = (now, false);
        entry.work.name.clone_from(&run.work.name);
        let mut changes = vec![Change::Kept(entry.clone())];
        if let Some(old) = self.surplus() {
            self.entries.remove(&old);
            changes.push(Change::Forgotten(old));
        }
        (id, changes)
    }

    /// What a run that was counted used beyond that. None if it was forgotten meanwhile.
    pub fn raise(&mut self, id: u64, peaks: &Peaks) -> Option<Change> {
        let entry = self.entries.get_mut(&id)?;
        entry.peaks.join(peaks);
        Some(Change::Kept(entry.clone()))
    }

    /// The OOM killer ended a run of this work.
    pub fn killed(&mut self, uid: u32, work: &Work) -> Vec<Change> {
        let same = self.entries.values_mut().filter(|entry| entry.uid == uid && entry.work.is_same(work));
        let mark = |entry: &mut Entry| {
            entry.killed = true;
            Change::Kept(entry.clone())
        };
        same.map(mark).collect()
    }

    pub fn forget(&mut self, id: u64) -> Option<Entry> {
        self.entries.remove(&id)
    }

    /// Who has too many loses what ran longest ago; if all together have, who has most does.
    fn surplus(&self) -> Option<u64> {
        let mut counts: BTreeMap<u32, usize> = BTreeMap::new();
        self.entries.values().for_each(|entry| *counts.entry(entry.uid).or_default() += 1);
        let (uid, most) = counts.into_iter().max_by_key(|(_, count)| *count)?;
        let oldest = || self.of(Some(uid)).min_by_key(|entry| (entry.last, entry.id)).map(|entry| entry.id);
        if most > OF_USER || self.entries.len() > ALL { oldest() } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learn::Measured;

    fn run(uid: u32, settings: &str, hard: u64, vram: u64) -> Run {
        let mut run = Run::new(1, uid, Work { settings: settings.to_owned(), ..Work::default() });
        run.begin(1, vec!["0".to_owned()], false);
        run.measure(
            2,
            &Measured { hard, vram: BTreeMap::from([("0".to_owned(), vram)]), settled: true, ..Measured::default() },
        );
        run
    }

    #[test]
    fn runs_of_the_same_work_of_one_user_are_one_entry_with_the_most_of_all() {
        let mut book = Book::default();
        let (id, _) = book.count(&run(7, "a", 10, 0), Some("H100"), 5, 100);
        let (again, changes) = book.count(&run(7, "a", 8, 0), Some("H100"), 9, 200);
        let entry = book.get(id).unwrap();
        assert_eq!((id, changes), (again, vec![Change::Kept(entry.clone())]));
        assert_eq!(
            (entry.times, entry.peaks.hard.most(), entry.settled_ns, entry.first, entry.last),
            (2, 10, 9, 100, 200)
        );
        let work = entry.work.clone();
        assert_eq!((&entry.gpu, book.find(7, &work, None)), (&None, Some(entry)), "it used no GPU");
        assert_eq!(book.find(8, &work, None), None, "another user's work says nothing");
        // On a GPU it is other work, which is preferred where there is that GPU.
        let (on_gpu, _) = book.count(&run(7, "a", 8, 9), Some("H100"), 5, 150);
        assert_eq!(book.find(7, &work, Some("H100")).map(|entry| entry.id), Some(on_gpu));
        assert_eq!(book.find(7, &work, Some("A10")).map(|entry| entry.id), Some(id));
        assert!(book.killed(8, &work).is_empty() && book.killed(7, &work).len() == 2);
        assert!(book.get(id).unwrap().killed);
        book.count(&run(7, "a", 1, 0), None, 5, 300);
        assert!(!book.get(id).unwrap().killed, "a run since then counted");
        assert!(book.forget(id).is_some() && book.raise(id, &Peaks::default()).is_none());
    }

    #[test]
    fn who_has_too_many_loses_its_own_oldest() {
        let mut book = Book::default();
        book.count(&run(8, "x", 1, 0), None, 0, 1);
        for number in 0..=OF_USER as u64 {
            let (_, changes) = book.count(&run(7, &number.to_string(), 1, 0), None, 0, 1000 - number);
            let gone = changes.iter().filter(|change| matches!(change, Change::Forgotten(_))).count();
            assert_eq!(gone, usize::from(number == OF_USER as u64));
        }
        assert_eq!((book.of(Some(7)).count(), book.of(Some(8)).count()), (OF_USER, 1));
        let mut crowd = Book::default();
        for uid in 0..ALL as u32 + 9 {
            crowd.count(&run(uid / 2, &uid.to_string(), 1, 0), None, 0, uid.into());
        }
        assert_eq!(crowd.of(None).count(), ALL);
        let mut restored = Book::default();
        book.of(None).chain(crowd.of(None)).for_each(|entry| restored.restore(entry.clone()));
        assert!(restored.of(None).count() <= ALL);
    }
}
