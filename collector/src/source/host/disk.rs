//! Parses `/proc/diskstats`: the kernel's IO counters of every disk. A line is `254 0 vda` followed by numbers
//! (Documentation/admin-guide/iostats.rst): eleven on all kernels, then four for discards, then two for flushes.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use collector_core::pattern::Patterns;
use collector_core::statistic::disk::{BFQ, COST, Reading, Statistic, Values};

use super::zram::Zram;
use crate::source::text::{fields, lines, number};
use Statistic::*;

/// The kernel counts in sectors of 512 bytes, whatever the disk's sector size.
const SECTOR_BYTES: u64 = 512;
const MS: u64 = 1_000_000;

/// The numbers in the order of a line, each with its factor to base units.
const FIELDS: [(Statistic, u64); 17] = [
    (Reads, 1),
    (ReadsMerged, 1),
    (ReadBytes, SECTOR_BYTES),
    (ReadTime, MS),
    (Writes, 1),
    (WritesMerged, 1),
    (WriteBytes, SECTOR_BYTES),
    (WriteTime, MS),
    (InFlight, 1),
    (Busy, MS),
    (Waiting, MS),
    (Discards, 1),
    (DiscardsMerged, 1),
    (DiscardBytes, SECTOR_BYTES),
    (DiscardTime, MS),
    (Flushes, 1),
    (FlushTime, MS),
];

/// Somebody may choose another scheduler: it is looked up again after so many readings.
const WEIGH_EVERY: u32 = 900;

/// The kernel shows IOs in flight as an unsigned number of 32 bits, also when its count has fallen below zero.
const MOST_IN_FLIGHT: u64 = i32::MAX as u64;

/// The block devices of the last `/proc/diskstats`, cached so that each is looked up in sysfs only once.
pub struct Disks {
    /// `/sys/block`.
    directory: PathBuf,
    /// `/sys/fs/cgroup/io.cost.qos`: disks for which the kernel's cost model is on.
    cost: PathBuf,
    exclude: Patterns,
    known: Vec<Known>,
}

struct Known {
    name: Arc<str>,
    /// False for partitions and excluded devices.
    shown: bool,
    /// All of its IO is requests, which programs see when they complete, or that of the devices below it.
    requests: bool,
    zram: Option<Zram>,
    /// What heeds weights of IO on it, if that is known, and after how many readings it is looked up again.
    weighs: Option<u64>,
    weighed: u32,
    seen: bool,
    /// What it said last.
    values: Values,
}

impl Disks {
    /// The disks below `sys` except the excluded.
    pub fn new(sys: &Path, exclude: Patterns) -> Disks {
        Disks { directory: sys.join("block"), cost: sys.join("fs/cgroup/io.cost.qos"), exclude, known: Vec::new() }
    }

    /// Emits the values of each disk, and which disks are gone. With an empty text, all are gone.
    pub fn read(&mut self, text: &[u8], emit: &mut dyn FnMut(Reading)) {
        self.known.iter_mut().for_each(|known| known.seen = false);
        for (index, line) in lines(text).enumerate() {
            let mut fields = fields(line);
            let Some(Ok(name)) = fields.nth(2).map(std::str::from_utf8) else { continue };
            let index = self.find_or_add(index, name);
            let known = &mut self.known[index];
            known.seen = true;
            if !known.shown {
                continue;
            }
            let weighs = known.weighs(&self.directory, &self.cost);
            let mut values = Values::new();
            values.put(Weighs, weighs);
            for ((statistic, unit), value) in FIELDS.into_iter().zip(fields) {
                values.put(statistic, number(value).map(|value| value.saturating_mul(unit)));
            }
            if values.get(InFlight).is_some_and(|count| count > MOST_IN_FLIGHT) {
                values.put(InFlight, None);
            }
            known.values = values.clone();
            emit(Reading { device: known.name.clone(), values: Some(values) });
        }
        self.known.retain(|known| {
            if known.shown && !known.seen {
                emit(Reading { device: known.name.clone(), values: None });
            }
            known.seen
        });
    }

    /// Whether its numbers stay the same as long as no request completes and no task waits for IO: no IO was in flight, and all disks
    /// have requests.
    pub fn rest(&self) -> bool {
        let mut shown = self.known.iter().filter(|known| known.shown);
        shown.all(|known| known.requests && known.values.get(InFlight) == Some(0))
    }

    /// Emits the values of each disk again.
    pub fn repeat(&self, emit: &mut dyn FnMut(Reading)) {
        for known in self.known.iter().filter(|known| known.shown) {
            emit(Reading { device: known.name.clone(), values: Some(known.values.clone()) });
        }
    }

    /// The zram devices.
    pub fn zrams(&mut self) -> impl Iterator<Item = &mut Zram> {
        self.known.iter_mut().filter_map(|known| known.zram.as_mut())
    }

    /// Finds or adds a device; usually it has the same index as last time.
    fn find_or_add(&mut self, index: usize, name: &str) -> usize {
        let found = match self.known.get(index) {
            Some(known) if &*known.name == name => Some(index),
            _ => self.known.iter().position(|known| &*known.name == name),
        };
        found.unwrap_or_else(|| {
            self.known.push(self.inspect(name));
            self.known.len() - 1
        })
    }

    fn inspect(&self, name: &str) -> Known {
        // Only whole disks have a directory there; a slash in a name (cciss/c0d0) becomes a `!`.
        let directory = self.directory.join(name.replace('/', "!"));
        let shown = !self.exclude.matches(name) && directory.is_dir();
        let zram = name.strip_prefix("zram").is_some_and(|rest| number(rest.as_bytes()).is_some());
        // Others get their IO past the queue of requests, if they are not made of devices below them.
        let below = || fs::read_dir(directory.join("slaves")).is_ok_and(|mut below| below.next().is_some());
        let requests = shown && (directory.join("mq").is_dir() || below());
        let zram = zram.then(|| Zram::new(&directory));
        Known { name: name.into(), shown, requests, zram, weighs: None, weighed: 0, seen: true, values: Values::new() }
    }
}

impl Known {
    /// What heeds weights of IO on it. Not known of one that is made of others: it has no scheduler of its own.
    fn weighs(&mut self, directory: &Path, cost: &Path) -> Option<u64> {
        if self.weighed == 0 {
            self.weighed = WEIGH_EVERY;
            let directory = directory.join(self.name.replace('/', "!"));
            let text = |path: PathBuf| fs::read_to_string(path).ok();
            let made = fs::read_dir(directory.join("slaves")).is_ok_and(|mut below| below.next().is_some());
            let scheduler = text(directory.join("queue/scheduler")).filter(|_| !made);
            self.weighs = scheduler.map(|scheduler| {
                let number = text(directory.join("dev")).unwrap_or_default();
                let costs = text(cost.to_owned()).unwrap_or_default();
                let on = |line: &str| {
                    line.split_once(' ').is_some_and(|(of, rest)| of == number.trim() && rest.contains("enable=1"))
                };
                let bfq = if scheduler.contains("[bfq]") { BFQ } else { 0 };
                bfq + if costs.lines().any(on) { COST } else { 0 }
            });
        }
        self.weighed -= 1;
        self.weighs
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::test::Tree;

    const VDA: &str = " 254       0 vda 10 1 80 7 20 2 160 8 3 9 15 4 0 96 5 6 11\n";

    fn disks(names: &[&str], exclude: &str) -> (Tree, Disks) {
        let tree = Tree::new();
        names.iter().for_each(|name| tree.write(&format!("block/{name}/size"), "0"));
        let disks = Disks::new(&tree.0, Patterns::new(&[exclude.to_owned()]));
        (tree, disks)
    }

    fn read(disks: &mut Disks, text: &str) -> Vec<(String, Option<Values>)> {
        let mut readings = Vec::new();
        disks.read(text.as_bytes(), &mut |reading| readings.push((reading.device.to_string(), reading.values)));
        readings
    }

    #[test]
    fn numbers_are_converted_to_base_units() {
        let (_tree, mut disks) = disks(&["vda"], "");
        let readings = read(&mut disks, VDA);
        let numbers =
            [10, 1, 80 * 512, 7 * MS, 20, 2, 160 * 512, 8 * MS, 3, 9 * MS, 15 * MS, 4, 0, 96 * 512, 5 * MS, 6, 11 * MS];
        let expected = FIELDS.into_iter().zip(numbers).map(|((statistic, _), value)| (statistic, value)).collect();
        assert_eq!(readings, [("vda".to_owned(), Some(expected))]);
    }

    #[test]
    fn missing_and_malformed_numbers_are_absent() {
        let (_tree, mut disks) = disks(&["vda"], "");
        let readings = read(&mut disks, "254 0 vda 1 2 3 x 5 6 7 8 9 10 11\n");
        let values = readings[0].1.as_ref().unwrap();
        assert_eq!(
            [Reads, ReadTime, Waiting, Discards, Flushes].map(|it| values.get(it)),
            [Some(1), None, Some(11 * MS), None, None]
        );
        for text in ["", "\n", "254\n", "254 0\n", "\u{0}\n", "254 0 \u{fffd}\n"] {
            read(&mut disks, text);
        }
        disks.read(b"254 0 \xff 1 2\n", &mut |_| panic!("no name"));
    }

    #[test]
    fn a_count_below_zero_is_absent() {
        let (_tree, mut disks) = disks(&["vda"], "");
        for (count, shown) in [("4294967295", None), ("4294967290", None), ("7", Some(7))] {
            let readings = read(&mut disks, &format!("254 0 vda 1 2 3 4 5 6 7 8 {count} 10 11\n"));
            let values = readings[0].1.as_ref().unwrap();
            assert_eq!((values.get(InFlight), values.get(Busy)), (shown, Some(10 * MS)));
        }
    }

    #[test]
    fn partitions_and_excluded_disks_are_skipped() {
        let (_tree, mut disks) = disks(&["vda", "loop0", "cciss!c0d0"], "loop*");
        let text = VDA.to_owned() + "254 1 vda1 1\n7 0 loop0 1\n104 0 cciss/c0d0 1\n";
        let names: Vec<_> = read(&mut disks, &text).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["vda", "cciss/c0d0"]);
    }

    #[test]
    fn disks_with_requests_rest_while_nothing_is_in_flight() {
        let (tree, mut disks) = disks(&["vda", "dm-0", "pmem0"], "pmem*");
        fs::create_dir_all(tree.0.join("block/vda/mq")).unwrap();
        fs::create_dir_all(tree.0.join("block/dm-0/slaves/vda")).unwrap();
        let line = |name: &str, in_flight: u64| format!("254 0 {name} 1 2 3 4 5 6 7 8 {in_flight} 10 11\n");
        let text = |in_flight: u64| line("vda", in_flight) + &line("dm-0", 0) + &line("pmem0", 0);
        let first = read(&mut disks, &text(0));
        assert!(disks.rest(), "one that is not shown does not count");
        let mut again = Vec::new();
        disks.repeat(&mut |reading| again.push((reading.device.to_string(), reading.values)));
        assert_eq!(again, first);
        read(&mut disks, &text(1));
        assert!(!disks.rest());
        let mut others = Disks::new(&tree.0, Patterns::new(&[]));
        read(&mut others, &text(0));
        assert!(!others.rest(), "pmem0 has no requests");
    }

    #[test]
    fn weights_act_with_bfq_or_the_cost_model_alone() {
        let (tree, mut disks) = disks(&["vda", "vdb", "vdc", "dm-0"], "");
        for (name, scheduler) in
            [("vda", "none mq-deadline [bfq]"), ("vdb", "[none] bfq"), ("vdc", "[mq-deadline] none")]
        {
            tree.write(&format!("block/{name}/queue/scheduler"), scheduler);
        }
        tree.write("block/vdb/dev", "254:16\n");
        tree.write("block/vdc/dev", "254:1\n");
        tree.write("fs/cgroup/io.cost.qos", "254:16 enable=1 ctrl=auto rpct=0.00\n254:1 enable=0 ctrl=auto\n");
        fs::create_dir_all(tree.0.join("block/dm-0/slaves/vda")).unwrap();
        tree.write("block/dm-0/queue/scheduler", "none");
        let text = ["vda", "vdb", "vdc", "dm-0"].map(|name| format!("254 0 {name} 1\n")).concat();
        let weighs = |disks: &mut Disks| -> Vec<_> {
            read(disks, &text).into_iter().map(|(_, values)| values.unwrap().get(Weighs)).collect()
        };
        assert_eq!(weighs(&mut disks), [Some(BFQ), Some(COST), Some(0), None]);
        tree.write("block/vdc/queue/scheduler", "mq-deadline [bfq]");
        for _ in 1..WEIGH_EVERY {
            assert_eq!(weighs(&mut disks)[2], Some(0), "it is not looked up each time");
        }
        assert_eq!(weighs(&mut disks)[2], Some(BFQ));
    }

    #[test]
    fn a_removed_disk_is_reported_once() {
        let (_tree, mut disks) = disks(&["vda", "vdb"], "");
        let both = VDA.to_owned() + "254 16 vdb 1\n";
        assert_eq!(read(&mut disks, &both).len(), 2);
        let readings = read(&mut disks, "254 16 vdb 2\n");
        assert!(matches!(&readings[..], [(b, Some(_)), (a, None)] if b == "vdb" && a == "vda"), "{readings:?}");
        assert!(matches!(&read(&mut disks, "254 16 vdb 2\n")[..], [(name, Some(_))] if name == "vdb"));
        assert!(matches!(&read(&mut disks, "")[..], [(name, None)] if name == "vdb"));
        assert_eq!(read(&mut disks, ""), []);
    }
}
