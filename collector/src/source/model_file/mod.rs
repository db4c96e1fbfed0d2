//! Model files as a source: which ones model servers and holders of GPU memory use, how much of each is cached, and stores of them. It
//! looks at files that anybody may own, on filesystems that may not answer: on a thread of its own, which sleeps while there is no such
//! process.

mod cache;
mod device;
mod look;
pub mod mount;
mod process;
mod round;
mod store;
mod walk;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Error, Result};
use caps::Capability;
use collector_core::sample::{self, Lost, Sample};
use collector_core::stage::Stage;
use collector_core::statistic::model_file::Reading;

use super::cgroup::Hierarchies;
use super::observed::Observed;
use super::root::Root;
use super::watch::Watch;
use super::{Finding, Health, Source};
use crate::clock;
use crate::config::Config;
use crate::mutex::lock;
use crate::privilege;
use round::Work;

/// How long one round may take. Each process and each store has a deadline of its own.
const DEADLINE: Duration = Duration::from_secs(120);

pub struct ModelFiles {
    shared: Arc<Shared>,
    observed: Arc<Observed>,
    /// Processes and stores that were reported.
    shown: Shown,
    readings: Vec<Reading>,
}

#[derive(Default)]
struct Shown {
    pids: BTreeSet<u32>,
    stores: BTreeSet<Arc<str>>,
}

struct Shared {
    found: Mutex<Found>,
    watch: Watch,
}

#[derive(Default)]
struct Found {
    readings: Vec<Reading>,
    round: Option<u64>,
    lost: u64,
}

impl ModelFiles {
    pub fn start(
        root: &Root,
        hierarchies: &Hierarchies,
        config: &Config,
        observed: &Arc<Observed>,
        started: u64,
    ) -> Result<ModelFiles> {
        let shared = Arc::new(Shared { found: Mutex::default(), watch: Watch::new(DEADLINE) });
        let work = Work::new(root, &hierarchies.memory, config, observed, started);
        let mine = shared.clone();
        thread::Builder::new()
            .name("headroom-model-file".into())
            .spawn(move || mine.run(work))
            .context("start the thread that looks at model files")?;
        let (shown, readings) = (Shown::default(), Vec::new());
        Ok(ModelFiles { shared, observed: observed.clone(), shown, readings })
    }
}

impl Shared {
    fn run(&self, mut work: Work) {
        while !self.watch.should_stop() {
            let started = clock::monotonic_ns();
            let mut readings = Vec::new();
            let lost = self.watch.call("model files", || work.round(started, &mut |reading| readings.push(reading)));
            let mut found = lock(&self.found);
            found.readings.append(&mut readings);
            found.lost += lost;
            found.round = Some(clock::monotonic_ns().saturating_sub(started));
            drop(found);
            work.rest(&self.watch);
        }
    }
}

impl Source for ModelFiles {
    fn read(&mut self, emit: &mut dyn FnMut(Sample)) -> Health {
        let time = clock::unix_ns();
        let mut say = |reading| emit(Sample { time, reading });
        if let Some(what) = self.shared.watch.overdue() {
            // What was said last is not true any more.
            let pids = std::mem::take(&mut self.shown.pids).into_iter().map(|pid| Reading::Gone { pid });
            let stores = std::mem::take(&mut self.shown.stores).into_iter().map(|name| Reading::StoreGone { name });
            pids.chain(stores).for_each(|reading| say(sample::Reading::ModelFile(reading)));
            return Health::Read(Err(Error::msg(format!("looking at {what} does not return"))));
        }
        let (round, lost) = {
            let mut found = lock(&self.shared.found);
            std::mem::swap(&mut self.readings, &mut found.readings);
            (found.round.take(), std::mem::take(&mut found.lost))
        };
        for reading in self.readings.drain(..) {
            match &reading {
                Reading::Used(process) => drop(self.shown.pids.insert(process.pid)),
                Reading::Gone { pid } => drop(self.shown.pids.remove(pid)),
                Reading::Store(store) => drop(self.shown.stores.insert(store.name.clone())),
                Reading::StoreGone { name } => drop(self.shown.stores.remove(name)),
            }
            say(sample::Reading::ModelFile(reading));
        }
        if lost > 0 {
            say(sample::Reading::Lost(Lost { stage: Stage::ModelFile, count: lost }));
        }
        round.map_or(Health::Silent, |ns| Health::Round { ns, result: Ok(()) })
    }

    fn examine(config: &Config, root: &Root) -> Vec<Finding> {
        let finding = |ok, is: String| vec![Finding { key: "model_file", title: "model files", ok, is }];
        if !config.model_file.enabled {
            return finding(true, "off (model_file.enabled)".to_owned());
        }
        let looks = privilege::has(Capability::CAP_SYS_PTRACE);
        let (ok, seen) = match (config.model_file.inspect, looks) {
            (true, true) => (true, "those that model servers and holders of GPU memory map, open or name"),
            (true, false) => {
                (false, "those that their command lines name: looking into other processes takes CAP_SYS_PTRACE")
            }
            (false, _) => {
                (true, "those that command lines of model servers and holders of GPU memory name (model_file.inspect)")
            }
        };
        let cached = match cache::supported() {
            true => "how much is cached is known where the kernel tells it",
            false => {
                "how much is cached is not known before Linux 6.5, or where a filter of system calls forbids cachestat"
            }
        };
        let stores = round::stores(root, config);
        let stores = if stores.is_empty() { "no store of models".to_owned() } else { stores.join(", ") };
        finding(ok, format!("{seen}; {cached}; {stores}"))
    }
}

impl Drop for ModelFiles {
    fn drop(&mut self) {
        self.shared.watch.request_stop();
        self.observed.stop();
    }
}
