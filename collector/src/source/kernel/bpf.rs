//! bpf(2) commands that aya does not wrap: batched map reads, run statistics of a program, test runs, and iterators over cgroups; and
//! what maps cost.
//!
//! A batched read needs one system call for hundreds of rows instead of two per row.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd as _, OwnedFd};

use aya_obj::generated::{bpf_attach_type, bpf_attr, bpf_cmd, bpf_map_type, bpf_prog_info};

/// ENOTSUPP: the kernel's internal "not supported", which libc does not define.
const ENOTSUPP: i32 = 524;

/// Reads rows of a map in the order of its keys or buckets.
#[derive(Debug)]
pub struct Rows {
    key_size: usize,
    value_size: usize,
    chunk: usize,
    keys: Vec<u8>,
    values: Vec<u8>,
    /// Some maps cannot be read in batches (per-CPU arrays before 5.13): they are read key by key.
    batched: bool,
}

impl Rows {
    /// For a map with keys of `key_size` and values of `value_size` bytes, read in chunks of `chunk` rows. The value of
    /// a per-CPU map is the values of all CPUs, each rounded up to 8 bytes.
    pub fn new(key_size: usize, value_size: usize, chunk: usize) -> Rows {
        Rows {
            key_size,
            value_size,
            chunk,
            keys: vec![0; key_size * chunk],
            values: vec![0; value_size * chunk],
            batched: true,
        }
    }

    /// Reads key by key, as on a kernel without batches for the map.
    pub fn without_batches(self) -> Rows {
        Rows { batched: false, ..self }
    }

    /// Calls `row` with each key and value of a map. Rows that are added or removed meanwhile may be missed; no row is
    /// torn.
    pub fn each(&mut self, map: BorrowedFd<'_>, row: impl FnMut(&[u8], &[u8])) -> io::Result<()> {
        self.first(map, usize::MAX, row)
    }

    /// Like [`Rows::each`], for the first `limit` rows only.
    pub fn first(&mut self, map: BorrowedFd<'_>, limit: usize, mut row: impl FnMut(&[u8], &[u8])) -> io::Result<()> {
        if self.batched {
            match self.batches(map, limit, &mut row) {
                Err(error) if is_unsupported(&error) => self.batched = false,
                other => return other,
            }
        }
        self.one_by_one(map, limit, row)
    }

    fn batches(&mut self, map: BorrowedFd<'_>, limit: usize, row: &mut impl FnMut(&[u8], &[u8])) -> io::Result<()> {
        // The kernel's cursor: a key (arrays) or a bucket number (hashes).
        let mut cursor = [0u8; 64];
        let mut next = [0u8; 64];
        let mut started = false;
        let mut remaining = limit;
        while remaining > 0 {
            let mut attr = empty();
            attr.batch.in_batch = if started { cursor.as_ptr() as u64 } else { 0 };
            attr.batch.out_batch = next.as_mut_ptr() as u64;
            attr.batch.keys = self.keys.as_mut_ptr() as u64;
            attr.batch.values = self.values.as_mut_ptr() as u64;
            attr.batch.count = self.chunk.min(remaining) as u32;
            attr.batch.map_fd = map.as_raw_fd() as u32;
            let result = command(bpf_cmd::BPF_MAP_LOOKUP_BATCH, &mut attr);
            let end = match &result {
                Ok(_) => false,
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) => true,
                // A bucket is larger than the buffers: grow them, and read the same bucket again.
                Err(error) if error.raw_os_error() == Some(libc::ENOSPC) => {
                    self.chunk *= 2;
                    self.keys.resize(self.key_size * self.chunk, 0);
                    self.values.resize(self.value_size * self.chunk, 0);
                    continue;
                }
                Err(_) => return result.map(|_| ()),
            };
            // SAFETY: the kernel wrote this member, and any bit pattern is a valid number.
            let count = unsafe { attr.batch.count } as usize;
            let keys = self.keys.chunks_exact(self.key_size);
            let values = self.values.chunks_exact(self.value_size);
            keys.zip(values).take(count).for_each(|(key, value)| row(key, value));
            if end {
                break;
            }
            remaining -= count.min(remaining);
            cursor = next;
            started = true;
        }
        Ok(())
    }

    fn one_by_one(&mut self, map: BorrowedFd<'_>, limit: usize, mut row: impl FnMut(&[u8], &[u8])) -> io::Result<()> {
        let (key, rest) = self.keys.split_at_mut(self.key_size);
        // Without batches only the first key of the buffer is used; the second holds the next key.
        let mut spare = [0u8; 64];
        let next = if rest.len() >= self.key_size { &mut rest[..self.key_size] } else { &mut spare[..self.key_size] };
        let mut started = false;
        for _ in 0..limit {
            let mut attr = empty();
            let element = element(&mut attr);
            element.map_fd = map.as_raw_fd() as u32;
            element.key = if started { key.as_ptr() as u64 } else { 0 };
            element.__bindgen_anon_1.next_key = next.as_mut_ptr() as u64;
            match command(bpf_cmd::BPF_MAP_GET_NEXT_KEY, &mut attr) {
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) => break,
                other => other?,
            };
            key.copy_from_slice(next);
            started = true;
            match lookup(map, key, &mut self.values[..self.value_size]) {
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) => continue,
                other => other?,
            }
            row(key, &self.values[..self.value_size]);
        }
        Ok(())
    }
}

/// Reads one value; ENOENT if the map has no such key.
pub fn lookup(map: BorrowedFd<'_>, key: &[u8], value: &mut [u8]) -> io::Result<()> {
    let mut attr = empty();
    let element = element(&mut attr);
    element.map_fd = map.as_raw_fd() as u32;
    element.key = key.as_ptr() as u64;
    element.__bindgen_anon_1.value = value.as_mut_ptr() as u64;
    command(bpf_cmd::BPF_MAP_LOOKUP_ELEM, &mut attr).map(|_| ())
}

/// Stores one value, also if the map has the key already. The value of a per-CPU map is the values of all CPUs, as for
/// [`Rows::new`].
pub fn update(map: BorrowedFd<'_>, key: &[u8], value: &[u8]) -> io::Result<()> {
    let mut attr = empty();
    let element = element(&mut attr);
    element.map_fd = map.as_raw_fd() as u32;
    element.key = key.as_ptr() as u64;
    element.__bindgen_anon_1.value = value.as_ptr() as u64;
    command(bpf_cmd::BPF_MAP_UPDATE_ELEM, &mut attr).map(|_| ())
}

/// Removes one key; ENOENT if the map has no such key.
pub fn delete(map: BorrowedFd<'_>, key: &[u8]) -> io::Result<()> {
    let mut attr = empty();
    let element = element(&mut attr);
    element.map_fd = map.as_raw_fd() as u32;
    element.key = key.as_ptr() as u64;
    command(bpf_cmd::BPF_MAP_DELETE_ELEM, &mut attr).map(|_| ())
}

/// Kernel memory in bytes of all maps that this process has open, as the kernel accounts it.
pub fn map_memory() -> io::Result<u64> {
    let mut maps = BTreeMap::new();
    for entry in std::fs::read_dir("/proc/self/fdinfo")? {
        // The descriptor of the directory itself is gone by then.
        maps.extend(std::fs::read_to_string(entry?.path()).ok().as_deref().and_then(memory_of));
    }
    Ok(maps.values().sum())
}

/// Id and memory of the map that this fdinfo describes; `None` if it is no map's.
fn memory_of(fdinfo: &str) -> Option<(u64, u64)> {
    let field = |name| fdinfo.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok());
    let (id, memory) = (field("map_id:")?, field("memlock:")?);
    // From 5.11 to 6.3 the kernel multiplies the rows by the sizes of key and value (bpf_map_memory_footprint). A ring has
    // neither, and its rows are bytes.
    let ring = field("map_type:") == Some(bpf_map_type::BPF_MAP_TYPE_RINGBUF as u64);
    Some((id, if ring { memory.max(field("max_entries:")?) } else { memory }))
}

/// The kernel's run counters of a program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Number of runs while run statistics were enabled.
    pub runs: u64,
    /// Run time in nanoseconds while run statistics were enabled.
    pub ns: u64,
    /// Runs that were skipped because the program was already running on that CPU (counted from 5.12).
    pub misses: u64,
}

impl Statistics {
    /// The increase since `before`.
    pub fn since(self, before: Statistics) -> Statistics {
        Statistics {
            runs: self.runs.saturating_sub(before.runs),
            ns: self.ns.saturating_sub(before.ns),
            misses: self.misses.saturating_sub(before.misses),
        }
    }
}

/// Reads the run counters of a program.
pub fn statistics(program: BorrowedFd<'_>) -> io::Result<Statistics> {
    // SAFETY: a C struct of numbers, for which zero is valid.
    let mut info: bpf_prog_info = unsafe { std::mem::zeroed() };
    let mut attr = empty();
    attr.info.bpf_fd = program.as_raw_fd() as u32;
    attr.info.info_len = size_of::<bpf_prog_info>() as u32;
    attr.info.info = &raw mut info as u64;
    command(bpf_cmd::BPF_OBJ_GET_INFO_BY_FD, &mut attr)?;
    Ok(Statistics { runs: info.run_cnt, ns: info.run_time_ns, misses: info.recursion_misses })
}

/// Runs a raw tracepoint program once, with `arguments` as the tracepoint's arguments.
pub fn test_run(program: BorrowedFd<'_>, arguments: &[u64]) -> io::Result<()> {
    let mut attr = empty();
    attr.test.prog_fd = program.as_raw_fd() as u32;
    attr.test.ctx_in = arguments.as_ptr() as u64;
    attr.test.ctx_size_in = size_of_val(arguments) as u32;
    command(bpf_cmd::BPF_PROG_TEST_RUN, &mut attr).map(|_| ())
}

/// `union bpf_iter_link_info` for cgroups (include/uapi/linux/bpf.h).
#[repr(C)]
struct CgroupIterator {
    order: u32,
    descriptor: u32,
    id: u64,
}

/// `BPF_CGROUP_ITER_DESCENDANTS_PRE`: those above before those below.
const FROM_ABOVE: u32 = 2;

/// Links an iterator's program to a cgroup and all below it.
pub fn link_cgroup_iterator(program: BorrowedFd<'_>, cgroup: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let info = CgroupIterator { order: FROM_ABOVE, descriptor: cgroup.as_raw_fd() as u32, id: 0 };
    let mut attr = empty();
    // SAFETY: every member of the union is valid when zeroed, and this one is about to be used.
    let link = unsafe { &mut attr.link_create };
    link.__bindgen_anon_1.prog_fd = program.as_raw_fd() as u32;
    link.attach_type = bpf_attach_type::BPF_TRACE_ITER as u32;
    // SAFETY: as above.
    let iterator = unsafe { &mut link.__bindgen_anon_3.__bindgen_anon_1 };
    iterator.iter_info = &raw const info as u64;
    iterator.iter_info_len = size_of::<CgroupIterator>() as u32;
    descriptor(bpf_cmd::BPF_LINK_CREATE, &mut attr)
}

/// Begins an iteration; reading the file runs it.
pub fn create_iterator(link: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let mut attr = empty();
    attr.iter_create.link_fd = link.as_raw_fd() as u32;
    descriptor(bpf_cmd::BPF_ITER_CREATE, &mut attr)
}

fn is_unsupported(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(ENOTSUPP | libc::EOPNOTSUPP | libc::EINVAL))
}

fn empty() -> bpf_attr {
    // SAFETY: a union of C structs of numbers, for which zero is valid; the kernel requires unused bytes to be zero.
    unsafe { std::mem::zeroed() }
}

fn element(attr: &mut bpf_attr) -> &mut aya_obj::generated::bpf_attr__bindgen_ty_2 {
    // SAFETY: every member of the union is valid when zeroed, and this one is about to be used.
    unsafe { &mut attr.__bindgen_anon_2 }
}

/// For commands that return a new descriptor.
fn descriptor(number: bpf_cmd, attr: &mut bpf_attr) -> io::Result<OwnedFd> {
    let descriptor = command(number, attr)?;
    // SAFETY: the kernel just opened it for this process, close-on-exec.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor as i32) })
}

fn command(command: bpf_cmd, attr: &mut bpf_attr) -> io::Result<i64> {
    // SAFETY: callers set live buffers of the sizes with which the map or program was created.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command as libc::c_long, attr, size_of::<bpf_attr>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_of_a_ring_is_at_least_its_size() {
        // /proc/PID/fdinfo of Linux 6.1 and of 6.12.
        let old = "pos:\t0\nflags:\t02000002\nmap_type:\t27\nkey_size:\t0\nvalue_size:\t0\nmax_entries:\t1048576\n\
                   map_flags:\t0x0\nmap_extra:\t0x0\nmemlock:\t0\nmap_id:\t9\nfrozen:\t0\n";
        assert_eq!(memory_of(old), Some((9, 1_048_576)));
        assert_eq!(memory_of(&old.replace("memlock:\t0", "memlock:\t1056080")), Some((9, 1_056_080)));
        let array = old.replace("map_type:\t27", "map_type:\t2").replace("memlock:\t0", "memlock:\t4096");
        assert_eq!(memory_of(&array), Some((9, 4096)));
        assert_eq!(memory_of("pos:\t0\nflags:\t02\nprog_type:\t17\nprog_id:\t3\nmemlock:\t4096\n"), None);
    }
}
