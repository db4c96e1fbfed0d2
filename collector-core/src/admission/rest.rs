//! Disks, CPU, network and slots.

use std::collections::BTreeMap;

use super::{Case, Claimed, Found, way};
use crate::cgroup::contains;
use crate::lease::{Decision, Held, HeldKind};
use crate::statistic::filesystem::Statistic::{Available, Size};
use crate::statistic::host::Statistic::{CpuIdle, CpuIowait, Cpus};
use crate::text::escape;
use crate::view::View;

/// When busy CPUs or a busy network are worth another look, in nanoseconds: both are means of the last ten seconds, and say the same
/// before.
const LOOK_NS: u64 = 10_000_000_000;
/// How long work that paces itself should pause: milliseconds a percent of the CPUs, and kilobits a second a millisecond.
const PERCENT_MS: u64 = 10;
const KILOBIT: u64 = 1000;
/// Places of a slot that the configuration does not name.
const PLACES: u64 = 1;

pub(super) fn others(view: &View, case: &Case<'_>, claimed: &[Claimed]) -> Vec<Found> {
    let mut found = disks(view, case, claimed);
    found.extend((case.want.cpu > 0).then(|| cpu(view, case, claimed)));
    found.extend((case.want.network > 0).then(|| network(view, case, claimed)));
    found.extend(case.want.slot.iter().map(|(name, need)| slot(view, case, claimed, name, *need)));
    found
}

/// What is wanted of each filesystem. Known are those that the agent watches: the nearest mount point above a path counts.
fn disks(view: &View, case: &Case<'_>, claimed: &[Claimed]) -> Vec<Found> {
    let mount = |path: &str| {
        let path = escape(path.trim_end_matches('/').as_bytes()).into_owned();
        let above = view.host.filesystems.keys().filter(|mount| contains(mount, &path) || ***mount == *path);
        above.max_by_key(|mount| mount.len()).cloned()
    };
    let mut wanted: BTreeMap<_, (u64, &str)> = BTreeMap::new();
    let mut found = Vec::new();
    for (path, need) in &case.want.disk {
        match mount(path) {
            Some(mount) => {
                let entry = wanted.entry(mount).or_insert((0, path));
                entry.0 = entry.0.saturating_add(*need);
            }
            None => found.push(Found::new("disk", Some(path), *need).unknown(format!("the filesystem of {path}"))),
        }
    }
    for (point, (need, path)) in wanted {
        let line = Found::new("disk", Some(path), need);
        let values = view.host.filesystems.get(&point).and_then(|filesystem| filesystem.values.as_ref());
        let Some(free) = values.and_then(|values| values.get(Available)) else {
            found.push(line.unknown(format!("what is free on {point}: it did not answer")));
            continue;
        };
        let size = values.and_then(|values| values.get(Size)).unwrap_or(0);
        let free = free.saturating_sub(super::kept(view, size, view.level.limits.filesystem));
        let here = |one: &Claimed| {
            let paths = one.disk.iter().filter(|(path, _)| mount(path).as_ref() == Some(&point));
            paths.fold(0_u64, |sum, (_, amount)| sum.saturating_add(*amount))
        };
        let promised: Vec<_> = claimed.iter().map(|one| (here(one), one.left)).collect();
        let sum = promised.iter().fold(0_u64, |sum, (amount, _)| sum.saturating_add(*amount));
        let mut line = line.compared(free.saturating_sub(sum), u64::MAX, promised.into_iter());
        line.line.limited_by = Some(format!("the filesystem at {point}"));
        found.push(line);
    }
    found
}

fn cpu(view: &View, case: &Case<'_>, claimed: &[Claimed]) -> Found {
    let line = Found::new("CPU", None, case.want.cpu);
    let cpus = view.host.statistics.get(Cpus);
    let idle =
        view.host.past.pace(|values| Some(values.get(CpuIdle)?.saturating_add(values.get(CpuIowait).unwrap_or(0))));
    let Some((cpus, idle)) = cpus.zip(idle) else { return line.unknown("how busy the CPUs are") };
    let all = cpus.saturating_mul(1000);
    let kept = super::kept(view, all, view.level.limits.cpu);
    let (idle, all) = (((idle / 1e6) as u64).min(all).saturating_sub(kept), all.saturating_sub(kept));
    let promised = claimed.iter().fold(0_u64, |sum, one| sum.saturating_add(one.cpu));
    let mut line = line.compared(idle.saturating_sub(promised), all, std::iter::empty());
    if line.line.short > 0 && !line.hopeless {
        // What is busy now may be idle soon.
        (line.line.verdict, line.retry) = (Decision::Wait, Some(LOOK_NS));
        line.delay = Some((line.line.short * 100 * PERCENT_MS).div_ceil(all.max(1)));
    }
    line
}

/// What the link of the default route has left in the direction that is busier, less what was promised.
fn network(view: &View, case: &Case<'_>, claimed: &[Claimed]) -> Found {
    let network = &view.host.network;
    let mut line = Found::new("network", network.route().map(|(device, _)| &**device), case.want.network);
    let Some((device, interface)) = network.route() else {
        let why = match network.interfaces.is_empty() {
            true => "how busy the network is: no interface is measured",
            false => "which interface the work would use: none that is measured has the default route",
        };
        return line.unknown(why);
    };
    if interface.is_down() {
        return line.unknown(format!("what {device} can carry: it has no link"));
    }
    let Some(speed) = interface.speed() else {
        return line
            .never_known(format!("the speed of {device}: its driver does not say, as most of virtual machines"));
    };
    let [Some(received), Some(sent)] = interface.rates() else {
        return line.unknown(format!("how busy {device} is: it was not read twice yet"));
    };
    let promised = claimed.iter().fold(0_u64, |sum, one| sum.saturating_add(one.network));
    let free = speed.saturating_sub(received.max(sent) as u64).saturating_sub(promised);
    line = line.compared(free, speed, std::iter::empty());
    line.line.limited_by = Some(format!("the link of {device}"));
    if line.line.short > 0 && !line.hopeless {
        (line.line.verdict, line.retry) = (Decision::Wait, Some(LOOK_NS));
        line.delay = Some(line.line.short.div_ceil(KILOBIT));
    }
    line
}

/// A slot that the configuration names is everybody's; any other belongs to its user.
fn slot(view: &View, case: &Case<'_>, claimed: &[Claimed], name: &str, need: u64) -> Found {
    let places = view.leases.limits.slots.get(name).copied();
    let mine = |one: &&Claimed| places.is_some() || one.uid == case.caller.uid;
    let taken = || claimed.iter().filter(mine).filter_map(|one| Some((one, *one.slot.get(name)?)));
    let sum = taken().fold(0_u64, |sum, (_, amount)| sum.saturating_add(amount));
    let places = places.unwrap_or(PLACES);
    let promised = taken().map(|(one, amount)| (amount, one.left));
    let mut line = Found::new("slot", Some(name), need).compared(places.saturating_sub(sum), places, promised);
    if line.line.short > 0 {
        line.line.holders = taken()
            .map(|(one, amount)| Held {
                workload: view.workloads.name_at(one.cgroup.as_deref()).to_string(),
                amount,
                kind: HeldKind::Reservation,
                id: one.id,
            })
            .take(super::HOLDERS)
            .collect();
        line.room
            .extend(taken().filter_map(|(one, amount)| way::reserved(one, amount, &line.line)).take(super::HOLDERS));
    }
    line
}
