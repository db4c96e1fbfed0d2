//! The wiring, and the shutdown: the only place that spawns tasks. Sources produce samples, the engine folds them, the
//! endpoint and the log show what came of it; all on one thread.

use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{MissedTickBehavior, interval};

use crate::agent::round::Round;
use crate::cli::exit::{Exit, Failure};
use crate::config::Config;
use crate::engine::{Engine, Outcome};
use crate::http::access::Access;
use crate::http::{BindError, Exposition, Limits, Listener, serve};
use crate::metric::{self, Format};
use crate::pressure::{self, Stall, Trigger};
use crate::privilege;
use crate::rule::Rules;
use crate::sample::{ProbeState, Reading, Sample};
use crate::service::Manager;
use crate::sink;
use crate::sink::outbox::Outbox;
use crate::sink::record::Recorder;
use crate::sink::target::Host;
use crate::source::clock;
use crate::source::host::trigger::{self, Armed};
use crate::source::kernel::ring::Ring;
use crate::source::kernel::{Kernel, load};
use crate::source::root::Root;
use crate::summary::Summary;

/// A tick that is this many ticks late means that the agent hangs.
const LATE_TICKS: u64 = 10;

/// What `headroom run` is told beside its configuration.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Write every sample to this file, a JSON line each.
    pub record: Option<PathBuf>,
}

/// Runs the collector until it is told to stop.
///
/// # Errors
/// With an exit code of its own for each of: privileges that are missing, another instance running, an address that
/// cannot be bound, too few probes attached.
pub fn run(config: &Config, options: &Options) -> Result<(), Failure> {
    let targets = sink::target::targets(config).map_err(|error| Failure::new(Exit::Config, error))?;
    let access = access(config)?;
    let started = clock::unix_ns();
    privilege::check()?;
    privilege::lost().for_each(|(capability, cost)| tracing::info!("without {capability}: {cost}"));
    let _lock = privilege::lock(&config.lock)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("start the runtime")?;
    let inside = runtime.enter();
    let listener = Listener::bind(config.listen).map_err(|error| address(config, error))?;
    let recorder = options.record.as_deref().map(Recorder::create).transpose()?;
    // Lowering it needs a capability that is dropped further down.
    privilege::protect(config.oom_score_adj);
    let kernel = Kernel::open(config)?;
    report(&kernel)?;
    // Arming them may take a capability, too.
    let triggers = arm(config);
    privilege::drop_unneeded(config.transfer.enabled)?;
    trim();
    // Its threads inherit the capabilities that are left.
    let host = Host::of(config, access.scheme(), listener.address());
    let outbox = Outbox::start(&config.journal, &host, targets)?;
    let done = runtime.block_on(collect(config, started, kernel, triggers, (listener, access), recorder, outbox));
    // Neither a password that is being checked nor a disk that hangs is waited for.
    drop(inside);
    runtime.shutdown_background();
    Ok(done?)
}

/// On which terms the endpoint answers.
///
/// # Errors
/// All that is wrong with the file that says so, and with what it names.
pub fn access(config: &Config) -> Result<Arc<Access>, Failure> {
    Access::open(config.web_config.as_deref()).map_err(|errors| Failure::new(Exit::Config, errors))
}

/// Gives the kernel back what only the start needed: its BTF, parsed, is tens of megabytes, and the C library keeps what
/// is freed. Other C libraries have no such call.
pub fn trim() {
    #[cfg(target_env = "gnu")]
    // SAFETY: the call touches only memory that is free.
    unsafe {
        libc::malloc_trim(0);
    }
}

fn address(config: &Config, error: BindError) -> Failure {
    let failure = Failure::new(Exit::Address, error);
    failure.hint(format!("set `listen`, HEADROOM_LISTEN or --listen to another address than {}", config.listen))
}

/// Says which probes see, and gives up if too few do.
fn report(kernel: &Kernel) -> Result<(), Failure> {
    for probe in &kernel.probes {
        let reason = probe.reason.as_deref().unwrap_or_default();
        match probe.state {
            ProbeState::Failed => tracing::warn!(probe = probe.program, reason, "probe failed"),
            state => tracing::debug!(probe = probe.program, ?state, reason, "probe"),
        }
    }
    let attached = kernel.probes.iter().filter(|probe| probe.state == ProbeState::Attached).count();
    if load::too_few(&kernel.probes) {
        let first = kernel.probes.iter().find(|probe| probe.state == ProbeState::Failed);
        let first = first.and_then(|probe| probe.reason.clone()).unwrap_or_default();
        let error = anyhow::anyhow!("{first}")
            .context(format!("only {attached} of {} probes could be attached", kernel.probes.len()));
        return Err(Failure::new(Exit::Probes, error).hint("`headroom doctor` lists each with its reason"));
    }
    tracing::info!("{attached} probes attached");
    Ok(())
}

/// Has the kernel watch over pressure. One that it refuses costs no more than itself.
fn arm(config: &Config) -> Vec<Armed> {
    let proc = Root::new(&config.rootfs).at("/proc");
    let armed = trigger::wanted(&config.pressure).map(|wanted| trigger::arm(&proc, wanted));
    let told = armed.inspect(|armed| {
        if let Err(refused) = armed {
            let Trigger { resource, kind, .. } = refused.trigger;
            let (resource, kind) = (resource.label(), kind.label());
            tracing::warn!(resource, kind, reason = refused.reason, "the kernel does not watch over this pressure");
        }
    });
    told.filter_map(Result::ok).collect()
}

/// What the endpoint shows of the engine.
struct Shared {
    engine: Mutex<Engine>,
    max_series: usize,
    tick_ns: u64,
    /// When the last tick was over (CLOCK_MONOTONIC); zero before the first.
    ticked: AtomicU64,
    /// Series that expositions left out since the last round.
    left_out: Arc<AtomicU64>,
    /// The last exposition: scrapes between two changes of the view share one.
    rendered: Mutex<Option<(u64, Format, Bytes)>>,
}

impl Shared {
    fn engine(&self) -> MutexGuard<'_, Engine> {
        // Whoever panicked while holding it has already brought the process down.
        self.engine.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Exposition for Shared {
    fn metrics(&self, format: Format) -> Bytes {
        let engine = self.engine();
        let mut rendered = self.rendered.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((version, of, bytes)) = &*rendered
            && (*version, *of) == (engine.version(), format)
        {
            return bytes.clone();
        }
        let metric::Exposition { text, left_out } = metric::render(engine.view(), format, self.max_series);
        self.left_out.fetch_add(left_out, Ordering::Relaxed);
        let bytes = Bytes::from(text);
        *rendered = Some((engine.version(), format, bytes.clone()));
        bytes
    }

    fn workloads(&self) -> Bytes {
        let summary = Summary::of(self.engine().view());
        // A map of strings and numbers: it can be written.
        serde_json::to_vec(&summary).unwrap_or_default().into()
    }

    fn ready(&self) -> Result<(), String> {
        match self.ticked.load(Ordering::Relaxed) {
            0 => Err("the first round of readings is not complete yet".to_owned()),
            _ => Ok(()),
        }
    }

    fn healthy(&self) -> Result<(), String> {
        let ticked = self.ticked.load(Ordering::Relaxed);
        let late = clock::monotonic_ns().saturating_sub(ticked);
        if ticked != 0 && late > LATE_TICKS * self.tick_ns {
            return Err(format!("the last round of readings was {} s ago", late / 1_000_000_000));
        }
        Ok(())
    }
}

async fn collect(
    config: &Config,
    started: u64,
    kernel: Kernel,
    triggers: Vec<Armed>,
    (listener, access): (Listener, Arc<Access>),
    mut recorder: Option<Recorder>,
    mut outbox: Outbox,
) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listen for SIGINT")?;
    let left_out = Arc::new(AtomicU64::new(0));
    let shared = Arc::new(Shared {
        engine: Mutex::new(Engine::with(Arc::new(Rules::new(&config.rule)?))),
        max_series: config.metrics.max_series,
        tick_ns: config.tick.as_nanos() as u64,
        ticked: AtomicU64::new(0),
        left_out: left_out.clone(),
        rendered: Mutex::new(None),
    });
    let shed = Arc::new(AtomicU64::new(0));
    let (stop, stopped) = oneshot::channel::<()>();
    let (scheme, address) = (access.scheme(), listener.address());
    let stopped = async { drop(stopped.await) };
    let endpoint = tokio::spawn(serve(listener, access, shared.clone(), Limits::default(), shed.clone(), stopped));
    tracing::info!("metrics at {scheme}://{address}/metrics");

    let losses = [("http", shed), ("series", left_out)].into_iter().chain(outbox.losses()).collect();
    let mut fares = outbox.fares.clone();
    let restored = std::mem::take(&mut outbox.restored);
    let mut round = Round::open(config, kernel, started, losses)?;
    let mut manager = Manager::new();
    let mut fold = |sample: Sample| {
        if let Some(recorder) = &mut recorder {
            recorder.write(&sample);
        }
        let end_of_round = sample.reading == Reading::Tick;
        let outcomes = shared.engine().apply(&sample);
        tell(&mut outbox, sample.time, outcomes);
        if end_of_round {
            shared.ticked.store(clock::monotonic_ns(), Ordering::Relaxed);
            if let Some(lost) = recorder.as_mut().and_then(|recorder| recorder.flush()) {
                shared.engine().apply(&Sample { time: sample.time, reading: Reading::Lost(lost) });
            }
        }
    };
    round.begin(&mut fold);
    restored.into_iter().for_each(|alert| fold(Sample { time: clock::unix_ns(), reading: Reading::Restored(alert) }));
    let mut say = |reading| fold(Sample { time: clock::unix_ns(), reading: Reading::Pressure(reading) });
    triggers.iter().for_each(|armed| say(pressure::Reading::Trigger(armed.trigger)));
    let mut stalls = watch(triggers)?;
    let critical = readable(&round.kernel.critical)?;
    let bulk = readable(&round.kernel.bulk)?;
    let mut tick = interval(config.tick);
    // After a pause (a stopped process, a suspended host) one late round, not all that were missed.
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            ready = critical.readable() => {
                let more = round.drain_critical(&mut fold);
                ready.context("wait for the critical ring")?.retain_ready_if(more);
            }
            // Without a trigger nobody sends, and this is passed over.
            Some(stall) = stalls.recv() => {
                let reading = Reading::Pressure(pressure::Reading::Stall(stall));
                fold(Sample { time: clock::unix_ns(), reading });
            }
            name = round.names.next() => fold(name),
            _ = tick.tick() => {
                fares.read(&mut fold);
                round.read(&mut fold);
                manager.round();
            }
            ready = bulk.readable() => {
                let more = round.drain_bulk(&mut fold);
                ready.context("wait for the bulk ring")?.retain_ready_if(more);
            }
        }
    }
    tracing::info!("stopping");
    manager.stopping();
    // What came in since the last round is still worth recording and logging.
    round.read(&mut fold);
    let left = shared.engine().finish();
    tell(&mut outbox, clock::unix_ns(), left);
    drop(stop);
    endpoint.await.context("the HTTP endpoint")?.context("the HTTP endpoint")?;
    // Dropping the round detaches the programs.
    drop(round);
    // It waits for the journal and for receivers, though not for long; nothing else is left to do.
    outbox.close();
    Ok(())
}

/// Logs what the engine told, and passes it on.
fn tell(outbox: &mut Outbox, time: u64, outcomes: Vec<Outcome>) {
    for outcome in outcomes {
        sink::log::write(&outcome);
        outbox.tell(time, outcome);
    }
}

/// Passes on what each trigger has to tell, as soon as it fires.
fn watch(triggers: Vec<Armed>) -> Result<mpsc::Receiver<Stall>> {
    // The kernel lets each fire once a window: a loop that is that late learns of it all the same.
    let (sender, stalls) = mpsc::channel(triggers.len().max(1));
    for armed in triggers {
        let sender = sender.clone();
        // SAFETY: the trigger owns its descriptor, and lends it to nobody.
        let armed = unsafe { AsyncFd::register_with_interest(armed, Interest::PRIORITY) };
        let armed = armed.map_err(std::io::Error::from).context("watch a pressure trigger")?;
        tokio::spawn(async move {
            while let Ok(mut fired) = armed.ready(Interest::PRIORITY).await {
                let told = fired.ready().is_priority();
                fired.clear_ready();
                if told && sender.send(armed.get_ref().stall()).await.is_err() {
                    break;
                }
            }
        });
    }
    Ok(stalls)
}

fn readable(ring: &Ring) -> Result<AsyncFd<OwnedFd>> {
    let fd = ring.as_fd().try_clone_to_owned().context("watch a ring")?;
    // SAFETY: the descriptor is owned by what is registered, and closed only with it.
    let watched = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) };
    watched.map_err(std::io::Error::from).context("watch a ring")
}

/// Keeps a ring's readiness while more is waiting.
trait Retain {
    fn retain_ready_if(self, more: bool);
}

impl Retain for tokio::io::unix::AsyncFdReadyGuard<'_, OwnedFd> {
    fn retain_ready_if(mut self, more: bool) {
        if more { self.retain_ready() } else { self.clear_ready() }
    }
}
