//! A lease as it is shown.

use super::View;
use super::lease::place;
use crate::lease::answer::Part;
use crate::lease::{AskedFor, Lease, Owner, Reservation, State, words};

const SECOND: u64 = 1_000_000_000;

impl View {
    /// A lease with the name of its workload.
    pub fn reservation(&self, lease: &Lease) -> Reservation {
        let view = self;
        let now = view.leases.now;
        let since = |time: u64| now.saturating_sub(time) / SECOND;
        Reservation {
            id: lease.id,
            state: lease.state,
            workload: view.workloads.name_at(place(lease)).to_string(),
            uid: Some(lease.uid),
            owner: Some(lease.owner.clone()),
            unit: lease.unit.clone(),
            priority: lease.priority,
            evictable: lease.evictable,
            anyone: lease.anyone,
            asked: lease.eviction.as_ref().filter(|eviction| !eviction.spared).map(|eviction| AskedFor {
                claim: eviction.claim,
                wanted: eviction.wanted.clone(),
                again_in_seconds: eviction.until.saturating_sub(now).div_ceil(SECOND),
                times: eviction.times,
            }),
            waits_for: Vec::new(),
            resources: parts(lease),
            age_seconds: since(lease.granted.unwrap_or(lease.asked)),
            ends_in_seconds: lease.expires.map(|expires| expires.saturating_sub(now).div_ceil(SECOND)),
            begins_in_seconds: lease.begins.map(|begins| begins.saturating_sub(now).div_ceil(SECOND)),
            idle_seconds: since(lease.touched),
            orphans: lease.orphans.clone(),
        }
    }
}

pub(crate) fn parts(lease: &Lease) -> Vec<Part> {
    let settled = lease.state == State::Settled;
    let (want, spent) = (&lease.want, &lease.spent);
    let waits = matches!(lease.state, State::Waiting | State::Planned);
    let part = |resource: &str, of: Option<String>, amount: u64, used: Option<u64>| Part {
        resource: resource.to_owned(),
        of,
        amount,
        used: used.filter(|_| !waits),
    };
    let mut parts = vec![
        part("host memory", None, want.hard.at(settled), Some(spent.hard)),
        part("page cache", None, want.soft, Some(spent.soft)),
        part("CPU", None, want.cpu, None),
        part("network", None, want.network, None),
    ];
    parts.extend(want.vram.iter().map(|(own, amount)| {
        let gpu = usize::try_from(*own).ok().and_then(|own| lease.gpus.get(own)).cloned();
        let used = gpu.as_ref().map(|gpu| spent.vram.get(gpu).copied().unwrap_or(0));
        part("VRAM", gpu, amount.at(settled), used)
    }));
    parts.extend(want.disk.iter().map(|(path, amount)| part("disk", Some(path.clone()), *amount, None)));
    parts.extend(want.slot.iter().map(|(name, amount)| part("slot", Some(name.clone()), *amount, None)));
    parts.retain(|part| part.amount > 0);
    parts
}

/// What it has, in a few words.
pub(crate) fn wanted(lease: &Lease) -> String {
    let one = |part: &Part| {
        let amount = words::amount(&part.resource, part.amount);
        match part.resource.as_str() {
            "CPU" => amount,
            resource => format!("{} {amount}", words::name(resource, part.of.as_deref())),
        }
    };
    parts(lease).iter().map(one).collect::<Vec<_>>().join(", ")
}

pub(crate) fn owner(owner: &Owner) -> String {
    match owner {
        Owner::Process { pid, .. } => format!("process {pid}"),
        Owner::Cgroup { path } => format!("cgroup {path}"),
    }
}
