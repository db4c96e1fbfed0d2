//! One CUDA driver library file: opens it as a process sees it, and finds the offsets of functions in it. The file may
//! be malicious: it is opened without leaving the process's root, and offsets outside its bounds are rejected.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use object::read::ReadCache;
use object::{Architecture, Object, ObjectSegment, ObjectSymbol};
use rustix::fs::{Mode, OFlags, ResolveFlags, open, openat2};

/// Size limit in bytes; driver libraries have some tens of megabytes.
const MAX_SIZE: u64 = 1 << 30;

/// Device and inode.
pub type Id = (u64, u64);

#[derive(Debug)]
pub enum Unusable {
    Unreadable(io::Error),
    /// Not a library that a process could have loaded.
    NotLibrary(String),
    /// Built for another architecture.
    Foreign(Architecture),
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unusable::Unreadable(error) => write!(f, "it cannot be read: {error}"),
            Unusable::NotLibrary(why) => write!(f, "it is not a library: {why}"),
            Unusable::Foreign(architecture) => {
                write!(f, "it is built for {architecture:?}, not for {}", std::env::consts::ARCH)
            }
        }
    }
}

impl std::error::Error for Unusable {}

impl From<io::Error> for Unusable {
    fn from(error: io::Error) -> Unusable {
        Unusable::Unreadable(error)
    }
}

/// Opens `path` relative to `root`; symlinks resolve below `root` too.
pub fn open_below(root: &Path, path: &Path) -> Result<(File, Id), Unusable> {
    let directory = open(root, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
    let directory = directory.map_err(io::Error::from)?;
    // A fifo at that path must not block.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    let file = openat2(&directory, path, flags, Mode::empty(), ResolveFlags::IN_ROOT).map_err(io::Error::from)?;
    let file = File::from(file);
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(Unusable::NotLibrary("not a regular file".into()));
    }
    if metadata.len() > MAX_SIZE {
        return Err(Unusable::NotLibrary(format!("{} bytes are more than a library has", metadata.len())));
    }
    Ok((file, (metadata.dev(), metadata.ino())))
}

/// The file offsets of those wanted functions that the library defines.
pub fn functions<'a>(file: &File, wanted: &[&'a str]) -> Result<BTreeMap<&'a str, u64>, Unusable> {
    let not_library = |error: object::Error| Unusable::NotLibrary(error.to_string());
    let cache = ReadCache::new(file);
    let elf = object::File::parse(&cache).map_err(not_library)?;
    if !is_native(elf.architecture()) {
        return Err(Unusable::Foreign(elf.architecture()));
    }
    let mut found = BTreeMap::new();
    for symbol in elf.dynamic_symbols().filter(|symbol| symbol.is_definition()) {
        let Ok(name) = symbol.name() else { continue };
        if let Some(name) = wanted.iter().find(|wanted| **wanted == name)
            && let Some(offset) = offset(&elf, symbol.address())
        {
            found.insert(*name, offset);
        }
    }
    Ok(found)
}

/// The file offset of an address in a loaded segment.
fn offset<'data, R: object::ReadRef<'data>>(elf: &object::File<'data, R>, address: u64) -> Option<u64> {
    elf.segments().find_map(|segment| {
        let within = address.checked_sub(segment.address())?;
        let (start, size) = segment.file_range();
        (within < size).then(|| start.checked_add(within)).flatten()
    })
}

fn is_native(architecture: Architecture) -> bool {
    match architecture {
        Architecture::X86_64 => cfg!(target_arch = "x86_64"),
        Architecture::Aarch64 => cfg!(target_arch = "aarch64"),
        Architecture::Riscv64 => cfg!(target_arch = "riscv64"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn file(name: &str, content: &[u8]) -> File {
        let path = std::env::temp_dir().join(format!("headroom-library-{}-{name}", std::process::id()));
        File::create(&path).unwrap().write_all(content).unwrap();
        let file = File::open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        file
    }

    /// Checked against this process's `malloc`: its address minus the start of the file's mapping.
    #[test]
    fn offsets_match_the_loaded_library() {
        let address = libc::malloc as *const () as usize as u64;
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let (start, at, path) = maps
            .lines()
            .find_map(|line| {
                let fields: Vec<_> = line.split_whitespace().collect();
                let (start, end) = fields[0].split_once('-')?;
                let number = |text| u64::from_str_radix(text, 16).ok();
                let (start, end) = (number(start)?, number(end)?);
                (start..end).contains(&address).then(|| (start, number(fields[2]).unwrap(), fields[5].to_owned()))
            })
            .unwrap();
        let (file, id) = open_below(Path::new("/"), Path::new(&path)).unwrap();
        assert_eq!(id.1, file.metadata().unwrap().ino());
        let found = functions(&file, &["malloc", "cuInit"]).unwrap();
        assert_eq!(found, BTreeMap::from([("malloc", address - start + at)]));
    }

    #[test]
    fn foreign_and_malformed_files_are_refused_with_a_reason() {
        let mut own = std::fs::read("/proc/self/exe").unwrap();
        for (name, content, why) in
            [("empty", b"".as_slice(), "not a library"), ("text", b"#!/bin/sh\n", "not a library")]
        {
            let refused = functions(&file(name, content), &["malloc"]).unwrap_err().to_string();
            assert!(refused.contains(why), "{refused}");
        }
        // e_machine: 22 is S390.
        own[18..20].copy_from_slice(&[22, 0]);
        let refused = functions(&file("foreign", &own), &["malloc"]).unwrap_err().to_string();
        assert!(refused.contains("it is built for S390x, not for"), "{refused}");
        own.truncate(100);
        assert!(functions(&file("cut", &own), &["malloc"]).is_err());
    }

    #[test]
    fn only_regular_files_below_the_root_are_opened() {
        for (root, path) in [("/", "/dev/null"), ("/", "/proc"), ("/", "/nowhere"), ("/nowhere", "/dev/null")] {
            assert!(open_below(Path::new(root), Path::new(path)).is_err(), "{root} {path}");
        }
        // A symlink out of the root does not resolve.
        let root = std::env::temp_dir().join(format!("headroom-root-{}", std::process::id()));
        std::fs::create_dir(&root).unwrap();
        std::os::unix::fs::symlink("/proc/self/exe", root.join("out")).unwrap();
        let opened = open_below(&root, Path::new("/out"));
        std::fs::remove_dir_all(&root).unwrap();
        assert!(opened.is_err());
    }
}
