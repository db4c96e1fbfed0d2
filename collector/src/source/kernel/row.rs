//! The rows of counters of cgroups, see `collector_common::slot`: takes what was counted in them. A row that nobody counted in
//! costs nothing.

use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Result;
use collector_common::slot::{MARKS, ROWS, SHARDS, WORDS};

use super::mapped::Mapped;

/// Words of a slot in the map of marks.
const MARK_WORDS: usize = SHARDS / size_of::<u64>();

/// At least so many slots are mapped.
const LEAST: usize = 16;

/// All rows: for each slot one per shard.
pub struct CgroupRows {
    rows: Mapped,
    marks: Mapped,
    slots: usize,
    shards: usize,
    /// Number of slots whose rows are mapped.
    mapped: usize,
    sum: [u64; WORDS],
}

impl CgroupRows {
    /// Takes the maps out of the loaded object.
    pub fn new(ebpf: &mut aya::Ebpf, slots: u32) -> Result<CgroupRows> {
        let (rows, marks, slots) = (Mapped::take(ebpf, ROWS)?, Mapped::take(ebpf, MARKS)?, slots as usize);
        let shards = rows.length() / (slots * WORDS);
        if shards == 0 || marks.length() < slots * MARK_WORDS {
            anyhow::bail!("maps {ROWS} and {MARKS} are too small for {slots} slots");
        }
        Ok(CgroupRows { rows, marks, slots, shards: shards.min(SHARDS), mapped: 0, sum: [0; WORDS] })
    }

    /// Makes the rows of the first slots readable.
    pub fn reach(&mut self, slots: usize) -> Result<()> {
        if slots <= self.mapped {
            return Ok(());
        }
        let reach = slots.next_power_of_two().max(LEAST).min(self.slots);
        self.marks.map(0..reach * MARK_WORDS)?;
        for shard in 0..self.shards {
            let first = shard * self.slots * WORDS;
            self.rows.map(first..first + reach * WORDS)?;
        }
        self.mapped = reach;
        Ok(())
    }

    /// Takes what was counted for a slot within reach since the last call; `None` if nothing. Looks into the shards that are marked, or
    /// into all of them.
    pub fn take(&mut self, slot: usize, all: bool) -> Option<&[u64; WORDS]> {
        let CgroupRows { rows, marks, slots, shards, sum, .. } = self;
        let mut grown = false;
        let marks = marks.words(slot * MARK_WORDS..(slot + 1) * MARK_WORDS)?;
        for (first, marks) in (0..*shards).step_by(size_of::<u64>()).zip(marks) {
            // A look does not take the memory from the CPUs that write it.
            if !all && marks.load(Ordering::Relaxed) == 0 {
                continue;
            }
            // The mark comes before the row: what is counted from here on marks again.
            let marked = marks.swap(0, Ordering::SeqCst).to_ne_bytes();
            for (shard, _) in (first..*shards).zip(marked).filter(|(_, mark)| all || *mark != 0) {
                let begin = (shard * *slots + slot) * WORDS;
                let Some(row) = rows.words(begin..begin + WORDS) else { continue };
                grown |= self::take(row, sum, grown);
            }
        }
        grown.then_some(&*sum)
    }
}

/// Takes what was counted in a row, and adds it to a sum if it has `begun`; otherwise that is what was there before. False if nothing
/// was counted.
pub fn take(row: &[AtomicU64], sum: &mut [u64], mut begun: bool) -> bool {
    let mut grown = false;
    // A look does not take the memory from the CPUs that write it.
    for (word, counter) in row.iter().enumerate().filter(|(_, counter)| counter.load(Ordering::Relaxed) != 0) {
        if !std::mem::replace(&mut begun, true) {
            sum.fill(0);
        }
        grown = true;
        sum[word] = sum[word].wrapping_add(counter.swap(0, Ordering::SeqCst));
    }
    grown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_is_taken_once_and_added_up() {
        let row = |words: [u64; 3]| words.map(AtomicU64::new);
        let (first, second, idle) = (row([1, 0, 2]), row([10, 5, 0]), row([0; 3]));
        let mut sum = [9; 3];
        assert!(!take(&idle, &mut sum, false));
        assert!(take(&first, &mut sum, false) && sum == [1, 0, 2]);
        assert!(take(&second, &mut sum, true) && sum == [11, 5, 2]);
        assert!(!take(&first, &mut sum, true) && sum == [11, 5, 2]);
    }
}
