//! A host without swap that ran out of memory.

use crate::action::{Action, Object, Risk, by_hand, swap_file, zram};
use crate::advice::{Advice, Confidence, Evidence, Saves, Unit};
use crate::advise::draft::draft;
use crate::advise::need::round_up;
use crate::advise::shortage::Shortage;
use crate::advise::{Given, Judged, Rule};
use crate::amount::{bytes, duration, percent};
use crate::statistic::filesystem::Statistic::{Available, Size};
use crate::statistic::host::Statistic;
use crate::view::View;

pub(super) const MISSING: Rule = Rule {
    name: "swap_missing",
    when: "A host without swap and zram was short of memory in the last 8 days (90 % in use), and processes were killed or tasks waited for a thousandth of the time; and a twentieth of its memory at least is anonymous or shared and not locked.",
    needs: "A day of history of the host (history.db).",
    judge,
};

/// Less that can be swapped out is not worth it.
const SWAPPABLE: f64 = 0.05;
/// `zram-generator`: half of the memory, 4 GiB at most.
pub(super) const ZRAM_SHARE: f64 = 0.5;
pub(super) const ZRAM_MOST: f64 = (4u64 << 30) as f64;

/// A size of zram that cannot starve the host.
pub(super) fn zram_size(total: f64) -> u64 {
    (ZRAM_SHARE * total).min(ZRAM_MOST) as u64
}

fn judge(given: &Given<'_>, judged: &mut Judged) {
    let get = |statistic| given.view.host.statistics.get(statistic).map(|bytes| bytes as f64);
    if get(Statistic::SwapTotal) != Some(0.0) {
        return;
    }
    let Some(host) = Shortage::of(given).filter(|host| host.hurt() && host.seconds >= 86_400) else { return };
    // Locked and pinned pages stay. Some of these are of files, so this is the least that can go.
    let locked = get(Statistic::MemoryUnevictable).unwrap_or(0.0) + get(Statistic::MemoryPinned).unwrap_or(0.0);
    let Some(anon) = get(Statistic::MemoryAnon) else { return };
    let swappable = (anon + get(Statistic::MemoryShmem).unwrap_or(0.0) - locked).max(0.0);
    if swappable < SWAPPABLE * host.total {
        return;
    }
    judged.advice.push(advice(given, host, swappable));
}

/// A swap file on the root filesystem, if that has room for it, and a tenth of its size besides.
fn on_disk(view: &View, file: u64) -> Action {
    let values = view.host.filesystems.get("/").and_then(|root| root.values.as_ref());
    let room = values.and_then(|values| Some((values.get(Available)?, values.get(Size)?)));
    match room {
        Some((available, size)) if available >= file.saturating_add(size / 10) => swap_file(file),
        _ => {
            let why = if room.is_some() { "/ has no room for it" } else { "whether / has room for it is not known" };
            by_hand(Object::Host, format!("a swap file of {} on another disk: {why}", bytes(file)), Risk::Medium)
        }
    }
}

fn advice(given: &Given<'_>, host: Shortage, swappable: f64) -> Advice {
    let kubelet = given.view.workloads.iter().any(|workload| workload.identity.pod_uid.is_some());
    let compressed = zram_size(host.total);
    let file = round_up(swappable.min(host.total / 4.0).min((16u64 << 30) as f64));
    let evidence = vec![
        Evidence::measured("most of the host's memory that was in use", host.peak.unwrap_or(0.0), Unit::Ratio),
        Evidence::measured("kills while it was short of memory", f64::from(host.kills), Unit::Count),
        Evidence::measured("time in which tasks waited for memory then", host.waited, Unit::Seconds),
        Evidence::computed("memory that could be swapped out now", swappable, Unit::Bytes),
        Evidence::measured("swap", 0.0, Unit::Bytes),
    ];
    let harm = match host.kills {
        0 => format!("tasks waited {} for memory", duration(host.waited)),
        1 => "the OOM killer killed a process".to_owned(),
        more => format!("the OOM killer killed {more} processes"),
    };
    let why = format!(
        "There is no swap, {} of the memory was in use, and {harm}; {} of what is in use could be swapped out, if it is seldom used.",
        percent(host.peak.unwrap_or(0.0)),
        bytes(swappable as u64)
    );
    let (confidence, because) = match kubelet {
        true => (
            Confidence::Low,
            "A kubelet runs here, which does not start with swap unless it is told so (failSwapOn: false, memorySwap)."
                .to_owned(),
        ),
        false => (
            Confidence::Medium,
            "How much of it is seldom used is not known: swap that is in use all the time only slows down.".to_owned(),
        ),
    };
    let saves = Saves {
        over_seconds: host.seconds,
        kills: (host.kills > 0).then_some(f64::from(host.kills)),
        stall_seconds: (host.kills == 0).then_some(host.waited),
        assuming: format!("{} of it is seldom used", bytes(compressed)),
        ..Saves::default()
    };
    let title = format!("Add swap: zram of {}, or a swap file of {}.", bytes(compressed), bytes(file));
    let actions = vec![zram(compressed), on_disk(given.view, file)];
    Advice {
        evidence,
        saves: Some(saves),
        confidence,
        because,
        ..draft(MISSING.name, Object::Host, actions, title, why)
    }
}
