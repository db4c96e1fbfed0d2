//! Memory of GPUs: which are chosen, what each has left, and whether something still starts there. Knows no driver.

use super::{Case, Claimed, Found, HOLDERS, way};
use crate::lease::{Decision, Held, HeldKind, Way, WayKind};
use crate::need::known::version;
use crate::statistic::gpu::Statistic::{ComputeCapability, MemoryFree, MemoryReserved, MemoryTotal, MemoryUsed, Mig};
use crate::view::View;
use crate::view::gpu::Gpu;

/// What stays free of a GPU: contexts and libraries take some of it beside what anybody plans.
const MARGIN: u64 = 512 << 20;
const MARGIN_SHARE: u64 = 3;
/// A start is looked at again after this long, in nanoseconds.
const RETRY_NS: u64 = 3_000_000_000;

/// What a GPU has left.
struct Room<'a> {
    number: &'a str,
    gpu: &'a Gpu,
    /// Absent if the driver does not say.
    available: Option<u64>,
    most: u64,
    /// The lease that still starts on it; of a claim that comes first there is no number.
    starting: Option<Option<u64>>,
    /// The driver does not know what one of its processes holds.
    partly: bool,
}

/// The lines, and the numbers of the GPUs in the order of the need's own.
pub(super) fn memory(view: &View, case: &Case<'_>, claimed: &[Claimed]) -> (Vec<Found>, Vec<String>) {
    let want = &case.want.vram;
    let Some(last) = want.keys().last().copied() else { return (Vec::new(), Vec::new()) };
    let needs: Vec<u64> = (0..=last).map(|own| want.get(&own).copied().unwrap_or_default().peak).collect();
    let lines = |why: &str, hopeless| {
        let line = |(own, need): (usize, &u64)| {
            let mut found = Found::new("VRAM", Some(&own.to_string()), *need).unknown(why);
            if hopeless {
                (found.line.verdict, found.hopeless) = (Decision::No, true);
                (found.line.short, found.why) = (*need, found.not_known.take());
            }
            found
        };
        (needs.iter().enumerate().filter(|(_, need)| **need > 0).map(line).collect(), Vec::new())
    };
    let mut rooms: Vec<Room<'_>> =
        view.gpus.iter().filter(|gpu| is_usable(gpu)).map(|gpu| left(gpu, view, claimed)).collect();
    if rooms.is_empty() {
        return lines("the GPUs of this host: none is measured (`headroom doctor` says why)", false);
    }
    if let Some(least) = case.want.compute_capability {
        let usable = rooms.len();
        rooms.retain(|room| capability(room.gpu).is_some_and(|own| own >= u64::from(least)));
        if rooms.len() < needs.len() {
            let least = version(least);
            if view.gpus.iter().any(|gpu| is_usable(gpu) && capability(gpu).is_none()) {
                return lines(&format!("whether its GPUs have a compute capability of {least}, which it needs"), false);
            }
            let have = format!("{} of {usable} GPUs here have a compute capability of {least} or more", rooms.len());
            return lines(&format!("{have}, and it needs {}", needs.len()), true);
        }
    }
    if !case.gpus.is_empty() {
        if case.gpus.len() < needs.len() {
            return lines(&format!("it needs {} GPUs, and may use {}", needs.len(), case.gpus.len()), true);
        }
        let known = |number: &String| rooms.iter().any(|room| room.number == number);
        if let Some(number) = case.gpus.iter().find(|number| !known(number)) {
            let is_it = |gpu: &Gpu| is_usable(gpu) && *gpu.device.gpu == **number && capability(gpu).is_some();
            if view.gpus.iter().any(is_it) {
                return lines(&format!("GPU {number}: its compute capability is too low"), true);
            }
            return lines(
                &format!("GPU {number}: there is none of this number, or it is divided into MIG devices"),
                false,
            );
        }
    } else if rooms.len() < needs.len() {
        return lines(&format!("it needs {} GPUs, and this host has {}", needs.len(), rooms.len()), true);
    }
    let chosen = choose(&mut rooms, &needs, case.gpus);
    let each = chosen.iter().zip(&needs).filter(|(_, need)| **need > 0);
    let mut found: Vec<Found> = each.map(|(room, need)| line(view, case, room, *need, claimed)).collect();
    let numbers: Vec<String> = chosen.iter().map(|room| room.number.to_owned()).collect();
    if case.told {
        // One that was not named may have room.
        for short in found.iter_mut().filter(|found| found.line.short > 0) {
            let others = rooms.iter().filter(|room| !numbers.iter().any(|number| number == room.number));
            let fits = others.filter_map(|room| Some((room.number, room.available?)));
            let fits = fits.filter(|(_, available)| *available >= short.line.need);
            let ways: Vec<Way> = fits.map(|(number, available)| way::other_gpu(number, available)).collect();
            short.room.splice(0..0, ways.into_iter().take(HOLDERS));
        }
    }
    (found, numbers)
}

fn is_usable(gpu: &Gpu) -> bool {
    gpu.values.get(Mig) != Some(1)
}

/// In tenths.
fn capability(gpu: &Gpu) -> Option<u64> {
    gpu.values.get(ComputeCapability)
}

/// What it has in all, without what its driver reserves and what stays free.
fn whole(gpu: &Gpu) -> Option<u64> {
    let total = gpu.values.get(MemoryTotal).filter(|total| *total > 0)?;
    Some(total.saturating_sub(gpu.values.get(MemoryReserved).unwrap_or(0)).saturating_sub(margin(total)))
}

fn margin(total: u64) -> u64 {
    MARGIN.max(total / 100 * MARGIN_SHARE)
}

/// What anybody may have of a GPU if nobody else has anything of it; `None` if it is not known, or nobody may have any.
pub(super) fn most(view: &View, gpu: &Gpu) -> Option<u64> {
    let most = whole(gpu).filter(|_| is_usable(gpu))?;
    Some(most.min(limit(view, gpu).map_or(u64::MAX, |(most, _)| most)))
}

fn left<'a>(gpu: &'a Gpu, view: &View, claimed: &[Claimed]) -> Room<'a> {
    let number = &*gpu.device.gpu;
    let here = || claimed.iter().filter_map(|one| Some((one, *one.vram.get(number)?)));
    let promised = here().fold(0_u64, |sum, (_, amount)| sum.saturating_add(amount));
    let held = gpu.holders(&view.workloads);
    let books = held.values().fold(0_u64, |sum, (_, bytes)| sum.saturating_add(bytes.unwrap_or(0)));
    let get = |statistic| gpu.values.get(statistic);
    let total = get(MemoryTotal).filter(|total| *total > 0);
    let margin = total.map_or(0, margin);
    let most = whole(gpu).unwrap_or(0);
    let limit = limit(view, gpu);
    let available = total.zip(get(MemoryFree)).map(|(_, free)| {
        let left = free.saturating_sub(margin).min(most.saturating_sub(books));
        left.min(limit.map_or(u64::MAX, |(_, left)| left)).saturating_sub(promised)
    });
    let most = most.min(limit.map_or(u64::MAX, |(most, _)| most));
    let starting = here().find(|(one, _)| one.starts).map(|(one, _)| one.id);
    Room { number, gpu, available, most, starting, partly: held.values().any(|(_, bytes)| bytes.is_none()) }
}

/// Where a verdict keeps to the limit of the level: what that allows in all, and what it leaves. As for the level, what model servers hold
/// is held on purpose, and does not count; where it is not known how much that is, all counts.
fn limit(view: &View, gpu: &Gpu) -> Option<(u64, u64)> {
    if !view.leases.limits.within {
        return None;
    }
    let (used, free) = (gpu.values.get(MemoryUsed)?, gpu.values.get(MemoryFree)?);
    let all = used.saturating_add(free);
    let level = view.level.gpus.get(&gpu.device.uuid);
    let counted = level.filter(|level| !level.is_partial).and_then(|level| level.used);
    let counted = counted.map_or(used, |share| (share * all as f64).round() as u64);
    let most = all.saturating_sub(super::kept(view, all, view.level.limits.gpu));
    Some((most, most.saturating_sub(counted)))
}

/// A GPU for each need: those that were named, or the largest need on the one with most room.
fn choose<'r, 'a>(rooms: &'r mut [Room<'a>], needs: &[u64], named: &[String]) -> Vec<&'r Room<'a>> {
    if !named.is_empty() {
        let of = |number: &String| rooms.iter().find(|room| room.number == number);
        return named.iter().take(needs.len()).filter_map(of).collect();
    }
    let largest = needs.iter().copied().max().unwrap_or(0);
    // One on which something starts is worse than a free one with enough room.
    let key = |room: &Room<'_>| {
        let available = room.available.unwrap_or(0);
        let ready = room.starting.is_none() && available >= largest;
        (std::cmp::Reverse((ready, available)), order(room.number))
    };
    rooms.sort_by_key(key);
    let mut by_need: Vec<usize> = (0..needs.len()).collect();
    by_need.sort_by_key(|own| (std::cmp::Reverse(needs[*own]), *own));
    let mut chosen: Vec<Option<&Room<'_>>> = vec![None; needs.len()];
    for (own, room) in by_need.into_iter().zip(rooms.iter()) {
        chosen[own] = Some(room);
    }
    chosen.into_iter().flatten().collect()
}

/// By number: `2` comes before `10`.
fn order(number: &str) -> (Vec<Option<u64>>, String) {
    (number.split(':').map(|part| part.parse().ok()).collect(), number.to_owned())
}

fn line(view: &View, case: &Case<'_>, room: &Room<'_>, need: u64, claimed: &[Claimed]) -> Found {
    let found = Found::new("VRAM", Some(room.number), need);
    let Some(available) = room.available else {
        return found.never_known(format!(
            "the memory of GPU {}: its driver does not say, as on devices that share the host's memory. Headroom cannot guard this device",
            room.number
        ));
    };
    let here =
        || claimed.iter().filter_map(|one| Some((one, one.vram.get(room.number).copied().filter(|it| *it > 0)?)));
    let mut found = found.compared(available, room.most, here().map(|(one, amount)| (amount, one.left)));
    if case.told && found.line.short > 0 {
        tell(view, case, room, &mut found, here);
    }
    if found.line.short == 0
        && let Some(starting) = room.starting
    {
        found.line.verdict = Decision::Wait;
        found.retry = Some(RETRY_NS);
        let who = starting.map_or_else(|| "a claim that comes first".to_owned(), |id| format!("reservation {id}"));
        found.why = Some(format!("{who} still starts on GPU {}: one start at a time", room.number));
    }
    if room.partly {
        found.not_known =
            Some(format!("what one of the processes on GPU {} holds: the driver does not say", room.number));
    }
    found
}

/// Who holds it, and what would make room.
fn tell<'a, I>(view: &View, case: &Case<'_>, room: &Room<'_>, found: &mut Found, here: impl Fn() -> I)
where
    I: Iterator<Item = (&'a Claimed, u64)>,
{
    let holders = room.gpu.holders(&view.workloads);
    let used = || holders.iter().filter_map(|(name, (_, bytes))| Some((*name, bytes.filter(|bytes| *bytes > 0)?)));
    let own = used().map(|(name, amount)| {
        (Held { workload: name.to_owned(), amount, kind: HeldKind::Use, id: None }, way_of(view, room, name, amount))
    });
    let promised = here().map(|(one, amount)| {
        let workload = view.workloads.name_at(one.cgroup.as_deref()).to_string();
        let held = Held { workload, amount, kind: HeldKind::Reservation, id: one.id };
        (held, way::reserved(one, amount, &found.line))
    });
    let mut all: Vec<(Held, Option<Way>)> = own.chain(promised).collect();
    all.sort_by_key(|(held, _)| std::cmp::Reverse(held.amount));
    all.truncate(HOLDERS);
    let (held, mut ways): (Vec<Held>, Vec<Option<Way>>) = all.into_iter().unzip();
    found.line.holders = held;
    if found.hopeless {
        found.room = vec![way::total(&format!("GPU {}", room.number), room.most)];
        return;
    }
    let on = |lease: &crate::lease::Lease| {
        let spent = lease.spent.vram.get(room.number).copied().unwrap_or(0);
        spent.saturating_add(lease.unspent_vram(room.number))
    };
    let asked = way::evictable(view, case, &found.line, on);
    // What its owner can be asked for is not told twice.
    let twice = |way: &Way| way.kind == WayKind::Reservation && asked.iter().any(|other| other.id == way.id);
    ways.retain(|way| way.as_ref().is_some_and(|way| !twice(way)));
    found.room = asked.into_iter().chain(ways.into_iter().flatten()).take(HOLDERS).collect();
}

fn way_of(view: &View, room: &Room<'_>, name: &str, amount: u64) -> Option<Way> {
    let alone = room.gpu.holders(&view.workloads).len() == 1;
    Some(way::held(view, room.gpu, name, amount, alone))
}
