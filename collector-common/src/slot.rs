//! The rows of counters of cgroups: a row has the words of every signal that counts by [`Key::Slot`], one signal after the
//! other.
//!
//! CPUs that count for the same cgroup would slow each other down in one row, so there are several shards of rows, and each
//! CPU counts in the row of its shard. Two CPUs may share one.

use crate::{Counters, Key, SIGNALS};

/// Map of rows. The index is shard × slots + slot.
pub const ROWS: &str = "ROWS";
/// Map of marks: for each slot a byte per shard, which is not zero if that row has grown since the collector read it.
pub const MARKS: &str = "MARKS";
/// Map with the words below, on each CPU.
pub const CACHE: &str = "CACHE";

/// Maximum number of shards.
pub const SHARDS: usize = 64;

/// Words of each CPU.
pub mod cache {
    /// The last memory cgroup looked up and its slot.
    pub const MEMORY: usize = 0;
    /// The last io cgroup looked up and its slot.
    pub const IO: usize = 1;
    /// Where this CPU's rows are: the index of its first row, and its shard << 32. Set before the programs are attached.
    pub const PLACE: usize = 2;
    /// Words per CPU.
    pub const COUNT: usize = 3;
}

/// Words per row.
pub const WORDS: usize = {
    let mut words = 0;
    let mut index = 0;
    while let Some(counters) = nth(index) {
        words += counters.words;
        index += 1;
    }
    words
};

/// The words of one signal in a row.
#[derive(Clone, Copy, Debug)]
pub struct Section<const N: usize> {
    /// The first of them.
    pub first: usize,
}

impl<const N: usize> Section<N> {
    /// For constants: what the catalogue does not have does not compile.
    pub const fn of(name: &str) -> Section<N> {
        let (mut first, mut index) = (0, 0);
        while let Some(counters) = nth(index) {
            if is_same(counters.map, name) {
                assert!(counters.words == N, "the catalogue has another number of words");
                return Section { first };
            }
            first += counters.words;
            index += 1;
        }
        panic!("the catalogue has no such words")
    }
}

/// The parts of a row: first word, and what the catalogue says of them.
pub fn sections() -> impl Iterator<Item = (usize, &'static Counters)> {
    (0..).map_while(nth).scan(0, |next, counters| {
        let first = *next;
        *next += counters.words;
        Some((first, counters))
    })
}

/// The counters by slot, in the order of the catalogue.
const fn nth(index: usize) -> Option<&'static Counters> {
    let (mut passed, mut signal) = (0, 0);
    while signal < SIGNALS.len() {
        let counters = SIGNALS[signal].counters;
        let mut at = 0;
        while at < counters.len() {
            if matches!(counters[at].key, Key::Slot) {
                if passed == index {
                    return Some(&counters[at]);
                }
                passed += 1;
            }
            at += 1;
        }
        signal += 1;
    }
    None
}

const fn is_same(one: &str, other: &str) -> bool {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    if one.len() != other.len() {
        return false;
    }
    let mut at = 0;
    while at < one.len() {
        if one[at] != other[at] {
            return false;
        }
        at += 1;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_follow_each_other_and_fill_the_row() {
        let mut next = 0;
        for (first, counters) in sections() {
            assert_eq!(first, next, "{}", counters.map);
            assert_eq!(counters.key, Key::Slot);
            next += counters.words;
        }
        assert_eq!(next, WORDS);
        let slots = SIGNALS.iter().flat_map(|signal| signal.counters).filter(|it| it.key == Key::Slot).count();
        assert_eq!(sections().count(), slots);
        const DIRTY: Section<{ crate::dirty::word::COUNT }> = Section::of("DIRTY");
        assert!(sections().any(|(first, counters)| counters.map == "DIRTY" && first == DIRTY.first));
    }
}
