//! What /proc says of one process: the model files that its command line names, that it has mapped and open, and how often it waited
//! for a page. Opens none of these files. May block, as long as the process holds the lock of its memory.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read as _};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use collector_core::model_file::{digest, is_model};

use crate::source::text::{cut, fields, lines, number};

/// Limits on what is read of a process.
const ARGUMENTS: u64 = 64 << 10;
const MAPS: u64 = 64 << 20;
const STATUS: u64 = 16 << 10;
const MOUNTS: u64 = 4 << 20;
const DESCRIPTORS: usize = 4096;
const CHILDREN: usize = 64;
/// Limit on the files of a process that are looked at.
pub const MOST: usize = 64;

/// A file that a process has mapped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapped {
    /// In the process's eyes.
    pub path: PathBuf,
    pub inode: u64,
    /// Bytes of address space.
    pub bytes: u64,
    /// Removed or replaced since.
    pub deleted: bool,
}

/// Whether a file matters: a model, or what a store may have, however small it is.
pub fn matters(name: &[u8], bytes: u64) -> bool {
    is_model(name, bytes) || digest(name).is_some()
}

/// The paths that a command line may mean as files or folders of models: whole arguments, and what follows `=`.
pub fn arguments(process: &Path) -> io::Result<Vec<PathBuf>> {
    Ok(named(&read(&process.join("cmdline"), ARGUMENTS)?))
}

fn named(line: &[u8]) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = Vec::new();
    let words = line.split(|byte| *byte == 0).skip(1);
    let values = words.flat_map(|word| [Some(word), cut(word, b'=').map(|(_, value)| value)]).flatten();
    for value in values.filter(|value| value.starts_with(b"/")) {
        let path = PathBuf::from(OsStr::from_bytes(value));
        if found.len() < MOST && !found.contains(&path) {
            found.push(path);
        }
    }
    found
}

/// The models that it has mapped.
///
/// # Errors
/// It may not be looked into, or has ended.
pub fn mapped(process: &Path) -> io::Result<Vec<Mapped>> {
    parse(BufReader::with_capacity(64 << 10, File::open(process.join("maps"))?.take(MAPS)))
}

/// `START-END PERM OFFSET DEVICE INODE  PATH` (proc_pid_maps(5))
fn parse(mut maps: impl BufRead) -> io::Result<Vec<Mapped>> {
    let mut found: BTreeMap<(Vec<u8>, u64), Mapped> = BTreeMap::new();
    let mut line = Vec::new();
    loop {
        line.clear();
        if maps.read_until(b'\n', &mut line)? == 0 {
            return Ok(found.into_values().collect());
        }
        let Some(start) = line.iter().position(|byte| *byte == b'/') else { continue };
        let (head, path) = line.split_at(start);
        let path = path.strip_suffix(b"\n").unwrap_or(path);
        let (path, deleted) = path.strip_suffix(b" (deleted)").map_or((path, false), |path| (path, true));
        let mut head = fields(head);
        let range = head.next().and_then(|range| cut(range, b'-'));
        let ends = range.and_then(|(from, to)| Some((hexadecimal(from)?, hexadecimal(to)?)));
        let (Some((from, to)), Some(device), Some(inode)) = (ends, head.nth(2), head.next().and_then(number)) else {
            continue;
        };
        let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        let bytes = to.saturating_sub(from);
        if !matters(name, bytes) {
            continue;
        }
        let key = (device.to_vec(), inode);
        if let Some(known) = found.get_mut(&key) {
            known.bytes = known.bytes.saturating_add(bytes);
        } else if found.len() < MOST {
            // The kernel writes a newline in a path as `\012`, and nothing else (`seq_path_root`).
            let path = replace(path).into();
            found.insert(key, Mapped { path, inode, bytes, deleted });
        }
    }
}

fn replace(path: &[u8]) -> std::ffi::OsString {
    let mut plain = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((first, after)) = rest.split_first() {
        let newline = rest.starts_with(b"\\012");
        plain.push(if newline { b'\n' } else { *first });
        rest = if newline { &rest[4..] } else { after };
    }
    std::ffi::OsString::from_vec(plain)
}

fn hexadecimal(digits: &[u8]) -> Option<u64> {
    u64::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()
}

/// The files that it has open: their paths, and device and inode, because by now something else may have that path.
///
/// # Errors
/// It may not be looked into, or has ended.
pub fn open(process: &Path) -> io::Result<Vec<(PathBuf, (u64, u64))>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(process.join("fd"))?.take(DESCRIPTORS) {
        let link = entry?.path();
        let Ok(path) = fs::read_link(&link) else { continue };
        let name = path.file_name().unwrap_or_default().as_bytes();
        // How large it is shows later.
        if !path.is_absolute() || !matters(name, u64::MAX) || found.len() >= MOST {
            continue;
        }
        // Opens nothing: the link leads to the file itself.
        let Ok(is) = fs::metadata(&link) else { continue };
        let open = (path, (is.dev(), is.ino()));
        if !found.contains(&open) {
            found.push(open);
        }
    }
    Ok(found)
}

/// Its mounts, as proc(5)'s `mountinfo`.
pub fn mounts(process: &Path) -> io::Result<Vec<u8>> {
    read(&process.join("mountinfo"), MOUNTS)
}

/// Its page faults that needed IO: field 12 of `stat`, whose second field may contain any text in parentheses.
pub fn faults(process: &Path) -> Option<u64> {
    let stat = read(&process.join("stat"), STATUS).ok()?;
    let end = stat.iter().rposition(|byte| *byte == b')')?;
    number(fields(&stat[end + 1..]).nth(9)?)
}

/// Bytes of files that a cgroup read again, from its `memory.stat`; the second name is that of kernels before 5.9.
pub fn refaulted(cgroup: &Path) -> Option<u64> {
    let text = read(&cgroup.join("memory.stat"), STATUS).ok()?;
    let value = |name: &[u8]| lines(&text).find_map(|line| line.strip_prefix(name));
    let pages = number(value(b"workingset_refault_file ").or_else(|| value(b"workingset_refault "))?)?;
    Some(pages.saturating_mul(rustix::param::page_size() as u64))
}

/// The processes that its main thread started.
pub fn children(process: &Path, pid: u32) -> Vec<u32> {
    let text = read(&process.join("task").join(pid.to_string()).join("children"), STATUS).unwrap_or_default();
    let pids = fields(&text).filter_map(number).filter_map(|pid| u32::try_from(pid).ok());
    pids.take(CHILDREN).collect()
}

fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    File::open(path)?.take(most).read_to_end(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_command_line_names_paths() {
        let found = named(b"/usr/bin/llama-server\0-m\0/models/a.gguf\0--mmproj=/models/b.gguf\0--port\080\0a/b.gguf\0/models/a.gguf\0");
        assert_eq!(found, [Path::new("/models/a.gguf"), Path::new("/models/b.gguf")]);
        assert_eq!(named(&b"\0/a".repeat(9999)).len(), 1);
        assert_eq!(named(b""), [""; 0].map(PathBuf::from));
    }

    #[test]
    fn models_in_maps_are_added_up() {
        let maps = b"\
7f00-7f10 r--p 00000000 fe:01 77                         /usr/bin/python3.11
100000000-140000000 r--s 00000000 fe:01 1234             /srv/a b.gguf
140000000-150000000 r--s 40000000 fe:01 1234             /srv/a b.gguf
200000000-200001000 r--s 00000000 fe:01 8                /srv/x\\012y.safetensors (deleted)
300000000-300001000 r--s 00000000 fe:01 9                /srv/small.bin
7f02-7f03 rw-p 00000000 00:00 0
zz-zz r--s 00000000 fe:01 9                /srv/b.gguf
";
        let found = parse(&maps[..]).unwrap();
        let mapped = |path: &str, inode, bytes, deleted| Mapped { path: path.into(), inode, bytes, deleted };
        let wanted =
            [mapped("/srv/x\ny.safetensors", 8, 4096, true), mapped("/srv/a b.gguf", 1234, 0x5000_0000, false)];
        assert_eq!(found, wanted);
        let many: String = (0..999).map(|inode| format!("0-1000 r--s 0 fe:01 {inode} /srv/{inode}.gguf\n")).collect();
        assert_eq!(parse(many.as_bytes()).unwrap().len(), MOST);
    }

    #[test]
    fn this_process_shows_what_it_does() {
        let own = Path::new("/proc/self");
        let path = std::env::temp_dir().join(format!("headroom-process-{}.gguf", std::process::id()));
        let file = File::create_new(&path).unwrap();
        file.set_len(1 << 20).unwrap();
        // Other tests of this process may have files open, too.
        let is = file.metadata().unwrap();
        assert!(open(own).unwrap().contains(&(path.clone(), (is.dev(), is.ino()))));
        assert!(mapped(own).unwrap().is_empty());
        // SAFETY: a new mapping of a file that the test keeps.
        let map = unsafe {
            let (read, shared) = (rustix::mm::ProtFlags::READ, rustix::mm::MapFlags::SHARED);
            rustix::mm::mmap(std::ptr::null_mut(), 1 << 20, read, shared, &file, 0).unwrap()
        };
        let found = mapped(own).unwrap();
        // SAFETY: mapped above, and not used.
        unsafe { rustix::mm::munmap(map, 1 << 20).unwrap() };
        fs::remove_file(&path).unwrap();
        assert_eq!(found.iter().map(|mapped| (&mapped.path, mapped.bytes)).collect::<Vec<_>>(), [(&path, 1 << 20)]);
        assert!(faults(own).is_some());
        assert!(mounts(own).unwrap().len() > 9);
        assert_eq!(mapped(Path::new("/proc/4294967295")).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    proptest! {
        #[test]
        fn any_maps_are_accepted(bytes: Vec<u8>, more in "([0-9a-f]{0,4}-?[ /a-z.]{0,9}\n?){0,19}") {
            let _ = parse(&bytes[..]);
            let found = parse(more.as_bytes()).unwrap();
            prop_assert!(found.len() <= MOST);
            named(&bytes);
        }
    }
}
