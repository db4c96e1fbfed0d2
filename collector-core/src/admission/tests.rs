//! Resources beside memory: the engine's tests have the others.

use super::*;
use crate::engine::test::engine;
use crate::lease::Want;
use crate::sample::{Reading, Sample};
use crate::statistic::filesystem::{self, State, Statistic as Filesystem};
use crate::statistic::host::{Statistic, Values};

const SECOND: u64 = 1_000_000_000;

fn judged(view: &View, want: Want, claimed: &[Claimed]) -> Verdict {
    let caller = Caller { cgroup: Some("/a".into()), ..Caller::default() };
    let case = Case { want: &want, priority: Priority::Normal, gpus: &[], caller: &caller, unit: None, told: true };
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
        (verdict.verdict, verdict.retry_after_seconds)
    };
    assert_eq!(of(3000, &[]), (Decision::Yes, None));
    assert_eq!(of(3001, &[]), (Decision::Wait, Some(30)));
    assert_eq!(of(4001, &[]), (Decision::No, None));
    assert_eq!(of(2500, &[Claimed { cpu: 1000, ..Claimed::default() }]), (Decision::Wait, Some(30)));
    let network = Want { network: 1, ..Want::default() };
    let unknown = judged(engine.view(), network, &[]);
    assert!(unknown.verdict == Decision::Unknown && unknown.reason.contains("not measured"), "{unknown:?}");
}
