//! The network as a source: interfaces and RDMA ports of the host, and network namespaces of workloads, read from outside. The driver
//! answers for the speed of a link and may hold a lock meanwhile, so a thread of its own reads all of it.

mod interface;
mod member;
mod namespace;
mod port;
mod route;

use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Error, Result};
use collector_core::pattern::Patterns;
use collector_core::sample::{self, Sample};
use collector_core::stage::Stage;
use collector_core::statistic::network::Reading;

use super::cgroup::Hierarchies;
use super::root::Root;
use super::watch::Watch;
use super::{Finding, Health, Source};
use crate::clock;
use crate::config::{Config, Network as Settings};
use crate::mutex::lock;
use interface::Interfaces;
use member::Members;
use namespace::Namespaces;

/// How long one round may take.
const DEADLINE: Duration = Duration::from_secs(20);
/// A round of rounds: what seldom changes is read once in so long, and a namespace without processes is remembered for two.
const SLOW: Duration = Duration::from_secs(60);

pub struct Networks {
    shared: Arc<Shared>,
    /// Interfaces that were reported.
    shown: Vec<Arc<str>>,
    found: Vec<Reading>,
}

struct Shared {
    found: Mutex<Found>,
    members: Mutex<Members>,
    watch: Watch,
}

#[derive(Default)]
struct Found {
    readings: Vec<Reading>,
    round: Option<(u64, Option<String>)>,
    lost: u64,
}

impl Networks {
    pub fn start(root: &Root, hierarchies: &Hierarchies, settings: &Settings) -> Result<Networks> {
        let memory = hierarchies.memory.clone();
        let members = Mutex::new(Members::new(memory.id, settings.namespaces));
        let shared = Arc::new(Shared { found: Mutex::default(), members, watch: Watch::new(DEADLINE) });
        let interfaces = Interfaces::new(root, Patterns::new(&settings.exclude));
        let (mine, interval) = (shared.clone(), settings.interval);
        let slow = (SLOW.as_nanos() / interval.as_nanos().max(1)).clamp(1, 60) as u64;
        let namespaces = Namespaces::new(root, memory, slow);
        thread::Builder::new()
            .name("headroom-network".into())
            .spawn(move || mine.run(interfaces, namespaces, interval, slow))
            .context("start the thread that reads the network")?;
        Ok(Networks { shared, shown: Vec::new(), found: Vec::new() })
    }
}

impl Shared {
    fn run(&self, mut interfaces: Interfaces, mut namespaces: Namespaces, interval: Duration, slow: u64) {
        let mut round = 0_u64;
        while !self.watch.should_stop() {
            let started = clock::monotonic_ns();
            let mut readings = Vec::new();
            let failed = self.watch.call("the network", || {
                let read = interfaces.read(round.is_multiple_of(slow), &mut |reading| readings.push(reading));
                let host = interfaces.namespace();
                let mut emit = |reading| readings.push(reading);
                namespaces.read(round, host, &self.members, &mut emit);
                read.err()
            });
            let mut found = lock(&self.found);
            if found.readings.is_empty() {
                found.readings = readings;
            } else {
                found.readings.extend(readings);
            }
            found.lost += namespaces.take_lost() + interfaces.take_lost() + lock(&self.members).take_lost();
            let ns = clock::monotonic_ns().saturating_sub(started);
            found.round = Some((ns, failed.map(|error| format!("{error:#}"))));
            drop(found);
            round = round.wrapping_add(1);
            self.watch.sleep(interval);
        }
    }
}

impl Source for Networks {
    fn read(&mut self, emit: &mut dyn FnMut(Sample)) -> Health {
        let time = clock::unix_ns();
        let mut say = |reading| emit(Sample { time, reading });
        if let Some(what) = self.shared.watch.overdue() {
            // What it said last is not true any more.
            for device in self.shown.drain(..) {
                say(sample::Reading::Network(Reading::Interface { device, route: false, values: None }));
            }
            return Health::Read(Err(Error::msg(format!("reading {what} does not return"))));
        }
        let (round, lost) = {
            let mut found = lock(&self.shared.found);
            std::mem::swap(&mut self.found, &mut found.readings);
            (found.round.take(), std::mem::take(&mut found.lost))
        };
        for reading in self.found.drain(..) {
            match &reading {
                Reading::Interface { device, values: Some(_), .. } if !self.shown.contains(device) => {
                    self.shown.push(device.clone());
                }
                Reading::Interface { device, values: None, .. } => self.shown.retain(|shown| shown != device),
                _ => {}
            }
            say(sample::Reading::Network(reading));
        }
        if lost > 0 {
            say(sample::Reading::Lost(sample::Lost { stage: Stage::Network, count: lost }));
        }
        match round {
            Some((ns, None)) => Health::Round { ns, result: Ok(()) },
            Some((ns, Some(error))) => Health::Round { ns, result: Err(Error::msg(error)) },
            None => Health::Silent,
        }
    }

    fn follow(&mut self, reading: &sample::Reading) {
        if let sample::Reading::Cgroup(change) = reading {
            lock(&self.shared.members).follow(change);
        }
    }

    fn examine(config: &Config, root: &Root) -> Vec<Finding> {
        let finding = |ok, is: String| vec![Finding { key: "network", title: "network", ok, is }];
        if !config.network.enabled {
            return finding(true, "off (network.enabled)".to_owned());
        }
        let mut interfaces = Interfaces::new(root, Patterns::new(&config.network.exclude));
        let mut said = Vec::new();
        let read = interfaces.read(true, &mut |reading| said.extend(interface::describe(&reading)));
        match read {
            Ok(()) if said.is_empty() => {
                finding(true, "no interface that is not excluded (network.exclude)".to_owned())
            }
            Ok(()) => finding(true, said.join("; ")),
            Err(error) => finding(false, format!("{error:#}")),
        }
    }
}

impl Drop for Networks {
    fn drop(&mut self) {
        self.shared.watch.request_stop();
    }
}

/// The beginning of one of the kernel's files.
fn read(path: &Path, most: u64) -> std::io::Result<Vec<u8>> {
    let mut text = Vec::new();
    fs::File::open(path)?.take(most).read_to_end(&mut text)?;
    Ok(text)
}
