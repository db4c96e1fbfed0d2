//! Metrics about what is reserved, and about verdicts.

use std::collections::BTreeMap;

use super::row::{Detail, Kind, Metric, Unit, Value, WORKLOAD, workload_and};
use crate::lease::{Decision, Priority, State};
use crate::view::View;
use crate::view::lease::Evictions;

pub const BYTES: Metric = Metric {
    name: "headroom_reservation_bytes",
    kind: Kind::Gauge,
    unit: Some(Unit::Bytes),
    detail: Detail::Always,
    help: "Bytes that are reserved for processes of the workload: by state `used` what they use of it by now, `unused` what is kept free for them, \
           `waiting` what they wait for, and `planned` what was reserved ahead and is not taken up yet.",
    labels: &{
        let [workload, namespace, pod, container] = WORKLOAD;
        [workload, namespace, pod, container, "resource", "state"]
    },
    needs: &[],
    read: |view, emit| {
        let mut sums: BTreeMap<(String, String, &str), u64> = BTreeMap::new();
        let waiting = view.leases.waiting.values().map(|waiting| &waiting.lease);
        for lease in
            view.leases.held.values().filter(|lease| lease.is_held() || lease.state == State::Planned).chain(waiting)
        {
            let shown = view.reservation(lease);
            for part in shown.resources.iter().filter(|part| !["CPU", "network", "slot"].contains(&&*part.resource)) {
                let resource = part.resource.replace(' ', "_").to_lowercase();
                let used = part.used.unwrap_or(0).min(part.amount);
                let states = match lease.state {
                    State::Waiting => vec![("waiting", part.amount)],
                    State::Planned => vec![("planned", part.amount)],
                    _ => vec![("unused", part.amount - used), ("used", used)],
                };
                for (state, amount) in states {
                    let sum = sums.entry((shown.workload.clone(), resource.clone(), state)).or_default();
                    *sum = sum.saturating_add(amount);
                }
            }
        }
        sums.into_iter().try_for_each(|((workload, resource, state), sum)| {
            let [name, namespace, pod, container] = labels(view, &workload);
            emit.gauge(&[name, namespace, pod, container, &resource, state], Value::Int(sum))
        })
    },
};

pub const ORPHANS: Metric = Metric {
    name: "headroom_reservation_orphans",
    kind: Kind::Gauge,
    unit: None,
    detail: Detail::Always,
    help: "Processes of the workload that still hold memory of a GPU although the owner of their reservation is gone.",
    labels: &workload_and("gpu"),
    needs: &[],
    read: |view, emit| {
        let mut counts: BTreeMap<(String, &str), u64> = BTreeMap::new();
        for lease in view.leases.held.values().filter(|lease| !lease.orphans.is_empty()) {
            let workload = view.reservation(lease).workload;
            for orphan in &lease.orphans {
                *counts.entry((workload.clone(), &orphan.gpu)).or_default() += 1;
            }
        }
        counts.into_iter().try_for_each(|((workload, gpu), count)| {
            let [name, namespace, pod, container] = labels(view, &workload);
            emit.gauge(&[name, namespace, pod, container, gpu], Value::Int(count))
        })
    },
};

pub const VERDICTS: Metric = Metric {
    name: "headroom_admission_total",
    kind: Kind::Counter,
    unit: None,
    detail: Detail::Used,
    help: "Verdicts on what somebody wanted to start, by what they were: of asks, and of claims when they came.",
    labels: &["verdict", "priority"],
    needs: &[],
    read: |view, emit| {
        for decision in Decision::ALL {
            for priority in Priority::ALL {
                let count = view.leases.verdicts.get(&(decision, priority)).copied().unwrap_or(0);
                emit.counter(&[decision.label(), priority.label()], Value::Int(count), view.started)?;
            }
        }
        Ok(())
    },
};

pub const EVICTIONS: Metric = Metric {
    name: "headroom_reservation_evictions_total",
    kind: Kind::Counter,
    unit: None,
    detail: Detail::Used,
    help: "Times that the owner of a reservation was asked to give it up because a claim waited (`asked`, and `repeated` without an answer in \
           time), and what came of it: the reservation `ended`, or nobody waited for it any more (`spared`).",
    labels: &["event"],
    needs: &[],
    read: |view, emit| {
        let Evictions { asked, repeated, ended, spared } = view.leases.evictions;
        let events = [("asked", asked), ("repeated", repeated), ("ended", ended), ("spared", spared)];
        events.into_iter().try_for_each(|(event, count)| emit.counter(&[event], Value::Int(count), view.started))
    },
};

pub const SCHEDULED: Metric = Metric {
    name: "headroom_reservation_scheduled",
    kind: Kind::Gauge,
    unit: None,
    detail: Detail::Always,
    help: "Tables `[[reservation]]` of the configuration for the unit, by what became of the next time for which they reserve: `later` it is made a \
           day ahead, `reserved`, `over` it was taken up or given back, and `refused` there is no room for it. Units of users other than root begin \
           with user-UID/.",
    labels: &["unit", "state"],
    needs: &[],
    read: |view, emit| {
        let mut counts: BTreeMap<(String, &str), u64> = BTreeMap::new();
        for (entry, next) in view.schedule.iter() {
            let unit = match entry.uid {
                0 => entry.unit.clone(),
                uid => format!("user-{uid}/{}", entry.unit),
            };
            if let Some(next) = next {
                *counts.entry((unit, next.state.label())).or_default() += 1;
            }
        }
        counts.into_iter().try_for_each(|((unit, state), count)| emit.gauge(&[unit.as_str(), state], Value::Int(count)))
    },
};

/// The labels of the workload with this name, also of one that has no series of its own.
fn labels<'a>(view: &'a View, name: &'a str) -> [&'a str; 4] {
    view.workloads.find(name).map_or([name, "", "", ""], |workload| workload.labels())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::engine::test::engine;
    use crate::lease::{Asked, Caller, Claim, Kept, Owner, Request, Use};
    use crate::metric::visit::{Part, visit};
    use crate::need::declared::Declared;
    use crate::sample::{Reading, Sample};
    use crate::statistic::host::{Statistic, Values};

    #[test]
    fn what_is_used_of_a_reservation_is_no_longer_kept_free() {
        let mut engine = engine();
        let mut apply = |reading| engine.apply(&Sample { time: 100, reading });
        apply(Reading::Host(Values::from_iter([
            (Statistic::MemoryTotal, 1 << 40),
            (Statistic::MemoryAvailable, 1 << 40),
        ])));
        let need = Declared { memory: Some("10M".into()), ..Declared::default() }.need().unwrap();
        let claim = Claim { need, ..Claim::default() };
        let owner = Owner::Process { pid: 1, started: 1 };
        let caller = Caller { privileged: true, cgroup: Some("/a".into()), ..Caller::default() };
        let asked = Asked::Claim { claim, owner, used: Use::default() };
        apply(Reading::Request(Box::new(Request { number: 1, caller, asked })));
        apply(Reading::Lease(Kept::Used { id: 1, used: Use { hard: 4 << 20, ..Use::default() } }));
        apply(Reading::Tick);
        let read = |metric: &'static Metric| {
            let mut found: BTreeMap<Vec<String>, f64> = BTreeMap::new();
            visit(engine.view(), metric, Part::Whole, &mut |labels, number, _| {
                found.insert(labels.iter().map(|label| (*label).to_owned()).collect(), number);
            });
            found
        };
        let state = |state: &str| ["/a", "", "", "", "host_memory", state].map(str::to_owned).to_vec();
        let bytes = read(&BYTES);
        assert_eq!(bytes.len(), 2, "{bytes:?}");
        let of = |name| bytes.get(&state(name)).copied();
        assert_eq!((of("used"), of("unused")), (Some(f64::from(4 << 20)), Some(f64::from(6 << 20))), "{bytes:?}");
        assert_eq!(read(&VERDICTS)[&vec!["yes".to_owned(), "normal".to_owned()]], 1.0);
        assert!(read(&ORPHANS).is_empty());
    }
}
