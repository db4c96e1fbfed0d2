//! The parts of a page that are sentences of amounts: victims, limits, figures, changes.

use crate::amount::{bytes, seconds};
use crate::incident::{Change, Evidence, Figures, Limit, Source, Task, Victim, What};
use crate::view::number::Number;

pub(super) fn victim_text(victim: &Victim) -> String {
    let parts = [
        ("anon", victim.anon_bytes),
        ("file", victim.file_bytes),
        ("shared", victim.shmem_bytes),
        ("swap", victim.swap_bytes),
        ("peak", victim.peak_bytes),
    ];
    let owner = victim.workload.as_deref().unwrap_or("an unknown workload");
    if let Some(signal) = &victim.signal {
        let Task { pid, comm, workload } = &victim.trigger;
        let of = workload.as_deref().map_or(String::new(), |owner| format!(" in {owner}"));
        let effect = if victim.survives { ", which it handles" } else { "" };
        return format!("{} ({}) in {owner}: {signal} from {comm} ({pid}){of}{effect}", victim.comm, victim.pid);
    }
    let mut text = format!("{} ({}) in {owner}: ", victim.comm, victim.pid);
    text += &listed(&parts).unwrap_or_else(|| "its memory is not known".to_owned());
    text += &format!("; user {}, oom_score_adj {}", victim.uid, victim.score_adj);
    let trigger = &victim.trigger;
    if trigger.pid != victim.pid {
        let owner = trigger.workload.as_deref().map_or(String::new(), |owner| format!(" in {owner}"));
        text += &format!("; triggered by {} ({}){owner}", trigger.comm, trigger.pid);
    }
    text
}

pub(super) fn limit_text(limit: &Limit) -> String {
    let owner = limit.workload.as_deref().unwrap_or("an unknown cgroup");
    let much = limit.bytes.map_or("of an unknown size".to_owned(), bytes);
    let used = limit.used_bytes.map_or(String::new(), |used| format!("; {} used when last read", bytes(used)));
    let source = match limit.source {
        Source::Kernel => "named by the kernel",
        Source::Only => "the only limit that applies",
        Source::Refused => "it refused memory at that time",
        Source::Used => "the only one that the memory in use can have reached",
        Source::Unknown => "uncertain",
    };
    let pod = limit.pod.as_deref().map_or(String::new(), |pod| {
        format!("; reached was that of its pod {pod}, which is no more than the sum of its containers' limits")
    });
    let holder = limit.holder.as_deref().map_or(String::new(), |holder| format!("; {holder} held nearly all of it"));
    format!("{much}, of {owner} ({source}){used}{pod}{holder}")
}

pub(super) fn figures_text(figures: &Figures, time: u64) -> String {
    let whole = [
        (Number::Memory.label(), figures.memory_bytes),
        (Number::Limit.label(), figures.limit_bytes),
        (Number::High.label(), figures.high_bytes),
        (Number::Peak.label(), figures.peak_bytes),
        (Number::Swap.label(), figures.swap_bytes),
        (Number::SwapLimit.label(), figures.swap_limit_bytes),
        ("pinned for GPUs", figures.pinned_bytes),
    ];
    let texts = [listed(&whole), parts_text(figures, time)];
    let known: Vec<String> = texts.into_iter().flatten().collect();
    if known.is_empty() { "no figures had been read".to_owned() } else { known.join("; ") }
}

/// The parts of its memory, and when they were read.
pub(super) fn parts_text(figures: &Figures, time: u64) -> Option<String> {
    let parts = [
        (Number::Anon.label(), figures.anon_bytes),
        ("page cache", figures.cache()),
        (Number::Shmem.label(), figures.shmem_bytes),
        (Number::Kernel.label(), figures.kernel_bytes),
        ("locked", figures.unevictable_bytes.filter(|bytes| *bytes > 0)),
        ("not yet written", figures.dirty_bytes.filter(|bytes| *bytes > 0)),
    ];
    let age = figures.parts_read.and_then(|read| time.checked_sub(read));
    let read = age.map_or(String::new(), |age| format!(" (read {} before)", seconds(age as f64 / 1e9)));
    listed(&parts).map(|parts| format!("{parts}{read}"))
}

pub(super) fn host_text(evidence: &Evidence) -> String {
    let host = &evidence.host;
    let swap = host.swap_total_bytes.zip(host.swap_free_bytes).map(|(total, free)| total.saturating_sub(free));
    let parts = [
        ("memory", host.total_bytes),
        ("available", host.available_bytes),
        ("free", host.free_bytes),
        ("anon", host.anon_bytes),
        ("cached", host.cached_bytes),
        ("shared", host.shmem_bytes),
        ("slab", host.slab_bytes),
        ("unevictable", host.unevictable_bytes),
        ("pinned", host.pinned_bytes.filter(|bytes| *bytes > 0)),
        ("dirty", host.dirty_bytes),
        ("swap used", swap.filter(|_| host.swap_total_bytes > Some(0))),
    ];
    listed(&parts).unwrap_or_default()
}

/// The known amounts as `anon 1.00 GiB, file 3 B`.
fn listed(parts: &[(&str, Option<u64>)]) -> Option<String> {
    let known = parts.iter().filter_map(|(name, amount)| Some(format!("{name} {}", bytes((*amount)?))));
    let text = known.collect::<Vec<_>>().join(", ");
    (!text.is_empty()).then_some(text)
}

pub(super) fn change_text(change: &Change, time: u64) -> String {
    let (of, limit) = (&change.of, |limit: Option<u64>| limit.map_or("none".to_owned(), bytes));
    let what = match change.what {
        What::Agent => "headroom started".to_owned(),
        What::Came => format!("{of} started"),
        What::Went => format!("{of} ended"),
        What::Limit => {
            format!("the memory limit of {of} changed from {} to {}", limit(change.before), limit(change.after))
        }
        What::Xid => format!("GPU {of} reported XID {}", change.after.unwrap_or(0)),
        What::GpuCame => format!("GPU {of} appeared"),
        What::GpuWent => format!("GPU {of} disappeared"),
    };
    let apart = |at: u64| seconds(at.abs_diff(time) as f64 / 1e9);
    match change.since.filter(|since| change.time > time && *since <= time) {
        Some(since) => format!("between {} before and {} after: {what}", apart(since), apart(change.time)),
        None => format!("{} {}: {what}", apart(change.time), if change.time > time { "after" } else { "before" }),
    }
}
