//! A property test: reading only what moved, and evaluating only what is due, gives the alerts that evaluating every series at
//! every tick does.

use proptest::prelude::*;
use proptest::sample::subsequence;

use super::full::Full;
use super::*;
use crate::identity::Names;
use crate::sample::{Name, Probe, ProbeState, Statistics};
use crate::signal::{block, fault, oom, reclaim, transfer};
use crate::statistic::filesystem;
use crate::statistic::workload::Statistic as Number;

/// Name, metric and condition of each rule. Windows of a few ticks, so that short sequences cross all their edges.
const RULES: [(&str, &str, &str); 20] = [
    (
        "waits",
        "headroom_workload_pressure_waiting_seconds_total",
        "match = { resource = \"memory\" }\nrate = \"4s\"\nabove = 0.3\nclear = 0.1\nfor = \"1s\"",
    ),
    ("calm", "headroom_workload_pressure_stalled_seconds_total", "rate = \"5s\"\nbelow = 0.05\nclear = 0.2"),
    ("reclaims", "headroom_workload_reclaim_stall_seconds_total", "rate = \"2s\"\nabove = 0.2"),
    ("rests", "headroom_workload_reclaim_stalls_total", "rate = \"16s\"\nbelow = 1\nfor = \"2s\""),
    ("target", "headroom_workload_reclaim_target_bytes_total", "rate = \"2s\"\nabove = 1"),
    ("limit", "headroom_workload_memory_limit_unreclaimable_ratio", "above = 0.5\nclear = 0.4\nfor = \"2s\""),
    ("cache", "headroom_workload_memory_limit_cache_ratio", "above = 0.5"),
    ("set", "headroom_workload_memory_limit_working_set_ratio", "above = 0.5\nfor = \"1s\""),
    ("frozen", "headroom_workload_memory_under_oom", "above = 0\nfor = \"1s\""),
    ("small", "headroom_workload_memory_current_bytes", "below = 300\nclear = 500\nfor = \"2s\""),
    ("grows", "headroom_workload_memory_current_bytes", "slope = \"3s\"\nabove = 50"),
    (
        "faults",
        "headroom_workload_page_faults_total",
        "match = { mode = \"user\" }\nrate = \"3s\"\nabove = 5\nclear = 2",
    ),
    ("high", "headroom_workload_memory_events_total", "match = { event = \"high\" }\nrate = \"10s\"\nabove = 0.2"),
    ("kills", "headroom_oom_limit_kills_total", "rate = \"5s\"\nabove = 0"),
    ("ios", "headroom_workload_block_ios_total", "rate = \"3s\"\nabove = 1\nfor = \"1s\""),
    ("copies", "headroom_workload_gpu_transfer_bytes_total", "rate = \"3s\"\nabove = 1"),
    ("vram", "headroom_workload_gpu_memory_bytes", "above = 400"),
    ("shm", "headroom_workload_tmpfs_most_used_ratio", "above = 0.5"),
    ("host", "headroom_host_memory_used_ratio", "above = 0.5\nclear = 0.4\nfor = \"2s\""),
    ("count", "headroom_workloads", "above = 1"),
];

fn some_rules(which: impl Fn(usize) -> bool) -> Arc<Rules> {
    let rule = |(name, metric, condition): &(&str, &str, &str)| {
        format!(
            "[[rule]]\nalert = \"{name}\"\nmetric = \"{metric}\"\n{condition}\nseverity = \"info\"\nsummary = \"{{value}}\"\naction = \"Check.\"\n"
        )
    };
    let text: String = RULES.iter().enumerate().filter(|(index, _)| which(*index)).map(|(_, it)| rule(it)).collect();
    rules(&text)
}

const POD: &str = "/kubepods/burstable/pod6f0f2b3c-8c1d-4e2a-9f6b-0123456789ab";

/// The paths of the cgroups: a plain one, one nested in it, two containers, a pod and its two containers, and a container of LXC.
fn path(who: usize) -> String {
    match who {
        0 => "/a".into(),
        1 => "/a/nested".into(),
        2 | 3 => format!("/docker/{}", ["a", "b"][who - 2].repeat(64)),
        4 => POD.into(),
        5 | 6 => format!("{POD}/{}", ["c", "d"][who - 5].repeat(64)),
        _ => "/lxc.payload.web".into(),
    }
}

const CGROUPS: usize = 8;

#[derive(Clone, Debug)]
enum Action {
    Tick(u64),
    Back(u64),
    Measure(usize, Vec<(Number, u64)>),
    Faults(usize, u64),
    Reclaim(usize, u64, u64),
    Io(usize, u64),
    Copy(usize, u64),
    Kill(usize, bool),
    Born(usize),
    Died(usize),
    Renamed(usize, usize),
    Named(usize, u8),
    Host([Option<u64>; 3]),
    Volume(u64),
    Vram(usize, u64),
    Probe(usize, bool),
    Restart,
    Rules(u8),
    Restored(usize),
}

fn measure() -> impl Strategy<Value = Action> {
    use Number::*;
    let numbers = vec![
        MemoryCurrent,
        MemoryLimit,
        MemoryWorkingSet,
        MemoryWithoutCache,
        MemoryAnon,
        MemoryShmem,
        MemorySwap,
        MemorySwapLimit,
        MemorySwappiness,
        MemoryUnderOom,
        MemoryEventHigh,
        MemoryPressureSome,
        MemoryPressureFull,
        CpuUsage,
        Populated,
    ];
    let count = numbers.len();
    let value = prop_oneof![Just(0u64), 0u64..1000, Just(1000), 0u64..2_000_000_000];
    (0..CGROUPS, subsequence(numbers, 0..=count), proptest::collection::vec(value, count))
        .prop_map(|(who, numbers, values)| Action::Measure(who, numbers.into_iter().zip(values).collect()))
}

fn action() -> impl Strategy<Value = Action> {
    let who = 0..CGROUPS;
    let swap = proptest::option::of(0u64..1200);
    prop_oneof![
        12 => prop_oneof![4 => Just(1000u64), 2 => 1u64..3000, 1 => Just(6_000), 1 => Just(70_000)].prop_map(Action::Tick),
        1 => (1u64..100_000).prop_map(Action::Back),
        6 => measure(),
        3 => (who.clone(), 0u64..60).prop_map(|(who, count)| Action::Faults(who, count)),
        3 => (who.clone(), 0u64..2_000_000_000, 0u64..9).prop_map(|(who, ns, target)| Action::Reclaim(who, ns, target)),
        2 => (who.clone(), 0u64..9).prop_map(|(who, count)| Action::Io(who, count)),
        1 => (who.clone(), 0u64..9).prop_map(|(who, count)| Action::Copy(who, count)),
        1 => (who.clone(), any::<bool>()).prop_map(|(who, limited)| Action::Kill(who, limited)),
        4 => who.clone().prop_map(Action::Born),
        2 => who.clone().prop_map(Action::Died),
        1 => (who.clone(), who.clone()).prop_map(|(who, to)| Action::Renamed(who, to)),
        1 => (who.clone(), 0u8..3).prop_map(|(who, name)| Action::Named(who, name)),
        2 => (swap.clone(), proptest::option::of(0u64..3), swap).prop_map(|(free, swappiness, available)| Action::Host([free, swappiness, available])),
        1 => (1u64..2000).prop_map(Action::Volume),
        1 => (who, 0u64..1000).prop_map(|(who, bytes)| Action::Vram(who, bytes)),
        1 => (0usize..100, any::<bool>()).prop_map(|(program, attached)| Action::Probe(program, attached)),
        1 => Just(Action::Restart),
        1 => (0u8..4).prop_map(Action::Rules),
        1 => (0usize..50).prop_map(Action::Restored),
    ]
}

/// An engine, and the same rules evaluated in full.
struct Pair {
    engine: Engine,
    full: Full,
    time: u64,
    rules: u8,
    /// Who has which cgroup now; each has an id of its own.
    cgroups: [Option<Id>; CGROUPS],
    born: u64,
    fired: Vec<Alert>,
}

impl Pair {
    fn new() -> Pair {
        let rules = some_rules(|_| true);
        let (engine, full) = (Engine::with(rules.clone()), Full::new(rules));
        let mut pair =
            Pair { engine, full, time: BEGIN, rules: 0, cgroups: [None; CGROUPS], born: 0, fired: Vec::new() };
        pair.start();
        pair
    }

    fn start(&mut self) {
        let start = sample::Start { workload_max: 5, workload_grace: 3 * S, ..start() };
        self.apply(Reading::Start(start));
        for program in collector_common::SIGNALS.iter().flat_map(|signal| signal.probes).map(|probe| probe.program) {
            self.apply(Reading::Probe(Probe { program: program.into(), state: ProbeState::Attached, reason: None }));
        }
    }

    /// Returns the alerts of rules on metrics, in an order of their own.
    fn apply(&mut self, reading: Reading) -> Vec<Alert> {
        let outcomes = self.engine.apply(&Sample { time: self.time, reading });
        sorted(outcomes)
    }

    fn tick(&mut self) -> Result<(), TestCaseError> {
        let ours = self.apply(Reading::Tick);
        let mut full = self.full.tick(self.engine.view(), self.time);
        full.sort_by(order);
        prop_assert_eq!(&ours, &full);
        let rules = self.engine.view().firing.0.iter().filter(|rule| rule.pending > 0);
        let pending: Vec<_> = rules.map(|rule| (rule.name.to_string(), rule.pending)).collect();
        prop_assert_eq!(pending, self.full.pending());
        self.fired.extend(ours.into_iter().filter(|alert| alert.state == State::Firing));
        Ok(())
    }

    fn take(&mut self, action: &Action) -> Result<(), TestCaseError> {
        match action {
            Action::Tick(ms) => {
                self.time += ms * 1_000_000;
                return self.tick();
            }
            Action::Back(ms) => {
                self.time -= ms * 1_000_000;
                return self.tick();
            }
            Action::Probe(which, attached) => {
                let mut programs = collector_common::SIGNALS.iter().flat_map(|signal| signal.probes).cycle();
                let program = programs.nth(*which).map(|probe| probe.program.into()).unwrap_or_default();
                let state = if *attached { ProbeState::Attached } else { ProbeState::Failed };
                self.apply(Reading::Probe(Probe { program, state, reason: None }));
            }
            Action::Restart => {
                self.start();
                self.cgroups = [None; CGROUPS];
                self.full = Full::new(some_rules(which(self.rules)));
            }
            Action::Rules(rules) => {
                self.rules = *rules;
                let rules = some_rules(which(*rules));
                let time = self.engine.view().time;
                let ours = sorted(self.engine.replace_rules(rules.clone()));
                let mut full = self.full.replace(rules, time);
                full.sort_by(order);
                prop_assert_eq!(ours, full);
            }
            Action::Restored(index) if !self.fired.is_empty() => {
                let alert = self.fired[index % self.fired.len()].clone();
                let known = self.engine.view().firing.has(&alert);
                let over = self.apply(Reading::Restored(alert.clone()));
                let taken = known || self.full.restore(&alert);
                prop_assert_eq!(over.is_empty(), taken);
            }
            Action::Restored(_) => {}
            other => {
                for reading in self.readings(other) {
                    self.apply(reading);
                }
            }
        }
        Ok(())
    }

    fn readings(&mut self, action: &Action) -> Vec<Reading> {
        let id = |pair: &Pair, who: &usize| pair.cgroups[*who];
        let reading = match action {
            Action::Measure(who, values) => id(self, who).map(|cgroup| {
                let values = values.iter().copied().collect();
                Reading::Statistics(Statistics { cgroup, values, turn: true })
            }),
            Action::Born(who) => {
                self.born += 1;
                let id = Id { id: 100 + self.born, hierarchy: start().memory_hierarchy };
                self.cgroups[*who] = Some(id);
                Some(Reading::Cgroup(cgroup::Reading::Born { id, path: path(*who) }))
            }
            Action::Died(who) => self.cgroups[*who].take().map(|id| Reading::Cgroup(cgroup::Reading::Died { id })),
            Action::Renamed(who, to) => {
                id(self, who).map(|id| Reading::Cgroup(cgroup::Reading::Renamed { id, path: path(*to) }))
            }
            Action::Named(who, name) => id(self, who).map(|cgroup| {
                let name = (*name > 0).then(|| format!("name-{name}").into());
                let names = Names { name: name.clone(), namespace: name.clone(), pod: name, ..Names::default() };
                Reading::Name(Name { cgroup, names })
            }),
            Action::Host([free, swappiness, available]) => {
                let numbers = [
                    (Statistic::SwapFree, *free),
                    (Statistic::Swappiness, *swappiness),
                    (Statistic::MemoryTotal, Some(1000)),
                    (Statistic::MemoryAvailable, *available),
                ];
                let known = numbers.into_iter().filter_map(|(statistic, number)| Some((statistic, number?)));
                Some(Reading::Host(Values::from_iter(known)))
            }
            Action::Volume(size) => {
                let (cgroup, name) = (self.cgroups[CGROUPS - 1], "lxc/web".into());
                let volume = "/dev/shm".into();
                let owner = Some(filesystem::Owner { name, container_id: None, pod_uid: None, cgroup, volume });
                let values = filesystem::Values::from_iter([(filesystem::Statistic::Size, *size)]);
                let (mountpoint, device, fstype) = ("/dev/shm of web".into(), "shm".into(), "tmpfs".into());
                let state = filesystem::State::Read(values);
                Some(Reading::Filesystem(filesystem::Reading { mountpoint, device, fstype, owner, state }))
            }
            Action::Vram(who, bytes) => {
                let uuid: Arc<str> = "GPU-a".into();
                let (model, driver) = ("H100".into(), "580".into());
                let device = gpu::Device { uuid: uuid.clone(), gpu: "0".into(), model, driver, parent: None };
                let holder = gpu::Holder { pid: 7, cgroup: id(self, who), bytes: Some(*bytes) };
                let device = gpu::Reading::Device { device: Arc::new(device), values: gpu::Values::new() };
                let held = gpu::Reading::Held { uuid, holders: vec![holder] };
                return vec![Reading::Gpu(device), Reading::Gpu(held)];
            }
            counted => self.counts(counted),
        };
        reading.into_iter().collect()
    }

    /// What programs count.
    fn counts(&self, action: &Action) -> Option<Reading> {
        let id = |who: &usize| self.cgroups[*who];
        match action {
            Action::Faults(who, count) => {
                Some(Reading::Fault(fault::Reading::Counts { cgroup: id(who), counts: [*count; 8] }))
            }
            Action::Reclaim(who, ns, target) => Some(Reading::Reclaim(reclaim::Reading::Counts {
                cgroup: id(who),
                kind: reclaim::Kind::ALL[*who % reclaim::Kind::ALL.len()],
                stalls: ns % 5,
                ns: *ns,
                bytes: *ns,
                target_bytes: *target,
            })),
            Action::Io(who, ios) => {
                let (cgroup, operation) = (id(who), block::Operation::ALL[*who % 3]);
                Some(Reading::Block(block::Reading::Workload { cgroup, operation, ios: *ios, bytes: *ios, ns: *ios }))
            }
            Action::Copy(who, count) => {
                let (cgroup, calls, bytes) = (id(who), [*count; 3], [*count, 0, 1]);
                Some(Reading::Transfer(transfer::Reading::Counts { cgroup, calls, bytes, refused: [0; 2] }))
            }
            Action::Kill(who, limited) => {
                let (cgroup, pid) = (id(who), self.born as u32 + 1);
                let limited = cgroup.filter(|_| *limited);
                let kill = oom::Kill { cgroup, limited, pid, tid: pid, comm: "python".into(), ..oom::Kill::default() };
                Some(Reading::Oom(oom::Reading::Kill(kill)))
            }
            _ => None,
        }
    }
}

fn which(rules: u8) -> impl Fn(usize) -> bool {
    move |index| rules == 0 || index % 4 != usize::from(rules)
}

fn order(one: &Alert, two: &Alert) -> std::cmp::Ordering {
    (&one.alert, &one.labels, one.fired).cmp(&(&two.alert, &two.labels, two.fired))
}

fn sorted(outcomes: Vec<Outcome>) -> Vec<Alert> {
    let alerts = outcomes.into_iter().filter_map(|outcome| match outcome {
        Outcome::Alert(alert) => Some(*alert),
        _ => None,
    });
    let mut alerts: Vec<Alert> = alerts.collect();
    alerts.sort_by(order);
    alerts
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn what_moves_and_what_is_due_gives_the_same_alerts_as_everything(
        actions in proptest::collection::vec(action(), 1..150)
    ) {
        let mut pair = Pair::new();
        for who in 0..CGROUPS / 2 {
            pair.take(&Action::Born(who))?;
        }
        for action in &actions {
            pair.take(action)?;
        }
    }
}

/// The rules that fire after these actions.
fn fire(actions: &[&[Action]]) -> Vec<String> {
    let mut pair = Pair::new();
    actions.concat().iter().for_each(|action| pair.take(action).unwrap());
    let firing = pair.engine.view().firing.0.iter().filter(|rule| !rule.alerts.is_empty());
    firing.map(|rule| rule.name.to_string()).collect()
}

#[test]
fn a_series_that_moves_without_a_reading_of_its_workload_is_evaluated() {
    use Number::*;
    let tick = |ms| Action::Tick(ms);
    let heap = [(MemoryCurrent, 900), (MemoryLimit, 1000), (MemoryWithoutCache, 900), (MemoryAnon, 900)];
    let swap = |free| Action::Host([Some(free), Some(1), Some(900)]);
    let actions = [Action::Born(2), Action::Measure(2, heap.to_vec()), swap(800), tick(1000), tick(3000), swap(0)];
    assert_eq!(fire(&[&actions]), Vec::<String>::new());
    assert_eq!(fire(&[&actions, &[tick(1000), tick(2000)]]), ["limit"], "the host has no swap left");

    let pod = [(MemoryCurrent, 600), (MemoryLimit, 1000), (MemoryWorkingSet, 600)];
    let container = [(MemoryCurrent, 600), (MemoryLimit, 1000)];
    let actions = [Action::Born(4), Action::Measure(4, pod.to_vec()), tick(1000), tick(1000)];
    assert_eq!(fire(&[&actions]), ["set"]);
    let limited = [Action::Born(5), Action::Measure(5, container.to_vec()), tick(1000), tick(70_000)];
    assert_eq!(fire(&[&actions, &limited]), ["count"], "its container reaches its limit first");

    let actions =
        [Action::Born(0), Action::Measure(0, vec![(MemoryCurrent, 9), (Populated, 1)]), tick(1000), tick(2000)];
    assert_eq!(fire(&[&actions]), ["small"]);
    let empty = Action::Measure(0, vec![(MemoryCurrent, 0), (Populated, 0)]);
    let rests = [empty, tick(1000), tick(1000), tick(1000), tick(1000), tick(70_000)];
    assert_eq!(fire(&[&actions, &rests]), Vec::<String>::new(), "it holds nothing, and has no series");
}
