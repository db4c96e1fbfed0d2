//! `/sys/block/zram*/mm_stat`: what compressed swap holds and takes. Its first three numbers are original, compressed and
//! used bytes (Documentation/admin-guide/blockdev/zram.rst).

use std::io;
use std::path::Path;

use crate::source::kept::Kept;
use crate::source::text::{fields, number};
use crate::statistic::host::{Statistic, Values};
use Statistic::*;

/// One device.
pub struct Zram {
    initstate: Kept,
    mm_stat: Kept,
}

impl Zram {
    /// The device in this directory.
    pub fn new(directory: &Path) -> Zram {
        let kept = |name| Kept::new(directory.join(name));
        Zram { initstate: kept("initstate"), mm_stat: kept("mm_stat") }
    }

    /// Adds its figures. A device that was never set up (the module makes one unasked) adds none.
    pub fn read(&mut self, buffer: &mut Vec<u8>, values: &mut Values) -> io::Result<()> {
        if self.initstate.read(buffer)?.is_none_or(|state| state.trim_ascii() != b"1") {
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
    fn devices_are_summed_and_idle_ones_are_none() {
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
