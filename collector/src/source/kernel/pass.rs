//! The passes over all cgroups, one for each hierarchy with numbers that they give, see `collector_common::pass`. Knows how they are
//! run, and not what their words mean.

use std::fs::File;
use std::io::Read as _;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use anyhow::{Context as _, Result, bail};
use aya::programs::Iter;
use aya::{Btf, Ebpf};
use collector_common::layout::{ABSENT, Layout};
use collector_common::pass::{HEAD, PROGRAM, ROWS, has, head, word};
use rustix::fs::{Mode, OFlags, open};

use super::bpf;
use super::mapped::Mapped;
use crate::source::cgroup::{Controller, Hierarchies, Hierarchy};

/// Runs when asked, and has a row for each cgroup afterwards.
pub struct Pass {
    /// Each with the id of its hierarchy; the memory controller's comes first.
    links: Vec<(u64, OwnedFd)>,
    rows: Mapped,
    head: Mapped,
    /// Words that this kernel has, as bits.
    known: u32,
    /// Number of the last pass.
    pass: u64,
    /// Number of rows of the last pass.
    count: usize,
}

/// What one cgroup had in a pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Row {
    words: [u64; word::COUNT],
}

impl Pass {
    /// Loads the program and links it to the hierarchies. `btf` is the kernel's, if programs may read its memory; `cpus` is the number
    /// of CPUs that the program knows.
    ///
    /// # Errors
    /// This kernel has no iterator over cgroups (before 6.1), no BTF, or forbids programs to read its memory.
    pub fn open(
        ebpf: &mut Ebpf,
        btf: Option<&Btf>,
        layout: &Layout,
        cpus: u32,
        hierarchies: &Hierarchies,
    ) -> Result<Pass> {
        if [layout.iter_session, layout.cgroup_memory].contains(&ABSENT) {
            bail!("this kernel cannot iterate over cgroups (Linux 6.1 and newer)");
        }
        let btf = btf.context("it needs the kernel's BTF, and programs that may read its memory (no lockdown)")?;
        let program = ebpf.program_mut(PROGRAM).context("the object has no such program")?;
        let program: &mut Iter = program.try_into().context("the program is no iterator")?;
        program.load("cgroup", btf).context("load the iterator")?;
        let known = known(layout, cpus, hierarchies.memory.id == 0);
        let mut links = vec![link(program, &hierarchies.memory)?];
        // Where throttling has a hierarchy of its own, its files are read when something ran: cheaper than one more pass.
        let account = hierarchies.of(Controller::Cpuacct).filter(|it| known & 1 << word::TIME != 0 && it.id != 0);
        if let Some(account) = account.filter(|it| it.id != hierarchies.memory.id) {
            links.push(link(program, account)?);
        }
        let (rows, head) = (Mapped::take(ebpf, ROWS)?, Mapped::whole(ebpf, HEAD)?);
        let mut pass = Pass { links, rows, head, known, pass: 0, count: 0 };
        pass.run(0)?;
        Ok(pass)
    }

    /// Whether this kernel has what a word holds.
    pub fn has(&self, word: usize) -> bool {
        self.known & 1 << word != 0
    }

    /// The ids of the hierarchies that it is over.
    pub fn hierarchies(&self) -> impl Iterator<Item = u64> {
        self.links.iter().map(|(id, _)| *id)
    }

    /// Walks all cgroups of the hierarchy with this place among them.
    pub fn run(&mut self, hierarchy: usize) -> Result<()> {
        self.count = 0;
        let (_, link) = self.links.get(hierarchy).context("no such hierarchy")?;
        let mut iterator = File::from(bpf::create_iterator(link.as_fd()).context("create the iterator")?);
        // The program writes nothing: one read walks to the end.
        while iterator.read(&mut [0; 64]).context("walk the cgroups")? > 0 {}
        let head = self.head.words(0..head::COUNT).context("the head is too short")?;
        let [pass, count] = [head::PASS, head::ROWS].map(|word| head[word].load(Relaxed));
        if pass == self.pass {
            bail!("the walk did not reach its end");
        }
        self.pass = pass;
        let count = usize::try_from(count).unwrap_or(usize::MAX).min(self.rows.length() / word::COUNT);
        self.rows.map(0..count * word::COUNT)?;
        self.count = count;
        Ok(())
    }

    /// The words of each cgroup in the last pass.
    pub fn rows(&self) -> impl Iterator<Item = &[AtomicU64]> {
        self.rows.words(0..self.count * word::COUNT).unwrap_or_default().chunks_exact(word::COUNT)
    }
}

impl std::fmt::Debug for Pass {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pass").field("rows", &self.count).finish_non_exhaustive()
    }
}

impl Row {
    /// A word; `None` if its cgroup does not have the controller. Zero where this kernel does not have what it holds.
    pub fn get(&self, word: usize) -> Option<u64> {
        let needed = match word {
            word::ID | word::HAS => 0,
            word::TIME | word::MEMORY_PRESSURE | word::CPU_PRESSURE | word::IO_PRESSURE => has::TIME,
            word::PERIODS | word::THROTTLED_PERIODS | word::THROTTLED => has::QUOTA,
            _ => has::MEMORY,
        };
        (self.words[word::HAS] & needed == needed).then_some(self.words[word])
    }

    /// Takes the words of a pass; whether one of them is another than before.
    pub fn take(&mut self, words: &[AtomicU64]) -> bool {
        let same = self.words.iter().zip(words).all(|(ours, now)| *ours == now.load(Relaxed));
        if !same {
            self.words.iter_mut().zip(words).for_each(|(ours, now)| *ours = now.load(Relaxed));
        }
        !same
    }

    #[cfg(test)]
    pub fn of(words: &[(usize, u64)]) -> Row {
        let mut row = Row::default();
        row.words[word::HAS] = has::MEMORY | has::TIME | has::QUOTA;
        words.iter().for_each(|(word, value)| row.words[*word] = *value);
        row
    }
}

fn link(program: &Iter, hierarchy: &Hierarchy) -> Result<(u64, OwnedFd)> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let top = open(&hierarchy.root, flags, Mode::empty()).context("open the top cgroup")?;
    let link = bpf::link_cgroup_iterator(program.fd()?.as_fd(), top.as_fd()).context("link the iterator")?;
    Ok((hierarchy.id, link))
}

/// The words that the programs can read on this kernel, as bits.
fn known(layout: &Layout, cpus: u32, v2: bool) -> u32 {
    let quota = ![layout.cgroup_cpu, layout.task_group_css].contains(&ABSENT);
    let account = [layout.cgroup_cpuacct, layout.cpuacct_css, layout.array_pptrs];
    let account = !v2 && cpus > 0 && !account.contains(&ABSENT);
    let pressure = v2 && layout.cgroup_psi != ABSENT;
    let fields = [
        (word::USAGE, layout.mem_cgroup_usage, true),
        (word::LIMIT, layout.mem_cgroup_limit, true),
        (word::PEAK, layout.mem_cgroup_peak, true),
        (word::SWAP_LIMIT, layout.mem_cgroup_swap_limit, true),
        (word::KILLS, layout.mem_cgroup_oom_kill_events, true),
        (word::POPULATED, layout.cgroup_populated_csets, true),
        (word::HIGH, layout.mem_cgroup_high, v2),
        (word::LOW, layout.mem_cgroup_low, v2),
        (word::MIN, layout.mem_cgroup_min, v2),
        (word::SWAP, layout.mem_cgroup_swap, v2),
        (word::LOW_EVENTS, layout.mem_cgroup_low_events, v2),
        (word::HIGH_EVENTS, layout.mem_cgroup_high_events, v2),
        (word::MAX_EVENTS, layout.mem_cgroup_max_events, v2),
        (word::OOM_EVENTS, layout.mem_cgroup_oom_events, v2),
        (word::GROUP_KILLS, layout.mem_cgroup_oom_group_kill_events, v2),
        (word::KERNEL, layout.mem_cgroup_kernel, !v2),
        (word::FAILURES, layout.mem_cgroup_failures, !v2),
        (word::UNDER_OOM, layout.mem_cgroup_under_oom, !v2),
        (word::SWAPPINESS, layout.mem_cgroup_swappiness, !v2),
        (word::TIME, layout.cgroup_time, v2),
        (word::TIME, layout.cpuacct_usage, account),
        (word::PERIODS, layout.task_group_periods, quota),
        (word::THROTTLED_PERIODS, layout.task_group_throttled_periods, quota),
        (word::THROTTLED, layout.task_group_throttled, quota),
        (word::MEMORY_PRESSURE, layout.psi_memory, pressure),
        (word::CPU_PRESSURE, layout.psi_cpu, pressure),
        (word::IO_PRESSURE, layout.psi_io, pressure),
    ];
    let has = fields.iter().filter(|(_, offset, here)| *here && *offset != ABSENT);
    let mut known = has.fold(0, |known, (word, ..)| known | 1 << word);
    let children = [layout.cgroup_populated_domain, layout.cgroup_populated_threaded];
    if v2 && children.contains(&ABSENT) {
        known &= !(1 << word::POPULATED);
    }
    known
}
