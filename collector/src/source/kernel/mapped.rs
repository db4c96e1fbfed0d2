//! An array map in this process's memory: read and changed without system calls, while programs count in it.

use std::os::fd::AsFd;
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::AtomicU64;

use anyhow::{Context as _, Result};
use aya::maps::{Map, MapData};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// The words of an array's values, one value after the other. The map must have been made with BPF_F_MMAPABLE.
pub struct Mapped {
    words: NonNull<AtomicU64>,
    length: usize,
    _map: MapData,
}

// SAFETY: the memory belongs to this value alone, and its words are only used as atomics.
unsafe impl Send for Mapped {}

impl Mapped {
    /// Takes the map out of the loaded object.
    pub fn take(ebpf: &mut aya::Ebpf, name: &str) -> Result<Mapped> {
        let Some(Map::Array(map)) = ebpf.take_map(name) else { anyhow::bail!("map {name} is not an array") };
        let info = map.info().with_context(|| format!("describe map {name}"))?;
        let length = info.max_entries() as usize * (info.value_size() as usize).div_ceil(size_of::<u64>());
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping at an address that the kernel chooses.
        let address =
            unsafe { mmap(null_mut(), length * size_of::<u64>(), access, MapFlags::SHARED, map.fd().as_fd(), 0) };
        let address = address.with_context(|| format!("map {name} into memory"))?;
        let words = NonNull::new(address.cast()).context("the kernel mapped a map at address 0")?;
        Ok(Mapped { words, length, _map: map })
    }

    /// All words.
    pub fn words(&self) -> &[AtomicU64] {
        // SAFETY: as long as the mapping, which lives as long as this value; page-aligned; any bits are a number.
        unsafe { std::slice::from_raw_parts(self.words.as_ptr(), self.length) }
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // SAFETY: mapped by `take` with this length, and nothing refers to it any more.
        let _ = unsafe { munmap(self.words.as_ptr().cast(), self.length * size_of::<u64>()) };
    }
}
