//! One round: every source is read once, in the order of the catalogue. Knows nothing about who consumes the samples or
//! when, and nothing about a source beyond the trait; only the kernel and the names are also read between rounds. The critical
//! ring is drained during a round, too: with many workloads a round takes long, and a kill must not wait for its end, but only
//! for the end of the source that is being read.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Result;
use collector_core::sample::{Lost, Reading, Sample};
use collector_core::signal::oom;
use collector_core::stage::Stage;

use crate::clock;
use crate::config::Config;
use crate::source::catalogue::{KERNEL, Opening, SOURCES};
use crate::source::contention::Watched;
use crate::source::kernel::Kernel;
use crate::source::lease::Followed;
use crate::source::model::wanted::Wanted;
use crate::source::name::{self, NameReceiver};
use crate::source::rising;
use crate::source::root::Root;
use crate::source::{self, Source};

/// The open sources. In steady state a round allocates nothing.
pub struct Round {
    /// Its rings wake the agent.
    pub kernel: Kernel,
    /// Names of containers and pods, which arrive between rounds too.
    pub names: NameReceiver,
    others: Others,
    losses: Vec<(Stage, Arc<AtomicU64>)>,
}

/// All sources except the kernel, each with its name in the catalogue.
struct Others(Vec<(&'static str, Box<dyn Source>)>);

impl Others {
    /// Cgroup and OOM events. Most other readings are counts, which no source follows.
    fn follows(reading: &Reading) -> bool {
        matches!(reading, Reading::Cgroup(_) | Reading::Oom(_))
    }

    fn follow(&mut self, reading: &Reading) {
        if Others::follows(reading) {
            self.0.iter_mut().for_each(|(_, source)| source.follow(reading));
        }
    }

    /// Adds to an OOM kill or a signal what the sources read at once, and lets them follow.
    fn complete(&mut self, mut sample: Sample) -> Sample {
        if matches!(sample.reading, Reading::Oom(oom::Reading::Kill(_)) | Reading::Kill(_)) {
            self.0.iter_mut().for_each(|(_, source)| source.complete(&mut sample.reading));
        }
        self.follow(&sample.reading);
        sample
    }
}

impl Round {
    /// Opens all sources except the kernel. `started` is the agent's start in nanoseconds since the Unix epoch.
    /// `losses` are counted elsewhere in the agent, by stage, and reset by each round; `leases` are those whose owners are followed,
    /// `watched` and `rising` the workloads that are watched closely and whose memory rises, and `models` says which model servers are asked.
    pub fn open(
        config: &Config,
        mut kernel: Kernel,
        started: u64,
        losses: Vec<(Stage, Arc<AtomicU64>)>,
        leases: &Arc<Followed>,
        (watched, rising): (&Arc<Watched>, &Arc<rising::Watched>),
        models: &Arc<Wanted>,
    ) -> Result<Round> {
        let root = Root::new(&config.rootfs);
        let (sender, names) = name::channel();
        let pass = Cell::new(kernel.take_pass());
        let observed = Arc::default();
        let opening = Opening {
            config,
            root: &root,
            kernel: &kernel,
            pass,
            names: &sender,
            leases,
            watched,
            rising,
            models,
            observed: &observed,
            started,
        };
        let mut others = Vec::new();
        for row in SOURCES {
            others.extend((row.open)(&opening)?.map(|source| (row.name, source)));
        }
        Ok(Round { kernel, names, others: Others(others), losses })
    }

    /// Emits the samples that come before everything else.
    pub fn begin(&mut self, fold: &mut dyn FnMut(Sample)) {
        self.kernel.begin(fold);
    }

    /// Drains the critical ring; `true` if more may be waiting.
    pub fn drain_critical(&mut self, fold: &mut dyn FnMut(Sample)) -> bool {
        let Round { kernel, others, .. } = self;
        kernel.drain_critical(&mut |sample| fold(others.complete(sample)))
    }

    /// Drains the bulk ring; `true` if more may be waiting.
    pub fn drain_bulk(&mut self, fold: &mut dyn FnMut(Sample)) -> bool {
        let Round { kernel, others, .. } = self;
        kernel.drain_bulk(&mut |sample| fold(others.complete(sample)))
    }

    /// Emits everything new, and a [`Reading::Tick`] at the end.
    pub fn read(&mut self, fold: &mut dyn FnMut(Sample)) {
        let Round { kernel, others, losses, .. } = self;
        source::read(SOURCES[KERNEL].name, kernel, &mut |sample| fold(others.complete(sample)));
        // A storm of events must not keep the round from its end.
        let mut more = false;
        // These wait until the source that is being read has ended: it may have to follow them, or to complete a kill.
        let mut missed = Vec::new();
        for index in 0..others.0.len() {
            let (name, source) = &mut others.0[index];
            source::read(name, &mut **source, &mut |sample| {
                fold(sample);
                more = more
                    || kernel.drain_critical(&mut |sample| match Others::follows(&sample.reading) {
                        true => missed.push(sample),
                        false => fold(sample),
                    });
            });
            missed.drain(..).for_each(|sample| fold(others.complete(sample)));
        }
        let time = clock::unix_ns();
        for (stage, lost) in losses {
            let count = lost.swap(0, Ordering::Relaxed);
            if count > 0 {
                fold(Sample { time, reading: Reading::Lost(Lost { stage: *stage, count }) });
            }
        }
        fold(Sample { time, reading: Reading::Tick });
    }
}
