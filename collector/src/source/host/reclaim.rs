//! Parses `/proc/vmstat`: reclaim, refaults, swapping and faults since the host started, and pages that are pinned now. Its lines are `pgfault
//! 476065070`.
//!
//! A reclaimed page is counted by type (`pgsteal_anon`, `pgsteal_file`) and by reclaimer (`pgsteal_kswapd`, …), but by
//! reclaimer only if the host as a whole was short of memory (`!cgroup_reclaim(sc)` in mm/vmscan.c). So pages counted
//! by type but by no reclaimer were freed for a cgroup's limit. The same holds for `pgscan_*`. Newer kernels keep these
//! counters per memory node and count cgroup reclaim by reclaimer as well: on them, cgroup reclaim cannot be told
//! apart.
//!
//! `nr_foll_pin_acquired` and `nr_foll_pin_released` (5.10 and newer) count pins in small pages (`try_grab_folio` and `gup_put_folio`, mm/gup.c):
//! one for each page of 4 KiB that was asked for, also within a huge page. Who then gives back all but one of them, as io_uring does for
//! buffers in huge pages (`io_coalesce_buffer`), or pins whole folios (`memfd_pin_folios`), has one for the huge page. References without
//! FOLL_PIN (`get_user_pages`) are not counted.

use collector_core::statistic::host::{RECLAIMED, SCANNED, Statistic, Values, sum};

use crate::source::text::{fields, lines, number};
use Statistic::*;

/// Counted in pages; converted to bytes.
const PAGES: &[(&[u8], Statistic)] = &[
    (b"pgsteal_kswapd", ReclaimedKswapd),
    (b"pgsteal_direct", ReclaimedDirect),
    (b"pgsteal_khugepaged", ReclaimedKhugepaged),
    (b"pgsteal_proactive", ReclaimedProactive),
    (b"pgscan_kswapd", ScannedKswapd),
    (b"pgscan_direct", ScannedDirect),
    (b"pgscan_khugepaged", ScannedKhugepaged),
    (b"pgscan_proactive", ScannedProactive),
    (b"pswpin", SwapIn),
    (b"pswpout", SwapOut),
];

const COUNTS: &[(&[u8], Statistic)] = &[
    (b"workingset_refault_anon", RefaultsAnon),
    (b"workingset_refault_file", RefaultsFile),
    (b"pgfault", PageFaults),
    (b"pgmajfault", MajorPageFaults),
    (b"oom_kill", OomKills),
];

/// Pages by type; the sum is valid only if both are present.
const TYPES: [(&[u8], &[u8]); 2] = [(b"pgsteal_anon", b"pgsteal_file"), (b"pgscan_anon", b"pgscan_file")];

/// Pins on pages since the host started, and those that were released.
const PINS: [&[u8]; 2] = [b"nr_foll_pin_acquired", b"nr_foll_pin_released"];

/// The first event counter in the file; node counters come before it.
const FIRST_EVENT: &[u8] = b"pgpgin";

pub fn parse(text: &[u8], page_size: u64, values: &mut Values) {
    let mut types = [(None, None); 2];
    // Node counters come first, then the events of the whole host.
    let (mut events, mut by_node) = (false, false);
    let mut pins = [None; 2];
    // Of two hundred lines few are of interest, and those begin so.
    let may = |line: &&[u8]| matches!(line[0], b'a' | b'o' | b'p' | b'w') || line.starts_with(b"nr_foll_");
    for line in lines(text).filter(may) {
        let mut fields = fields(line);
        let (Some(key), Some(value)) = (fields.next(), fields.next().and_then(number)) else { continue };
        let bytes = value.saturating_mul(page_size);
        events |= key == FIRST_EVENT;
        by_node |= !events && key == PAGES[0].0;
        if let Some((_, statistic)) = PAGES.iter().find(|(name, _)| *name == key) {
            values.set(*statistic, bytes);
        } else if let Some((_, statistic)) = COUNTS.iter().find(|(name, _)| *name == key) {
            values.set(*statistic, value);
        } else if key.starts_with(b"allocstall_") {
            // One line per zone.
            values.add(AllocationStalls, value);
        } else if let Some(place) = PINS.iter().position(|name| *name == key) {
            pins[place] = Some(bytes);
        } else {
            for (names, (anon, file)) in TYPES.iter().zip(&mut types) {
                if key == names.0 {
                    *anon = Some(bytes);
                } else if key == names.1 {
                    *file = Some(bytes);
                }
            }
        }
    }
    let [stolen, scanned] = types.map(|(anon, file)| Some(anon?.saturating_add(file?)));
    let remainder = |all: Option<u64>, by| all.filter(|_| !by_node).map(|all| all.saturating_sub(sum(values, by)));
    let (reclaimed, scanned) = (remainder(stolen, &RECLAIMED), remainder(scanned, &SCANNED));
    values.put(ReclaimedCgroup, reclaimed);
    values.put(ScannedCgroup, scanned);
    let [acquired, released] = pins;
    // Each CPU keeps a few to itself for up to a second, so a release may show before its pin.
    values.put(MemoryPinned, acquired.zip(released).map(|(acquired, released)| acquired.saturating_sub(released)));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Values {
        let mut values = Values::new();
        parse(text.as_bytes(), 4096, &mut values);
        values
    }

    #[test]
    fn a_reclaimed_page_is_counted_once() {
        let text = "pgpgin 1\npgsteal_kswapd 100\npgsteal_direct 20\npgsteal_khugepaged 3\npgsteal_proactive 4\n\
                    pgscan_kswapd 200\npgscan_direct 40\npgsteal_anon 50\npgsteal_file 90\npgscan_anon 40\npgscan_file 300\n";
        let values = parsed(text);
        let pages = |statistic| values.get(statistic).map(|bytes| bytes / 4096);
        assert_eq!(pages(ReclaimedCgroup), Some(140 - 127));
        assert_eq!(pages(ScannedCgroup), Some(340 - 240));
        assert_eq!(sum(&values, &RECLAIMED) + values.get(ReclaimedCgroup).unwrap(), 140 * 4096);
        assert_eq!(pages(ScannedProactive), None);
    }

    #[test]
    fn cgroup_reclaim_is_absent_without_both_types() {
        let values = parsed("pgpgin 1\npgsteal_kswapd 1\npgsteal_file 2\nworkingset_refault 3\npgsteal_anon\n");
        assert_eq!(values, Values::from_iter([(ReclaimedKswapd, 4096)]));
    }

    #[test]
    fn skewed_counters_do_not_underflow() {
        let values = parsed("pgpgin 1\npgsteal_kswapd 10\npgsteal_anon 4\npgsteal_file 5\n");
        assert_eq!(values.get(ReclaimedCgroup), Some(0));
    }

    #[test]
    fn cgroup_reclaim_is_absent_with_node_counters() {
        let node = parsed("pgsteal_kswapd 10\npgsteal_direct 20\npgsteal_anon 12\npgsteal_file 18\npgpgin 1\n");
        assert_eq!((node.get(ReclaimedCgroup), node.get(ReclaimedDirect)), (None, Some(20 * 4096)));
    }

    #[test]
    fn pinned_is_what_was_not_released_yet() {
        let pinned = |text| parsed(text).get(MemoryPinned).map(|bytes| bytes / 4096);
        assert_eq!(pinned("nr_foll_pin_acquired 30\nnr_foll_pin_released 10\n"), Some(20));
        assert_eq!(pinned("nr_foll_pin_acquired 10\nnr_foll_pin_released 11\n"), Some(0), "counted by another CPU");
        assert_eq!(pinned("nr_foll_pin_acquired 30\npgfault 1\n"), None);
    }

    #[test]
    fn zones_are_summed() {
        assert_eq!(parsed("allocstall_dma 1\nallocstall_movable 5\nallocstall_new x\n").get(AllocationStalls), Some(6));
        assert_eq!(parsed("pgalloc_dma 1\n"), Values::new());
    }

    #[test]
    fn the_running_kernels_counters_add_up() {
        let text = std::fs::read_to_string("/proc/vmstat").unwrap();
        let pages = |name: &str| -> u64 {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.map_or(0, |value| value.parse().unwrap())
        };
        let values = parsed(&text);
        for (by, cgroup, prefix) in [(RECLAIMED, ReclaimedCgroup, "pgsteal"), (SCANNED, ScannedCgroup, "pgscan")] {
            let types = pages(&format!("{prefix}_anon")) + pages(&format!("{prefix}_file"));
            let reclaimers: u64 =
                ["kswapd", "direct", "khugepaged", "proactive"].iter().map(|by| pages(&format!("{prefix}_{by}"))).sum();
            assert!(types >= reclaimers, "{prefix}: {types} by type, {reclaimers} by reclaimer");
            assert_eq!(sum(&values, &by), reclaimers * 4096);
            match values.get(cgroup) {
                Some(remainder) => assert_eq!(sum(&values, &by) + remainder, types * 4096),
                None => assert_eq!(reclaimers, types, "{prefix}"),
            }
        }
    }
}
