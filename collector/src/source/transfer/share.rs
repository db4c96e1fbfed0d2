//! Which library files get a place: there are few, and any user can map a file that is called like the driver's. Root's files
//! come first, and no user has more than a share. Knows nothing about files.

use std::collections::BTreeMap;

/// Device and inode of a file.
pub type Id = (u64, u64);

/// Limit on attached files; each takes some forty descriptors.
pub const MAX_LIBRARIES: usize = 16;
/// Limit on those of one user.
const MAX_OF_USER: usize = 4;
/// Limit on the files that are known to be no libraries, and on those of one user. They are not read again.
const MAX_FAILED: usize = 256;
const MAX_FAILED_OF_USER: usize = 16;
/// A file that was no library is read again after this long, in nanoseconds: it may have been replaced in its place.
const FAILED_NS: u64 = 600_000_000_000;

/// What a file that wants a place gets.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    Free,
    /// This user's file makes room.
    Instead(Id),
    /// No place, with the reason.
    None(&'static str),
}

/// Whether a file gets a place that user `uid` pays for, beside these, by who pays for them.
pub fn place(taken: &BTreeMap<Id, u32>, uid: u32) -> Answer {
    let of = |uid: u32| taken.values().filter(|owner| **owner == uid).count();
    if uid != 0 && of(uid) >= MAX_OF_USER {
        return Answer::None("this user has as many such files as a user may have");
    }
    if taken.len() < MAX_LIBRARIES {
        return Answer::Free;
    }
    let users = taken.iter().filter(|(_, owner)| **owner != 0);
    match users.max_by_key(|(_, owner)| of(**owner)) {
        Some((id, _)) if uid == 0 => Answer::Instead(*id),
        _ => Answer::None("there are as many such files as can be attached"),
    }
}

/// Files that were read and are no libraries, by who pays for them; with when that was.
#[derive(Debug, Default)]
pub struct Failed(BTreeMap<(Id, u32), u64>);

impl Failed {
    /// Whether the file was no library recently, as far as this user knows.
    pub fn has(&self, id: Id, uid: u32) -> bool {
        self.0.contains_key(&(id, uid))
    }

    /// Whether one more file of this user may be read: one that fails has to be remembered.
    pub fn may_read(&self, uid: u32) -> bool {
        let of_user = self.0.keys().filter(|(_, payer)| *payer == uid).count();
        let of_users = self.0.keys().filter(|(_, payer)| *payer != 0).count();
        uid == 0 || (of_user < MAX_FAILED_OF_USER && of_users < MAX_FAILED)
    }

    pub fn add(&mut self, id: Id, uid: u32, now: u64) {
        let same = |payer: u32| (payer == 0) == (uid == 0);
        let mut alike = self.0.iter().filter(|((_, payer), _)| same(*payer));
        let oldest = alike.clone().min_by_key(|(_, failed)| **failed).map(|(key, _)| *key);
        if alike.nth(MAX_FAILED - 1).is_some() {
            oldest.and_then(|key| self.0.remove(&key));
        }
        self.0.insert((id, uid), now);
    }

    pub fn forget(&mut self, now: u64) {
        self.0.retain(|_, failed| now.saturating_sub(*failed) < FAILED_NS);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives a place to each file whose user gets one.
    fn fill(taken: &mut BTreeMap<Id, u32>, uids: impl IntoIterator<Item = u32>) -> usize {
        let mut refused = 0;
        for uid in uids {
            let id = (1, 1000 + taken.keys().map(|(_, inode)| *inode).max().unwrap_or(0));
            match place(taken, uid) {
                Answer::Free => drop(taken.insert(id, uid)),
                Answer::Instead(other) => {
                    taken.remove(&other);
                    taken.insert(id, uid);
                }
                Answer::None(_) => refused += 1,
            }
        }
        refused
    }

    #[test]
    fn a_user_has_a_share_and_roots_files_come_first() {
        let mut taken = BTreeMap::new();
        assert_eq!(fill(&mut taken, [1000; 16]), 12);
        assert_eq!(fill(&mut taken, [1001, 1002, 1003, 0]), 0);
        // Users of all kinds fill the rest, and one is refused.
        assert_eq!(fill(&mut taken, 2000..2010), 2);
        assert_eq!(taken.len(), MAX_LIBRARIES);
        // Each of root's takes a place of whoever has most, until all are root's.
        assert_eq!(fill(&mut taken, [0, 0, 0]), 0);
        let of = |taken: &BTreeMap<Id, u32>, uid: u32| taken.values().filter(|owner| **owner == uid).count();
        assert_eq!((of(&taken, 0), of(&taken, 1000)), (4, 1));
        assert_eq!(fill(&mut taken, [0; 13]), 1);
        assert_eq!(of(&taken, 0), MAX_LIBRARIES);
    }

    #[test]
    fn a_file_that_failed_is_remembered_for_a_while_and_a_user_cannot_fill_the_memory() {
        let mut failed = Failed::default();
        for inode in 0..1000 {
            for uid in [7, 8] {
                if failed.may_read(uid) {
                    failed.add((uid.into(), inode), uid, 5);
                }
            }
        }
        assert_eq!(failed.0.len(), 2 * MAX_FAILED_OF_USER);
        assert!(failed.has((7, 0), 7) && !failed.has((7, 999), 7) && !failed.has((7, 0), 0));
        assert!(failed.may_read(0) && failed.may_read(9));
        failed.forget(5 + FAILED_NS);
        assert!(failed.0.is_empty());
    }
}
