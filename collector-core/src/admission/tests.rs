//! Resources beside memory: the engine's tests have the others.

use super::*;
use crate::engine::Engine;
use crate::engine::test::engine;
use crate::lease::Want;
use crate::sample::{Reading, Sample};
use crate::statistic::filesystem::{self, State, Statistic as Filesystem};
use crate::statistic::host::{Statistic, Values};
use crate::statistic::network;
use crate::statistic::network::Statistic::{ReceiveBytes, Speed, TransmitBytes};

const SECOND: u64 = 1_000_000_000;

fn judged(view: &View, want: Want, claimed: &[Claimed]) -> Verdict {
    let caller = Caller { cgroup: Some("/a".into()), ..Caller::default() };
    let case = Case {
        want: &want,
        priority: Priority::Normal,
        gpus: &[],
        caller: &caller,
        unit: None,
        lasts: None,
        told: true,
    };
    judge(view, &case, claimed).verdict
}

#[test]
fn room_on_a_disk_is_that_of_the_nearest_mount_point() {
    let mut engine = engine();
    for (mountpoint, free) in [("/", 100), ("/data", 10), ("/data/models", 50)] {
        let values = filesystem::Values::from_iter([(Filesystem::Size, 1000), (Filesystem::Available, free)]);
        let reading = filesystem::Reading {
            mountpoint: mountpoint.into(),
            device: "x".into(),
            fstype: "ext4".into(),
            owner: None,
            state: State::Read(values),
        };
        engine.apply(&Sample { time: 20, reading: Reading::Filesystem(reading) });
    }
    let view = engine.view();
    let want = |disks: &[(&str, u64)]| Want {
        disk: disks.iter().map(|(path, amount)| ((*path).to_owned(), *amount)).collect(),
        ..Want::default()
    };
    for (disks, decision) in [
        (&[("/data/models/x", 50)][..], Decision::Yes),
        (&[("/data/models/x", 30), ("/data/models", 30)], Decision::No),
        (&[("/database", 100)], Decision::Yes),
        (&[("/data/x", 11)], Decision::No),
        (&[("/data", 10), ("/data/models/", 50)], Decision::Yes),
    ] {
        assert_eq!(judged(view, want(disks), &[]).verdict, decision, "{disks:?}");
    }
    let taken = Claimed { disk: [("/data/other".to_owned(), 4)].into(), ..Claimed::default() };
    let no = judged(view, want(&[("/data/x", 7)]), &[taken]);
    assert_eq!((no.verdict, no.resources[0].available), (Decision::No, Some(6)));
    assert_eq!(no.resources[0].limited_by.as_deref(), Some("the filesystem at /data"));
    assert_eq!(judged(&View::default(), want(&[("/data/x", 7)]), &[]).verdict, Decision::Unknown);
}

#[test]
fn a_busy_cpu_is_worth_a_wait_and_more_than_there_are_is_none() {
    let mut engine = engine();
    for second in 1..=10_u64 {
        let idle = [(Statistic::Cpus, 4), (Statistic::CpuIdle, 3 * second * SECOND)];
        engine.apply(&Sample { time: second * SECOND, reading: Reading::Host(Values::from_iter(idle)) });
    }
    let want = |cpu| Want { cpu, ..Want::default() };
    let of = |cpu, claimed: &[Claimed]| {
        let verdict = judged(engine.view(), want(cpu), claimed);
        (verdict.verdict, verdict.retry_after_seconds, verdict.delay_milliseconds)
    };
    assert_eq!(of(3000, &[]), (Decision::Yes, None, None));
    assert_eq!(of(3001, &[]), (Decision::Wait, Some(10), Some(1)), "a fortieth of a percent");
    assert_eq!(of(3400, &[]), (Decision::Wait, Some(10), Some(100)), "10 ms a percent");
    assert_eq!(of(4001, &[]), (Decision::No, None, None));
    assert_eq!(of(2500, &[Claimed { cpu: 1000, ..Claimed::default() }]), (Decision::Wait, Some(10), Some(125)));
}

/// An engine whose host sends so many bytes a second, over a link of so many bits a second.
fn sending(rate: u64, speed: Option<u64>, route: bool) -> Engine {
    let mut engine = engine();
    for second in [100, 105, 110] {
        let sent = [(TransmitBytes, rate * second), (ReceiveBytes, 0)];
        let mut values = network::Values::from_iter(sent);
        values.put(Speed, speed);
        let reading = network::Reading::Interface { device: "eth0".into(), route, values: Some(values) };
        engine.apply(&Sample { time: second * SECOND, reading: Reading::Network(reading) });
    }
    engine
}

#[test]
fn a_link_has_left_what_nobody_sends_or_was_promised_and_a_kilobit_is_worth_a_millisecond() {
    let want = |network| Want { network, ..Want::default() };
    let engine = sending(50_000_000, Some(1_000_000_000), true);
    let of = |network, claimed: &[Claimed]| {
        let verdict = judged(engine.view(), want(network), claimed);
        (verdict.verdict, verdict.retry_after_seconds, verdict.delay_milliseconds, verdict.resources[0].available)
    };
    assert_eq!(of(600_000_000, &[]), (Decision::Yes, None, None, Some(600_000_000)));
    assert_eq!(of(600_001_500, &[]), (Decision::Wait, Some(10), Some(2), Some(600_000_000)));
    assert_eq!(of(1_000_000_001, &[]).0, Decision::No, "no link of this host carries so much");
    let claimed = Claimed { network: 100_000_000, ..Claimed::default() };
    assert_eq!(of(600_000_000, &[claimed]), (Decision::Wait, Some(10), Some(100_000), Some(500_000_000)));
    for (engine, why) in [
        (sending(1, None, true), "the speed of eth0"),
        (sending(1, Some(1_000_000_000), false), "none that is measured has the default route"),
        (crate::engine::test::engine(), "no interface is measured"),
    ] {
        let unknown = judged(engine.view(), want(1), &[]);
        assert!(unknown.verdict == Decision::Unknown && unknown.reason.contains(why), "{unknown:?}");
    }
}

#[test]
fn what_is_short_is_an_error_with_a_name() {
    let engine = sending(0, Some(1000), true);
    let error = |network| judged(engine.view(), Want { network, ..Want::default() }, &[]).error;
    assert_eq!((error(1000), error(1001).as_deref()), (None, Some("InsufficientResources")));
}
