//! One NVML session, from initialization until a restart is needed: lists the GPUs and reads them in turn. Between
//! rounds the thread waits for Xid events.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::thread::sleep;
use std::time::Duration;

use collector_core::statistic::gpu::{Device as Info, Holder, Reading, Statistic, Values};
use nvml_wrapper::enums::device::UsedGpuMemory;
use nvml_wrapper::enums::event::XidError;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::event::EventSet;
use nvml_wrapper::{Device, Nvml};
use nvml_wrapper_sys::bindings::nvmlEventTypeXidCriticalError;

use super::average::Averages;
use super::budget::Budget;
use super::device::{self, Meaning, meaning};
use super::holder::Holders;
use super::link::Link;
use super::slot::Slot;
use crate::clock;
use crate::source::watch::Watch;

/// First delay before NVML or a lost GPU is tried again after an error; doubled each time, up to [`RETRY_MAX`].
pub const RETRY_MIN: Duration = Duration::from_secs(1);
pub const RETRY_MAX: Duration = Duration::from_secs(60);
/// MIG devices may be created and destroyed: where there are any, the list is refreshed this often.
const MIG_REFRESH: Duration = Duration::from_secs(30);
/// The code NVML reports if it does not know the Xid.
const UNKNOWN_XID: u64 = 999;
/// Longest wait before the thread checks whether it should stop.
const MAX_WAIT_NS: u64 = 200_000_000;

/// State that outlives a session.
pub struct Context<'a> {
    pub watch: &'a Watch,
    pub interval: Duration,
    pub holders: &'a mut Holders,
    pub links: &'a mut HashMap<Arc<str>, Link>,
    /// The kernel's directory of PCI devices.
    pub devices: &'a Path,
    /// CPU time for counters that wrap.
    pub budget: &'a mut Budget,
    /// Sends a reading; `false` if it was dropped.
    pub send: &'a mut dyn FnMut(Reading) -> bool,
    /// Reports a finished round: nanoseconds, number of implausible PCIe values, error.
    pub round: &'a mut dyn FnMut(u64, u64, Option<String>),
    /// Delay before a lost GPU is tried again.
    pub refresh: &'a mut Duration,
    /// The GPUs that were reported.
    pub reported: &'a mut Vec<Arc<str>>,
}

struct Gpu<'n> {
    device: Device<'n>,
    info: Arc<Info>,
    slot: Slot,
    /// PCIe averages, if supported.
    averages: Option<Averages<'n>>,
    lost: bool,
}

/// Reads until the list of GPUs must be refreshed; the interval grows while a GPU stays lost.
///
/// # Errors
/// Why NVML must be restarted.
pub fn run(nvml: &Nvml, context: &mut Context<'_>) -> Result<(), String> {
    let found = find(nvml, context).map_err(|error| format!("could not list the GPUs: {error}"));
    let (mut gpus, missing) = found?;
    let Context { reported, send, .. } = context;
    reported.retain(|uuid| {
        let stays = gpus.iter().any(|gpu| gpu.info.uuid == *uuid);
        stays || !send(Reading::Gone { uuid: uuid.clone() })
    });
    let events = context.watch.call("events", || events(nvml, &gpus));
    let has_mig = gpus.iter().any(|gpu| gpu.info.parent.is_some());
    let started = clock::monotonic_ns();
    let mut due = started;
    while !context.watch.should_stop() {
        let now = clock::monotonic_ns();
        if now >= due {
            due = now + context.interval.as_nanos() as u64;
            let failed = read_all(&mut gpus, context).map_err(|error| error.to_string())?;
            let implausible = context.links.values_mut().map(Link::implausible).sum();
            let lost = missing.clone().or_else(|| lost(&gpus));
            let refresh = if lost.is_some() { *context.refresh } else { MIG_REFRESH };
            let any_lost = lost.is_some();
            (context.round)(clock::monotonic_ns() - now, implausible, failed.or(lost));
            if (any_lost || has_mig) && now - started > refresh.as_nanos() as u64 {
                *context.refresh = if any_lost { (refresh * 2).min(RETRY_MAX) } else { RETRY_MIN };
                return Ok(());
            }
            match context.watch.call("count", || nvml.device_count()) {
                // A GPU that could not be opened counts as well; `refresh` covers it.
                Ok(count) if missing.is_none() && count as usize != physical(&gpus) => return Ok(()),
                Err(error) if meaning(&error) == Meaning::Restart => return Err(error.to_string()),
                _ => {}
            }
        }
        let links = gpus.iter().filter(|gpu| !gpu.lost).filter_map(|gpu| context.links.get(&gpu.info.uuid)?.due());
        let next = links.chain([due, clock::monotonic_ns() + MAX_WAIT_NS]).min().unwrap_or(due);
        wait(next, events.as_ref(), &gpus, context);
        read_due_counters(&gpus, context);
    }
    Ok(())
}

/// Reads counters that would wrap before the next round, within the budget.
fn read_due_counters(gpus: &[Gpu<'_>], context: &mut Context<'_>) {
    for gpu in gpus.iter().filter(|gpu| !gpu.lost) {
        let Some(link) = context.links.get_mut(&gpu.info.uuid) else { continue };
        let Some(spent) = link.count_if_due(&gpu.device, context.watch) else { continue };
        if context.budget.spend(spent, clock::monotonic_ns()) {
            continue;
        }
        context.budget.refill();
        if link.spare_counters() {
            let gpu = &*gpu.info.gpu;
            tracing::warn!(
                gpu,
                "32-bit PCIe counters cost more than gpu.pcie_budget: 20 ms windows are measured instead"
            );
        }
    }
}

fn physical(gpus: &[Gpu<'_>]) -> usize {
    gpus.iter().filter(|gpu| gpu.info.parent.is_none()).count()
}

fn lost(gpus: &[Gpu<'_>]) -> Option<String> {
    let lost = gpus.iter().find(|gpu| gpu.lost)?;
    Some(format!("GPU {} ({}) is lost", lost.info.gpu, lost.info.uuid))
}

type Found<'n> = (Vec<Gpu<'n>>, Option<String>);

/// Every GPU, each followed by its MIG devices, and why one is left out.
fn find<'n>(nvml: &'n Nvml, context: &Context<'_>) -> Result<Found<'n>, NvmlError> {
    let watch = context.watch;
    let driver: Arc<str> = watch.call("driver", || nvml.sys_driver_version()).unwrap_or_default().into();
    let (mut gpus, mut problem) = (Vec::new(), None);
    for index in 0..watch.call("count", || nvml.device_count())? {
        let gpu = watch.call("handle", || {
            let device = nvml.device_by_index(index)?;
            let info = info(&device, index.to_string(), &driver, None)?;
            let averages = Averages::new(&device);
            Ok::<_, NvmlError>(Gpu { device, info, slot: Slot::default(), averages, lost: false })
        });
        let gpu = gpu.map(|gpu| Gpu { slot: Slot::of(&gpu.device, context.devices, watch), ..gpu });
        match gpu {
            Ok(gpu) => {
                let parent = gpus.len();
                gpus.push(gpu);
                watch.call("MIG devices", || add_mig_devices(&mut gpus, parent, &driver));
            }
            Err(error) if meaning(&error) == Meaning::Restart => return Err(error),
            Err(error) => problem = Some(format!("GPU {index}: {error}")),
        }
    }
    Ok((gpus, problem))
}

fn add_mig_devices<'n>(gpus: &mut Vec<Gpu<'n>>, parent: usize, driver: &Arc<str>) {
    let Some(Gpu { device, info: parent_info, .. }) = gpus.get(parent) else { return };
    if device.mig_mode().is_ok_and(|mode| mode.current == 1) {
        let max_count = device.mig_device_count().unwrap_or(0);
        let mig_device = |index| {
            // Not every index has a device.
            let device = device.mig_device_by_index(index).ok()?;
            let info = info(&device, format!("{}:{index}", parent_info.gpu), driver, Some(parent_info)).ok()?;
            Some(Gpu { device, info, slot: Slot::default(), averages: None, lost: false })
        };
        let mig_devices: Vec<_> = (0..max_count).filter_map(mig_device).collect();
        gpus.extend(mig_devices);
    }
}

fn info(
    device: &Device<'_>,
    gpu: String,
    driver: &Arc<str>,
    parent: Option<&Arc<Info>>,
) -> Result<Arc<Info>, NvmlError> {
    let model = device.name().map(Arc::from).ok().or_else(|| Some(parent?.model.clone())).unwrap_or_default();
    let parent = parent.map(|parent| parent.uuid.clone());
    Ok(Arc::new(Info { uuid: device.uuid()?.into(), gpu: gpu.into(), model, driver: driver.clone(), parent }))
}

/// The set of Xid events, if this driver and any GPU support it.
fn events<'n>(nvml: &'n Nvml, gpus: &[Gpu<'n>]) -> Option<EventSet<'n>> {
    // Do not create a set that cannot be freed.
    nvml.lib().nvmlEventSetFree.as_ref().ok()?;
    let register = *nvml.lib().nvmlDeviceRegisterEvents.as_ref().ok()?;
    let set = nvml.create_event_set().ok()?;
    let registered = gpus.iter().filter(|gpu| gpu.info.parent.is_none()).filter(|gpu| {
        // SAFETY: both handles belong to this session and are alive.
        unsafe { register(gpu.device.handle(), nvmlEventTypeXidCriticalError.into(), set.handle()) == 0 }
    });
    (registered.count() > 0).then_some(set)
}

/// Waits until `next`, and sends the Xid events that arrive meanwhile.
fn wait(next: u64, events: Option<&EventSet<'_>>, gpus: &[Gpu<'_>], context: &mut Context<'_>) {
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
                // SAFETY: the handles are only compared.
                let same = |gpu: &&Gpu<'_>| unsafe { gpu.device.handle() == event.device.handle() };
                let code = match event.event_data {
                    Some(XidError::Value(code)) => Some(code),
                    Some(XidError::Unknown) => Some(UNKNOWN_XID),
                    None => None,
                };
                if let (Some(gpu), Some(code)) = (gpus.iter().find(same), code) {
                    (context.send)(Reading::Xid { uuid: gpu.info.uuid.clone(), code });
                }
            }
            Err(NvmlError::Timeout) => {}
            // The next round will hit the same error.
            Err(_) => return sleep(Duration::from_nanos(next.saturating_sub(clock::monotonic_ns()))),
        }
    }
}

/// Reads every GPU once. Returns the first error.
fn read_all(gpus: &mut [Gpu<'_>], context: &mut Context<'_>) -> Result<Option<String>, NvmlError> {
    let mut wrong = None;
    context.holders.begin_round();
    for index in 0..gpus.len() {
        let Some(gpu) = gpus.get_mut(index).filter(|gpu| !gpu.lost) else { continue };
        let failed = match read(gpu, context) {
            Ok(failed) => failed,
            Err(error) if meaning(&error) == Meaning::Lost => {
                gpu.lost = true;
                let uuid = gpu.info.uuid.clone();
                context.reported.retain(|reported| *reported != uuid);
                (context.send)(Reading::Gone { uuid });
                Some(error.to_string())
            }
            Err(error) => return Err(error),
        };
        let Gpu { info, .. } = gpu;
        wrong = wrong.or_else(|| failed.map(|why| format!("GPU {} ({}): {why}", info.gpu, info.uuid)));
        // A round over many GPUs may take longer than some counters take to wrap.
        read_due_counters(gpus, context);
    }
    Ok(wrong)
}

fn read(gpu: &mut Gpu<'_>, context: &mut Context<'_>) -> Result<Option<String>, NvmlError> {
    let Gpu { device, info, averages, slot, .. } = gpu;
    let mut values = Values::new();
    let mut failed = device::read(device, context.watch, &mut values)?;
    let whole = info.parent.is_none();
    if whole {
        slot.put(&mut values);
        let link = context.links.entry(info.uuid.clone()).or_default();
        failed = failed.or(link.read(device, averages, context.watch, &mut values)?);
    }
    if !context.reported.contains(&info.uuid) {
        context.reported.push(info.uuid.clone());
    }
    let has_mig = values.get(Statistic::Mig) == Some(1);
    (context.send)(Reading::Device { device: info.clone(), values });
    // Processes on a GPU in MIG mode are listed with its MIG devices.
    if !has_mig && let Some(holders) = holders(device, context)? {
        (context.send)(Reading::Held { uuid: info.uuid.clone(), holders });
    }
    Ok(failed)
}

/// The processes that hold GPU memory; `None` if the driver does not list them.
fn holders(device: &Device<'_>, context: &mut Context<'_>) -> Result<Option<Vec<Holder>>, NvmlError> {
    let mut found: BTreeMap<u32, Option<u64>> = BTreeMap::new();
    let mut listed = false;
    // Processes that start later are not in the lists.
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
            Err(error) if matches!(meaning(&error), Meaning::Lost | Meaning::Restart) => return Err(error),
            Err(_) => continue,
        };
        listed = true;
        for process in processes {
            let bytes = match process.used_gpu_memory {
                UsedGpuMemory::Used(bytes) => Some(bytes),
                UsedGpuMemory::Unavailable => None,
            };
            // A process that uses compute and graphics is in both lists, each time with its total.
            let known = found.entry(process.pid).or_insert(bytes);
            *known = (*known).max(bytes);
        }
    }
    let holder = |(pid, bytes)| Holder { pid, cgroup: context.holders.cgroup(pid, before), bytes };
    Ok(listed.then(|| found.into_iter().map(holder).collect()))
}
