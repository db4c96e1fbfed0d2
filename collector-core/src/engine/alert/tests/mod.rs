//! Alerts through the engine: samples in, alerts out.

mod full;
mod incident;
mod moved;

use super::*;
use crate::cgroup::Id;
use crate::engine::Engine;
use crate::engine::test::start;
use crate::metric::METRICS;
use crate::metric::visit::{Part, visit};
use crate::sample;
use crate::sample::{Sample, Source};
use crate::signal::cgroup;
use crate::stage::Stage;
use crate::statistic::gpu;
use crate::statistic::host::{Statistic, Values};
use crate::statistic::workload;

const S: u64 = 1_000_000_000;
const BEGIN: u64 = 1_700_000_000 * S;

/// Only these rules are enabled.
fn rules(text: &str) -> Arc<Rules> {
    let mut rules = Rules::new(&crate::rule::raw::read(text).unwrap()).unwrap();
    rules.0.retain(|rule| rule.origin != crate::rule::Origin::Pack);
    Arc::new(rules)
}

/// Number of alerts that fire.
fn firing(engine: &Engine) -> usize {
    engine.view().firing.count()
}

/// A host whose clock advances by a second with each tick.
struct Host {
    engine: Engine,
    time: u64,
}

impl Host {
    fn new(text: &str) -> Host {
        let mut host = Host { engine: Engine::with(rules(text)), time: BEGIN };
        let start = sample::Start { workload_max: 20_000, ..start() };
        assert_eq!(host.apply(Reading::Start(start)), []);
        host
    }

    fn apply(&mut self, reading: Reading) -> Vec<Alert> {
        let outcomes = self.engine.apply(&Sample { time: self.time, reading });
        let alerts = outcomes.into_iter().filter_map(|outcome| match outcome {
            Outcome::Alert(alert) => Some(*alert),
            _ => None,
        });
        alerts.collect()
    }

    fn tick(&mut self) -> Vec<Alert> {
        self.time += S;
        self.apply(Reading::Tick)
    }

    /// Ticks with this much of the memory used, in percent.
    fn memory(&mut self, percent: u64) -> Vec<Alert> {
        let values = [(Statistic::MemoryTotal, 100), (Statistic::MemoryAvailable, 100 - percent)];
        self.apply(Reading::Host(Values::from_iter(values)));
        self.tick()
    }

    fn lost(&self, stage: Stage) -> u64 {
        self.engine.view().coverage.lost(stage)
    }

    /// The series about alerts, as in the exposition.
    fn shown(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for metric in METRICS.iter().filter(|metric| metric.name.starts_with("headroom_alerts")) {
            visit(self.engine.view(), metric, Part::Whole, &mut |values, number, _| {
                let labels = metric.labels.iter().zip(values).filter(|(_, value)| !value.is_empty());
                let labels: Vec<_> = labels.map(|(name, value)| format!("{name}=\"{value}\"")).collect();
                lines.push(format!("{}{{{}}} {number}", metric.name, labels.join(",")));
            });
        }
        lines
    }
}

const MEMORY: &str = "[[rule]]\nalert = \"Memory\"\nmetric = \"headroom_host_memory_used_ratio\"\nabove = 0.9\nclear = 0.8\n\
    for = \"2s\"\nseverity = \"warning\"\nsummary = \"{value:percent} used\"\naction = \"Check.\"\n";

#[test]
fn an_alert_is_pending_then_fires_and_resolves_below_clear() {
    let mut host = Host::new(MEMORY);
    assert_eq!([host.memory(95), host.memory(95)], [[], []]);
    let fired = host.memory(96);
    let expected = Alert {
        alert: "Memory".into(),
        severity: crate::alert::Severity::Warning,
        labels: BTreeMap::new(),
        state: State::Firing,
        started: BEGIN + S,
        fired: BEGIN + 3 * S,
        resolved: None,
        value: Some(0.96),
        summary: "96% used".into(),
        action: "Check.".into(),
        incident: None,
        cause: None,
        updated: None,
    };
    assert_eq!(fired, std::slice::from_ref(&expected));
    assert_eq!(
        host.shown(),
        [
            "headroom_alerts{alert=\"Memory\",severity=\"warning\"} 1",
            "headroom_alerts_fired_total{alert=\"Memory\",severity=\"warning\"} 1"
        ]
    );
    assert_eq!([host.memory(85), host.memory(95)], [[], []], "above clear it continues, without firing again");
    let over = host.memory(79);
    let [alert] = &over[..] else { panic!("{over:?}") };
    assert_eq!((alert.state, alert.resolved, alert.value), (State::Resolved, Some(BEGIN + 6 * S), Some(0.79)));
    assert_eq!((alert.started, alert.fired), (expected.started, expected.fired));
    assert_eq!(host.shown(), ["headroom_alerts_fired_total{alert=\"Memory\",severity=\"warning\"} 1"]);
}

#[test]
fn a_clock_jump_does_not_age_alerts() {
    let mut host = Host::new(&MEMORY.replace("\"2s\"", "\"10m\""));
    assert_eq!(host.memory(95), []);
    host.time += 86_400 * S;
    assert_eq!(host.memory(95), [], "a jump of a day does not count as ten minutes");
    host.time -= 2 * 86_400 * S;
    assert_eq!(host.memory(95), []);
    let fired = (0..600).flat_map(|_| host.memory(95)).count();
    assert_eq!(fired, 1);
}

#[test]
fn an_absent_series_resolves_after_a_while_and_does_not_fire_again_before() {
    let mut host = Host::new(&MEMORY.replace("\"2s\"", "\"0s\""));
    assert_eq!(host.memory(95).len(), 1);
    host.apply(Reading::Host(Values::new()));
    assert!((0..50).all(|_| host.tick().is_empty()));
    assert_eq!(host.memory(95), [], "the source is back");
    host.apply(Reading::Host(Values::new()));
    let over: Vec<Alert> = (0..61).flat_map(|_| host.tick()).collect();
    let [alert] = &over[..] else { panic!("{over:?}") };
    assert_eq!((alert.state, alert.summary.as_str()), (State::Resolved, "Resolved: 95% used"));
}

#[test]
fn a_restored_alert_does_not_fire_again_and_resolves() {
    let mut before = Host::new(&MEMORY.replace("\"2s\"", "\"0s\""));
    let fired = before.memory(95).remove(0);

    let mut host = Host::new(MEMORY);
    assert_eq!(host.apply(Reading::Restored(fired.clone())), []);
    assert!((0..10).all(|_| host.memory(95).is_empty()));
    assert_eq!(host.shown()[0], "headroom_alerts{alert=\"Memory\",severity=\"warning\"} 1");
    let over = host.memory(50).remove(0);
    assert_eq!((over.state, over.started, over.fired), (State::Resolved, fired.started, fired.fired));

    let mut host = Host::new(MEMORY);
    host.apply(Reading::Restored(fired.clone()));
    assert_eq!(host.memory(50)[0].state, State::Resolved, "it ended while the agent was away");

    let mut host = Host::new(MEMORY);
    host.apply(Reading::Restored(fired.clone()));
    let over: Vec<Alert> = (0..61).flat_map(|_| host.tick()).collect();
    assert_eq!(over.len(), 1, "its series never came");

    for (what, text) in [
        ("the rule is gone", MEMORY.replace("\"Memory\"", "\"Other\"")),
        ("the rule is off", MEMORY.replace("above", "enabled = false\nabove")),
        (
            "the rule has another metric",
            MEMORY.replace("host_memory_used_ratio", "source_up").replace("above", "match = { source = \"x\" }\nabove"),
        ),
    ] {
        let over = Host::new(&text).apply(Reading::Restored(fired.clone()));
        assert!(
            over.len() == 1 && over[0].state == State::Resolved && over[0].resolved == Some(BEGIN),
            "{what}: {over:?}"
        );
    }
    let mut host = Host::new(&MEMORY.replace("\"2s\"", "\"0s\""));
    let again = host.memory(95).remove(0);
    assert_eq!(host.apply(Reading::Restored(Alert { fired: 1, ..fired.clone() })), []);
    let over = host.memory(50).remove(0);
    assert_eq!(over.fired, again.fired, "a late journal does not replace an alert that fired again");

    let resolved = Alert { state: State::Resolved, ..fired };
    assert_eq!(Host::new(MEMORY).apply(Reading::Restored(resolved)), []);
}

#[test]
fn other_rules_keep_what_fires_and_resolve_what_they_do_not_have() {
    let mut host = Host::new(MEMORY);
    let fired = (0..3).flat_map(|_| host.memory(95)).next().unwrap();
    let replace = |host: &mut Host, text: &str| host.engine.replace_rules(rules(text));
    // The same rule with other words, and one that is new.
    let other = format!("{}{}", MEMORY.replace("used\"", "in use\""), MEMORY.replace("\"Memory\"", "\"Second\""));
    assert_eq!(replace(&mut host, &other), []);
    assert_eq!(firing(&host.engine), 1);
    assert!(host.shown().contains(&"headroom_alerts_fired_total{alert=\"Memory\",severity=\"warning\"} 1".to_owned()));
    let second: Vec<Alert> = (0..3).flat_map(|_| host.memory(95)).collect();
    assert!(second.len() == 1 && &*second[0].alert == "Second", "the first does not fire again: {second:?}");
    let over = host.memory(50);
    let (memory, summary) = (over.iter().find(|alert| &*alert.alert == "Memory").unwrap(), "Resolved: 50% in use");
    assert_eq!((memory.fired, memory.summary.as_str(), over.len()), (fired.fired, summary, 2));

    let mut host = Host::new(MEMORY);
    assert_eq!((0..3).flat_map(|_| host.memory(95)).count(), 1);
    let over = replace(&mut host, &MEMORY.replace("\"Memory\"", "\"Other\""));
    let [Outcome::Alert(alert)] = &over[..] else { panic!("{over:?}") };
    assert_eq!((alert.state, &*alert.alert, firing(&host.engine)), (State::Resolved, "Memory", 0));
}

#[test]
fn a_restored_rate_does_not_resolve_before_its_window_is_full() {
    let text = "[[rule]]\nalert = \"Lost\"\nmetric = \"headroom_lost_total\"\nmatch = { stage = \"disk\" }\nrate = \"10s\"\nabove = 0\n\
        severity = \"info\"\nsummary = \"{labels.stage}\"\naction = \"a\"\n";
    let lose = |host: &mut Host| host.apply(Reading::Lost(sample::Lost { stage: Stage::Disk, count: 1 }));
    let mut host = Host::new(text);
    assert_eq!(host.tick(), []);
    lose(&mut host);
    let fired = host.tick();
    assert_eq!((fired.len(), fired[0].summary.as_str(), fired[0].value), (1, "disk", Some(0.1)));

    let mut host = Host::new(text);
    host.apply(Reading::Restored(fired[0].clone()));
    let counts: Vec<usize> = (0..12).map(|_| host.tick().len()).collect();
    assert_eq!(counts, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0]);

    // A loss before the first tick counts as growth since the agent started.
    let mut host = Host::new(text);
    lose(&mut host);
    assert_eq!(host.tick().len(), 1);
}

#[test]
fn the_first_error_of_a_kind_counts() {
    let text = "[[rule]]\nalert = \"Xid\"\nmetric = \"headroom_gpu_xid_errors_total\"\nmatch = { xid = \"7.\" }\nrate = \"5m\"\nabove = 0\n\
        severity = \"critical\"\nsummary = \"{labels.xid:xid}\"\naction = \"{labels.xid:xid_action}\"\n";
    let mut host = Host::new(text);
    let text = |text: &str| Arc::from(text);
    let device =
        gpu::Device { uuid: text("GPU-a"), gpu: text("0"), model: text("H200"), driver: text("1"), parent: None };
    host.apply(Reading::Gpu(gpu::Reading::Device { device: Arc::new(device), values: gpu::Values::new() }));
    let xid = |host: &mut Host, code| host.apply(Reading::Gpu(gpu::Reading::Xid { uuid: "GPU-a".into(), code }));
    assert_eq!(host.tick(), []);
    xid(&mut host, 13);
    assert_eq!(host.tick(), [], "another one");
    xid(&mut host, 79);
    let fired = host.tick();
    assert_eq!(fired[0].summary, "79 (the GPU has fallen off the bus)");
    assert_eq!(fired[0].labels["xid"], "79");
    let over: Vec<Alert> = (0..301).flat_map(|_| host.tick()).collect();
    assert_eq!(over.len(), 1);
}

const OOM: &str = "[[rule]]\nalert = \"Oom\"\nevent = \"oom\"\nmatch = { workload = \"a.*\" }\nhold = \"10s\"\n\
    severity = \"critical\"\nsummary = \"{title}: {labels.workload}\"\naction = \"a\"\n";

const SOURCES: &str = "[[rule]]\nalert = \"Workload\"\nmetric = \"headroom_workload_memory_current_bytes\"\nabove = 5\n\
    severity = \"info\"\nsummary = \"{labels.workload}\"\naction = \"a\"\n";

#[test]
fn alerts_are_bounded_and_the_rest_is_counted() {
    let mut host = Host::new(&SOURCES.replace("above", "match = { workload = \"/w.*\" }\nabove"));
    const MANY: u64 = 3000;
    let memory = |host: &mut Host, id: u64, bytes: u64| {
        let values = workload::Values::from_iter([(workload::Statistic::MemoryCurrent, bytes)]);
        let cgroup = Id { hierarchy: 5, id };
        host.apply(Reading::Statistics(sample::Statistics { cgroup, values, turn: true }));
    };
    for id in 1..=MANY {
        let born = cgroup::Reading::Born { id: Id { hierarchy: 5, id }, path: format!("/w{id}") };
        host.apply(Reading::Cgroup(born));
        memory(&mut host, id, 10);
    }
    let fired = host.tick();
    assert_eq!((fired.len(), host.lost(Stage::Alert)), (FIRING, MANY - FIRING as u64));
    assert_eq!((host.tick(), host.lost(Stage::Alert)), (Vec::new(), MANY - FIRING as u64), "each is counted once");
    assert_eq!(firing(&host.engine), FIRING);
    // The waiting ones fire as soon as there is room.
    let first: u64 = fired[0].labels["workload"][2..].parse().unwrap();
    memory(&mut host, first, 1);
    let first = host.tick();
    assert_eq!(first.iter().filter(|alert| alert.state == State::Resolved).count(), 1);
    let again = [first, host.tick()].concat();
    assert_eq!(again.iter().filter(|alert| alert.state == State::Firing).count(), 1);
}

#[test]
fn series_keep_their_state_while_others_come_and_go() {
    let text = "[[rule]]\nalert = \"Source\"\nmetric = \"headroom_source_up\"\nbelow = 1\nfor = \"2s\"\n\
        severity = \"info\"\nsummary = \"{labels.source}\"\naction = \"a\"\n";
    let mut host = Host::new(text);
    let source = |host: &mut Host, name: &'static str, up| {
        let reading = Source { source: name.into(), up, ns: 1, error: None };
        host.apply(Reading::Source(reading));
    };
    for name in ["m", "z"] {
        source(&mut host, name, false);
    }
    assert_eq!(host.tick(), []);
    // One that comes before them, one between, and one of them recovers.
    for (name, up) in [("a", false), ("p", false), ("m", true)] {
        source(&mut host, name, up);
    }
    assert_eq!(host.tick(), []);
    let names = |alerts: Vec<Alert>| alerts.into_iter().map(|alert| alert.summary).collect::<Vec<_>>();
    assert_eq!(names(host.tick()), ["z"]);
    assert_eq!(names(host.tick()), ["a", "p"]);
    source(&mut host, "m", false);
    assert_eq!((host.tick().len(), host.tick().len(), names(host.tick())), (0, 0, vec!["m".to_owned()]));
}

#[test]
fn a_second_start_keeps_the_rules_and_no_alerts() {
    let mut host = Host::new(&MEMORY.replace("\"2s\"", "\"0s\""));
    assert_eq!(host.memory(95).len(), 1);
    host.apply(Reading::Start(start()));
    assert_eq!(host.shown(), ["headroom_alerts_fired_total{alert=\"Memory\",severity=\"warning\"} 0"]);
    assert_eq!(host.memory(95).len(), 1);
}

#[test]
fn without_rules_there_are_no_alerts() {
    let mut engine = Engine::new();
    engine.apply(&Sample { time: 1, reading: Reading::Start(start()) });
    assert_eq!(engine.apply(&Sample { time: 2, reading: Reading::Tick }), []);
    assert_eq!(engine.view().firing.0.len(), 0);
}
