//! Parses `/sys/block/zram*/mm_stat`: original, compressed and used bytes of compressed swap and the limit of the memory used, its first
//! four numbers, and the size of the device (Documentation/admin-guide/blockdev/zram.rst).

use std::io;
use std::path::Path;

use collector_core::statistic::host::{Statistic, Values};

use crate::source::kept::KeptFile;
use crate::source::text::{fields, number};
use Statistic::*;

/// Whether one that is not set up is now: looked at once in this many readings.
const INTERVAL: u32 = 5;
/// The size cannot change while a device is set up, and a new one may have come between two readings: read once in this many.
const SIZE_INTERVAL: u32 = 60;
/// The unit of `size`, as of every block device.
const SECTOR_BYTES: u64 = 512;

pub struct Zram {
    /// Readings until it is looked at again whether it is set up.
    rests: u32,
    /// Readings until its size is read again, and what it was.
    size_rests: u32,
    bytes: Option<u64>,
    initstate: KeptFile,
    mm_stat: KeptFile,
    size: KeptFile,
}

impl Zram {
    /// The device with this directory in sysfs.
    pub fn new(directory: &Path) -> Zram {
        let file = |name| KeptFile::at_once(directory.join(name));
        Zram {
            rests: 0,
            size_rests: 0,
            bytes: None,
            initstate: file("initstate"),
            mm_stat: file("mm_stat"),
            size: file("size"),
        }
    }

    /// Adds its values. A device that was never set up adds none: the module creates one by default.
    pub fn read(&mut self, buffer: &mut Vec<u8>, values: &mut Values) -> io::Result<()> {
        if self.rests > 0 {
            self.rests -= 1;
            return Ok(());
        }
        if self.initstate.read(buffer)?.is_none_or(|state| state.trim_ascii() != b"1") {
            (self.rests, self.size_rests) = (INTERVAL - 1, 0);
            return Ok(());
        }
        if self.size_rests == 0 {
            self.size_rests = SIZE_INTERVAL;
            let sectors = self.size.read(buffer)?.and_then(|text| number(text.trim_ascii()));
            self.bytes = sectors.map(|sectors| sectors.saturating_mul(SECTOR_BYTES));
        }
        self.size_rests -= 1;
        let mut limit = None;
        if let Some(text) = self.mm_stat.read(buffer)? {
            let mut numbers = fields(text.trim_ascii()).map_while(number);
            for (statistic, bytes) in [ZramOriginal, ZramCompressed, ZramUsed].into_iter().zip(&mut numbers) {
                values.add(statistic, bytes);
            }
            limit = numbers.next().filter(|limit| *limit > 0);
        }
        if let Some(size) = self.bytes {
            values.add(ZramSize, size);
            values.add(ZramMost, limit.map_or(size, |limit| limit.min(size)));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::test::Tree;

    fn read(trees: &[&[(&str, &str)]]) -> Values {
        let mut values = Values::new();
        for files in trees {
            let tree = Tree::new();
            files.iter().for_each(|(name, text)| tree.write(name, text));
            Zram::new(&tree.0).read(&mut Vec::new(), &mut values).unwrap();
        }
        values
    }

    #[test]
    fn devices_are_summed_and_unused_ones_add_nothing() {
        let used = [
            ("initstate", "1\n"),
            ("mm_stat", "  1000      300     4096        0     4096        0        0        0        0\n"),
        ];
        let idle = [("initstate", "0\n"), ("mm_stat", "0 0 0 0 0 0 0 0 0\n"), ("size", "7\n")];
        assert_eq!(read(&[&idle, &[]]), Values::new());
        let sums = [(ZramOriginal, 2000), (ZramCompressed, 600), (ZramUsed, 8192)];
        assert_eq!(read(&[&used, &idle, &used]), Values::from_iter(sums));
        assert_eq!(read(&[&[("initstate", "1\n"), ("mm_stat", "12 x 3\n")]]), Values::from_iter([(ZramOriginal, 12)]));
    }

    #[test]
    fn what_they_use_at_most_is_their_limit_or_else_their_size() {
        let device = |limit: &str| {
            let stat = format!("1000 300 4096 {limit} 4096 0 0 0 0\n");
            let files = [("initstate", "1\n"), ("mm_stat", &*stat), ("size", "16\n")];
            let values = read(&[&files, &files]);
            [ZramSize, ZramMost].map(|statistic| values.get(statistic))
        };
        assert_eq!(device("0"), [Some(16_384), Some(16_384)]);
        assert_eq!(device("2048"), [Some(16_384), Some(4096)]);
        assert_eq!(device("9000"), [Some(16_384), Some(16_384)], "a limit above its size limits nothing");
    }

    #[test]
    fn a_device_that_is_set_up_anew_has_its_new_size() {
        let tree = Tree::new();
        let mut zram = Zram::new(&tree.0);
        let mut read = |state: &str, size: &str| {
            tree.write("initstate", state);
            tree.write("size", size);
            tree.write("mm_stat", "0 0 0 0 0 0 0 0 0\n");
            let mut values = Values::new();
            zram.read(&mut Vec::new(), &mut values).unwrap();
            values.get(ZramSize)
        };
        assert_eq!(read("1\n", "100\n"), Some(51_200));
        assert_eq!(read("0\n", "0\n"), None);
        (1..INTERVAL).for_each(|_| assert_eq!(read("1\n", "200\n"), None, "it is looked at later"));
        assert_eq!(read("1\n", "200\n"), Some(102_400));
    }
}
