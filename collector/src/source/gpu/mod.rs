//! NVIDIA's GPUs as a source, through NVML. Its calls take milliseconds, and with a broken driver may never return: a
//! thread of its own makes them. A thread that misses its deadline is abandoned, its GPUs' series vanish, and another
//! thread tries again after a growing pause. Without NVML's library the source reads nothing and shows no health.

mod average;
mod device;
mod holder;
mod library;
mod link;
mod pcie;
mod session;

use std::collections::HashMap;
use std::mem::ManuallyDrop;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread;
use std::time::Duration;

use anyhow::{Error, Result};
use nvml_wrapper::Nvml;

use super::cgroup::{Hierarchies, Hierarchy};
use super::root::Root;
use super::watch::Watch;
use super::{Finding, Health, Source};
use crate::clock;
use crate::config::{self, Config};
use crate::sample::{Lost, Reading, Sample};
use crate::stage::Stage;
use crate::statistic::gpu;
use holder::Holders;
use library::Absent;
use session::{Context, LATE, SOON};

/// Messages from the thread that wait to be fetched: the rounds of some seconds.
const WAITING: usize = 4096;
/// Threads that may be abandoned at once.
const STUCK: usize = 4;
/// How often the agent looks again for a missing library.
const LOOK: Duration = Duration::from_secs(60);
/// Starting NVML may take this many times as long as a call.
const START: u32 = 10;

/// The GPUs.
pub struct Gpus {
    settings: Settings,
    thread: Option<Thread>,
    /// GPUs that the engine knows of.
    told: Vec<Arc<str>>,
    /// Threads that are alive, the abandoned ones included.
    threads: Arc<()>,
    wait: Duration,
    /// When another thread may start (CLOCK_MONOTONIC).
    again: u64,
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

/// What the thread sends.
// Boxed, each sample would be an allocation a tick.
#[allow(clippy::large_enum_variant)]
enum Message {
    Sample(Sample),
    /// A round is complete: its nanoseconds, and why something could not be read.
    Round(u64, Option<String>),
}

impl Gpus {
    /// The GPUs of the host with this root.
    pub fn new(root: &Root, hierarchies: &Hierarchies, config: &config::Gpu) -> Gpus {
        Gpus {
            settings: Settings { config: config.clone(), root: root.clone(), memory: hierarchies.memory.clone() },
            thread: None,
            told: Vec::new(),
            threads: Arc::new(()),
            wait: SOON,
            again: 0,
            error: None,
        }
    }

    /// Gives up the thread, and reports its GPUs as gone.
    fn abandon(&mut self, now: u64, why: &str, tell: &mut dyn FnMut(Reading)) {
        if let Some(thread) = self.thread.take() {
            thread.watch.give_up();
        }
        self.again = now.saturating_add(self.wait.as_nanos() as u64);
        self.wait = (self.wait * 2).min(LATE);
        for uuid in self.told.drain(..) {
            tell(Reading::Gpu(gpu::Reading::Gone { uuid }));
        }
        say(&mut self.error, Some(why));
    }
}

impl Source for Gpus {
    fn read(&mut self, emit: &mut dyn FnMut(Sample)) -> Health {
        let now = clock::monotonic_ns();
        if self.thread.is_none() && now >= self.again && Arc::strong_count(&self.threads) <= STUCK {
            self.thread = start(self.settings.clone(), self.threads.clone());
        }
        let Some(thread) = &self.thread else { return Health::Silent };
        let mut health = Health::Silent;
        let over = loop {
            match thread.messages.try_recv() {
                Ok(Message::Sample(sample)) => {
                    follow(&mut self.told, &sample.reading);
                    emit(sample);
                }
                Ok(Message::Round(ns, error)) => {
                    say(&mut self.error, error.as_deref());
                    if error.is_none() {
                        self.wait = SOON;
                    }
                    health = round(ns, error);
                }
                Err(TryRecvError::Empty) => {
                    break thread.watch.late().map(|call| format!("NVML does not answer: {call}"));
                }
                Err(TryRecvError::Disconnected) => break Some("the thread that reads NVML is gone".to_owned()),
            }
        };
        let mut tell = |reading| emit(Sample { time: clock::unix_ns(), reading });
        let lost = thread.lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            tell(Reading::Lost(Lost { stage: Stage::Gpu, count: lost }));
        }
        match over {
            Some(why) => {
                self.abandon(now, &why, &mut tell);
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
            thread.watch.give_up();
        }
    }
}

/// Logs what is wrong, once.
fn say(known: &mut Option<String>, now: Option<&str>) {
    if known.as_deref() == now {
        return;
    }
    match now {
        Some(reason) => tracing::warn!(reason, "GPUs cannot all be read"),
        None => tracing::info!("all GPUs can be read again"),
    }
    *known = now.map(str::to_owned);
}

fn follow(told: &mut Vec<Arc<str>>, reading: &Reading) {
    match reading {
        Reading::Gpu(gpu::Reading::Device { device, .. }) if !told.contains(&device.uuid) => {
            told.push(device.uuid.clone());
        }
        Reading::Gpu(gpu::Reading::Gone { uuid }) => told.retain(|told| told != uuid),
        _ => {}
    }
}

fn start(settings: Settings, alive: Arc<()>) -> Option<Thread> {
    let watch = Arc::new(Watch::new(settings.config.deadline));
    let (sender, messages) = sync_channel(WAITING);
    let lost = Arc::new(AtomicU64::new(0));
    let work = Work { settings, watch: watch.clone(), sender, lost: lost.clone() };
    let builder = thread::Builder::new().name("headroom-gpu".to_owned());
    let spawned = builder.spawn(move || {
        work.run();
        drop(alive);
    });
    spawned.is_ok().then_some(Thread { watch, messages, lost })
}

/// What the thread works with.
struct Work {
    settings: Settings,
    watch: Arc<Watch>,
    sender: SyncSender<Message>,
    lost: Arc<AtomicU64>,
}

impl Work {
    /// The thread: one NVML session after the other.
    fn run(self) {
        let Work { settings: Settings { config, root, memory }, watch, sender, lost } = self;
        let hand = |message| {
            let sent = sender.try_send(message);
            lost.fetch_add(sent.is_err().into(), Ordering::Relaxed);
            sent.is_ok()
        };
        let send = |reading| hand(Message::Sample(Sample { time: clock::unix_ns(), reading }));
        let mut holders = Holders::new(&root, &memory);
        let (mut links, mut told) = (HashMap::new(), Vec::new());
        let (mut wait, mut renew) = (SOON, SOON);
        while !watch.is_over() {
            let begun = clock::monotonic_ns();
            let nvml =
                watch.call_for(config.deadline * START, "start", || library::open(config.library.as_deref(), &root));
            let mut healthy = false;
            let trouble = match nvml {
                Ok(nvml) => {
                    let nvml = ManuallyDrop::new(nvml);
                    let mut context = Context {
                        watch: &watch,
                        interval: config.interval,
                        holders: &mut holders,
                        links: &mut links,
                        told: &mut told,
                        tell: &mut |reading| send(Reading::Gpu(reading)),
                        renew: &mut renew,
                        round: &mut |ns, count, error| {
                            healthy |= error.is_none();
                            if count > 0 {
                                send(Reading::Lost(Lost { stage: Stage::GpuPcie, count }));
                            }
                            hand(Message::Round(ns, error));
                        },
                    };
                    let trouble = session::run(&nvml, &mut context).err();
                    watch.call("stop", || stop(nvml));
                    trouble
                }
                Err(Absent::Missing) if config.enabled == "auto" => {
                    nap(LOOK, &watch);
                    continue;
                }
                Err(Absent::Missing) => Some("there is no libnvidia-ml.so.1".to_owned()),
                Err(Absent::Useless(why)) => Some(why),
            };
            if healthy {
                renew = SOON;
            }
            // Without trouble the next session begins at once, and GPUs that it still finds stay.
            let Some(trouble) = trouble else { continue };
            for uuid in told.drain(..) {
                send(Reading::Gpu(gpu::Reading::Gone { uuid }));
            }
            hand(Message::Round(clock::monotonic_ns() - begun, Some(trouble)));
            wait = if healthy { SOON } else { (wait * 2).min(LATE) };
            nap(wait, &watch);
        }
    }
}

/// Ends a session, if this library can.
fn stop(nvml: ManuallyDrop<Nvml>) {
    if nvml.lib().nvmlShutdown.is_ok() {
        drop(ManuallyDrop::into_inner(nvml));
    }
}

/// Sleeps, unless the thread should end.
fn nap(time: Duration, watch: &Watch) {
    let until = clock::monotonic_ns() + time.as_nanos() as u64;
    while !watch.is_over() && clock::monotonic_ns() < until {
        thread::sleep(Duration::from_millis(100).min(time));
    }
}

/// Which GPUs there are, and what they cannot tell; or why they cannot be read.
fn examine(config: &config::Gpu, root: &Root) -> Result<String, String> {
    if config.enabled == "off" {
        return Ok("switched off".to_owned());
    }
    let (sender, answer) = std::sync::mpsc::channel();
    let (library, root): (Option<PathBuf>, Root) = (config.library.clone(), root.clone());
    let asked = thread::Builder::new().name("headroom-gpu".to_owned());
    let asked = asked.spawn(move || sender.send(look(library, &root)));
    asked.map_err(|error| format!("no thread to ask: {error}"))?;
    match answer.recv_timeout(config.deadline * START) {
        Ok(Err(Absent::Missing)) if config.enabled == "auto" => Ok("none: there is no libnvidia-ml.so.1".to_owned()),
        Ok(Err(Absent::Missing)) => Err("there is no libnvidia-ml.so.1".to_owned()),
        Ok(Err(Absent::Useless(why))) => Err(why),
        Ok(Ok(found)) => Ok(found),
        Err(_) => Err("NVML does not answer".to_owned()),
    }
}

fn look(library: Option<PathBuf>, root: &Root) -> Result<String, Absent> {
    let nvml = ManuallyDrop::new(library::open(library.as_deref(), root)?);
    let useless = |error| Absent::Useless(format!("which GPUs there are: {error}"));
    let driver = nvml.sys_driver_version().unwrap_or_default();
    let mut text = format!("driver {driver}");
    for index in 0..nvml.device_count().map_err(useless)? {
        text += &match nvml.device_by_index(index) {
            Ok(device) => {
                let unsupported = device::unsupported(&device);
                let name = device.name().unwrap_or_default();
                match unsupported.is_empty() {
                    true => format!("; GPU {index}: {name}"),
                    false => format!("; GPU {index}: {name}, without {}", unsupported.join(", ")),
                }
            }
            Err(error) => format!("; GPU {index}: {error}"),
        };
    }
    stop(nvml);
    Ok(text)
}
