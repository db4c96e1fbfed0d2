//! What would make room: each with its amount, and where that comes from. Nothing here says that it fits then; that is asked again.

use super::{Case, Claimed, SOON_NS, amount_of};
use crate::amount;
use crate::lease::{Lease, Line, Way, WayKind, WayOrigin};
use crate::statistic::gpu::Statistic::Utilization;
use crate::view::View;
use crate::view::gpu::Gpu;

const SECOND: u64 = 1_000_000_000;
/// A GPU that ran nothing for so long is idle, in nanoseconds.
const IDLE_NS: u64 = 300 * SECOND;

/// Where a resource is, behind an amount of it.
fn place(line: &Line) -> String {
    match (line.resource.as_str(), &line.of) {
        ("VRAM", Some(gpu)) => format!(" of GPU {gpu}"),
        ("slot", Some(slot)) => format!(" of slot {slot}"),
        ("disk", Some(path)) => format!(" on {path}"),
        _ => String::new(),
    }
}

/// A lease that keeps this much and does not use it yet.
pub(super) fn reserved(one: &Claimed, amount: u64, line: &Line) -> Option<Way> {
    let id = one.id?;
    let ends = one.left.map(|left| left.div_ceil(SECOND));
    let soon = ends.filter(|_| one.left.is_some_and(|left| left <= SOON_NS));
    let ending = soon.map(|seconds| format!(", and ends in {seconds} s at the latest")).unwrap_or_default();
    let later = one.begins.filter(|begins| *begins > 0);
    let unused = match later {
        Some(begins) => format!(", starting in {} min", begins.div_ceil(60 * SECOND)),
        None if line.resource == "slot" => String::new(),
        None => " that is not used yet".to_owned(),
    };
    let sentence = format!("reservation {id} keeps {}{}{unused}{ending}", amount_of(line, amount), place(line));
    let (kind, origin) = (WayKind::Reservation, WayOrigin::Reserved);
    Some(Way { kind, origin, sentence, amount: Some(amount), id: Some(id), ends_in_seconds: ends, workload: None })
}

/// Leases whose owners this case may ask to give up what they have and what they keep; `of` says how much that is. Those that were not
/// used for longest come first.
pub(super) fn evictable(view: &View, case: &Case<'_>, line: &Line, of: impl Fn(&Lease) -> u64) -> Vec<Way> {
    let may = |lease: &&Lease| lease.is_held() && lease.may_be_asked_by(case.caller.uid, case.priority);
    let mut all: Vec<&Lease> = view.leases.held.values().filter(may).collect();
    all.sort_by_key(|lease| (lease.touched, lease.id));
    let way = |lease: &Lease| {
        let amount = Some(of(lease)).filter(|amount| *amount > 0)?;
        let workload = view.workloads.name_at(crate::view::lease::place(lease)).to_string();
        let idle = view.leases.now.saturating_sub(lease.touched) / SECOND;
        let sentence = format!(
            "reservation {} of {workload} has {}{}, and its owner can be asked to give it up: it was not used for {idle} s",
            lease.id,
            amount_of(line, amount),
            place(line)
        );
        let (kind, origin, id) = (WayKind::Evictable, WayOrigin::Reserved, Some(lease.id));
        Some(Way { kind, origin, sentence, amount: Some(amount), workload: Some(workload), id, ends_in_seconds: None })
    };
    all.into_iter().filter_map(way).collect()
}

/// Memory of a GPU that a workload holds; `alone`: nobody else holds any. The driver says how busy a GPU is, and not who makes it so.
pub(super) fn held(view: &View, gpu: &Gpu, workload: &str, amount: u64, alone: bool) -> Way {
    let number = &gpu.device.gpu;
    let has = format!("{workload} holds {} of GPU {number}", amount::bytes(amount));
    let idle = gpu.idle_ns(view.time);
    let (kind, sentence) = match (gpu.values.get(Utilization), idle) {
        (_, Some(ns)) if ns >= IDLE_NS => {
            let minutes = ns / (60 * SECOND);
            (WayKind::Idle, format!("{has}, which has run nothing for {minutes} min"))
        }
        (None, _) => (WayKind::Use, format!("{has}; whether it is idle is not known: the driver does not say")),
        (Some(_), _) if alone => (WayKind::Use, has),
        (Some(_), _) => (WayKind::Use, format!("{has}; whether it is idle is not known: others use the same GPU")),
    };
    Way { kind, sentence, amount: Some(amount), workload: Some(workload.to_owned()), ..Way::default() }
}

pub(super) fn other_gpu(number: &str, available: u64) -> Way {
    let sentence = format!("GPU {number} has {} available: ask for it, or for any", amount::bytes(available));
    Way { kind: WayKind::OtherGpu, sentence, amount: Some(available), ..Way::default() }
}

/// There is no more than this in all.
pub(super) fn total(what: &str, most: u64) -> Way {
    let sentence = format!("{what} has {} in all", amount::bytes(most));
    Way { kind: WayKind::Total, sentence, amount: Some(most), ..Way::default() }
}

/// Page cache that the kernel drops when it is asked for memory.
pub(super) fn page_cache(what: &str, bytes: u64) -> Way {
    let sentence = format!(
        "{} of page cache in {what} is counted as available already: to drop it makes no more room",
        amount::bytes(bytes)
    );
    Way { kind: WayKind::PageCache, sentence, amount: Some(bytes), ..Way::default() }
}

/// Page cache of others, of which the kernel drops what this needs.
pub(super) fn cached(workload: &str, bytes: u64) -> Way {
    let sentence = format!(
        "{workload} has {} of page cache: what the kernel drops of it for this, it has to read again",
        amount::bytes(bytes)
    );
    let workload = Some(workload.to_owned());
    Way { kind: WayKind::PageCache, sentence, amount: Some(bytes), workload, ..Way::default() }
}

/// Less in use by whoever it is.
pub(super) fn less(what: &str, bytes: u64) -> Way {
    let sentence = format!("{} less in use in {what}", amount::bytes(bytes));
    Way { sentence, amount: Some(bytes), ..Way::default() }
}
