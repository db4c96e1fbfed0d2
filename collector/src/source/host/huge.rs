//! Pools of huge pages of all sizes: `/sys/kernel/mm/hugepages/hugepages-1048576kB/` (Documentation/admin-guide/mm/hugetlbpage.rst).
//! `/proc/meminfo` has the free ones of the default size only. Not read on a host without such pools.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use collector_core::statistic::host::{Statistic, Values};

use crate::source::kept::KeptFile;
use crate::source::text::number;
use Statistic::*;

const FILES: [(&str, Statistic); 3] = [
    ("nr_hugepages", MemoryHugePages),
    ("free_hugepages", MemoryHugePagesFree),
    ("resv_hugepages", MemoryHugePagesReserved),
];

pub struct HugePages {
    directory: PathBuf,
    /// Size of a page in bytes, and its files; empty until there are huge pages.
    pools: Vec<(u64, [KeptFile; FILES.len()])>,
}

impl HugePages {
    /// The pools below this `/sys`.
    pub fn new(sys: &Path) -> HugePages {
        HugePages { directory: sys.join("kernel/mm/hugepages"), pools: Vec::new() }
    }

    /// Replaces the numbers of the default size by those of all sizes.
    pub fn read(&mut self, buffer: &mut Vec<u8>, values: &mut Values) -> io::Result<()> {
        if values.get(MemoryHugePages).unwrap_or(0) == 0 {
            return Ok(());
        }
        if self.pools.is_empty() {
            self.pools = pools(&self.directory)?;
        }
        let mut sums = Values::new();
        for (size, files) in &mut self.pools {
            for (file, (_, statistic)) in files.iter_mut().zip(FILES) {
                if let Some(pages) = file.read(buffer)?.and_then(|text| number(text.trim_ascii())) {
                    sums.add(statistic, pages.saturating_mul(*size));
                }
            }
        }
        sums.iter().for_each(|(statistic, bytes)| values.set(statistic, bytes));
        Ok(())
    }
}

fn pools(directory: &Path) -> io::Result<Vec<(u64, [KeptFile; FILES.len()])>> {
    let mut pools = Vec::new();
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(pools),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let kib = name.to_str().and_then(|name| name.strip_prefix("hugepages-")?.strip_suffix("kB"));
        if let Some(kib) = kib.and_then(|kib| number(kib.as_bytes())) {
            pools.push((kib.saturating_mul(1024), FILES.map(|(name, _)| KeptFile::new(entry.path().join(name)))));
        }
    }
    Ok(pools)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::test::Tree;

    #[test]
    fn pools_of_all_sizes_count() {
        let tree = Tree::new();
        for (size, [all, free, reserved]) in [("2048kB", [9, 8, 0]), ("1048576kB", [4, 3, 1])] {
            for (name, pages) in [("nr_hugepages", all), ("free_hugepages", free), ("resv_hugepages", reserved)] {
                tree.write(&format!("kernel/mm/hugepages/hugepages-{size}/{name}"), &format!("{pages}\n"));
            }
        }
        tree.write("kernel/mm/hugepages/other/nr_hugepages", "7\n");
        const GIB: u64 = 1 << 30;
        const MIB: u64 = 1 << 20;
        let read = |directory: &Path, all: u64| {
            let mut values = Values::from_iter([(MemoryHugePages, all), (MemoryHugePagesFree, 1)]);
            HugePages::new(directory).read(&mut Vec::new(), &mut values).unwrap();
            [MemoryHugePages, MemoryHugePagesFree, MemoryHugePagesReserved].map(|it| values.get(it))
        };
        assert_eq!(read(&tree.0, 5), [Some(18 * MIB + 4 * GIB), Some(16 * MIB + 3 * GIB), Some(GIB)]);
        assert_eq!(read(&tree.0, 0), [Some(0), Some(1), None], "a host without huge pages");
        assert_eq!(read(&tree.0.join("no"), 5), [Some(5), Some(1), None]);
    }
}
