//! The rows of counters of cgroups, see `collector_common::slot`: takes what was counted in them. A row that nobody counted in
//! costs nothing.

use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Result;
use collector_common::slot::{MARKS, ROWS, SHARDS, WORDS};

use super::mapped::Mapped;

/// Words of a slot in the map of marks.
const MARK_WORDS: usize = SHARDS / size_of::<u64>();

/// All rows: for each slot one per shard.
pub struct CgroupRows {
    rows: Mapped,
    marks: Mapped,
    slots: usize,
    shards: usize,
    sum: [u64; WORDS],
}

impl CgroupRows {
    /// Takes the maps out of the loaded object.
    pub fn new(ebpf: &mut aya::Ebpf, slots: u32) -> Result<CgroupRows> {
        let (rows, marks, slots) = (Mapped::take(ebpf, ROWS)?, Mapped::take(ebpf, MARKS)?, slots as usize);
        let shards = rows.words().len() / (slots * WORDS);
        if shards == 0 || marks.words().len() < slots * MARK_WORDS {
            anyhow::bail!("maps {ROWS} and {MARKS} are too small for {slots} slots");
        }
        Ok(CgroupRows { rows, marks, slots, shards: shards.min(SHARDS), sum: [0; WORDS] })
    }

    /// Takes what was counted for a slot since the last call; `None` if nothing. Looks into the shards that are marked, or
    /// into all of them.
    pub fn take(&mut self, slot: usize, all: bool) -> Option<&[u64; WORDS]> {
        let CgroupRows { rows, marks, slots, shards, sum } = self;
        let mut grown = false;
        let marks = marks.words().iter().skip(slot * MARK_WORDS).take(MARK_WORDS);
        for (first, marks) in (0..*shards).step_by(size_of::<u64>()).zip(marks) {
            // A look does not take the memory from the CPUs that write it.
            if !all && marks.load(Ordering::Relaxed) == 0 {
                continue;
            }
            // The mark comes before the row: what is counted from here on marks again.
            let marked = marks.swap(0, Ordering::SeqCst).to_ne_bytes();
            for (shard, _) in (first..*shards).zip(marked).filter(|(_, mark)| all || *mark != 0) {
                let begin = (shard * *slots + slot) * WORDS;
                let Some(row) = rows.words().get(begin..begin + WORDS) else { continue };
                for (word, counter) in row.iter().enumerate().filter(|(_, counter)| is_counted(counter)) {
                    if !std::mem::replace(&mut grown, true) {
                        sum.fill(0);
                    }
                    sum[word] = sum[word].wrapping_add(counter.swap(0, Ordering::SeqCst));
                }
            }
        }
        grown.then_some(&*sum)
    }
}

fn is_counted(counter: &AtomicU64) -> bool {
    counter.load(Ordering::Relaxed) != 0
}
