//! The pass over all cgroups of the memory controller, see `collector_common::pass`. Knows how it is run, and not what its words
//! mean.

use std::fs::File;
use std::io::Read as _;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::atomic::Ordering::Relaxed;

use anyhow::{Context as _, Result, bail};
use aya::programs::Iter;
use aya::{Btf, Ebpf};
use collector_common::layout::{ABSENT, Layout};
use collector_common::pass::{HEAD, PROGRAM, ROWS, head, word};
use rustix::fs::{Mode, OFlags, open};

use super::bpf;
use super::mapped::Mapped;
use crate::source::cgroup::Hierarchies;

/// Runs when asked, and has a row for each cgroup afterwards.
pub struct Pass {
    link: OwnedFd,
    rows: Mapped,
    head: Mapped,
    /// Words that this kernel has, as bits.
    known: u32,
    /// Number of the last pass.
    pass: u64,
    /// Number of rows of the last pass.
    count: usize,
}

/// What one cgroup had in the last pass.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    words: [u64; word::COUNT],
}

impl Pass {
    /// Loads the program and links it to the memory controller's hierarchy. `btf` is the kernel's, if programs may read its memory.
    ///
    /// # Errors
    /// This kernel has no iterator over cgroups (before 6.1), no BTF, or forbids programs to read its memory.
    pub fn open(ebpf: &mut Ebpf, btf: Option<&Btf>, layout: &Layout, hierarchies: &Hierarchies) -> Result<Pass> {
        if [layout.iter_session, layout.cgroup_memory].contains(&ABSENT) {
            bail!("this kernel cannot iterate over cgroups (Linux 6.1 and newer)");
        }
        let btf = btf.context("it needs the kernel's BTF, and programs that may read its memory (no lockdown)")?;
        let program = ebpf.program_mut(PROGRAM).context("the object has no such program")?;
        let program: &mut Iter = program.try_into().context("the program is no iterator")?;
        program.load("cgroup", btf).context("load the iterator")?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let top = open(&hierarchies.memory.root, flags, Mode::empty()).context("open the top cgroup")?;
        let link = bpf::link_cgroup_iterator(program.fd()?.as_fd(), top.as_fd()).context("link the iterator")?;
        let (rows, head) = (Mapped::take(ebpf, ROWS)?, Mapped::take(ebpf, HEAD)?);
        let mut pass = Pass { link, rows, head, known: known(layout, hierarchies.memory.id == 0), pass: 0, count: 0 };
        pass.run()?;
        Ok(pass)
    }

    /// Whether this kernel has what a word holds.
    pub fn has(&self, word: usize) -> bool {
        self.known & 1 << word != 0
    }

    /// Walks all cgroups.
    pub fn run(&mut self) -> Result<()> {
        self.count = 0;
        let mut iterator = File::from(bpf::create_iterator(self.link.as_fd()).context("create the iterator")?);
        // The program writes nothing: one read walks to the end.
        while iterator.read(&mut [0; 64]).context("walk the cgroups")? > 0 {}
        let [pass, count] = [head::PASS, head::ROWS].map(|word| self.head.words()[word].load(Relaxed));
        if pass == self.pass {
            bail!("the walk did not reach its end");
        }
        self.pass = pass;
        self.count = usize::try_from(count).unwrap_or(usize::MAX).min(self.rows.words().len() / word::COUNT);
        Ok(())
    }

    /// The places of the rows of the last pass, each with the id of its cgroup.
    pub fn ids(&self) -> impl Iterator<Item = (usize, u64)> {
        let rows = self.rows.words().chunks_exact(word::COUNT).take(self.count).enumerate();
        rows.map(|(place, row)| (place, row[word::ID].load(Relaxed)))
    }

    /// The row at a place.
    pub fn row(&self, place: usize) -> Option<Row> {
        let words = self.rows.words().get(place * word::COUNT..)?.first_chunk::<{ word::COUNT }>()?;
        Some(Row { words: std::array::from_fn(|word| words[word].load(Relaxed)) })
    }
}

impl std::fmt::Debug for Pass {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pass").field("rows", &self.count).finish_non_exhaustive()
    }
}

impl Row {
    /// A word; zero where this kernel does not have what it holds.
    pub fn get(&self, word: usize) -> u64 {
        self.words[word]
    }

    #[cfg(test)]
    pub fn of(words: &[(usize, u64)]) -> Row {
        let mut row = Row { words: [0; word::COUNT] };
        words.iter().for_each(|(word, value)| row.words[*word] = *value);
        row
    }
}

/// The words that the programs can read on this kernel, as bits.
fn known(layout: &Layout, v2: bool) -> u32 {
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
    ];
    let has = fields.iter().filter(|(_, offset, here)| *here && *offset != ABSENT);
    let mut known = has.fold(0, |known, (word, ..)| known | 1 << word);
    let children = [layout.cgroup_populated_domain, layout.cgroup_populated_threaded];
    if v2 && children.contains(&ABSENT) {
        known &= !(1 << word::POPULATED);
    }
    known
}
