//! Parses `/proc/spl/kstat/zfs/arcstats`: ZFS' cache (ARC). Two lines of head, then `size  4  66947239936`: name, type, number.

use collector_core::statistic::host::{Statistic, Values};

use crate::source::text::{fields, lines, number};
use Statistic::*;

/// What is clean and unused, by list.
const CLEAN: [&[u8]; 4] =
    [b"mru_evictable_data", b"mru_evictable_metadata", b"mfu_evictable_data", b"mfu_evictable_metadata"];

/// ZFS gives back what is clean, down to its minimum (`arc_evictable_memory` in module/os/linux/zfs/arc_os.c). Without the numbers
/// of clean memory, all above the minimum counts.
pub fn parse(text: &[u8], values: &mut Values) {
    let (mut size, mut minimum, mut clean) = (None, None, [None; CLEAN.len()]);
    for line in lines(text) {
        let mut fields = fields(line);
        let Some(name) = fields.next() else { continue };
        let Some(value) = fields.nth(1).and_then(number) else { continue };
        match name {
            b"size" => size = Some(value),
            b"c_min" => minimum = Some(value),
            _ => {
                if let Some(list) = CLEAN.iter().position(|known| *known == name) {
                    clean[list] = Some(value);
                }
            }
        }
    }
    let above = size.zip(minimum).map(|(size, minimum)| size.saturating_sub(minimum));
    let clean: Option<u64> = clean.into_iter().try_fold(0u64, |sum, more| Some(sum.saturating_add(more?)));
    values.put(MemoryArc, size);
    values.put(MemoryArcReclaimable, above.map(|above| above.min(clean.unwrap_or(u64::MAX))));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> [Option<u64>; 2] {
        let mut values = Values::new();
        parse(text.as_bytes(), &mut values);
        [MemoryArc, MemoryArcReclaimable].map(|statistic| values.get(statistic))
    }

    const HEAD: &str = "13 1 0x01 147 39984 5112315670 97695212546990\nname                            type data\n";

    #[test]
    fn what_is_clean_and_above_the_minimum_can_be_had_back() {
        let text = format!("{HEAD}c  4 9\nc_min   4    100\nc_max 4 9999\nsize  4    1000\n");
        assert_eq!(parsed(&text), [Some(1000), Some(900)]);
        let clean = |data: u64| {
            let lines = "mru_evictable_metadata 4 1\nmfu_evictable_data 4 2\nmfu_evictable_metadata 4 3\n";
            format!("{text}mru_evictable_data 4 {data}\n{lines}")
        };
        assert_eq!(parsed(&clean(300)), [Some(1000), Some(306)]);
        assert_eq!(parsed(&clean(5000)), [Some(1000), Some(900)]);
        assert_eq!(parsed(&text.replace("1000", "50")), [Some(50), Some(0)], "smaller than its minimum");
    }

    #[test]
    fn what_is_missing_is_unknown() {
        assert_eq!(parsed(""), [None, None]);
        assert_eq!(parsed(&format!("{HEAD}size 4 7\n")), [Some(7), None]);
        assert_eq!(parsed("c_min 4 7\nsize 4 -3\n"), [None, None]);
    }
}
