//! CPU quotas that throttle.

use collector_core::past::Day;
use collector_core::sample::Reading;
use collector_core::statistic::contention::Statistic as Close;
use collector_core::statistic::host::Statistic as OfHost;
use collector_core::statistic::model::Kind;
use collector_core::statistic::workload::Statistic;

use crate::made::{GIB, Host, advice, id};

/// A server under a quota of two CPUs on a host of 16 of which so many are in use at most, and so many of its ten periods a second are
/// throttled. It ran for two days.
fn server(throttled: u64, busiest: f64) -> Host {
    let mut host = Host::new(64 * GIB);
    host.is(OfHost::Cpus, 16);
    host.days(None, 8, |_| Day {
        memory: Some([10.0, 11.0, 12.0].map(|gib| gib * GIB as f64)),
        limit: Some(64.0 * GIB as f64),
        cpus: Some([busiest / 2.0, busiest]),
        memory_waiting: Some(0.0),
        kills: Some(0),
        ..Day::default()
    });
    let own = host.workload("/system.slice/vllm.service", 4 * GIB, 3 * GIB);
    host.serves(own, Kind::Vllm, &[]);
    host.has(own, Statistic::MemoryLimit, 6 * GIB);
    host.has(own, Statistic::CpuPeriods, 1_728_000).has(own, Statistic::CpuThrottledPeriods, 172_800 * throttled);
    host.gains(own, Statistic::CpuPeriods, 10).gains(own, Statistic::CpuThrottledPeriods, throttled);
    host.closely(own, Close::CpuPeriods, 10).closely(own, Close::CpuThrottledPeriods, throttled);
    host.run(240, 5);
    let quota =
        serde_json::json!({ "cgroup": id(own), "values": { "cpu_quota": 2000 }, "interval": 5_000_000_000_u64 });
    host.apply(Reading::Contention(serde_json::from_value(quota).unwrap()));
    host
}

#[test]
fn a_quota_is_raised_where_the_host_has_cpus_to_spare() {
    let judged = server(3, 8.0).expect(&["cpu_quota_raise:vllm.service"]);
    let raise = advice(&judged, "cpu_quota_raise:vllm.service");
    assert_eq!(raise.actions[0].commands[0].text, "systemctl set-property vllm.service CPUQuota=400%");
    server(0, 8.0).expect(&[]);
    server(3, 16.0).expect(&[]);
}
