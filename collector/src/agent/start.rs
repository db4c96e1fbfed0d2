//! Starts everything but the fold loop: checks the configuration first, then privileges, the lock and the address, and attaches
//! before it drops capabilities. Each kind of failure has its own exit code.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use anyhow::{Context as _, Result};
use collector_core::engine::Engine;
use collector_core::past::Change;
use collector_core::pressure::{self, Refused, Stall, Trigger};
use collector_core::sample::{ProbeState, Reading, Sample};
use collector_core::stage::Stage;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use super::endpoint::Endpoint;
use super::fold::{Fold, Leases};
use super::memory::trim;
use super::options::Options;
use super::pace::Pace;
use super::past;
use super::reload::Reload;
use super::request::{Incoming, Intake};
use super::round::Round;
use super::snapshot::{self, Ask, Beside};
use crate::clock;
use crate::config::Config;
use crate::config::load::Effective;
use crate::confine::user::{self, User};
use crate::confine::{self, Allowed};
use crate::deliver::outbox::{DeliveryHealth, Outbox};
use crate::deliver::target::Host;
use crate::deliver::thread::Restored;
use crate::exit::{Exit, Failure};
use crate::exposition::Cap;
use crate::http::access::Access;
use crate::http::{self, Address, BindError, Door, Hosts, Listener, PAGE_SHARE, Tally};
use crate::privilege::{self, Needs};
use crate::review::Review;
use crate::service::Manager;
use crate::sink::history::file::Limits;
use crate::sink::history::thread::{Health, History};
use crate::sink::lease::Keeper;
use crate::sink::record::Recorder;
use crate::source::cgroup::own_limit;
use crate::source::contention::Watched;
use crate::source::host::trigger::{self, Armed};
use crate::source::kernel::ring::Ring;
use crate::source::kernel::{Kernel, load};
use crate::source::lease::place::Places;
use crate::source::member::Members;
use crate::source::model::wanted::Wanted;
use crate::source::rising;
use crate::source::root::Root;
use crate::zone;

/// The share of the agent's memory limit that rendered pages may take.
const BODIES_SHARE: u64 = 5;
/// The started agent: inputs and outputs of the fold loop.
pub struct Agent {
    pub fold: Fold,
    pub round: Round,
    pub health: DeliveryHealth,
    pub history: Option<Arc<Health>>,
    pub asks: mpsc::Receiver<Ask>,
    pub requests: mpsc::UnboundedReceiver<Incoming>,
    pub stalls: mpsc::Receiver<Stall>,
    /// What was before the start, sent when a slow journal has been read.
    pub restored: mpsc::Receiver<Restored>,
    /// What is new of the last days.
    pub past: mpsc::Receiver<Change>,
    /// The rings, if programs are loaded.
    pub rings: Option<Rings>,
    pub terminate: Signal,
    pub interrupt: Signal,
    pub hangup: Signal,
    pub reload: Reload,
    pub manager: Manager,
    pub endpoint: Endpoint,
    pub pace: Pace,
    /// Held until the end, so that only one instance runs.
    pub lock: File,
}

/// Descriptors that become readable when there are records.
pub struct Rings {
    pub critical: AsyncFd<OwnedFd>,
    pub bulk: AsyncFd<OwnedFd>,
}

/// The group whose members see what belongs to others.
fn group(config: &Config) -> Option<u32> {
    let found = Some(&config.group).filter(|name| !name.is_empty()).and_then(|name| user::group(name));
    if found.is_none() && !config.group.is_empty() {
        tracing::info!("there is no group {} here: only root sees whose reservations there are (group)", config.group);
    }
    found
}

/// Must be called within the runtime of the fold loop.
pub fn start(effective: &Effective, options: &Options) -> Result<Agent, Failure> {
    let config = &effective.config;
    let access = access(config)?;
    let review = Review::of(effective, &access).map_err(|error| Failure::new(wrong(&error), error))?;
    review.log();
    let Review { targets, leases, reservations, high, models, .. } = review;
    let models = Arc::new(Wanted::new(models));
    let started = clock::unix_ns();
    // The C library reads the file of the time zone when it first needs it: later that may be out of reach.
    zone::at(started / 1_000_000_000);
    privilege::check()?;
    privilege::lost().for_each(|(capability, cost)| tracing::info!("without {capability}: {cost}"));
    let user = user::find(config).ok().flatten().map(|user| user.uid);
    let lock = privilege::lock(&config.lock, user)?;
    let doors = doors(config)?;
    let recorder =
        options.record.as_deref().map(|path| Recorder::create(path, options.record_max_bytes)).transpose()?;
    // Lowering the score needs a capability that is dropped below.
    privilege::protect(config.oom_score_adj);
    let kernel = Kernel::open(config)?;
    report(&kernel, config.kernel.require_probes)?;
    // Arming may need a capability, too.
    let (triggers, mut refused) = arm(config);
    let examined = Arc::new(snapshot::Host::examine(config));
    confine(config)?;
    trim();
    // Threads started from here on inherit the reduced capabilities.
    let listens = doors.iter().find_map(Door::tcp).unwrap_or(config.listen);
    let host = Host::of(config, access.scheme(), listens);
    let group = group(config);
    let (outbox, mut restored) = Outbox::start(&config.journal, group, &host, targets)?;
    let terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    let interrupt = signal(SignalKind::interrupt()).context("listen for SIGINT")?;
    let hangup = signal(SignalKind::hangup()).context("listen for SIGHUP")?;
    let history = Limits::of(&config.history).map(|limits| History::start(config.journal.dir.clone(), limits));
    let history = history.transpose()?;
    let last_days = past::start(config)?;
    let engine = Engine::with(effective.rules.clone());
    let (tally, left_out) = (Arc::<Tally>::default(), Arc::<AtomicU64>::default());
    let tick_ns = config.tick.as_nanos() as u64;
    let limits = limits(config.metrics.max_bytes, own_limit());
    let cap = Cap { bytes: config.metrics.max_bytes.min(limits.bodies / PAGE_SHARE), ..config.metrics.cap() };
    let beside = Beside {
        cap,
        left_out: left_out.clone(),
        history: history.as_ref().map(|_| config.journal.dir.clone()),
        members: Arc::new(Members::new(&Root::new(&config.rootfs), kernel.hierarchies())),
        host: examined,
    };
    let (publisher, asks, mut snapshots) = snapshot::channel(tick_ns, beside);
    snapshots.events = outbox.followed.clone();
    let places = Places::new(&Root::new(&config.rootfs), kernel.hierarchies());
    let (intake, requests) = Intake::new(places, high);
    let intake = Arc::new(intake);
    snapshots.requests = Some(intake.clone());
    snapshots.group = group;
    let reload = Reload::new(options, effective, access.clone(), intake, models.clone());
    let (keeper, past) = Keeper::start(config.journal.dir.clone())?;
    let kept_leases = Leases::new(Some(keeper));
    let hosts = hosts(config, &host.name);
    let endpoint = Endpoint::start(doors, access, hosts, Arc::new(snapshots), limits, tally.clone())?;

    let kept = history.iter().map(|history| (Stage::History, history.lost.clone()));
    let losses = [(Stage::Http, tally.shed.clone()), (Stage::Series, left_out)].into_iter().chain(outbox.losses());
    let losses = losses.chain(kept).collect();
    let (health, history_health) = (outbox.health.clone(), history.as_ref().map(|history| history.health.clone()));
    let (watched, rising) = (Arc::<Watched>::default(), Arc::<rising::Watched>::default());
    let mut round = Round::open(config, kernel, started, losses, &kept_leases.followed, (&watched, &rising), &models)?;
    let mut fold = Fold::new(engine, recorder, outbox, history, publisher, kept_leases).watching(&watched, &rising);
    round.begin(&mut |sample| fold.apply(sample));
    fold.compare(config.latency.limits());
    fold.scale(config.scaling.limits());
    fold.resume(leases, past);
    fold.schedule(reservations);
    // If the journal is slow, the fold loop receives them later.
    if let Ok(past) = restored.try_recv() {
        fold.restore(past);
    }
    let mut apply = |reading| fold.apply(Sample { time: clock::unix_ns(), reading });
    let (watched, stalls) = watch(triggers, &mut refused);
    let watched = watched.into_iter().map(pressure::Reading::Trigger);
    let refused = refused.into_iter().map(pressure::Reading::Refused);
    watched.chain(refused).for_each(|reading| apply(Reading::Pressure(reading)));
    let rings = match round.kernel.rings() {
        Some([critical, bulk]) => Some(Rings { critical: readable(critical)?, bulk: readable(bulk)? }),
        None => None,
    };
    let pace = Pace::new(config.tick).context("make a timer")?;
    Ok(Agent {
        fold,
        round,
        health,
        history: history_health,
        asks,
        requests,
        stalls,
        restored,
        past: last_days,
        rings,
        terminate,
        interrupt,
        hangup,
        reload,
        manager: Manager::new(),
        endpoint,
        pace,
        lock,
    })
}

/// Becomes another user, drops capabilities, and limits files and system calls, as far as this host allows.
fn confine(config: &Config) -> Result<()> {
    let user = own_user(config);
    let become_user = || user.as_ref().map_or(Ok(()), User::become_it).context("become the agent's own user");
    let needs = Needs { transfer: config.transfer.enabled, inspect: config.model_file.inspects() };
    privilege::drop_unneeded(needs, become_user)?;
    for limit in confine::enter(&Allowed::of(config)) {
        match limit.set {
            Ok(()) => tracing::debug!("limited: {}", limit.name),
            Err(why) => tracing::info!("not limited: {}: {why}", limit.name),
        }
    }
    Ok(())
}

/// The user that the agent becomes, after that has got what the agent writes.
fn own_user(config: &Config) -> Option<User> {
    let found = user::find(config).and_then(|user| match user {
        Some(user) => user.take_over(config).map(|()| Some(user)).map_err(|error| format!("{error:#}")),
        None => Ok(None),
    });
    found.unwrap_or_else(|why| {
        tracing::warn!("the agent stays root: {why}");
        None
    })
}

/// A file that a setting names may come later, such as a secret or a mount: a service manager tries that again, and a mistake in the
/// configuration not.
fn wrong(error: &anyhow::Error) -> Exit {
    let absent = |cause: &(dyn std::error::Error + 'static)| {
        cause.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::NotFound)
    };
    if error.chain().any(absent) { Exit::Failure } else { Exit::Config }
}

/// Access control of the endpoint.
///
/// # Errors
/// All mistakes in the web configuration file and in the files that it names.
pub fn access(config: &Config) -> Result<Arc<Access>, Failure> {
    Access::open(config.web_config.as_deref()).map_err(|errors| Failure::new(Exit::Config, errors))
}

/// The limits on clients: there is room for as many pages of this size as readers of old ones need, as far as the agent's memory
/// allows.
fn limits(page: usize, memory: Option<u64>) -> http::Limits {
    let share = memory.map_or(usize::MAX, |memory| usize::try_from(memory / BODIES_SHARE).unwrap_or(usize::MAX));
    http::Limits { bodies: page.saturating_mul(PAGE_SHARE).min(share), ..http::Limits::default() }
}

/// Where the agent listens: what the service manager opened, or else the configured addresses. An address that another process uses is
/// tried again while the agent runs: it must not keep the agent from starting. So is the socket, whatever is wrong with it.
fn doors(config: &Config) -> Result<Vec<Door>, Failure> {
    let inherited = Listener::inherited().context("take the sockets of the service manager")?;
    let mut doors: Vec<_> = inherited.into_iter().map(Door::Open).collect();
    if !doors.iter().any(|door| door.tcp().is_some()) {
        let door = Door::at(Address::Tcp(config.listen));
        match door {
            Door::Shut(_, error @ BindError::Other(..)) => return Err(address(config, error)),
            door => doors.push(door),
        }
    }
    if let Some(path) = &config.socket
        && doors.iter().all(|door| door.tcp().is_some())
    {
        doors.push(Door::at(Address::Socket(path.clone())));
    }
    Ok(doors)
}

fn address(config: &Config, error: BindError) -> Failure {
    let failure = Failure::new(Exit::Address, error);
    failure.hint(format!("set listen, HEADROOM_LISTEN or --listen to an address other than {}", config.listen))
}

/// Names under which a client on this host may ask for the agent: those of the host, which /etc/hosts often maps to a loopback
/// address, and those that the operator allows.
fn hosts(config: &Config, name: &str) -> Hosts {
    let own = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let short = own.split('.').next().unwrap_or_default().to_owned();
    Hosts::new(vec![own, short, name.to_owned()], &config.allowed_hosts)
}

/// Logs the state of each probe. Too few of them are an error only if they are required: without them the agent still reads
/// files, pressure and GPUs.
fn report(kernel: &Kernel, required: bool) -> Result<(), Failure> {
    let too_few = load::too_few(&kernel.probes);
    for probe in &kernel.probes {
        let reason = probe.reason.as_deref().unwrap_or_default();
        match probe.state {
            // One message says it for all.
            ProbeState::Failed if kernel.rings().is_some() => {
                tracing::warn!(probe = probe.program, reason, "probe failed");
            }
            state => tracing::debug!(probe = probe.program, ?state, reason, "probe"),
        }
    }
    let Some(too_few) = too_few else {
        let attached = kernel.probes.iter().filter(|probe| probe.state == ProbeState::Attached).count();
        tracing::info!("{attached} probes attached");
        return Ok(());
    };
    if required {
        let failure = Failure::new(Exit::Probes, too_few);
        return Err(failure.hint("run `headroom doctor` to see each probe with its reason"));
    }
    tracing::warn!("{too_few:#}; cgroup files, pressure and GPUs are watched without them: see `headroom doctor`");
    Ok(())
}

/// Arms the PSI triggers, and returns those that could not be armed. The agent goes on without them.
fn arm(config: &Config) -> (Vec<Armed>, Vec<Refused>) {
    let proc = Root::new(&config.rootfs).at("/proc");
    let (mut triggers, mut refused) = (Vec::new(), Vec::new());
    for trigger in trigger::configured(&config.pressure) {
        match trigger::arm(&proc, trigger) {
            Ok(armed) => triggers.push(armed),
            Err(refusal) => refuse(refusal, &mut refused),
        }
    }
    (triggers, refused)
}

fn refuse(refusal: Refused, refused: &mut Vec<Refused>) {
    let Trigger { resource, kind, .. } = refusal.trigger;
    let (resource, kind) = (resource.label(), kind.label());
    tracing::warn!(resource, kind, reason = refusal.reason, "PSI trigger could not be armed");
    refused.push(refusal);
}

/// Sends a stall as soon as a trigger fires. Returns the triggers that are watched.
fn watch(triggers: Vec<Armed>, refused: &mut Vec<Refused>) -> (Vec<Trigger>, mpsc::Receiver<Stall>) {
    // Each trigger fires at most once per window, so one slot each is enough.
    let (sender, stalls) = mpsc::channel(triggers.len().max(1));
    let mut watched = Vec::new();
    for armed in triggers {
        let trigger = armed.trigger;
        let sender = sender.clone();
        // SAFETY: the trigger owns its descriptor and does not share it.
        let armed = match unsafe { AsyncFd::register_with_interest(armed, Interest::PRIORITY) } {
            Ok(armed) => armed,
            Err(error) => {
                let reason = std::io::Error::from(error).to_string();
                refuse(Refused { trigger, reason }, refused);
                continue;
            }
        };
        watched.push(trigger);
        tokio::spawn(async move {
            while let Ok(mut fired) = armed.ready(Interest::PRIORITY).await {
                let is_stall = fired.ready().is_priority();
                fired.clear_ready();
                if is_stall && sender.send(armed.get_ref().stall()).await.is_err() {
                    break;
                }
            }
        });
    }
    (watched, stalls)
}

fn readable(ring: &Ring) -> Result<AsyncFd<OwnedFd>> {
    let fd = ring.as_fd().try_clone_to_owned().context("watch a ring")?;
    // SAFETY: the registered value owns the descriptor, which is closed only with it.
    let watched = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) };
    watched.map_err(std::io::Error::from).context("watch a ring")
}
