//! How much pinned host memory and device memory processes hold, as the programs sum it up per process. A process that
//! has ended holds nothing, whatever it freed: each is watched through a pidfd, so that neither a zombie nor a process
//! with a reused pid is mistaken for it.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use anyhow::{Context as _, Result};
use aya::Ebpf;
use aya::maps::{Map, MapData};
use collector_common::notice;
use collector_common::share::word;
use collector_common::transfer::{ALLOCATIONS, Allocation, MEMORIES, PROCESSES, Process};
use collector_core::cgroup::Id;
use collector_core::sample::Reading;
use collector_core::signal::transfer;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use zerocopy::{FromBytes, IntoBytes};

use super::bpf::{self, Rows};
use super::notice::{Notice, Seen};
use super::share::Shares;

/// Maximum number of rows per system call.
const CHUNK: usize = 256;

/// What processes hold.
pub struct Holdings {
    processes: MapData,
    allocations: MapData,
    rows: Rows,
    seen: Seen,
    known: BTreeMap<u32, Known>,
}

struct Known {
    /// Readable once the process has ended; absent if it had ended before it could be opened.
    process: Option<OwnedFd>,
    /// The last reported state.
    reported: Process,
    ended: bool,
}

impl Holdings {
    /// Takes the maps out of the loaded object.
    pub fn new(ebpf: &mut Ebpf) -> Result<Holdings> {
        let mut take = |name: &str| match ebpf.take_map(name) {
            Some(Map::HashMap(map)) => Ok(map),
            _ => anyhow::bail!("the object has no map {name}"),
        };
        Ok(Holdings {
            processes: take(PROCESSES)?,
            allocations: take(ALLOCATIONS)?,
            rows: Rows::new(size_of::<u32>(), size_of::<Process>(), CHUNK),
            seen: Seen::default(),
            known: BTreeMap::new(),
        })
    }

    /// Emits the change of each process's holdings since the last call.
    pub fn read(&mut self, notice: &Notice, shares: &Shares, emit: &mut dyn FnMut(Reading)) -> Result<()> {
        if self.seen.moved(notice.get(notice::word::PROCESSES)) {
            self.read_changes(emit).inspect_err(|_| self.seen = Seen::default())?;
        }
        for process in self.known.values_mut() {
            process.ended = process.process.as_ref().is_none_or(has_ended);
        }
        if self.known.values().any(|process| process.ended) {
            self.remove_ended(shares, emit)?;
        }
        Ok(())
    }

    fn read_changes(&mut self, emit: &mut dyn FnMut(Reading)) -> Result<()> {
        let Holdings { processes, rows, known, .. } = self;
        rows.each(processes.fd().as_fd(), |key, value| {
            let (Ok(pid), Ok(process)) = (u32::read_from_bytes(key), Process::read_from_bytes(value)) else { return };
            let known = known.entry(pid).or_insert_with(|| Known {
                process: open(pid),
                reported: Process { bytes: [0; MEMORIES], ..process },
                ended: false,
            });
            emit_change(&mut known.reported, process.bytes, emit);
        })
        .with_context(|| format!("read map {PROCESSES}"))
    }

    /// Reports that ended processes hold nothing, and removes their allocations from the maps: their pids will be reused.
    fn remove_ended(&mut self, shares: &Shares, emit: &mut dyn FnMut(Reading)) -> Result<()> {
        let Holdings { processes, allocations, known, .. } = self;
        let mut gone = Vec::new();
        let mut rows = Rows::new(size_of::<Allocation>(), size_of::<u64>(), CHUNK);
        rows.each(allocations.fd().as_fd(), |key, _| {
            let allocation = Allocation::read_from_bytes(key);
            gone.extend(allocation.ok().filter(|it| known.get(&it.pid).is_some_and(|process| process.ended)));
        })
        .with_context(|| format!("read map {ALLOCATIONS}"))?;
        for allocation in gone {
            if remove(allocations, allocation.as_bytes())?
                && let Some(process) = known.get(&allocation.pid)
            {
                shares.give_back(process.reported.uid, word::ALLOCATIONS);
            }
        }
        for (pid, process) in known.iter_mut().filter(|(_, process)| process.ended) {
            if remove(processes, pid.as_bytes())? {
                shares.give_back(process.reported.uid, word::PROCESSES);
            }
            emit_change(&mut process.reported, [0; MEMORIES], emit);
        }
        known.retain(|_, process| !process.ended);
        Ok(())
    }
}

fn emit_change(reported: &mut Process, now: [u64; MEMORIES], emit: &mut dyn FnMut(Reading)) {
    if reported.bytes == now {
        return;
    }
    let mut bytes = [0; MEMORIES];
    for ((grown, now), before) in bytes.iter_mut().zip(now).zip(reported.bytes) {
        *grown = now.wrapping_sub(before) as i64;
    }
    reported.bytes = now;
    let cgroup = Id::from_record(reported.cgroup);
    emit(Reading::Transfer(transfer::Reading::Held { cgroup, bytes }));
}

/// `false` if the map has no such key.
fn remove(map: &MapData, key: &[u8]) -> Result<bool> {
    match bpf::delete(map.fd().as_fd(), key) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).context("remove an ended process"),
    }
}

fn open(pid: u32) -> Option<OwnedFd> {
    let pid = Pid::from_raw(i32::try_from(pid).ok()?)?;
    pidfd_open(pid, PidfdFlags::empty()).ok()
}

fn has_ended(process: &OwnedFd) -> bool {
    let mut watched = [PollFd::new(process, PollFlags::IN)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut watched, Some(&now)).is_ok_and(|ready| ready > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_changes_are_emitted() {
        let cgroup = collector_common::cgroup::Id { id: 7, hierarchy: 5 };
        let mut reported = Process { cgroup, ..Process::default() };
        let mut changes = Vec::new();
        for now in [[100, 0], [100, 0], [60, 5], [0, 0]] {
            emit_change(&mut reported, now, &mut |reading| match reading {
                Reading::Transfer(transfer::Reading::Held { cgroup: Some(id), bytes }) if id.id == 7 => {
                    changes.push(bytes);
                }
                other => panic!("{other:?}"),
            });
        }
        assert_eq!(changes, [[100, 0], [-40, 5], [-60, -5]]);
    }

    #[test]
    fn a_zombie_counts_as_ended() {
        let mut child = std::process::Command::new("cat").stdin(std::process::Stdio::piped()).spawn().unwrap();
        let process = open(child.id()).unwrap();
        assert!(!has_ended(&process));
        drop(child.stdin.take());
        let mut watched = [PollFd::new(&process, PollFlags::IN)];
        poll(&mut watched, None).unwrap();
        assert!(has_ended(&process), "before it is reaped");
        child.wait().unwrap();
        assert!(open(u32::MAX).is_none());
    }
}
