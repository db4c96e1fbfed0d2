//! The processes of some cgroups, as somebody asks for them: the largest, with their memory. Reads two kinds of files of /proc and
//! cgroupfs, which block on nothing. Never reads command lines: they hold secrets.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::fs::File;
use std::io::{self, ErrorKind, Read as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use collector_core::api::process::{Process, Processes};
use collector_core::text::escape;

use super::cgroup::{Hierarchies, Hierarchy};
use super::root::Root;
use super::text::{fields, lines, number};

/// Processes that are read, and those that are shown.
const MOST: usize = 5000;
const SHOWN: usize = 50;
/// Bytes that are read of a list of processes, and of a status.
const LIST: u64 = 1 << 20;
const STATUS: u64 = 16 << 10;
/// How long reading goes on.
const PATIENCE: Duration = Duration::from_secs(1);

/// Where processes and their cgroups are.
#[derive(Debug)]
pub struct Members {
    proc: PathBuf,
    memory: Hierarchy,
}

impl Members {
    pub fn new(root: &Root, hierarchies: &Hierarchies) -> Members {
        Members { proc: root.at("/proc"), memory: hierarchies.memory.clone() }
    }

    /// Reads the processes of the cgroups at these paths of the memory controller's hierarchy.
    pub fn of(&self, cgroups: &[impl AsRef<str>]) -> Processes {
        let directories = cgroups.iter().map(|path| self.memory.directory(path.as_ref().trim_end_matches('/')));
        of(&self.proc, directories)
    }
}

#[cfg(test)]
impl Default for Members {
    fn default() -> Members {
        let memory = Hierarchy { id: 0, root: "/sys/fs/cgroup".into(), prefix: String::new() };
        Members { proc: "/proc".into(), memory }
    }
}

/// What could not be read, by number.
#[derive(Default)]
struct Unread {
    /// Cgroups: for want of time, and for the last reason otherwise.
    late: usize,
    failed: usize,
    why: String,
    /// Processes: for want of time; of another pid namespace; and those that /proc does not have.
    pids_late: usize,
    foreign: usize,
    gone: usize,
}

/// `None` is a cgroup that the agent does not see.
fn of(proc: &Path, directories: impl Iterator<Item = Option<PathBuf>>) -> Processes {
    let until = Instant::now() + PATIENCE;
    let mut unread = Unread::default();
    let mut pids = listed(directories, until, &mut unread);
    let all = pids.len();
    pids.retain(|pid| *pid != 0);
    unread.foreign = all - pids.len();
    let (mut tried, mut known) = (0, Vec::new());
    for pid in pids.iter().take(MOST).take_while(|_| Instant::now() < until) {
        tried += 1;
        let status = read(&proc.join(pid.to_string()).join("status"), STATUS);
        known.extend(status.ok().and_then(|text| process(*pid, &text)));
    }
    (unread.pids_late, unread.gone) = (pids.len() - tried, tried - known.len());
    let count = known.len() + unread.pids_late + unread.foreign;
    // Then it is not known whether there are none.
    let nothing = count == 0 && unread.late + unread.failed + unread.gone > 0;
    known.sort_by_key(|process| (Reverse(process.held()), process.pid));
    known.truncate(SHOWN);
    Processes { count: (!nothing).then_some(count as u64), largest: known, missing: unread.text() }
}

/// The pids of all these cgroups: 0 is a process of another pid namespace.
fn listed(directories: impl Iterator<Item = Option<PathBuf>>, until: Instant, unread: &mut Unread) -> Vec<u64> {
    let mut pids = Vec::new();
    for directory in directories {
        if Instant::now() >= until {
            unread.late += 1;
            continue;
        }
        let list = directory.map_or_else(
            || Err(io::Error::other("the agent does not see them")),
            |directory| read(&directory.join("cgroup.procs"), LIST),
        );
        match list {
            Ok(text) => pids.extend(lines(&text).filter_map(number)),
            Err(error) if has_none(&error) => {}
            Err(error) => (unread.failed, unread.why) = (unread.failed + 1, error.to_string()),
        }
    }
    // One process has a pid in a cgroup once, but may move while they are read.
    pids.sort_unstable();
    pids.dedup();
    pids
}

/// Whether a list of processes cannot be read because the cgroup was removed, also while its file was open, or has only threads,
/// whose processes are in the list of a cgroup above it.
fn has_none(error: &io::Error) -> bool {
    error.kind() == ErrorKind::NotFound || [libc::ENODEV, libc::EOPNOTSUPP].map(Some).contains(&error.raw_os_error())
}

impl Unread {
    /// In words, if anything could not be read.
    fn text(&self) -> Option<String> {
        let Unread { late, failed, why, pids_late, foreign, gone } = self;
        let parts = [
            (*late, format!("those of {late} cgroups were not read: it took too long")),
            (*failed, format!("those of {failed} cgroups could not be read: {why}")),
            (*pids_late, format!("{pids_late} were not read: there are too many, or it took too long")),
            (*foreign, format!("{foreign} are in another pid namespace than the agent")),
            (*gone, format!("{gone} could not be read: they ended, or /proc hides them (hidepid)")),
        ];
        let said: Vec<_> = parts.into_iter().filter(|(count, _)| *count > 0).map(|(_, text)| text).collect();
        (!said.is_empty()).then(|| said.join("; "))
    }
}

/// The beginning of a file, as far as whole lines go.
fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    File::open(path)?.take(most).read_to_end(&mut text)?;
    if text.len() as u64 == most {
        text.truncate(text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1));
    }
    Ok(text)
}

/// From `/proc/PID/status`; `None` if it is that of a process that has ended.
fn process(pid: u64, status: &[u8]) -> Option<Process> {
    let value = |name: &[u8]| lines(status).find_map(|line| line.strip_prefix(name));
    let bytes = |name: &[u8]| Some(number(fields(value(name)?).next()?)?.saturating_mul(1024));
    let comm = value(b"Name:\t")?;
    Some(Process {
        pid: u32::try_from(pid).ok()?,
        comm: escape(&plain(comm)).into_owned(),
        resident_bytes: bytes(b"VmRSS:"),
        swap_bytes: bytes(b"VmSwap:"),
    })
}

/// The kernel escapes newlines and backslashes in the name (`proc_task_name` in fs/proc/array.c), and nothing else.
fn plain(comm: &[u8]) -> Cow<'_, [u8]> {
    if !comm.contains(&b'\\') {
        return Cow::Borrowed(comm);
    }
    let mut plain = Vec::with_capacity(comm.len());
    let mut bytes = comm.iter().copied();
    while let Some(byte) = bytes.next() {
        plain.push(match byte {
            b'\\' => match bytes.next() {
                Some(b'n') => b'\n',
                Some(escaped) => escaped,
                None => byte,
            },
            byte => byte,
        });
    }
    Cow::Owned(plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::process::{Command, Stdio};
    use std::sync::atomic::{AtomicU32, Ordering};

    struct Folder(PathBuf);

    impl Folder {
        fn new() -> Folder {
            static NEXT: AtomicU32 = AtomicU32::new(0);
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let path = std::env::temp_dir().join(format!("headroom-member-{}-{number}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Folder(path)
        }

        fn write(&self, name: &str, text: &str) {
            let path = self.0.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }

        /// Of a process with so many KiB resident and swapped.
        fn process(&self, pid: u32, resident: u64, swapped: u64) {
            let text = format!("Name:\tp{pid}\nPid:\t{pid}\nVmRSS:\t{resident:>8} kB\nVmSwap:\t{swapped:>8} kB\n");
            self.write(&format!("proc/{pid}/status"), &text);
        }

        fn of(&self, cgroups: &[&str]) -> Processes {
            of(&self.0.join("proc"), cgroups.iter().map(|name| Some(self.0.join(name))))
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_real_process_is_read_and_its_name_can_be_shown() {
        let script = "printf 'a\\nb\\\\c\\033\\377' >/proc/$$/comm; echo; read _";
        let mut child = Command::new("sh");
        let mut child = child.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let _ = child.stdout.as_mut().unwrap().read(&mut [0]);
        let folder = Folder::new();
        folder.write("a/cgroup.procs", &format!("{}\n", child.id()));
        let read = || of(Path::new("/proc"), ["a", "gone"].map(|name| Some(folder.0.join(name))).into_iter());
        let found = read();
        child.kill().unwrap();
        child.wait().unwrap();
        let [process] = &found.largest[..] else { panic!("{found:?}") };
        assert_eq!((found.count, process.pid), (Some(1), child.id()));
        assert_eq!(process.comm, escape(b"a\nb\\c\x1b\xff"), "{process:?}");
        assert!(!process.comm.contains(['\n', '\x1b']), "{process:?}");
        assert!(process.resident_bytes.unwrap() > 4096 && process.swap_bytes.is_some());
        let ended = read();
        assert_eq!((ended.count, ended.largest), (None, Vec::new()), "it has ended, or is hidden");
        assert!(ended.missing.unwrap().contains("hidepid"));
    }

    #[test]
    fn the_largest_of_all_cgroups_come_first_and_the_rest_is_counted() {
        let folder = Folder::new();
        for pid in 1..=200 {
            folder.process(pid, u64::from(pid), if pid == 7 { 10_000 } else { 0 });
        }
        folder.write("proc/300/status", "Name:\tkthread\nPid:\t300\n");
        let pids = |from: u32, to: u32| (from..=to).map(|pid| format!("{pid}\n")).collect::<String>();
        folder.write("a/cgroup.procs", &pids(1, 100));
        // One has moved, one has ended, one is nobody's here.
        folder.write("b/cgroup.procs", &format!("{}0\n300\n400\n", pids(100, 200)));
        let found = folder.of(&["a", "b"]);
        assert_eq!((found.count, found.largest.len()), (Some(202), SHOWN));
        let first: Vec<_> = found.largest[..3].iter().map(|process| (process.pid, process.resident_bytes)).collect();
        assert_eq!(first, [(7, Some(7 << 10)), (200, Some(200 << 10)), (199, Some(199 << 10))]);
        let missing = "1 are in another pid namespace than the agent; 1 could not be read: they ended, or /proc hides them (hidepid)";
        assert_eq!(found.missing.as_deref(), Some(missing));
        assert_eq!(folder.of(&[]), Processes { count: Some(0), largest: Vec::new(), missing: None });
    }

    #[test]
    fn a_cgroup_that_cannot_be_read_is_not_an_empty_one() {
        let folder = Folder::new();
        folder.process(1, 1, 0);
        folder.write("a/cgroup.procs", "1\n");
        fs::create_dir_all(folder.0.join("b/cgroup.procs")).unwrap();
        let (none, some) = (folder.of(&["b"]), folder.of(&["a", "b", "removed"]));
        assert_eq!((none.count, some.count, some.largest.len()), (None, Some(1), 1));
        for missing in [none.missing, some.missing, of(&folder.0, [None].into_iter()).missing] {
            assert!(missing.unwrap().starts_with("those of 1 cgroups could not be read: "));
        }
        assert_eq!(folder.of(&["removed"]), Processes { count: Some(0), ..Processes::default() });
    }

    #[test]
    fn as_many_as_anybody_makes_are_bounded() {
        let folder = Folder::new();
        (1..=3).for_each(|pid| folder.process(pid, 1, 0));
        folder.write("a/cgroup.procs", &(1..=20_000).map(|pid| format!("{pid}\n")).collect::<String>());
        let found = folder.of(&["a"]);
        assert_eq!((found.count, found.largest.len()), (Some(3 + 15_000), 3));
        assert!(found.missing.unwrap().contains("were not read"));
    }

    #[test]
    fn a_file_that_is_none_of_the_kernel_s_is_no_process() {
        for text in ["", "Name:", "Name:\t", "VmRSS:\t1 kB\n", "Name:\tx\nVmRSS:\t99999999999999999999 kB\nVmSwap:\n"] {
            let process = process(1, text.as_bytes());
            assert!(process.is_none_or(|process| process.resident_bytes.is_none() && process.swap_bytes.is_none()));
        }
    }
}
