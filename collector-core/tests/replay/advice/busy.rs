//! CPU quotas that throttle.

use collector_core::past::Day;
use collector_core::statistic::contention::Statistic as Close;
use collector_core::statistic::host::Statistic as OfHost;
use collector_core::statistic::model::Kind;
use collector_core::statistic::workload::Statistic;

use crate::made::{GIB, Host, advice};

/// A host of 16 CPUs of which so many were in use at most.
pub(super) fn of_cpus(host: &mut Host, busiest: f64) {
    host.is(OfHost::Cpus, 16);
    host.days(None, 8, |_| Day {
        memory: Some([10.0, 11.0, 12.0].map(|gib| gib * GIB as f64)),
        limit: Some(64.0 * GIB as f64),
        cpus: Some([busiest / 2.0, busiest]),
        memory_waiting: Some(0.0),
        kills: Some(0),
        ..Day::default()
    });
}

/// A quota throttled so many of the ten periods a second of a workload, for two days, and still does.
pub(super) fn throttle(host: &mut Host, own: u64, throttled: u64) {
    host.has(own, Statistic::CpuPeriods, 1_728_000).has(own, Statistic::CpuThrottledPeriods, 172_800 * throttled);
    host.gains(own, Statistic::CpuPeriods, 10).gains(own, Statistic::CpuThrottledPeriods, throttled);
    host.closely(own, Close::CpuPeriods, 10).closely(own, Close::CpuThrottledPeriods, throttled);
}

/// A server under a quota of two CPUs.
pub(super) fn server(kind: Kind, throttled: u64, busiest: f64) -> Host {
    let mut host = Host::new(64 * GIB);
    of_cpus(&mut host, busiest);
    let own = host.workload(&format!("/system.slice/{}.service", kind.label()), 4 * GIB, 3 * GIB);
    host.serves(own, kind, &[]);
    host.has(own, Statistic::MemoryLimit, 6 * GIB);
    throttle(&mut host, own, throttled);
    host.run(240, 5).quota(own, 2000);
    host
}

#[test]
fn a_quota_is_raised_where_the_host_has_cpus_to_spare() {
    let judged = server(Kind::Vllm, 3, 8.0).expect(&["cpu_quota_raise:vllm.service"]);
    let raise = advice(&judged, "cpu_quota_raise:vllm.service");
    assert_eq!(raise.actions[0].commands[0].text, "systemctl set-property vllm.service CPUQuota=400%");
    server(Kind::Vllm, 0, 8.0).expect(&[]);
    server(Kind::Vllm, 3, 16.0).expect(&[]);
}
