//! The words that the programs and the collector tell each other, see `collector_common::notice`.

use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Result, ensure};
use collector_common::notice::{MAP, word};

use super::mapped::Mapped;

pub struct Notice(Mapped);

impl Notice {
    /// Takes the map out of the loaded object.
    pub fn new(ebpf: &mut aya::Ebpf) -> Result<Notice> {
        let notice = Notice(Mapped::whole(ebpf, MAP)?);
        ensure!(notice.words().len() == word::COUNT, "map {MAP} has another number of words");
        Ok(notice)
    }

    fn words(&self) -> &[AtomicU64] {
        self.0.words(0..word::COUNT).unwrap_or_default()
    }

    pub fn get(&self, word: usize) -> u64 {
        self.words()[word].load(Ordering::Acquire)
    }

    pub fn set(&self, word: usize, value: u64) {
        self.words()[word].store(value, Ordering::Release);
    }
}

/// What a number was when its map was read last.
#[derive(Default)]
pub struct Seen(Option<u64>);

impl Seen {
    /// Whether a key may have taken a number since the last call. The programs tell it after they stored the number, so read the
    /// map after this.
    pub fn moved(&mut self, now: u64) -> bool {
        self.0.replace(now) != Some(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_is_read_at_first_and_when_a_number_was_taken() {
        let mut seen = Seen::default();
        assert_eq!([0, 0, 1, 1, 3].map(|now| seen.moved(now)), [true, false, true, false, true]);
    }
}
