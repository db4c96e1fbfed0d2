//! Which processes are looked at when: a new one at once, and then at doubling intervals, because it may run another program at any time.
//! What the kernel counts shows whether there are new ones. Knows nothing about what is looked for.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use super::process::{self, Stat};
use crate::source::text::{fields, lines, number};

/// Longest interval between two looks at a process, in nanoseconds.
const LONGEST: u64 = 300_000_000_000;
const SHORTEST: u64 = 1_000_000_000;
/// A thread of the kernel never runs a program, but its number may be another's one day.
const KERNEL: u64 = 12 * LONGEST;
/// Processes that are looked at in one scan.
const LOOKS: usize = 4096;
/// As many new numbers are tried one by one; more take a list of all.
const NUMBERS: u32 = 512;

pub struct Looks {
    proc: PathBuf,
    /// The number that the kernel gave out last, as of the last scan.
    last: Option<u32>,
    /// Whether these numbers are those of the processes that are seen.
    counted: bool,
    all: BTreeMap<u32, Look>,
}

#[derive(Debug)]
struct Look {
    started: u64,
    due: u64,
    pause: u64,
}

impl Looks {
    pub fn new(proc: &Path) -> Looks {
        // In a pid namespace of its own, this process has another number than the host's /proc says.
        let itself = std::fs::read_link(proc.join("self")).ok().and_then(|pid| pid.to_str()?.parse().ok());
        let counted = itself == Some(std::process::id());
        Looks { proc: proc.to_owned(), last: None, counted, all: BTreeMap::new() }
    }

    /// Looks at those that are due, at any clock in nanoseconds. `last` is the number that the kernel gave out last.
    pub fn scan(&mut self, last: Option<u32>, now: u64, seen: &mut dyn FnMut(u32, Stat)) -> io::Result<()> {
        let (fresh, all) = self.new_ones(last)?;
        for pid in all {
            let look = self.all.entry(pid).or_insert(Look { started: 0, due: now, pause: SHORTEST });
            look.due = if fresh { now } else { look.due };
        }
        let due = self.all.iter().filter(|(_, look)| look.due <= now).map(|(pid, _)| *pid);
        let due: Vec<u32> = due.take(LOOKS).collect();
        for pid in due {
            match process::stat(&self.proc, pid) {
                Some(stat) => {
                    self.looked(pid, &stat, now);
                    if !stat.kernel {
                        seen(pid, stat);
                    }
                }
                None => drop(self.all.remove(&pid)),
            }
        }
        Ok(())
    }

    /// When the next look is due.
    pub fn due(&self) -> Option<u64> {
        self.all.values().map(|look| look.due).min()
    }

    fn looked(&mut self, pid: u32, stat: &Stat, now: u64) {
        let Some(look) = self.all.get_mut(&pid) else { return };
        if look.started != stat.started {
            *look = Look { started: stat.started, due: now, pause: SHORTEST };
        }
        look.due = now.saturating_add(if stat.kernel { KERNEL } else { look.pause });
        look.pause = (2 * look.pause).min(LONGEST);
    }

    /// Numbers that may be those of new processes, and whether each is.
    fn new_ones(&mut self, last: Option<u32>) -> io::Result<(bool, Vec<u32>)> {
        let before = std::mem::replace(&mut self.last, last);
        let since = before.zip(last).filter(|_| self.counted).and_then(|(before, last)| last.checked_sub(before));
        if let (Some(since), Some(last)) = (since.filter(|since| *since <= NUMBERS), last) {
            return Ok((true, (last - since + 1..=last).collect()));
        }
        let all = process::all(&self.proc)?;
        let known: BTreeSet<u32> = all.iter().copied().collect();
        self.all.retain(|pid, _| known.contains(pid));
        Ok((false, all))
    }
}

/// The number that the kernel gave out last, from `/proc/loadavg`: `0.20 0.18 0.12 1/80 11206`.
pub fn last(loadavg: &[u8]) -> Option<u32> {
    u32::try_from(number(fields(lines(loadavg).next()?).nth(4)?)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::test::Tree;

    const S: u64 = 1_000_000_000;

    fn process(tree: &Tree, pid: u32, started: u64, flags: u64) {
        let stat = format!("{pid} (a) S 1 1 1 0 -1 {flags} 1 0 0 0 1 2 0 0 20 0 1 0 {started} 9 9\n");
        tree.write(&format!("{pid}/stat"), &stat);
    }

    fn scan(looks: &mut Looks, last: u32, now: u64) -> Vec<u32> {
        let mut seen = Vec::new();
        looks.scan(Some(last), now, &mut |pid, _| seen.push(pid)).unwrap();
        seen
    }

    #[test]
    fn a_process_is_looked_at_when_new_and_then_less_and_less_often() {
        let tree = Tree::new();
        process(&tree, 7, 1, 0);
        process(&tree, 12, 1, KERNEL_THREAD);
        let mut looks = Looks { counted: true, ..Looks::new(&tree.0) };
        let looked: Vec<u64> = (0..1000).filter(|second| scan(&mut looks, 11, second * S) == [7]).collect();
        assert_eq!(looked, [0, 1, 3, 7, 15, 31, 63, 127, 255, 511, 811]);
        assert_eq!(looks.due(), Some(1111 * S));
        // One with the number of another is new.
        process(&tree, 7, 5, 0);
        let later: Vec<u64> = (1000..1120).filter(|second| scan(&mut looks, 11, second * S) == [7]).collect();
        assert_eq!(later, [1111, 1112, 1114, 1118]);
        std::fs::remove_dir_all(tree.0.join("7")).unwrap();
        assert_eq!((scan(&mut looks, 11, 2000 * S), looks.due()), (vec![], Some(3600 * S)), "the kernel's thread");
        // The kernel's thread has ended, and its number is given out again.
        process(&tree, 12, 9, 0);
        assert_eq!(scan(&mut looks, 12, 2001 * S), [12]);
    }

    const KERNEL_THREAD: u64 = 0x0020_0000;

    #[test]
    fn new_numbers_are_tried_and_all_are_listed_when_they_say_nothing() {
        let tree = Tree::new();
        let mut looks = Looks { counted: true, ..Looks::new(&tree.0) };
        assert_eq!(scan(&mut looks, 10, 0), [0; 0]);
        process(&tree, 12, 1, 0);
        process(&tree, 40, 1, 0);
        assert_eq!(scan(&mut looks, 12, 1), [12], "40 is none of the new numbers");
        assert_eq!(scan(&mut looks, 12, 2), [0; 0]);
        process(&tree, 3, 1, 0);
        assert_eq!(scan(&mut looks, 5, 3), [3, 40], "the numbers began again");
        process(&tree, 9, 1, 0);
        assert_eq!(scan(&mut looks, 5000, 4), [9], "too many to try");
        let mut foreign = Looks::new(&tree.0);
        assert!(!foreign.counted);
        assert_eq!(scan(&mut foreign, 5000, 0), [3, 9, 12, 40]);
        process(&tree, 2, 1, 0);
        assert_eq!(scan(&mut foreign, 5000, 1), [2], "numbers of another namespace say nothing");
    }

    #[test]
    fn the_last_number_is_the_fifth_field() {
        assert_eq!(last(b"0.20 0.18 0.12 1/80 11206\n"), Some(11206));
        assert!([&b""[..], b"0.20 0.18", b"a b c d e", b"1 2 3 4 99999999999"].iter().all(|text| last(text).is_none()));
        assert!(last(&std::fs::read("/proc/loadavg").unwrap()).is_some());
    }
}
