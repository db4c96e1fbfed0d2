//! Parses `/sys/block/zram*/mm_stat`: original, compressed and used bytes of compressed swap, its first three numbers
//! (Documentation/admin-guide/blockdev/zram.rst).

use std::io;
use std::path::Path;

use collector_core::statistic::host::{Statistic, Values};

use crate::source::kept::KeptFile;
use crate::source::text::{fields, number};
use Statistic::*;

/// Whether one that is not set up is now: looked at once in this many readings.
const INTERVAL: u32 = 5;

pub struct Zram {
    /// Readings until it is looked at again whether it is set up.
    rests: u32,
    initstate: KeptFile,
    mm_stat: KeptFile,
}

impl Zram {
    /// The device with this directory in sysfs.
    pub fn new(directory: &Path) -> Zram {
        let file = |name| KeptFile::at_once(directory.join(name));
        Zram { rests: 0, initstate: file("initstate"), mm_stat: file("mm_stat") }
    }

    /// Adds its values. A device that was never set up adds none: the module creates one by default.
    pub fn read(&mut self, buffer: &mut Vec<u8>, values: &mut Values) -> io::Result<()> {
        if self.rests > 0 {
            self.rests -= 1;
            return Ok(());
        }
        if self.initstate.read(buffer)?.is_none_or(|state| state.trim_ascii() != b"1") {
            self.rests = INTERVAL - 1;
            return Ok(());
        }
        if let Some(text) = self.mm_stat.read(buffer)? {
            let numbers = fields(text.trim_ascii()).map_while(number);
            for (statistic, bytes) in [ZramOriginal, ZramCompressed, ZramUsed].into_iter().zip(numbers) {
                values.add(statistic, bytes);
            }
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
        let idle = [("initstate", "0\n"), ("mm_stat", "0 0 0 0 0 0 0 0 0\n")];
        assert_eq!(read(&[&idle, &[]]), Values::new());
        let sums = [(ZramOriginal, 2000), (ZramCompressed, 600), (ZramUsed, 8192)];
        assert_eq!(read(&[&used, &idle, &used]), Values::from_iter(sums));
        assert_eq!(read(&[&[("initstate", "1\n"), ("mm_stat", "12 x 3\n")]]), Values::from_iter([(ZramOriginal, 12)]));
    }
}
