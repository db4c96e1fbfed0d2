//! All sources, and one round of reading them: once a tick, in the order that makes sense of it. It knows which sources
//! there are, and neither who asks for the samples nor when. What happens to cgroups is told to every source that follows
//! them, as it passes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Result;

use crate::clock;
use crate::config::Config;
use crate::sample::{Lost, Reading, Sample, Source};
use crate::source::gpu::Gpus;
use crate::source::host::Host;
use crate::source::kernel::Kernel;
use crate::source::name::{self, Answers, Asker};
use crate::source::process::Own;
use crate::source::root::Root;
use crate::source::statistic::{Limits, Reader};
use crate::source::transfer::Transfers;

/// The sources. In steady state reading them allocates nothing.
pub struct Round {
    /// The kernel, whose rings somebody waits for.
    pub kernel: Kernel,
    /// The host's names for containers and pods, which somebody waits for too.
    pub names: Answers,
    followers: Followers,
    own: Own,
    host: Host,
    gpus: Gpus,
    /// Where transfers are watched.
    transfers: Option<Transfers>,
    losses: Vec<(&'static str, Arc<AtomicU64>)>,
}

/// The sources that follow what happens to cgroups.
struct Followers {
    statistics: Reader,
    names: Asker,
}

impl Followers {
    fn follow(&mut self, reading: &Reading) {
        self.statistics.follow(reading);
        self.names.follow(reading);
    }
}

impl Round {
    /// Opens what the kernel does not hold. `losses` are counted elsewhere in the agent, since the last round, by the
    /// stage at which they happen.
    pub fn open(
        config: &Config,
        kernel: Kernel,
        own: Own,
        mut losses: Vec<(&'static str, Arc<AtomicU64>)>,
    ) -> Result<Round> {
        let root = Root::new(&config.rootfs);
        let statistics = Reader::open(&root, kernel.hierarchies(), Limits::of(config))?;
        let gpus = Gpus::new(config, &root, kernel.hierarchies());
        let (asker, names) = name::start(&root, kernel.hierarchies().memory.id, &config.workload)?;
        losses.push((name::STAGE, asker.lost()));
        let (followers, host) = (Followers { statistics, names: asker }, Host::new(&root, config));
        let watch = || Transfers::start(&root, kernel.waiting()?, config.transfer.scan);
        let transfers = config.transfer.enabled.then(watch).transpose()?;
        Ok(Round { kernel, names, followers, own, host, gpus, transfers, losses })
    }

    /// Hands what comes before everything else to `fold`.
    pub fn begin(&mut self, fold: &mut dyn FnMut(Sample)) {
        self.kernel.begin(fold);
    }

    /// Drains the critical ring; `true` if more may be waiting.
    pub fn drain_critical(&mut self, fold: &mut dyn FnMut(Sample)) -> bool {
        let Round { kernel, followers, .. } = self;
        kernel.drain_critical(&mut |sample| {
            followers.follow(&sample.reading);
            fold(sample);
        })
    }

    /// Drains the bulk ring; `true` if more may be waiting.
    pub fn drain_bulk(&mut self, fold: &mut dyn FnMut(Sample)) -> bool {
        self.kernel.drain_bulk(fold)
    }

    /// Hands everything that is new to `fold`, and a [`Reading::Tick`] at the end.
    pub fn read(&mut self, fold: &mut dyn FnMut(Sample)) {
        let begun = clock::monotonic_ns();
        // The rings first: a cgroup's birth comes before its counts.
        self.drain_critical(fold);
        self.drain_bulk(fold);
        let Round { kernel, followers, own, host, gpus, transfers, losses, .. } = self;
        let result = kernel.tick(&mut |sample| {
            followers.follow(&sample.reading);
            fold(sample);
        });
        let mut say = |reading| fold(Sample { time: clock::unix_ns(), reading });
        say(Reading::Source(Source {
            source: "kernel".into(),
            up: result.is_ok(),
            ns: clock::monotonic_ns().saturating_sub(begun),
            error: result.err().map(|error| format!("{error:#}")),
        }));
        followers.statistics.read(fold);
        gpus.read(fold);
        let time = clock::unix_ns();
        let mut say = |reading| fold(Sample { time, reading });
        host.read(&mut say);
        if let Some(transfers) = transfers {
            transfers.read(&mut say);
        }
        if let Ok(process) = own.read() {
            say(Reading::Process(process));
        }
        for (stage, lost) in losses {
            let count = lost.swap(0, Ordering::Relaxed);
            if count > 0 {
                say(Reading::Lost(Lost { stage: (*stage).into(), count }));
            }
        }
        say(Reading::Tick);
    }
}
