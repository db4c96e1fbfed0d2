//! NVIDIA GPUs as a source, through NVML. Its calls take milliseconds, and with a broken driver may never return: a
//! separate thread makes them. A thread that misses its deadline is abandoned, the series of its GPUs vanish, and
//! another thread tries again after a growing delay. Without NVML's library the source reads nothing and reports no
//! health.

mod average;
mod budget;
mod device;
mod holder;
mod library;
mod link;
mod pcie;
mod session;
mod slot;

use std::collections::HashMap;
use std::mem::ManuallyDrop;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::TryRecvError;
use std::thread;
use std::time::Duration;

use anyhow::{Error, Result};
use collector_core::sample::{Lost, Reading, Sample};
use collector_core::stage::Stage;
use collector_core::statistic::gpu;
use nvml_wrapper::Nvml;

use super::cgroup::{Hierarchies, Hierarchy};
use super::observed::Observed;
use super::queue::{Receiver, Sender, queue};
use super::root::Root;
use super::watch::Watch;
use super::{Finding, Health, Source};
use crate::clock;
use crate::config::{self, Config};
use budget::Budget;
use holder::Holders;
use library::Absent;
use link::Link;
use session::{Context, RETRY_MAX, RETRY_MIN};

/// Capacity of the channel from the thread: a few seconds of rounds.
const CHANNEL_CAPACITY: usize = 4096;
/// Limit on threads that are alive, including abandoned ones.
const MAX_THREADS: usize = 4;
/// How often a missing library is looked for again.
const LIBRARY_CHECK_INTERVAL: Duration = Duration::from_secs(60);
/// Starting NVML may take this many times the deadline of a call.
const START_FACTOR: u32 = 10;

pub struct Gpus {
    settings: Settings,
    /// Learns who holds memory of a GPU.
    observed: Arc<Observed>,
    thread: Option<Thread>,
    /// GPUs that the engine knows about.
    reported: Vec<Arc<str>>,
    /// Its strong count is the number of live threads, abandoned ones included, plus one.
    threads: Arc<()>,
    retry_delay: Duration,
    /// Earliest start of another thread (CLOCK_MONOTONIC, in nanoseconds).
    retry_at: u64,
    error: Option<String>,
}

#[derive(Clone)]
struct Settings {
    config: config::Gpu,
    root: Root,
    memory: Hierarchy,
}

struct Thread {
    watch: Arc<Watch>,
    messages: Receiver<Message>,
    lost: Arc<AtomicU64>,
}

// Boxing would allocate for each sample.
#[allow(clippy::large_enum_variant)]
enum Message {
    Sample(Sample),
    /// A finished round: its nanoseconds, and why something could not be read.
    Round(u64, Option<String>),
}

impl Gpus {
    pub fn new(root: &Root, hierarchies: &Hierarchies, config: &config::Gpu) -> Gpus {
        Gpus {
            settings: Settings { config: config.clone(), root: root.clone(), memory: hierarchies.memory.clone() },
            observed: Arc::default(),
            thread: None,
            reported: Vec::new(),
            threads: Arc::new(()),
            retry_delay: RETRY_MIN,
            retry_at: 0,
            error: None,
        }
    }

    /// Tells these, too, who holds memory of a GPU.
    pub fn telling(mut self, observed: &Arc<Observed>) -> Gpus {
        self.observed = observed.clone();
        self
    }

    /// Abandons the thread, and reports its GPUs as gone.
    fn abandon(&mut self, now: u64, why: &str, send: &mut dyn FnMut(Reading)) {
        if let Some(thread) = self.thread.take() {
            thread.watch.request_stop();
        }
        self.retry_at = now.saturating_add(self.retry_delay.as_nanos() as u64);
        self.retry_delay = (self.retry_delay * 2).min(RETRY_MAX);
        for uuid in self.reported.drain(..) {
            self.observed.forget(&uuid);
            send(Reading::Gpu(gpu::Reading::Gone { uuid }));
        }
        log_change(&mut self.error, Some(why));
    }
}

impl Source for Gpus {
    fn read(&mut self, emit: &mut dyn FnMut(Sample)) -> Health {
        let now = clock::monotonic_ns();
        if self.thread.is_none() && now >= self.retry_at && Arc::strong_count(&self.threads) <= MAX_THREADS {
            self.thread = start(self.settings.clone(), self.threads.clone());
        }
        let Some(thread) = &self.thread else { return Health::Silent };
        let mut health = Health::Silent;
        let over = loop {
            match thread.messages.try_recv() {
                Ok(Message::Sample(sample)) => {
                    follow(&mut self.reported, &sample.reading);
                    tell(&self.observed, &sample.reading);
                    emit(sample);
                }
                Ok(Message::Round(ns, error)) => {
                    log_change(&mut self.error, error.as_deref());
                    if error.is_none() {
                        self.retry_delay = RETRY_MIN;
                    }
                    // An error must not be hidden by a later round of the same tick.
                    if !matches!(health, Health::Round { result: Err(_), .. }) {
                        health = round(ns, error);
                    }
                }
                Err(TryRecvError::Empty) => {
                    break thread.watch.overdue().map(|call| format!("NVML does not answer: {call}"));
                }
                Err(TryRecvError::Disconnected) => break Some("the NVML thread ended unexpectedly".to_owned()),
            }
        };
        let mut send = |reading| emit(Sample { time: clock::unix_ns(), reading });
        let lost = thread.lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            send(Reading::Lost(Lost { stage: Stage::Gpu, count: lost }));
        }
        match over {
            Some(why) => {
                self.abandon(now, &why, &mut send);
                round(self.settings.config.deadline.as_nanos() as u64, Some(why))
            }
            None => health,
        }
    }

    fn examine(config: &Config, root: &Root) -> Vec<Finding> {
        let (ok, is) = match examine(&config.gpu, root) {
            Ok(is) => (true, is),
            Err(is) => (false, is),
        };
        vec![Finding { key: "gpu", title: "gpu", ok, is }]
    }
}

fn round(ns: u64, error: Option<String>) -> Health {
    Health::Round { ns, result: error.map_or(Ok(()), |error| Err(Error::msg(error))) }
}

impl Drop for Gpus {
    fn drop(&mut self) {
        if let Some(thread) = &self.thread {
            thread.watch.request_stop();
        }
    }
}

/// Logs the problem when it changes.
fn log_change(known: &mut Option<String>, now: Option<&str>) {
    if known.as_deref() == now {
        return;
    }
    match now {
        Some(reason) => tracing::warn!(reason, "not all GPUs can be read"),
        None => tracing::info!("all GPUs can be read again"),
    }
    *known = now.map(str::to_owned);
}

/// Passes on who holds memory of a GPU.
fn tell(observed: &Observed, reading: &Reading) {
    match reading {
        Reading::Gpu(gpu::Reading::Held { uuid, holders }) => observed.holders(uuid, holders),
        Reading::Gpu(gpu::Reading::Gone { uuid }) => observed.forget(uuid),
        _ => {}
    }
}

fn follow(reported: &mut Vec<Arc<str>>, reading: &Reading) {
    match reading {
        Reading::Gpu(gpu::Reading::Device { device, .. }) if !reported.contains(&device.uuid) => {
            reported.push(device.uuid.clone());
        }
        Reading::Gpu(gpu::Reading::Gone { uuid }) => reported.retain(|reported| reported != uuid),
        _ => {}
    }
}

fn start(settings: Settings, alive: Arc<()>) -> Option<Thread> {
    let watch = Arc::new(Watch::new(settings.config.deadline));
    let (sender, messages) = queue(CHANNEL_CAPACITY);
    let lost = Arc::new(AtomicU64::new(0));
    let work = Work { settings, watch: watch.clone(), sender, lost: lost.clone() };
    let builder = thread::Builder::new().name("headroom-gpu".to_owned());
    let spawned = builder.spawn(move || {
        work.run();
        drop(alive);
    });
    spawned.is_ok().then_some(Thread { watch, messages, lost })
}

/// The thread's state.
struct Work {
    settings: Settings,
    watch: Arc<Watch>,
    sender: Sender<Message>,
    lost: Arc<AtomicU64>,
}

impl Work {
    /// The thread's main loop: one NVML session after the other.
    fn run(self) {
        let Work { settings: Settings { config, root, memory }, watch, sender, lost } = self;
        let try_send = |message| {
            let sent = sender.try_send(message);
            lost.fetch_add((!sent).into(), Ordering::Relaxed);
            sent
        };
        let send = |reading| try_send(Message::Sample(Sample { time: clock::unix_ns(), reading }));
        let mut holders = Holders::new(&root, &memory);
        let (mut links, mut reported) = (HashMap::new(), Vec::new());
        let devices = slot::devices(&root);
        let mut budget = Budget::new(config.pcie_budget);
        let (mut retry_delay, mut refresh) = (RETRY_MIN, RETRY_MIN);
        while !watch.should_stop() {
            let started = clock::monotonic_ns();
            let nvml = watch
                .call_for(config.deadline * START_FACTOR, "start", || library::open(config.library.as_deref(), &root));
            let mut healthy = false;
            let problem = match nvml {
                Ok(nvml) => {
                    let nvml = ManuallyDrop::new(nvml);
                    let mut context = Context {
                        watch: &watch,
                        interval: config.interval,
                        holders: &mut holders,
                        links: &mut links,
                        devices: &devices,
                        budget: &mut budget,
                        reported: &mut reported,
                        send: &mut |reading| send(Reading::Gpu(reading)),
                        refresh: &mut refresh,
                        round: &mut |ns, count, error| {
                            healthy |= error.is_none();
                            if count > 0 {
                                send(Reading::Lost(Lost { stage: Stage::GpuPcie, count }));
                            }
                            try_send(Message::Round(ns, error));
                        },
                    };
                    let problem = session::run(&nvml, &mut context).err();
                    watch.call("stop", || stop(nvml));
                    problem
                }
                Err(Absent::Missing) if config.enabled == "auto" => {
                    watch.sleep(LIBRARY_CHECK_INTERVAL);
                    continue;
                }
                Err(Absent::Missing) => Some("libnvidia-ml.so.1 was not found".to_owned()),
                Err(Absent::Unusable(why)) => Some(why),
            };
            if healthy {
                refresh = RETRY_MIN;
            }
            // Without an error the next session starts at once, and GPUs that it still finds stay reported.
            let Some(problem) = problem else { continue };
            for uuid in reported.drain(..) {
                send(Reading::Gpu(gpu::Reading::Gone { uuid }));
            }
            try_send(Message::Round(clock::monotonic_ns() - started, Some(problem)));
            retry_delay = if healthy { RETRY_MIN } else { (retry_delay * 2).min(RETRY_MAX) };
            watch.sleep(retry_delay);
        }
    }
}

/// Shuts NVML down, if this library can.
fn stop(nvml: ManuallyDrop<Nvml>) {
    if nvml.lib().nvmlShutdown.is_ok() {
        drop(ManuallyDrop::into_inner(nvml));
    }
}

/// Describes the GPUs and their unsupported values, or why they cannot be read.
fn examine(config: &config::Gpu, root: &Root) -> Result<String, String> {
    if config.enabled == "off" {
        return Ok("disabled (gpu.enabled)".to_owned());
    }
    let (sender, answer) = std::sync::mpsc::channel();
    let (library, root): (Option<PathBuf>, Root) = (config.library.clone(), root.clone());
    let budget = config.pcie_budget;
    let spawned = thread::Builder::new().name("headroom-gpu".to_owned());
    let spawned = spawned.spawn(move || sender.send(describe(library, &root, budget)));
    spawned.map_err(|error| format!("could not start a thread: {error}"))?;
    match answer.recv_timeout(config.deadline * START_FACTOR) {
        Ok(Err(Absent::Missing)) if config.enabled == "auto" => Ok("none: libnvidia-ml.so.1 was not found".to_owned()),
        Ok(Err(Absent::Missing)) => Err("libnvidia-ml.so.1 was not found".to_owned()),
        Ok(Err(Absent::Unusable(why))) => Err(why),
        Ok(Ok(found)) => Ok(found),
        Err(_) => Err("NVML does not answer".to_owned()),
    }
}

fn describe(library: Option<PathBuf>, root: &Root, budget: Duration) -> Result<String, Absent> {
    let nvml = ManuallyDrop::new(library::open(library.as_deref(), root)?);
    let unusable = |error| Absent::Unusable(format!("could not list the GPUs: {error}"));
    let driver = nvml.sys_driver_version().unwrap_or_default();
    let mut text = format!("driver {driver}");
    let count = nvml.device_count().map_err(unusable)?;
    for index in 0..count {
        text += &match nvml.device_by_index(index) {
            Ok(device) => {
                let (values, unsupported) = device::examine(&device);
                let link = Link::examine(&device, &values, budget / count).map(|link| format!(", {link}"));
                let name = device.name().unwrap_or_default();
                let lacks = match unsupported.is_empty() {
                    true => String::new(),
                    false => format!(", without {}", unsupported.join(", ")),
                };
                format!("; GPU {index}: {name}{lacks}{}", link.unwrap_or_default())
            }
            Err(error) => format!("; GPU {index}: {error}"),
        };
    }
    stop(nvml);
    Ok(text)
}
