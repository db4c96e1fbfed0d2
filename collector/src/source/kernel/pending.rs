//! Victims that the kernel marked by thread id alone, and that take long to exit: the programs read the rest at the exit, which
//! may never come. After a deadline they are reported with what /proc says of them.

use std::fs;
use std::os::fd::AsFd as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use aya::Ebpf;
use aya::maps::{Map, MapData};
use collector_common::cgroup;
use collector_common::oom::{UNKNOWN, Victim};
use collector_core::decode;
use collector_core::sample::Sample;
use collector_core::signal::Context;
use zerocopy::{FromBytes, IntoBytes};

use super::bpf::{self, Rows};
use crate::source::cgroup::{Hierarchies, path_in};
use crate::source::root::Root;
use crate::source::text::{lines, number};

/// Name in the ELF object.
const MAP: &str = "PENDING";
/// How long a victim may take to exit, in nanoseconds.
const DEADLINE_NS: u64 = 3_000_000_000;
/// Maximum number of rows per system call.
const CHUNK: usize = 64;

pub struct Pending {
    map: MapData,
    rows: Rows,
}

impl Pending {
    /// Takes the map out of the loaded object.
    pub fn new(ebpf: &mut Ebpf) -> Result<Pending> {
        let Some(Map::HashMap(map)) = ebpf.take_map(MAP) else { anyhow::bail!("the object has no map {MAP}") };
        Ok(Pending { map, rows: Rows::new(size_of::<u32>(), size_of::<Victim>(), CHUNK) })
    }

    /// Emits the victims whose deadline has passed at `now` (CLOCK_MONOTONIC, in nanoseconds).
    pub fn read(
        &mut self,
        now: u64,
        root: &Root,
        hierarchies: &Hierarchies,
        context: &Context,
        emit: &mut dyn FnMut(Sample),
    ) -> Result<()> {
        let mut late = Vec::new();
        let read = self.rows.each(self.map.fd().as_fd(), |_, value| {
            let victim = Victim::read_from_bytes(value).ok();
            late.extend(victim.filter(|it| now.saturating_sub(it.header.time_ns) >= DEADLINE_NS));
        });
        read.with_context(|| format!("read map {MAP}"))?;
        for mut victim in late {
            // Otherwise it has exited just now, and was reported.
            if bpf::delete(self.map.fd().as_fd(), victim.victim.tid.as_bytes()).is_ok() {
                let directory = root.at("/proc").join(victim.victim.tid.to_string());
                fill(&mut victim, &directory, hierarchies, context);
                if let Ok(sample) = decode::record(victim.as_bytes(), context) {
                    emit(sample);
                }
            }
        }
        Ok(())
    }
}

/// Fills in what /proc says of a thread. What cannot be read stays unknown.
fn fill(victim: &mut Victim, directory: &Path, hierarchies: &Hierarchies, context: &Context) {
    let read = |name: &str| fs::read(directory.join(name)).unwrap_or_default();
    let (status, memory) = (read("status"), &hierarchies.memory);
    let field = |name: &str| {
        let line = lines(&status).find_map(|line| line.strip_prefix(name.as_bytes())?.strip_prefix(b":"))?;
        number(line.split(|byte| byte.is_ascii_whitespace()).find(|word| !word.is_empty())?)
    };
    let pages = |name: &str| field(name).map_or(UNKNOWN, |kib| kib.saturating_mul(1024) / context.page_size);
    victim.victim.pid = field("Tgid").and_then(|pid| pid.try_into().ok()).unwrap_or(victim.victim.tid);
    victim.uid = field("Uid").and_then(|uid| uid.try_into().ok()).unwrap_or(0);
    [victim.anon, victim.file, victim.shmem, victim.swap, victim.peak] =
        ["RssAnon", "RssFile", "RssShmem", "VmSwap", "VmHWM"].map(pages);
    let score = String::from_utf8_lossy(&read("oom_score_adj")).trim().parse();
    victim.score_adj = score.unwrap_or(0);
    let comm = read("comm");
    let comm = comm.strip_suffix(b"\n").unwrap_or(&comm);
    victim.victim.comm.iter_mut().zip(comm).for_each(|(to, from)| *to = *from);
    let cgroup = read("cgroup");
    if let Some(id) = path_in(&cgroup, memory.id).and_then(|path| memory.cgroup_at(&path)) {
        victim.cgroup = cgroup::Id { id: id.id, hierarchy: id.hierarchy };
    }
}

#[cfg(test)]
mod tests {
    use collector_common::ring::{Header, Kind};
    use collector_core::sample::Reading;
    use collector_core::signal::oom;
    use zerocopy::FromZeros;

    use super::*;

    #[test]
    fn a_victim_that_does_not_exit_is_described_by_proc() {
        let context = Context { page_size: 4096, clock_offset_ns: 0, jiffy_ns: 1 };
        let directory = std::env::temp_dir().join(format!("headroom-pending-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let write = |name: &str, text: &str| fs::write(directory.join(name), text).unwrap();
        write(
            "status",
            "Name:\tpython\nTgid:\t70\nPid:\t71\nUid:\t1000\t0\t0\t0\nVmHWM:\t   80 kB\nRssAnon:\t  64 kB\n",
        );
        write("comm", "a thread\n");
        write("oom_score_adj", "-5\n");
        let hierarchies = Hierarchies::find(&Root::default()).unwrap();
        let mut victim = Victim::new_zeroed();
        victim.header = Header::new(Kind::OomKill, 5);
        (victim.victim.tid, victim.status) = (71, 9);
        let mut described = victim;
        fill(&mut described, &directory, &hierarchies, &context);
        fs::remove_dir_all(&directory).unwrap();
        let kill = |victim: &Victim| match decode::record(victim.as_bytes(), &context).unwrap().reading {
            Reading::Oom(oom::Reading::Kill(kill)) => kill,
            other => panic!("{other:?}"),
        };
        let known = kill(&described);
        assert_eq!((known.pid, known.tid, known.comm.as_str()), (70, 71, "a thread"));
        assert_eq!((known.uid, known.score_adj, known.cgroup), (1000, -5, None));
        assert_eq!((known.anon_bytes, known.peak_bytes, known.swap_bytes), (Some(65_536), Some(81_920), None));

        fill(&mut victim, &directory, &hierarchies, &context);
        let gone = kill(&victim);
        assert_eq!((gone.pid, gone.comm.as_str(), gone.anon_bytes), (71, "", None), "nothing is known of it");
    }
}
