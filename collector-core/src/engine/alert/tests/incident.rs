//! Alerts on incidents.

use super::*;
use crate::identity::Names;
use crate::incident::{self, Incident};

fn incident(id: &str, workload: &str) -> Outcome {
    let labels = [("workload", workload), ("novel", "x")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    let incident = Incident::new(incident::Kind::Oom, id.to_owned(), BEGIN);
    Outcome::Incident(Box::new(Incident { labels: labels.into(), title: "Killed".into(), ..incident }))
}

/// The first cgroups of this number, whose paths have the number in them.
fn born(host: &mut Host, first: u64, count: u64, path: &str) {
    for number in 0..count {
        let (id, path) = (Id { hierarchy: 5, id: first + number }, path.replace("NUMBER", &format!("{number:02}")));
        host.apply(Reading::Cgroup(cgroup::Reading::Born { id, path }));
    }
}

/// The alerts after an incident.
fn alerts(host: &mut Host, outcome: Outcome) -> Vec<Alert> {
    let mut outcomes = vec![outcome];
    let Engine { view, alerts, .. } = &mut host.engine;
    super::apply(alerts, Arc::make_mut(view), host.time, &Reading::Host(Values::new()), &mut outcomes);
    let alerts = outcomes.into_iter().filter_map(|outcome| match outcome {
        Outcome::Alert(alert) => Some(*alert),
        _ => None,
    });
    alerts.collect()
}

#[test]
fn each_incident_fires_once_and_resolves_some_time_after_the_last() {
    let mut host = Host::new(OOM);
    host.tick();
    let fired = alerts(&mut host, incident("1", "a"));
    assert_eq!(fired.len(), 1);
    assert_eq!(fired[0].labels, BTreeMap::from([("workload".to_owned(), "a".to_owned())]), "as the metrics have them");
    assert_eq!((fired[0].incident.as_deref(), fired[0].value), (Some("1"), None));
    assert!(fired[0].summary == "Killed: a");
    assert_eq!(alerts(&mut host, incident("1", "a")), [], "it is complete now, and the same");
    let mut other = incident("1", "a");
    let Outcome::Incident(corrected) = &mut other else { unreachable!() };
    corrected.cause.rule = "sudden_spike".into();
    (corrected.cause.sentence, corrected.title) = ("It grew.".into(), "Killed at its own limit".into());
    let again = alerts(&mut host, other.clone());
    let [update] = again.as_slice() else { panic!("{again:?}") };
    let wanted = Alert {
        summary: "Killed at its own limit: a".into(),
        cause: Some("It grew.".into()),
        updated: Some(host.time),
        ..fired[0].clone()
    };
    assert_eq!(*update, wanted, "the same alert, with another cause");
    assert_eq!(
        host.shown()[1],
        "headroom_alerts_fired_total{alert=\"Oom\",severity=\"critical\"} 1",
        "it is no other alert"
    );
    assert_eq!(alerts(&mut host, other), [], "corrected once");
    assert_eq!(alerts(&mut host, incident("2", "b")), [], "the rule is not about it");
    assert!((0..9).all(|_| host.tick().is_empty()));
    assert_eq!(alerts(&mut host, incident("3", "a"))[0].incident.as_deref(), Some("3"));
    assert_eq!(host.shown().len(), 2);
    assert!((0..9).all(|_| host.tick().is_empty()));
    let over = host.tick();
    assert_eq!((over.len(), over[0].state, over[0].incident.as_deref()), (1, State::Resolved, Some("3")));

    let mut host = Host::new(OOM);
    assert_eq!(host.apply(Reading::Restored(fired[0].clone())), []);
    assert!((0..10).all(|_| host.tick().is_empty()));
    assert_eq!(host.tick().len(), 1);
}

#[test]
fn an_alert_beyond_the_rate_keeps_all_labels_of_its_workload() {
    let mut host = Host::new(&OOM.replace("a.*", ".*"));
    host.tick();
    let of = |id: usize, namespace: &str| {
        let mut outcome = incident(&id.to_string(), "prod/ledger");
        let Outcome::Incident(it) = &mut outcome else { unreachable!() };
        it.labels.insert("namespace".into(), namespace.into());
        outcome
    };
    assert!((0..10).all(|id| alerts(&mut host, of(id, "a")).len() == 1));
    assert_eq!(alerts(&mut host, of(10, "a")), [], "it fires already");
    let [other] = &alerts(&mut host, of(11, "b"))[..] else { panic!("one alert") };
    assert_eq!((&*other.labels["namespace"], &*other.labels["workload"]), ("b", "prod/ledger"));
}

#[test]
fn many_incidents_of_one_user_are_grouped_and_silence_nobody() {
    let mut host = Host::new(&OOM.replace("a.*", ".*"));
    born(&mut host, 1, 2000, "/user.slice/user-1000.slice/user@1000.service/app.slice/appNUMBER.service");
    host.tick();
    let told = |host: &mut Host, from: usize, workload: &dyn Fn(usize) -> String| -> Vec<String> {
        let sent =
            (from..from + 2000).flat_map(|number| alerts(host, incident(&number.to_string(), &workload(number))));
        sent.map(|alert| alert.labels["workload"].clone()).collect()
    };
    let app = |number: usize| format!("user-1000/app{:02}.service", number % 2000);
    let sent = told(&mut host, 0, &app);
    assert_eq!(sent.len(), 11, "{sent:?}");
    assert_eq!((&*sent[9], &*sent[10]), ("user-1000/app09.service", "user-1000"));
    assert_eq!(firing(&host.engine), 11);
    // The incident for which the group began turns out to have another cause: the group is about many.
    let mut corrected = incident("10", "user-1000/app10.service");
    let Outcome::Incident(it) = &mut corrected else { unreachable!() };
    it.cause.rule = "sudden_spike".into();
    assert_eq!(alerts(&mut host, corrected), []);
    assert_eq!(alerts(&mut host, incident("x", "prod/ledger")).len(), 1);
    // One workload that is killed again and again keeps its alert, and is sent no more often.
    assert_eq!(told(&mut host, 10_000, &|_| "docker/web".into()).len(), 10);
    assert!((0..9).all(|_| host.tick().is_empty()));
    assert_eq!(told(&mut host, 20_000, &app).len(), 0);
    let over = host.tick();
    let resolved: Vec<&str> = over.iter().map(|alert| &*alert.labels["workload"]).collect();
    assert_eq!(resolved.len(), 12, "all but the group, which goes on: {resolved:?}");
    assert!(!resolved.contains(&"user-1000"));
}

#[test]
fn whose_a_workload_is_does_not_follow_from_its_name() {
    const NODE: &str = "9b07d4f1c2a9be07d4f1c2a9be07d4f1c2a9be07d4f1c2a9be07d4f1c2a9be07";
    let mut host = Host::new(&OOM.replace("a.*", ".*"));
    born(&mut host, 1, 30, "/user.slice/user-1000.slice/user@1000.service/app.slice/appNUMBER.service");
    born(&mut host, 101, 30, "/kubepods/pod11111111-2222-3333-4444-0000000000NUMBER");
    born(&mut host, 201, 30, &format!("/docker/{NODE}/kubelet/kubepods/pod11111111-2222-3333-4444-5555555555NUMBER"));
    host.tick();
    let mut sent = |first: u64| -> Vec<String> {
        let names = (first..first + 30).map(|id| host.engine.view().workloads.name(Id { hierarchy: 5, id }).unwrap());
        let names: Vec<_> = names.collect();
        let alerts = names.iter().flat_map(|name| alerts(&mut host, incident(name, name)));
        alerts.map(|alert| alert.labels["workload"].clone()).collect()
    };
    assert_eq!(sent(1).last().unwrap(), "user-1000");
    assert_eq!(sent(201).last().unwrap(), &format!("docker/{}", &NODE[..12]), "a node answers for its pods");
    // A namespace may be called like a user.
    for id in 101..131 {
        let (namespace, pod) = (Some("user-1000".into()), Some(format!("web-{id}").into()));
        let names = Names { namespace, pod, ..Names::default() };
        host.apply(Reading::Name(sample::Name { cgroup: Id { hierarchy: 5, id }, names }));
    }
    let pods: Vec<String> = (101..131).map(|id| format!("user-1000/web-{id}")).collect();
    let told: Vec<_> = pods.iter().flat_map(|name| alerts(&mut host, incident(name, name))).collect();
    assert_eq!(told.iter().map(|alert| &alert.labels["workload"]).collect::<Vec<_>>(), pods.iter().collect::<Vec<_>>());
}
