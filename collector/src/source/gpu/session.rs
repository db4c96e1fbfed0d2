//! One session with NVML, from its start until it has to be started anew: which GPUs there are, and reading them in turn.
//! Between rounds the thread waits for errors to be reported.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::thread::sleep;
use std::time::Duration;

use nvml_wrapper::enums::device::UsedGpuMemory;
use nvml_wrapper::enums::event::XidError;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::event::EventSet;
use nvml_wrapper::{Device, Nvml};
use nvml_wrapper_sys::bindings::nvmlEventTypeXidCriticalError;

use super::average::Averages;
use super::device::{self, Meaning, meaning};
use super::holder::Holders;
use super::link::Link;
use crate::clock;
use crate::source::watch::Watch;
use crate::statistic::gpu::{Device as About, Holder, Reading, Statistic, Values};

/// How long after trouble NVML, or a GPU that was lost, is tried again: doubled each time, up to [`LATE`].
pub const SOON: Duration = Duration::from_secs(1);
/// The longest such wait.
pub const LATE: Duration = Duration::from_secs(60);
/// MIG devices come and go: where there are any, they are looked for this often.
const RENEW: Duration = Duration::from_secs(30);
/// What NVML says where it does not know the number.
const UNKNOWN_XID: u64 = 999;
/// The longest that a thread waits before it looks whether it is still wanted.
const NAP_NS: u64 = 200_000_000;

/// What outlives a session.
pub struct Context<'a> {
    pub watch: &'a Watch,
    pub interval: Duration,
    pub holders: &'a mut Holders,
    pub links: &'a mut HashMap<Arc<str>, Link>,
    /// Takes readings; `false` once nobody does.
    pub tell: &'a mut dyn FnMut(Reading) -> bool,
    /// Takes how a round went: its time, how much of it was doubtful, and what was wrong with it.
    pub round: &'a mut dyn FnMut(u64, u64, Option<String>),
    /// How long a lost GPU is left alone.
    pub renew: &'a mut Duration,
    /// The GPUs that were told of.
    pub told: &'a mut Vec<Arc<str>>,
}

struct Card<'n> {
    device: Device<'n>,
    about: Arc<About>,
    /// What averages its link, if anything does.
    averages: Option<Averages<'n>>,
    lost: bool,
}

/// Reads until it is time to look again which GPUs there are, which for one that was lost is later each time.
///
/// # Errors
/// Why NVML is of no use any more.
pub fn run(nvml: &Nvml, context: &mut Context<'_>) -> Result<(), String> {
    let found = find(nvml, context.watch).map_err(|error| format!("which GPUs there are: {error}"));
    let (mut cards, missing) = found?;
    let Context { told, tell, .. } = context;
    told.retain(|uuid| {
        let stays = cards.iter().any(|card| card.about.uuid == *uuid);
        stays || !tell(Reading::Gone { uuid: uuid.clone() })
    });
    let events = context.watch.call("events", || events(nvml, &cards));
    let divided = cards.iter().any(|card| card.about.parent.is_some());
    let begun = clock::monotonic_ns();
    let mut due = begun;
    while !context.watch.is_over() {
        let now = clock::monotonic_ns();
        if now >= due {
            due = now + context.interval.as_nanos() as u64;
            let failed = round(&mut cards, context).map_err(|error| error.to_string())?;
            let doubtful = context.links.values_mut().map(Link::doubtful).sum();
            let lost = missing.clone().or_else(|| lost(&cards));
            let renew = if lost.is_some() { *context.renew } else { RENEW };
            let bad = lost.is_some();
            (context.round)(clock::monotonic_ns() - now, doubtful, failed.or(lost));
            if (bad || divided) && now - begun > renew.as_nanos() as u64 {
                *context.renew = if bad { (renew * 2).min(LATE) } else { SOON };
                return Ok(());
            }
            match context.watch.call("count", || nvml.device_count()) {
                // One that cannot be looked into counts as well, and is seen to in time.
                Ok(count) if missing.is_none() && count as usize != physical(&cards) => return Ok(()),
                Err(error) if meaning(&error) == Meaning::Over => return Err(error.to_string()),
                _ => {}
            }
        }
        let links =
            cards.iter().filter(|card| !card.lost).filter_map(|card| context.links.get(&card.about.uuid)?.due());
        let next = links.chain([due, clock::monotonic_ns() + NAP_NS]).min().unwrap_or(due);
        wait(next, events.as_ref(), &cards, context);
        count(&cards, context);
    }
    Ok(())
}

/// Reads counters that would wrap before the next round.
fn count(cards: &[Card<'_>], context: &mut Context<'_>) {
    for card in cards.iter().filter(|card| !card.lost) {
        if let Some(link) = context.links.get_mut(&card.about.uuid) {
            link.count_if_due(&card.device, context.watch);
        }
    }
}

fn physical(cards: &[Card<'_>]) -> usize {
    cards.iter().filter(|card| card.about.parent.is_none()).count()
}

fn lost(cards: &[Card<'_>]) -> Option<String> {
    let lost = cards.iter().find(|card| card.lost)?;
    Some(format!("GPU {} ({}) is lost", lost.about.gpu, lost.about.uuid))
}

type Found<'n> = (Vec<Card<'n>>, Option<String>);

/// Every GPU, each followed by its MIG devices, and why one is left out.
fn find<'n>(nvml: &'n Nvml, watch: &Watch) -> Result<Found<'n>, NvmlError> {
    let driver: Arc<str> = watch.call("driver", || nvml.sys_driver_version()).unwrap_or_default().into();
    let (mut cards, mut trouble) = (Vec::new(), None);
    for index in 0..watch.call("count", || nvml.device_count())? {
        let card = watch.call("handle", || {
            let device = nvml.device_by_index(index)?;
            let about = about(&device, index.to_string(), &driver, None)?;
            let averages = Averages::new(&device);
            Ok::<_, NvmlError>(Card { device, about, averages, lost: false })
        });
        match card {
            Ok(card) => {
                let parent = cards.len();
                cards.push(card);
                watch.call("MIG devices", || divide(&mut cards, parent, &driver));
            }
            Err(error) if meaning(&error) == Meaning::Over => return Err(error),
            Err(error) => trouble = Some(format!("GPU {index}: {error}")),
        }
    }
    Ok((cards, trouble))
}

fn divide<'n>(cards: &mut Vec<Card<'n>>, parent: usize, driver: &Arc<str>) {
    let Some(Card { device, about: of, .. }) = cards.get(parent) else { return };
    if device.mig_mode().is_ok_and(|mode| mode.current == 1) {
        let most = device.mig_device_count().unwrap_or(0);
        let part = |index| {
            // Not every number has a device.
            let device = device.mig_device_by_index(index).ok()?;
            let about = about(&device, format!("{}:{index}", of.gpu), driver, Some(of)).ok()?;
            Some(Card { device, about, averages: None, lost: false })
        };
        let parts: Vec<_> = (0..most).filter_map(part).collect();
        cards.extend(parts);
    }
}

fn about(
    device: &Device<'_>,
    gpu: String,
    driver: &Arc<str>,
    parent: Option<&Arc<About>>,
) -> Result<Arc<About>, NvmlError> {
    let model = device.name().map(Arc::from).ok().or_else(|| Some(parent?.model.clone())).unwrap_or_default();
    let parent = parent.map(|parent| parent.uuid.clone());
    Ok(Arc::new(About { uuid: device.uuid()?.into(), gpu: gpu.into(), model, driver: driver.clone(), parent }))
}

/// What tells of errors, if this driver can and any GPU does.
fn events<'n>(nvml: &'n Nvml, cards: &[Card<'n>]) -> Option<EventSet<'n>> {
    // A set that cannot be let go of is none to have.
    nvml.lib().nvmlEventSetFree.as_ref().ok()?;
    let register = *nvml.lib().nvmlDeviceRegisterEvents.as_ref().ok()?;
    let set = nvml.create_event_set().ok()?;
    let registered = cards.iter().filter(|card| card.about.parent.is_none()).filter(|card| {
        // SAFETY: both handles are of this session, and alive.
        unsafe { register(card.device.handle(), nvmlEventTypeXidCriticalError.into(), set.handle()) == 0 }
    });
    (registered.count() > 0).then_some(set)
}

/// Waits until `next`, and passes on the errors that are reported meanwhile.
fn wait(next: u64, events: Option<&EventSet<'_>>, cards: &[Card<'_>], context: &mut Context<'_>) {
    loop {
        let left = next.saturating_sub(clock::monotonic_ns());
        if left == 0 {
            return;
        }
        let rest = Duration::from_nanos(left);
        let (Some(events), true) = (events, rest.as_millis() > 0) else { return sleep(rest) };
        let limit = context.watch.deadline() + rest;
        match context.watch.call_for(limit, "events", || events.wait(rest.as_millis() as u32)) {
            Ok(event) => {
                // SAFETY: handles are compared, not used.
                let same = |card: &&Card<'_>| unsafe { card.device.handle() == event.device.handle() };
                let code = match event.event_data {
                    Some(XidError::Value(code)) => Some(code),
                    Some(XidError::Unknown) => Some(UNKNOWN_XID),
                    None => None,
                };
                if let (Some(card), Some(code)) = (cards.iter().find(same), code) {
                    (context.tell)(Reading::Xid { uuid: card.about.uuid.clone(), code });
                }
            }
            Err(NvmlError::Timeout) => {}
            // Whatever it is, the next round will meet it.
            Err(_) => return sleep(Duration::from_nanos(next.saturating_sub(clock::monotonic_ns()))),
        }
    }
}

/// Reads every GPU once. Gives the first thing that was wrong.
fn round(cards: &mut [Card<'_>], context: &mut Context<'_>) -> Result<Option<String>, NvmlError> {
    let mut wrong = None;
    context.holders.begin();
    for index in 0..cards.len() {
        let Some(card) = cards.get_mut(index).filter(|card| !card.lost) else { continue };
        let failed = match read(card, context) {
            Ok(failed) => failed,
            Err(error) if meaning(&error) == Meaning::Lost => {
                card.lost = true;
                let uuid = card.about.uuid.clone();
                context.told.retain(|told| *told != uuid);
                (context.tell)(Reading::Gone { uuid });
                Some(error.to_string())
            }
            Err(error) => return Err(error),
        };
        let Card { about, .. } = card;
        wrong = wrong.or_else(|| failed.map(|why| format!("GPU {} ({}): {why}", about.gpu, about.uuid)));
        // A round of many takes longer than some counters can wait.
        count(cards, context);
    }
    Ok(wrong)
}

fn read(card: &mut Card<'_>, context: &mut Context<'_>) -> Result<Option<String>, NvmlError> {
    let Card { device, about, averages, .. } = card;
    let mut values = Values::new();
    let mut failed = device::read(device, context.watch, &mut values)?;
    let whole = about.parent.is_none();
    if whole {
        let link = context.links.entry(about.uuid.clone()).or_default();
        failed = failed.or(link.read(device, averages, context.watch, &mut values)?);
    }
    if !context.told.contains(&about.uuid) {
        context.told.push(about.uuid.clone());
    }
    let divided = values.get(Statistic::Mig) == Some(1);
    (context.tell)(Reading::Device { device: about.clone(), values });
    // Those on a divided GPU are listed with its parts.
    if !divided && let Some(holders) = holders(device, context)? {
        (context.tell)(Reading::Held { uuid: about.uuid.clone(), holders });
    }
    Ok(failed)
}

/// Who holds memory; `None` if the driver does not say.
fn holders(device: &Device<'_>, context: &mut Context<'_>) -> Result<Option<Vec<Holder>>, NvmlError> {
    let mut found: BTreeMap<u32, Option<u64>> = BTreeMap::new();
    let mut listed = false;
    // What starts later is not in the lists.
    let before = clock::boot_ns();
    type List =
        for<'a, 'n> fn(&'a Device<'n>) -> Result<Vec<nvml_wrapper::struct_wrappers::device::ProcessInfo>, NvmlError>;
    let lists: [(&'static str, List); 3] = [
        ("compute processes", |device| device.running_compute_processes()),
        ("graphics processes", |device| device.running_graphics_processes()),
        ("MPS processes", |device| device.mps_running_compute_processes()),
    ];
    for (name, list) in lists {
        let processes = match context.watch.call(name, || list(device)) {
            Ok(processes) => processes,
            Err(error) if matches!(meaning(&error), Meaning::Lost | Meaning::Over) => return Err(error),
            Err(_) => continue,
        };
        listed = true;
        for process in processes {
            let bytes = match process.used_gpu_memory {
                UsedGpuMemory::Used(bytes) => Some(bytes),
                UsedGpuMemory::Unavailable => None,
            };
            // A process that computes and draws is in both lists, with all that it has in each.
            let known = found.entry(process.pid).or_insert(bytes);
            *known = (*known).max(bytes);
        }
    }
    let holder = |(pid, bytes)| Holder { pid, cgroup: context.holders.cgroup(pid, before), bytes };
    Ok(listed.then(|| found.into_iter().map(holder).collect()))
}
