//! Parses `/proc/meminfo`. Its lines are `MemTotal:       24684096 kB` (proc_meminfo(5)); counts of huge pages have no
//! unit.

use collector_core::statistic::host::{Statistic, Values};

use super::text::{fields, lines, number};
use Statistic::*;

const KIB: u64 = 1024;

const KEYS: &[(&[u8], Statistic)] = &[
    (b"MemTotal", MemoryTotal),
    (b"MemFree", MemoryFree),
    (b"MemAvailable", MemoryAvailable),
    (b"Buffers", MemoryBuffers),
    (b"Cached", MemoryCached),
    (b"SwapCached", SwapCached),
    (b"Unevictable", MemoryUnevictable),
    (b"SwapTotal", SwapTotal),
    (b"SwapFree", SwapFree),
    (b"Zswap", ZswapCompressed),
    (b"Zswapped", ZswapOriginal),
    (b"Dirty", MemoryDirty),
    (b"Writeback", MemoryWriteback),
    (b"AnonPages", MemoryAnon),
    (b"Mapped", MemoryMapped),
    (b"Shmem", MemoryShmem),
    (b"Slab", MemorySlab),
    (b"SReclaimable", MemorySlabReclaimable),
    (b"PageTables", MemoryPageTables),
    (b"CommitLimit", MemoryCommitLimit),
    (b"Committed_AS", MemoryCommitted),
    (b"AnonHugePages", MemoryAnonHugePages),
];

const HUGE: &[(&[u8], Statistic)] = &[
    (b"HugePages_Total", MemoryHugePages),
    (b"HugePages_Free", MemoryHugePagesFree),
    (b"HugePages_Rsvd", MemoryHugePagesReserved),
];

/// Parts, and the whole that none of them can exceed. A negative number that the kernel or lxcfs writes without its sign does.
const PARTS: &[(Statistic, Statistic)] = &[
    (MemoryFree, MemoryTotal),
    (MemoryAvailable, MemoryTotal),
    (MemoryBuffers, MemoryTotal),
    (MemoryCached, MemoryTotal),
    (MemoryUnevictable, MemoryTotal),
    (MemoryAnon, MemoryTotal),
    (MemoryMapped, MemoryTotal),
    (MemoryShmem, MemoryTotal),
    (MemoryDirty, MemoryTotal),
    (MemoryWriteback, MemoryTotal),
    (MemorySlab, MemoryTotal),
    (MemorySlabReclaimable, MemoryTotal),
    (MemoryPageTables, MemoryTotal),
    (MemoryAnonHugePages, MemoryTotal),
    (MemoryHugePages, MemoryTotal),
    (MemoryHugePagesFree, MemoryHugePages),
    (MemoryHugePagesReserved, MemoryHugePages),
    (SwapFree, SwapTotal),
    (SwapCached, SwapTotal),
];

pub fn parse(text: &[u8], values: &mut Values) {
    let (mut huge_page, mut pools) = (None, None);
    for line in lines(text) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let (key, rest) = line.split_at(colon);
        let mut rest = fields(&rest[1..]);
        let Some(value) = rest.next().and_then(number) else { continue };
        let bytes = match rest.next() {
            Some(b"kB") => value.saturating_mul(KIB),
            _ => value,
        };
        if let Some((_, statistic)) = KEYS.iter().chain(HUGE).find(|(name, _)| *name == key) {
            values.set(*statistic, bytes);
        } else if key == b"Hugepagesize" {
            huge_page = Some(bytes);
        } else if key == b"Hugetlb" {
            pools = Some(bytes);
        }
    }
    for (_, statistic) in HUGE {
        // Without the page size a count of pages cannot be converted to bytes.
        let bytes = values.get(*statistic).zip(huge_page).map(|(pages, size)| pages.saturating_mul(size));
        values.put(*statistic, bytes);
    }
    // All sizes, where the kernel says it (4.20 and newer).
    values.put(MemoryHugePages, values.get(MemoryHugePages).max(pools));
    for (part, whole) in PARTS {
        let known = values.get(*part).zip(values.get(*whole));
        if known.is_some_and(|(part, whole)| part > whole) {
            values.put(*part, None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Values {
        let mut values = Values::new();
        parse(text.as_bytes(), &mut values);
        values
    }

    #[test]
    fn values_are_converted_to_bytes() {
        let text = "MemTotal:       24684096 kB\nHugePages_Total:       3\nHugePages_Free:        2\nHugepagesize:       2048 kB\nHugetlb: 1054720 kB\n";
        let expected = [
            (MemoryTotal, 24_684_096 * 1024),
            (MemoryHugePages, 3 * 2048 * 1024 + (1 << 30)),
            (MemoryHugePagesFree, 2 * 2048 * 1024),
        ];
        assert_eq!(parsed(text), Values::from_iter(expected));
    }

    #[test]
    fn a_part_larger_than_its_whole_is_absent() {
        let text = "MemTotal: 100 kB\nMemFree: 100 kB\nMemAvailable: 101 kB\nSwapTotal: 0 kB\n\
                    SwapFree: 18446744073709551488 kB\nSwapCached: 0 kB\nHugePages_Total: 1\nHugePages_Free: 1\n\
                    HugePages_Rsvd: 2\nHugepagesize: 2 kB\nCommitted_AS: 900 kB\n";
        let expected = [
            (MemoryTotal, 100 * 1024),
            (MemoryFree, 100 * 1024),
            (SwapTotal, 0),
            (SwapCached, 0),
            (MemoryHugePages, 2 * 1024),
            (MemoryHugePagesFree, 2 * 1024),
            (MemoryCommitted, 900 * 1024),
        ];
        assert_eq!(parsed(text), Values::from_iter(expected));
    }

    #[test]
    fn missing_unknown_and_malformed_lines_are_absent() {
        let text = "MemTotal: 1 kB\nMemFree: many kB\nNovelty: 7 kB\nDirty 3 kB\n:\nCached:\nSwapFree: -1 kB\n\
                    SwapTotal: 99999999999999999999 kB\nHugePages_Total: 3\nActive(anon): 9 kB\n";
        assert_eq!(parsed(text), Values::from_iter([(MemoryTotal, 1024)]));
    }
}
