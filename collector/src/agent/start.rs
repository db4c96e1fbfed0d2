//! The start, in the order that privileges, the kernel and an operator ask for; in the end everything runs but the fold
//! loop. Says what is wrong with an exit code of its own.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use super::endpoint::Endpoint;
use super::fold::Fold;
use super::round::Round;
use super::snapshot::{self, Ask};
use crate::alert::Alert;
use crate::clock;
use crate::config::Config;
use crate::config::load::Effective;
use crate::deliver::outbox::{DeliveryHealth, Outbox};
use crate::deliver::target::{self, Host};
use crate::engine::Engine;
use crate::exit::{Exit, Failure};
use crate::http::access::Access;
use crate::http::{BindError, Listener};
use crate::pressure::{self, Stall, Trigger};
use crate::privilege;
use crate::sample::{ProbeState, Reading, Sample};
use crate::service::Manager;
use crate::sink::record::Recorder;
use crate::source::host::trigger::{self, Armed};
use crate::source::kernel::ring::Ring;
use crate::source::kernel::{Kernel, load};
use crate::source::root::Root;
use crate::stage::Stage;

/// What `headroom run` is given beside its configuration.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Write every sample to this file, a JSON line each.
    pub record: Option<PathBuf>,
}

/// The agent, started: all that its fold loop waits for, and all that it fills.
pub struct Agent {
    pub fold: Fold,
    pub round: Round,
    pub health: DeliveryHealth,
    pub asks: mpsc::Receiver<Ask>,
    pub stalls: mpsc::Receiver<Stall>,
    /// Alerts that fired before the start, from a journal that was late with them.
    pub restored: mpsc::Receiver<Vec<Alert>>,
    pub critical: AsyncFd<OwnedFd>,
    pub bulk: AsyncFd<OwnedFd>,
    pub terminate: Signal,
    pub interrupt: Signal,
    pub manager: Manager,
    pub endpoint: Endpoint,
    pub tick: Duration,
    /// Held until the end: one instance at a time.
    pub lock: File,
}

/// Starts it. Called in the runtime that the fold loop will run in.
pub fn start(effective: &Effective, options: &Options) -> Result<Agent, Failure> {
    let config = &effective.config;
    let targets = target::targets(config).map_err(|error| Failure::new(Exit::Config, error))?;
    let access = access(config)?;
    let started = clock::unix_ns();
    privilege::check()?;
    privilege::lost().for_each(|(capability, cost)| tracing::info!("without {capability}: {cost}"));
    let lock = privilege::lock(&config.lock)?;
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
    // The threads that are started from here on inherit the capabilities that are left.
    let host = Host::of(config, access.scheme(), listener.address());
    let (outbox, mut restored) = Outbox::start(&config.journal, &host, targets)?;
    let terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    let interrupt = signal(SignalKind::interrupt()).context("listen for SIGINT")?;

    let engine = Engine::with(effective.rules.clone());
    let (shed, left_out) = (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
    let tick_ns = config.tick.as_nanos() as u64;
    let (publisher, asks, snapshots) = snapshot::channel(tick_ns, config.metrics.max_series, left_out.clone());
    let url = format!("{}://{}/metrics", access.scheme(), listener.address());
    let endpoint = Endpoint::start(listener, access, Arc::new(snapshots), shed.clone())?;
    tracing::info!("metrics at {url}");

    let losses = [(Stage::Http, shed), (Stage::Series, left_out)].into_iter().chain(outbox.losses()).collect();
    let health = outbox.health.clone();
    let mut round = Round::open(config, kernel, started, losses)?;
    let mut fold = Fold::new(engine, recorder, outbox, publisher);
    round.begin(&mut |sample| fold.apply(sample));
    let mut apply = |reading| fold.apply(Sample { time: clock::unix_ns(), reading });
    // What the journal says later, the fold loop takes.
    if let Ok(alerts) = restored.try_recv() {
        alerts.into_iter().for_each(|alert| apply(Reading::Restored(alert)));
    }
    for armed in &triggers {
        apply(Reading::Pressure(pressure::Reading::Trigger(armed.trigger)));
    }
    let stalls = watch(triggers)?;
    let (critical, bulk) = (readable(&round.kernel.critical)?, readable(&round.kernel.bulk)?);
    let (manager, tick) = (Manager::new(), config.tick);
    Ok(Agent {
        fold,
        round,
        health,
        asks,
        stalls,
        restored,
        critical,
        bulk,
        terminate,
        interrupt,
        manager,
        endpoint,
        tick,
        lock,
    })
}

/// The terms on which the endpoint answers.
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
