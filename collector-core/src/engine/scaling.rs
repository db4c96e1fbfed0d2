//! How many instances of a model there should be: one more above a load, one less below another, and nothing for a while after a change.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::scaling::Limits;
use crate::statistic::model::Statistic::{RequestsRunning, RequestsWaiting, Slots};
use crate::view::View;
use crate::view::model::{Served, Told};
use crate::view::scaling::Scaled;

/// A KV cache is full from this share of it.
const FULL: f64 = 0.9;
/// Nothing is looked at more often, in nanoseconds.
const LOOK_NS: u64 = 10_000_000_000;

pub(super) fn tick(view: &mut View, time: u64) {
    let is_early = view.scaling.looked <= time && time - view.scaling.looked < LOOK_NS;
    if is_early || view.models.servers.is_empty() && view.scaling.models.is_empty() {
        return;
    }
    view.scaling.looked = time;
    let mut loads: BTreeMap<Arc<str>, (u64, f64)> = BTreeMap::new();
    // A router and the child that it started would be two of one.
    let has_child = |name: &str| view.models.servers.values().any(|told| told.server.parent.as_deref() == Some(name));
    // What a user's server says of a name is nothing about the servers of others that have it.
    let counts = |told: &Told| told.is_up() && told.is_of_host(&view.workloads) == Some(true);
    let servers = view.models.servers.values().filter(|told| counts(told) && !has_child(&told.server.name));
    for (name, served) in servers.flat_map(|told| &told.models) {
        if let Some(load) = load(served) {
            let (instances, sum) = loads.entry(name.clone()).or_default();
            (*instances, *sum) = (*instances + 1, *sum + load);
        }
    }
    let scaling = &mut view.scaling;
    scaling.models.retain(|name, _| loads.contains_key(name));
    for (name, (instances, sum)) in loads {
        let load = sum / instances as f64;
        let limits = &scaling.limits;
        let known = scaling.models.get(&name).copied();
        let scaled = scaling.models.entry(name).or_insert(Scaled {
            instances,
            load,
            desired: bounded(limits, instances),
            // The first minute says too little.
            changed: time,
        });
        (scaled.instances, scaled.load) = (instances, load);
        let waited = known.is_some() && time.saturating_sub(scaled.changed) >= limits.cool_down_ns;
        let wanted = wanted(limits, instances, load);
        if waited && wanted != scaled.desired {
            (scaled.desired, scaled.changed) = (wanted, time);
        }
        // The clock was set back.
        scaled.changed = scaled.changed.min(time);
    }
}

fn wanted(limits: &Limits, instances: u64, load: f64) -> u64 {
    let wanted = match load {
        load if load > limits.above => instances + 1,
        load if load < limits.below => instances.saturating_sub(1),
        _ => instances,
    };
    bounded(limits, wanted)
}

fn bounded(limits: &Limits, instances: u64) -> u64 {
    instances.clamp(limits.least, limits.most.max(limits.least))
}

/// The share of what it can do at once; `None` if it does not tell.
fn load(served: &Served) -> Option<f64> {
    let get = |statistic| served.values.get(statistic);
    let now = get(RequestsRunning).map(|running| running as f64);
    let running = served.minute.span().and_then(|span| span.running).or(now);
    let waiting = get(RequestsWaiting).unwrap_or(0) as f64;
    let kv = served.kv_used();
    match (running, get(Slots)) {
        (Some(running), Some(slots @ 1..)) => {
            let load = (running + waiting) / slots as f64;
            // Who waits for room in the cache finds none, whatever slots are left.
            let full = waiting > 0.0 && kv.is_some_and(|used| used >= FULL);
            Some(if full { load.max(1.0) } else { load })
        }
        // Who waits finds no room, whatever the cache says.
        _ => kv.map(|used| if waiting > 0.0 { used.max(1.0) } else { used }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::Id;
    use crate::engine::test::ID;
    use crate::sample::{Reading, Sample};
    use crate::signal::cgroup;
    use crate::statistic::model::{self, Answer, Kind, Model, Server, State, Statistic};
    use crate::view::coverage::Coverage;

    const S: u64 = 1_000_000_000;

    fn told(view: &mut View, time: u64, server: &str, numbers: &[(Statistic, u64)]) {
        tell(view, time, server, None, numbers);
    }

    fn tell(view: &mut View, time: u64, server: &str, cgroup: Option<Id>, numbers: &[(Statistic, u64)]) {
        let server = Arc::new(Server {
            name: server.into(),
            kind: Some(Kind::LlamaCpp),
            url: "http://127.0.0.1:1".into(),
            pid: Some(1),
            cgroup,
            workload: Some("vllm.service".into()),
            parent: None,
            flags: Arc::default(),
        });
        let models = vec![Model { name: "m".into(), values: numbers.iter().copied().collect(), latency: Vec::new() }];
        let answer = Some(Answer { state: State::Up, why: None, took: 1, memory: None, models });
        view.models.fold(time, &model::Reading { server, answer }, &mut Coverage::default());
        view.time = time;
    }

    /// For so many seconds so many of four slots.
    fn run(view: &mut View, seconds: u64, servers: &[&str], running: u64) {
        for _ in 0..seconds / 10 {
            let time = view.time + 10 * S;
            for server in servers {
                told(view, time, server, &[(RequestsRunning, running), (Slots, 4)]);
            }
            tick(view, time);
        }
    }

    #[test]
    fn a_server_that_is_not_known_to_be_the_hosts_own_counts_for_nothing() {
        let mut engine = crate::engine::test::engine();
        let user = Id { hierarchy: ID.hierarchy, id: 99 };
        let born = cgroup::Reading::Born { id: user, path: "/user.slice/user-1000.slice/session-1.scope".to_owned() };
        engine.apply(&Sample { time: 900 * S, reading: Reading::Cgroup(born) });
        let mut view = View::clone(engine.view());
        let unknown = Id { hierarchy: ID.hierarchy, id: 98 };
        for (server, cgroup) in [("a", ID), ("b", user), ("c", unknown)] {
            tell(&mut view, 1000 * S, server, Some(cgroup), &[(RequestsRunning, 4), (Slots, 4)]);
        }
        tick(&mut view, 1000 * S);
        assert_eq!(view.scaling.models["m"].instances, 1);
    }

    #[test]
    fn who_waits_for_the_kv_cache_is_not_helped_by_slots() {
        let load = |waiting: u64, used: u64| {
            let mut view = View { time: 1000 * S, ..View::default() };
            let numbers = [(RequestsRunning, 30), (RequestsWaiting, waiting), (Slots, 64), (Statistic::KvUsed, used)];
            told(&mut view, 1000 * S, "a", &numbers);
            tick(&mut view, 1000 * S);
            view.scaling.models["m"].load
        };
        assert_eq!(load(2, 950_000), 1.0);
        assert_eq!((load(2, 600_000), load(0, 950_000)), (0.5, 30.0 / 64.0));
    }

    fn desired(view: &View) -> u64 {
        view.scaling.models["m"].desired
    }

    #[test]
    fn a_busy_model_wants_one_more_and_then_nothing_for_five_minutes() {
        let mut view = View { time: 1000 * S, ..View::default() };
        run(&mut view, 290, &["a"], 4);
        assert_eq!(
            (desired(&view), view.scaling.models["m"].load),
            (1, 1.0),
            "the cool-down counts from when it was first seen"
        );
        run(&mut view, 30, &["a"], 4);
        assert_eq!(desired(&view), 2);
        // Somebody starts it, and both have little to do.
        run(&mut view, 200, &["a", "b"], 1);
        assert_eq!((view.scaling.models["m"].instances, desired(&view)), (2, 2), "not yet");
        run(&mut view, 120, &["a", "b"], 1);
        assert_eq!(desired(&view), 1);
        view.models.servers.remove("b");
        run(&mut view, 600, &["a"], 2);
        assert_eq!(desired(&view), 1, "half is neither");
        run(&mut view, 600, &["a"], 0);
        assert_eq!(desired(&view), 1, "there is a least");
    }

    #[test]
    fn what_nobody_tells_is_not_scaled_and_who_waits_finds_no_room() {
        let mut view = View { time: 1000 * S, ..View::default() };
        told(&mut view, 1000 * S, "a", &[(RequestsRunning, 3)]);
        tick(&mut view, 1000 * S);
        assert!(view.scaling.models.is_empty());
        told(&mut view, 1010 * S, "a", &[(Statistic::KvUsed, 100_000), (RequestsWaiting, 2)]);
        tick(&mut view, 1010 * S);
        assert_eq!(view.scaling.models["m"].load, 1.0);
        let limits = Limits { most: 1, ..Limits::default() };
        assert_eq!([wanted(&limits, 1, 5.0), wanted(&limits, 3, 0.5)], [1, 1], "there is a most");
    }
}
