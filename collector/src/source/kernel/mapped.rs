//! An array map in this process's memory: read and changed without system calls, while programs count in it. Only what is looked at
//! is mapped: each page of the rest would count as held by this process, and a host with many CPUs has tens of megabytes.

use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::AtomicU64;

use anyhow::{Context as _, Result};
use aya::maps::Map;
use rustix::mm::{MapFlags, ProtFlags, mmap, mmap_anonymous, munmap};

const WORD: usize = size_of::<AtomicU64>();

/// The words of an array's values, one value after the other. The map must have been made with BPF_F_MMAPABLE.
pub struct Mapped {
    /// Addresses for all of them.
    words: NonNull<AtomicU64>,
    length: usize,
    /// For each page, whether it is mapped.
    pages: Vec<bool>,
    page: usize,
    file: OwnedFd,
}

// SAFETY: the memory belongs to this value alone, and its words are only used as atomics.
unsafe impl Send for Mapped {}

impl Mapped {
    /// Takes the map out of the loaded object.
    pub fn take(ebpf: &mut aya::Ebpf, name: &str) -> Result<Mapped> {
        let Some(Map::Array(map)) = ebpf.take_map(name) else { anyhow::bail!("map {name} is not an array") };
        let info = map.info().with_context(|| format!("describe map {name}"))?;
        let length = info.max_entries() as usize * (info.value_size() as usize).div_ceil(WORD);
        let file = map.fd().as_fd().try_clone_to_owned().with_context(|| format!("keep map {name} open"))?;
        Mapped::over(file, length).with_context(|| format!("make room for map {name}"))
    }

    /// The same, and maps all of it.
    pub fn whole(ebpf: &mut aya::Ebpf, name: &str) -> Result<Mapped> {
        let mut mapped = Mapped::take(ebpf, name)?;
        mapped.map(0..mapped.length).with_context(|| format!("map {name} into memory"))?;
        Ok(mapped)
    }

    fn over(file: OwnedFd, length: usize) -> Result<Mapped> {
        let page = rustix::param::page_size();
        let pages = vec![false; (length * WORD).div_ceil(page)];
        // SAFETY: a new mapping at an address that the kernel chooses.
        let address = unsafe {
            mmap_anonymous(null_mut(), pages.len() * page, ProtFlags::empty(), MapFlags::PRIVATE | MapFlags::NORESERVE)
        };
        let words = NonNull::new(address?.cast()).context("the kernel mapped memory at address 0")?;
        Ok(Mapped { words, length, pages, page, file })
    }

    /// Number of words.
    pub fn length(&self) -> usize {
        self.length
    }

    /// Maps the pages of these words, as far as they are not mapped yet.
    pub fn map(&mut self, words: Range<usize>) -> Result<()> {
        let (mut at, end) = (words.start * WORD / self.page, (words.end.min(self.length) * WORD).div_ceil(self.page));
        while let Some(first) = self.pages.get(at..end).and_then(|pages| pages.iter().position(|mapped| !mapped)) {
            let begin = at + first;
            let count = self.pages[begin..end].iter().take_while(|mapped| !**mapped).count();
            let access = ProtFlags::READ | ProtFlags::WRITE;
            let (offset, bytes) = (begin * self.page, count * self.page);
            // SAFETY: these addresses are of this value's own, within its room, and nothing refers to them: they were not readable.
            unsafe {
                let address = self.words.as_ptr().byte_add(offset).cast();
                mmap(address, bytes, access, MapFlags::SHARED | MapFlags::FIXED, self.file.as_fd(), offset as u64)
            }
            .context("map a part of a map into memory")?;
            self.pages[begin..begin + count].fill(true);
            at = begin + count;
        }
        Ok(())
    }

    /// These words; `None` if there are not so many, or not all are mapped.
    pub fn words(&self, words: Range<usize>) -> Option<&[AtomicU64]> {
        let pages = words.start * WORD / self.page..(words.end * WORD).div_ceil(self.page);
        if words.start > words.end || words.end > self.length || !self.pages.get(pages)?.iter().all(|mapped| *mapped) {
            return None;
        }
        // SAFETY: these pages are mapped, as long as this value lives; page-aligned; any bits are a number.
        Some(unsafe { std::slice::from_raw_parts(self.words.as_ptr().add(words.start), words.len()) })
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // SAFETY: mapped by `over` with this length, and nothing refers to it any more.
        let _ = unsafe { munmap(self.words.as_ptr().cast(), self.pages.len() * self.page) };
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Write as _;
    use std::sync::atomic::Ordering::Relaxed;

    use rustix::fs::{MemfdFlags, memfd_create};

    use super::*;

    /// Five pages and a half of words; each has its number.
    fn mapped() -> (Mapped, usize) {
        let in_page = rustix::param::page_size() / WORD;
        let length = 5 * in_page + in_page / 2;
        let mut file = File::from(memfd_create("words", MemfdFlags::CLOEXEC).unwrap());
        let words: Vec<u8> = (0..6 * in_page as u64).flat_map(u64::to_ne_bytes).collect();
        file.write_all(&words).unwrap();
        (Mapped::over(file.into(), length).unwrap(), in_page)
    }

    /// KiB of these pages that are resident.
    fn resident(mapped: &Mapped) -> usize {
        let text = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let begin = mapped.words.as_ptr() as usize;
        let within = |line: &str| {
            let at = line.split_once('-').and_then(|(at, _)| usize::from_str_radix(at, 16).ok());
            at.map(|at| (begin..begin + mapped.pages.len() * mapped.page).contains(&at))
        };
        let mut here = false;
        let mut sum = 0;
        for line in text.lines() {
            here = within(line.split(' ').next().unwrap_or_default()).unwrap_or(here);
            if let Some(size) = line.strip_prefix("Rss:").filter(|_| here) {
                sum += size.trim().trim_end_matches(" kB").parse::<usize>().unwrap();
            }
        }
        sum
    }

    #[test]
    fn what_is_looked_at_is_mapped_and_nothing_else() {
        let (mut mapped, page) = mapped();
        assert!(mapped.words(0..1).is_none(), "not yet");
        assert_eq!(resident(&mapped), 0);
        mapped.map(page - 1..page + 1).unwrap();
        let read = |mapped: &Mapped, range: Range<usize>| -> Option<Vec<u64>> {
            mapped.words(range).map(|words| words.iter().map(|word| word.load(Relaxed)).collect())
        };
        let last = page as u64 - 1;
        assert_eq!(read(&mapped, page - 1..page + 1), Some(vec![last, last + 1]), "across two pages");
        assert_eq!(read(&mapped, 0..2), Some(vec![0, 1]));
        assert_eq!(read(&mapped, 2 * page - 1..2 * page + 1), None, "the second of these is on the third page");
        mapped.words(0..1).unwrap()[0].store(77, Relaxed);
        // The fourth page, and then all around it.
        mapped.map(3 * page..3 * page + 1).unwrap();
        mapped.map(0..mapped.length()).unwrap();
        assert_eq!(read(&mapped, 0..1), Some(vec![77]), "what is mapped stays");
        let all = read(&mapped, 0..mapped.length()).unwrap();
        assert!(all.iter().enumerate().skip(1).all(|(at, word)| at as u64 == *word));
        assert_eq!(all.len(), 5 * page + page / 2);
        assert!(mapped.words(0..mapped.length() + 1).is_none(), "there are not so many");
    }

    #[test]
    fn nothing_is_mapped_beyond_the_end() {
        let (mut mapped, page) = mapped();
        mapped.map(5 * page..100 * page).unwrap();
        mapped.map(50 * page..51 * page).unwrap();
        assert!(mapped.words(5 * page..5 * page + 1).is_some() && mapped.words(50 * page..50 * page + 1).is_none());
        assert_eq!(mapped.pages.iter().filter(|mapped| **mapped).count(), 1);
    }
}
