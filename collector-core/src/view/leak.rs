//! Memory that leaks, by workload and kind, as it was judged last. Decides nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::trend::{Exhaustion, Line};

/// Kinds of memory that nobody but the program can give back. Page cache is none: the kernel drops it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Heap and stacks.
    Anon,
    /// Shared memory and files in tmpfs.
    Shared,
    /// What the kernel holds for it.
    Kernel,
    /// Host memory pinned for GPUs.
    Pinned,
    /// GPU memory.
    Vram,
}

impl Kind {
    pub const ALL: [Kind; 5] = [Kind::Anon, Kind::Shared, Kind::Kernel, Kind::Pinned, Kind::Vram];

    pub fn label(self) -> &'static str {
        ["anon", "shared", "kernel", "pinned", "vram"][self as usize]
    }

    /// As a person says it.
    pub fn name(self) -> &'static str {
        ["anonymous memory", "shared memory", "kernel memory", "pinned memory", "GPU memory"][self as usize]
    }
}

/// By workload, then by kind.
#[derive(Clone, Debug, Default)]
pub struct Leaks(pub BTreeMap<Arc<str>, [Option<Told>; Kind::ALL.len()]>);

/// A leak.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Told {
    /// Through the lows of what it holds, in bytes an hour.
    pub line: Line,
    /// When memory is exhausted, from [`Told::time`] on.
    pub exhaustion: Exhaustion,
    /// When it was judged, in nanoseconds since the Unix epoch.
    pub time: u64,
    /// When the first of the windows began that it was judged by.
    pub since: u64,
    /// What it held then of this kind, of how much, and what was left to all who share that, in bytes.
    pub held: f64,
    pub scale: f64,
    pub left: f64,
    /// Whether it used no more CPU time meanwhile, if that is known.
    pub steady: Option<bool>,
}

impl Leaks {
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, Kind, &Told)> {
        let each = |(name, kinds)| Kind::ALL.into_iter().zip(kinds).map(move |(kind, told)| (name, kind, told));
        self.0
            .iter()
            .flat_map(each)
            .filter_map(|(name, kind, told): (_, _, &Option<Told>)| Some((name, kind, told.as_ref()?)))
    }
}
