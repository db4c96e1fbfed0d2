//! Settings of the kernel's memory management that seldom change: `vm.watermark_scale_factor` (Documentation/admin-guide/sysctl/vm.rst)
//! and those of transparent huge pages (Documentation/admin-guide/mm/transhuge.rst). Read once in some minutes. Knows not what they lead to.

use std::path::Path;

use anyhow::{Context as _, Result};
use collector_core::statistic::host::{DEFRAG, Statistic, Values};

use crate::source::kept::KeptFile;
use crate::source::text::number;
use Statistic::*;

/// Read once in this many ticks.
const INTERVAL: u32 = 120;

const PROC: &str = "sys/vm/watermark_scale_factor";
const SYS: [&str; 2] = ["kernel/mm/transparent_hugepage/enabled", "kernel/mm/transparent_hugepage/defrag"];

type Parse = fn(&[u8]) -> Option<u64>;

pub struct Settings {
    files: [(KeptFile, Statistic, Parse); 3],
    /// Ticks until they are read again.
    rests: u32,
    held: Values,
}

impl Settings {
    pub fn new(proc: &Path, sys: &Path) -> Settings {
        let [enabled, defrag] = SYS.map(|name| KeptFile::at_once(sys.join(name)));
        let files: [(KeptFile, Statistic, Parse); 3] = [
            (KeptFile::at_once(proc.join(PROC)), WatermarkScaleFactor, |text| number(text.trim_ascii())),
            (enabled, HugePagesEnabled, |text| chosen(text, &["never", "madvise", "always"])),
            (defrag, HugePagesDefrag, |text| chosen(text, &DEFRAG)),
        ];
        Settings { files, rests: 0, held: Values::new() }
    }

    /// Adds them. What this kernel does not have is absent.
    pub fn read(&mut self, buffer: &mut Vec<u8>, values: &mut Values) -> Result<()> {
        let mut result = Ok(());
        if self.rests == 0 {
            self.rests = INTERVAL;
            for (file, statistic, parse) in &mut self.files {
                let read = file.read(buffer).map(|text| text.and_then(parse));
                self.held.put(*statistic, read.as_ref().ok().copied().flatten());
                result = result.and(read.map(drop).with_context(|| format!("read {}", file.path().display())));
            }
        }
        self.rests -= 1;
        self.held.iter().for_each(|(statistic, value)| values.set(statistic, value));
        result
    }
}

/// The place of the one in brackets: `always [madvise] never`. A word that is not known has none.
fn chosen(text: &[u8], words: &[&str]) -> Option<u64> {
    let from = text.iter().position(|byte| *byte == b'[')? + 1;
    let length = text[from..].iter().position(|byte| *byte == b']')?;
    let word = &text[from..][..length];
    words.iter().position(|known| known.as_bytes() == word).map(|place| place as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::test::Tree;

    fn read(settings: &mut Settings) -> [Option<u64>; 3] {
        let mut values = Values::new();
        settings.read(&mut Vec::new(), &mut values).unwrap();
        [WatermarkScaleFactor, HugePagesEnabled, HugePagesDefrag].map(|statistic| values.get(statistic))
    }

    #[test]
    fn the_word_in_brackets_counts_and_what_is_not_known_is_absent() {
        let tree = Tree::new();
        let mut settings = Settings::new(&tree.0.join("proc"), &tree.0.join("sys"));
        assert_eq!(read(&mut settings), [None; 3]);
        tree.write("proc/sys/vm/watermark_scale_factor", "150\n");
        tree.write("sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n");
        tree.write("sys/kernel/mm/transparent_hugepage/defrag", "always defer [defer+madvise] madvise never\n");
        for _ in 1..INTERVAL {
            assert_eq!(read(&mut settings), [None; 3], "they are not read at every tick");
        }
        assert_eq!(read(&mut settings), [Some(150), Some(1), Some(3)]);
        tree.write("sys/kernel/mm/transparent_hugepage/defrag", "always [sometimes] never\n");
        assert_eq!(read(&mut settings)[2], Some(3));
        for _ in 2..INTERVAL {
            read(&mut settings);
        }
        assert_eq!(read(&mut settings), [Some(150), Some(1), None], "a word of a later kernel");
    }

    #[test]
    fn without_brackets_nothing_is_chosen() {
        for text in ["", "[", "always madvise", "]always[", "[]"] {
            assert_eq!(chosen(text.as_bytes(), &["never", "always"]), None, "{text:?}");
        }
        assert_eq!(chosen(b"[always] madvise never\n", &["never", "madvise", "always"]), Some(2));
    }
}
