//! Neighbours that others wait for.

use super::*;
use crate::advise::disk::tests::{floods, weighing};
use crate::advise::stage::{BEGAN, DAY, Host, days};
use crate::incident::{Cause, Consumer, Incident, Kind, Neighbour, Slow, Victim};
use crate::past::{Day, Span};

const GIB: u64 = 1 << 30;

fn rule(name: &str) -> &'static Rule {
    RULES.iter().find(|rule| rule.name == name).unwrap()
}

#[test]
fn a_neighbour_that_floods_the_disk_is_limited_by_what_acts_there() {
    for (weighs, wanted) in [
        (Some(1), "IOWeight=20"),
        (Some(0), "IOReadBandwidthMax=/dev/block/254:0 "),
        (None, "IOReadBandwidthMax=/dev/block/254:0 "),
    ] {
        let mut host = weighing(weighs);
        host.remember(&floods(3));
        let judged = host.judge(rule(IO));
        let [advice] = &judged.advice[..] else { panic!("{judged:?}") };
        let words = shlex::split(&advice.actions[0].commands[0].text).unwrap();
        assert_eq!(words[..3], ["systemctl", "set-property", "backup.service"]);
        assert!(words[3].starts_with(wanted), "{words:?}");
        assert_eq!(advice.title, "Keep backup.service from taking the disk that vllm.service needs.");
        assert!(advice.why.contains("up to 477 MiB/s on vda"), "{}", advice.why);
        assert_eq!(advice.confidence, Confidence::High);
    }
}

#[test]
fn once_is_an_accident() {
    let mut host = weighing(Some(1));
    host.remember(&floods(1));
    let judged = host.judge(rule(IO));
    assert!(judged.advice.is_empty());
    assert!(judged.lacking[0].missing.starts_with("a second incident"), "{judged:?}");
    host.remember(&floods(2));
    assert_eq!(host.judge(rule(IO)).advice[0].confidence, Confidence::Medium);
    assert!(host.judge(rule(CPU)).advice.is_empty() && host.judge(rule(MEMORY)).advice.is_empty());
}

#[test]
fn a_neighbour_that_takes_the_cpus_weighs_less() {
    let mut host = Host::new(&["/system.slice/build.service", "/system.slice/vllm.service"]);
    let incident = |number: u64| {
        let mut incident = Incident::new(Kind::Latency, format!("{number:04}"), BEGAN - number * DAY);
        let sentence =
            "vllm.service waits for CPUs that others use: …; build.service uses 12.00 CPUs (before: 0.10)".to_owned();
        incident.cause = Cause { rule: "cpu_contended".to_owned(), sentence, ..Cause::default() };
        let cpus = Neighbour { workload: "build.service".to_owned(), cpus: Some(12.0), ..Neighbour::default() };
        let workload = Some("vllm.service".to_owned());
        incident.evidence.slow = Some(Slow { workload, neighbours: vec![cpus], ..Slow::default() });
        incident
    };
    host.remember(&[incident(0), incident(1)]);
    let judged = host.judge(rule(CPU));
    let texts: Vec<_> = judged.advice[0].actions.iter().map(|action| &*action.commands[0].text).collect();
    assert_eq!(
        texts,
        [
            "systemctl set-property build.service CPUWeight=20",
            "systemctl set-property build.service CPUQuota=600%",
            "systemctl set-property vllm.service CPUWeight=500",
        ]
    );
    assert_eq!(judged.advice[0].risk, crate::action::Risk::Low, "that of the first");
}

/// The host ran out of memory because of a workload that held so much.
fn filled(held: u64) -> Incident {
    let mut incident = Incident::new(Kind::Oom, "0001".to_owned(), BEGAN - DAY);
    incident.labels = [("workload".to_owned(), "vllm.service".to_owned())].into();
    let sentence = "The host ran out of memory: build.service held 50.0 GiB of its 64.0 GiB".to_owned();
    incident.cause = Cause { rule: "host_exhausted_by_another".to_owned(), sentence, ..Cause::default() };
    let consumer = Consumer { workload: "build.service".to_owned(), memory_bytes: Some(held), ..Consumer::default() };
    incident.evidence.consumers = vec![consumer];
    incident.evidence.kills = vec![Victim::default()];
    incident.evidence.killed = 1;
    incident
}

#[test]
fn one_that_filled_the_host_gets_a_limit_above_its_usual_peaks() {
    let mut host = Host::new(&["/system.slice/build.service", "/system.slice/vllm.service"]);
    let usual = |_| Day { memory: Some([GIB as f64, 4.0 * GIB as f64, 10.0 * GIB as f64]), ..Day::default() };
    host.past.workloads.insert("build.service".into(), Span { days: days(5, usual), ..Span::default() });
    host.remember(&[filled(50 * GIB)]);
    let judged = host.judge(rule(MEMORY));
    let [advice] = &judged.advice[..] else { panic!("{judged:?}") };
    assert_eq!(advice.actions[0].commands[0].text, "systemctl set-property build.service MemoryMax=11776M");
    assert_eq!(advice.saves.as_ref().unwrap().kills, Some(1.0));
    assert_eq!(advice.confidence, Confidence::Medium, "it was once");
    // It holds more than that now: at a limit there it would be killed at once.
    let limits = |judged: &Judged| {
        let actions = judged.advice.iter().flat_map(|advice| &advice.actions);
        actions.filter(|action| action.kind == crate::action::Kind::MemoryMax).count()
    };
    host.files(1, 1, &[(Statistic::MemoryCurrent, 20 * GIB), (Statistic::Populated, 1)]);
    assert_eq!(limits(&host.judge(rule(MEMORY))), 0);
    // Nor is a lower one that it has raised.
    let set = (Statistic::MemoryLimit, 8 * GIB);
    host.files(2, 1, &[(Statistic::MemoryCurrent, GIB), (Statistic::Populated, 1), set]);
    assert_eq!(limits(&host.judge(rule(MEMORY))), 0);
    host.files(3, 1, &[(Statistic::MemoryCurrent, GIB), (Statistic::Populated, 1)]);
    assert_eq!(limits(&host.judge(rule(MEMORY))), 1);
    // It is as large each day: a limit there would end it each day.
    host.past.workloads.insert(
        "build.service".into(),
        Span { days: days(5, |_| Day { memory: Some([50.0 * GIB as f64; 3]), ..Day::default() }), ..Span::default() },
    );
    let judged = host.judge(rule(MEMORY));
    assert_eq!(limits(&judged), 0, "{judged:?}");
}
