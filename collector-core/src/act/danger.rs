//! Which changes would harm whom they concern, from what the kernel says now. Knows no policy: this holds beneath every one.

use crate::action::Change;
use crate::amount;

/// The least share of its memory that a workload must be able to give back, for a mark that slows it to be one that it can get below.
const RECLAIMABLE: u64 = 20;

/// What is known of a cgroup, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Readings {
    /// What is charged to it.
    pub usage: Option<u64>,
    /// Pages of files that the kernel can drop.
    pub reclaimable: Option<u64>,
    /// Swap that it can still use: free on the host and within its own limit.
    pub swap: Option<u64>,
    /// Memory of the host.
    pub host: Option<u64>,
}

/// Why a change is dangerous, if it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Danger {
    /// It is not done, whoever forces it.
    Never(String),
    /// It is done where somebody forces it.
    Forced(String),
}

/// `ends` is whether it is undone by itself after a time.
pub fn danger(change: &Change, readings: &Readings, ends: bool) -> Option<Danger> {
    let shown = amount::bytes;
    match change {
        Change::MemoryHigh(Some(high)) => {
            let (Some(usage), Some(file), Some(swap)) = (readings.usage, readings.reclaimable, readings.swap) else {
                return Some(Danger::Never(
                    "what this workload could give back is not known: with nothing to give back, memory.high stops it for ever".to_owned(),
                ));
            };
            let must = usage.saturating_sub(*high).max(usage / RECLAIMABLE);
            if file.saturating_add(swap) < must {
                return Some(Danger::Never(format!(
                    "memory.high without swap or pages that can be dropped stops a workload for ever: it would have to give back {}, \
                     and has {} of file pages and {} of swap",
                    shown(must),
                    shown(file),
                    shown(swap)
                )));
            }
            (!ends).then(|| {
                Danger::Forced(
                    "memory.high may stall a workload: give it a time after which it is undone (--for)".to_owned(),
                )
            })
        }
        Change::MemoryMax(Some(max)) => match readings.usage {
            Some(usage) if usage > *max => Some(Danger::Forced(format!(
                "{} are in use, more than the limit of {}: what cannot be reclaimed ends in an OOM kill",
                shown(usage),
                shown(*max)
            ))),
            Some(_) => None,
            None => Some(Danger::Forced("how much is in use is not known".to_owned())),
        },
        Change::MemoryMin(min) => match readings.host {
            Some(host) if *min > host / 2 => Some(Danger::Forced(format!(
                "{} that are never reclaimed are more than half of the host's {}: others would be killed for it",
                shown(*min),
                shown(host)
            ))),
            Some(_) => None,
            None => Some(Danger::Forced("how much memory the host has is not known".to_owned())),
        },
        Change::Reclaim(bytes) => {
            let can = readings.reclaimable.zip(readings.swap).map(|(file, swap)| file.saturating_add(swap));
            match can {
                Some(can) if *bytes > can => Some(Danger::Forced(format!(
                    "only {} can be dropped or swapped: more would only take CPU time",
                    shown(can)
                ))),
                Some(_) => None,
                None => Some(Danger::Forced("how much can be reclaimed is not known".to_owned())),
            }
        }
        Change::Freeze if !ends => Some(Danger::Forced(
            "a frozen workload answers nobody: give it a time after which it is thawed (--for)".to_owned(),
        )),
        _ => None,
    }
}

/// Why a value of before cannot be written back now: who grew meanwhile would be killed for it, or stand still.
pub fn danger_of_undo(file: &str, before: Option<u64>, readings: &Readings) -> Option<String> {
    let before = before?;
    match file {
        "memory.max" | "memory.limit_in_bytes" => {
            let can_go = readings.reclaimable.zip(readings.swap).map(|(file, swap)| file.saturating_add(swap));
            let Some((usage, can_go)) = readings.usage.zip(can_go) else {
                return Some("how much is in use is not known".to_owned());
            };
            let stays = usage.saturating_sub(can_go);
            let shown = amount::bytes;
            (stays > before).then(|| {
                format!(
                    "it holds {} that can be neither dropped nor swapped, more than the limit of {}: it would end in an OOM kill",
                    shown(stays),
                    shown(before)
                )
            })
        }
        "memory.high" => match danger(&Change::MemoryHigh(Some(before)), readings, true) {
            Some(Danger::Never(why) | Danger::Forced(why)) => Some(why),
            None => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_grew_meanwhile_is_not_killed_by_an_undo() {
        let of = |file: &str, before, readings: &Readings| danger_of_undo(file, before, readings).is_some();
        for file in ["memory.max", "memory.limit_in_bytes"] {
            assert!(of(file, Some(3 * GIB), &readings(4 * GIB, GIB / 2, 0)), "{file}: it grew");
            assert!(!of(file, Some(3 * GIB), &readings(4 * GIB, GIB, 0)), "{file}: the rest is page cache");
            assert!(!of(file, Some(3 * GIB), &readings(4 * GIB, 0, GIB)), "{file}: it can be swapped");
            assert!(!of(file, None, &Readings::default()), "{file}: no limit");
            assert!(of(file, Some(GIB), &Readings::default()), "{file}: unknown is not safe");
        }
        assert!(of("memory.high", Some(3 * GIB), &readings(4 * GIB, 0, 0)));
        assert!(!of("memory.high", Some(3 * GIB), &readings(4 * GIB, GIB, GIB)));
        assert!(!of("cpu.weight", Some(50), &Readings::default()));
    }

    const GIB: u64 = 1 << 30;

    fn readings(usage: u64, reclaimable: u64, swap: u64) -> Readings {
        Readings { usage: Some(usage), reclaimable: Some(reclaimable), swap: Some(swap), host: Some(64 * GIB) }
    }

    #[test]
    fn a_mark_that_nothing_can_get_below_is_refused_whoever_forces_it() {
        let high = Change::MemoryHigh(Some(3 * GIB));
        let never = |readings: &Readings| matches!(danger(&high, readings, true), Some(Danger::Never(_)));
        assert!(never(&readings(4 * GIB, 0, 0)), "no swap and no pages");
        assert!(never(&readings(4 * GIB, GIB / 2, GIB / 4)), "too few");
        assert!(never(&readings(2 * GIB, 0, 0)), "below it now, and for ever once above");
        assert!(never(&Readings::default()), "unknown is not safe");
        assert_eq!(danger(&high, &readings(4 * GIB, GIB, GIB), true), None);
        assert!(matches!(danger(&high, &readings(4 * GIB, GIB, GIB), false), Some(Danger::Forced(_))));
        assert_eq!(danger(&Change::MemoryHigh(None), &Readings::default(), false), None, "takes a mark away");
    }

    #[test]
    fn what_may_kill_or_stop_must_be_forced() {
        let forced = |change: Change, readings: &Readings, ends| {
            matches!(danger(&change, readings, ends), Some(Danger::Forced(_)))
        };
        let known = readings(4 * GIB, GIB, 0);
        assert!(forced(Change::MemoryMax(Some(3 * GIB)), &known, true));
        assert!(!forced(Change::MemoryMax(Some(5 * GIB)), &known, false));
        assert!(!forced(Change::MemoryMax(None), &Readings::default(), false));
        assert!(forced(Change::MemoryMax(Some(GIB)), &Readings::default(), false), "unknown is not safe");
        assert!(forced(Change::MemoryMin(40 * GIB), &known, false) && !forced(Change::MemoryMin(GIB), &known, false));
        assert!(forced(Change::Freeze, &known, false) && !forced(Change::Freeze, &known, true));
        assert!(forced(Change::Reclaim(2 * GIB), &known, false) && !forced(Change::Reclaim(GIB), &known, false));
        assert!(!forced(Change::CpuWeight(50), &Readings::default(), false));
    }
}
