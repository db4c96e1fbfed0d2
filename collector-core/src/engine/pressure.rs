//! PSI stalls: which of the kernel's reports can be, and stalls over a threshold that it does not report.

use std::collections::BTreeMap;

use crate::count::grow;
use crate::pressure::{self, Stall, Trigger};
use crate::view::host::{Host, Watch};

/// Returns a stall that must be reported.
pub(super) fn fold(host: &mut Host, time: u64, reading: &pressure::Reading) -> Option<Stall> {
    let stall = match reading {
        pressure::Reading::Trigger(trigger) => {
            watch(&mut host.triggers, *trigger, time);
            return None;
        }
        pressure::Reading::Refused(pressure::Refused { trigger, reason }) => {
            host.refused.insert((trigger.resource, trigger.kind), reason.clone());
            return None;
        }
        pressure::Reading::Stall(stall) => stall,
    };
    let Trigger { resource, kind, .. } = stall.trigger;
    let watch = watch(&mut host.triggers, stall.trigger, time);
    // One report per window: a tick already reported this wait.
    if watch.events > 0 && time.saturating_sub(watch.reported).saturating_mul(2) < watch.trigger.window_ns {
        return None;
    }
    if stall.total_ns.is_some_and(|total| !watch.can_be(time, total)) {
        return None;
    }
    watch.report(time);
    // Readers before the next tick see the wait until now.
    if let (Some(statistic), Some(total)) = (pressure::statistic(resource, kind), stall.total_ns)
        && host.statistics.get(statistic).is_some_and(|before| before < total)
    {
        host.statistics.set(statistic, total);
    }
    Some(stall.clone())
}

/// At a tick: stalls over a threshold that the kernel did not report.
pub(super) fn missed(host: &mut Host, time: u64) -> Vec<Stall> {
    let Host { triggers, statistics, .. } = host;
    let missed = triggers.iter_mut().filter_map(|((resource, kind), watch)| {
        let total = statistics.get(pressure::statistic(*resource, *kind)?)?;
        watch.missed(time, total).then(|| {
            watch.report(time);
            Stall { trigger: watch.trigger, total_ns: Some(total) }
        })
    });
    missed.collect()
}

type Watches = BTreeMap<(pressure::Resource, pressure::Kind), Watch>;

fn watch(watches: &mut Watches, trigger: Trigger, time: u64) -> &mut Watch {
    let watch = watches.entry((trigger.resource, trigger.kind));
    let watch = watch.or_insert(Watch { trigger, created: time, events: 0, reported: time, from: None, before: None });
    watch.trigger = trigger;
    watch
}

impl Watch {
    /// Whether the wait in our own window exceeds the threshold and the kernel did not report it.
    ///
    /// Without CAP_SYS_RESOURCE the kernel checks its triggers where it averages, every two seconds. A process that reads the
    /// file just before, as we do at each tick, does the averaging instead, without a check of the triggers (psi_show and
    /// psi_avgs_work in kernel/sched/psi.c). So the kernel can miss window after window.
    fn missed(&mut self, time: u64, total: u64) -> bool {
        let window = self.trigger.window_ns;
        let (began, before) = *self.from.get_or_insert((time, total));
        let elapsed = time.saturating_sub(began);
        if elapsed < window {
            return false;
        }
        self.before = self.from.replace((time, total));
        let waited = u128::from(total.saturating_sub(before)) * u128::from(window);
        let over = waited >= u128::from(self.trigger.threshold_ns) * u128::from(elapsed);
        // Ticks that are too far apart say nothing about one window. The kernel reports up to half a window late.
        let silent = time.saturating_sub(self.reported);
        over && elapsed < window.saturating_mul(2) && silent.saturating_mul(2) >= window.saturating_mul(3)
    }

    /// Whether the wait in the window before `time`, with a total of `total`, can have reached half of the threshold.
    ///
    /// Without CAP_SYS_RESOURCE the kernel's triggers start with a counter that does not move and continue with another
    /// (psi_trigger_create takes the total of PSI_POLL, update_triggers that of PSI_AVGS): the first report counts everything
    /// that was ever waited on this host.
    fn can_be(&self, time: u64, total: u64) -> bool {
        let begin = time.saturating_sub(self.trigger.window_ns).max(self.created);
        let known = [self.from, self.before];
        let within = known.iter().flatten().find(|(then, _)| *then <= begin);
        // Before the first known total, all of the time may have been waited.
        let Some((then, waited)) = within.or_else(|| known.iter().rev().flatten().next()) else { return true };
        let most = total.saturating_sub(*waited).saturating_add(then.saturating_sub(begin));
        most.saturating_mul(2) >= self.trigger.threshold_ns
    }

    fn report(&mut self, time: u64) {
        grow(&mut self.events, 1);
        self.reported = time;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pressure::{Kind, Resource};
    use crate::statistic::host;

    #[test]
    fn a_stall_is_reported_counted_and_visible_before_the_next_reading() {
        let mut host = Host::default();
        let (resource, kind) = (Resource::Memory, Kind::Stalled);
        let trigger = Trigger { resource, kind, threshold_ns: 1, window_ns: 2 };
        assert_eq!(fold(&mut host, 5, &pressure::Reading::Trigger(trigger)), None);
        assert_eq!(host.triggers[&(resource, kind)].events, 0);
        let full = host::Statistic::MemoryPressureFull;
        for (time, total_ns, known, wanted) in
            [(6, Some(9), None, None), (8, Some(9), Some(8), Some(9)), (10, Some(7), Some(8), Some(8))]
        {
            host.statistics.put(full, known);
            let stall = Stall { trigger, total_ns };
            assert_eq!(fold(&mut host, time, &pressure::Reading::Stall(stall.clone())), Some(stall));
            assert_eq!(host.statistics.get(full), wanted);
        }
        let watch = &host.triggers[&(resource, kind)];
        assert_eq!((watch.events, watch.created), (3, 5));
    }

    #[test]
    fn a_window_may_be_longer_than_any_time() {
        let mut host = Host::default();
        let trigger = Trigger { resource: Resource::Io, kind: Kind::Waiting, threshold_ns: 0, window_ns: u64::MAX };
        host.statistics.put(host::Statistic::IoPressureSome, Some(0));
        for time in [0, u64::MAX] {
            let stall = Stall { trigger, total_ns: None };
            assert_eq!(fold(&mut host, time, &pressure::Reading::Stall(stall.clone())), Some(stall));
            assert_eq!(missed(&mut host, time), []);
        }
    }

    #[test]
    fn an_impossible_wait_is_ignored() {
        const MS: u64 = 1_000_000;
        let mut host = Host::default();
        let (resource, kind) = (Resource::Io, Kind::Stalled);
        let trigger = Trigger { resource, kind, threshold_ns: 1000 * MS, window_ns: 2000 * MS };
        fold(&mut host, 10_000 * MS, &pressure::Reading::Trigger(trigger));
        // Long ago tasks waited for a minute, then not until the twentieth second.
        let waited = |ms: u64| 60_000 + ms.saturating_sub(20_000);
        let mut reported = Vec::new();
        for ms in (10_100..24_000).step_by(1000) {
            host.statistics.put(host::Statistic::IoPressureFull, Some(waited(ms) * MS));
            reported.extend(missed(&mut host, ms * MS).iter().map(|_| ms));
            let ms = ms + 400;
            let stall = Stall { trigger, total_ns: Some(waited(ms) * MS) };
            reported.extend(fold(&mut host, ms * MS, &pressure::Reading::Stall(stall)).map(|_| ms));
        }
        // Tasks waited for half a second of the first of these windows, and for all of the next.
        assert_eq!(reported, [20_500, 21_500, 22_500, 23_500]);
    }

    #[test]
    fn a_tick_reports_what_the_kernel_misses() {
        const MS: u64 = 1_000_000;
        let mut host = Host::default();
        let (resource, kind) = (Resource::Io, Kind::Waiting);
        let trigger = Trigger { resource, kind, threshold_ns: 100 * MS, window_ns: 2000 * MS };
        fold(&mut host, 0, &pressure::Reading::Trigger(trigger));
        let mut reported = Vec::new();
        for second in 1..=20u64 {
            // Tasks wait half of the time from the third second to the fourteenth. The kernel reports once, then no more.
            let waited = 500 * MS * second.clamp(3, 14);
            host.statistics.put(host::Statistic::IoPressureSome, Some(waited));
            let missed = missed(&mut host, second * 1000 * MS);
            assert!(missed.iter().all(|it| *it == Stall { trigger, total_ns: Some(waited) }), "{missed:?}");
            reported.extend(missed.iter().map(|_| second * 1000));
            // Once by itself, and once just after a tick has reported the same.
            if second == 3 || second == 7 {
                let stall = Stall { trigger, total_ns: None };
                let time = second * 1000 + 300;
                let taken = fold(&mut host, time * MS, &pressure::Reading::Stall(stall));
                reported.extend(taken.map(|_| time));
            }
        }
        assert_eq!(reported, [3300, 7000, 11000, 15000]);
        assert_eq!(host.triggers[&(resource, kind)].events, 4);
        // A tick that is several windows late cannot locate the wait.
        host.statistics.put(host::Statistic::IoPressureSome, Some(50_000 * MS));
        assert_eq!(missed(&mut host, 60_000 * MS), []);
    }
}
