//! Quotas that throttle, and waits for CPUs.

use super::*;
use crate::advise::stage::{Host, SECOND, days};
use crate::past::Day;
use contention::Statistic as Close;

fn rule(name: &str) -> &'static Rule {
    RULES.iter().find(|rule| rule.name == name).unwrap()
}

/// A server under a quota of two CPUs on a host of 16, throttled in so many of its periods, for so many seconds.
fn throttled(share: f64, seconds: u64, busiest: f64) -> Host {
    let mut host = Host::new(&["/system.slice/llama.service"]);
    host.past.host.days = days(2, |_| Day { cpus: Some([busiest / 2.0, busiest]), ..Day::default() });
    let steps = 60;
    for step in 0..=steps {
        let at = 1 + step * 5;
        host.serve(at, 1, model::Kind::LlamaCpp);
        // What was before the steps is as it is in them.
        let periods = 10 * (seconds - (steps - step) * 5);
        let count = (share * periods as f64) as u64;
        let own = [
            (Statistic::CpuPeriods, periods),
            (Statistic::CpuThrottledPeriods, count),
            (Statistic::CpuThrottled, count * SECOND / 20),
        ];
        host.files(at, 1, &[(Statistic::MemoryCurrent, 1 << 30), (Statistic::Populated, 1), own[0], own[1], own[2]]);
        host.close(
            at,
            1,
            &[(Close::CpuQuota, 2000), (Close::CpuPeriods, periods), (Close::CpuThrottledPeriods, count)],
        );
        host.host(at, &[(OfHost::Cpus, 16)]);
        host.tick(at);
    }
    host
}

#[test]
fn a_quota_that_throttles_while_the_host_idles_is_raised() {
    let host = throttled(0.4, 2 * 86_400, 6.0);
    let judged = host.judge(rule(QUOTA));
    assert!(judged.lacking.is_empty(), "{:?}", judged.lacking);
    let [advice] = &judged.advice[..] else { panic!("{:?}", judged.advice) };
    assert_eq!(advice.title, "Raise the CPU quota of llama.service from 2 to 4 CPUs.");
    assert!(
        advice.why.contains("40 % of the periods") && advice.why.contains("10 of its 16 CPUs free"),
        "{}",
        advice.why
    );
    assert_eq!(advice.confidence, Confidence::High);
    assert_eq!(advice.actions[0].commands[0].text, "systemctl set-property llama.service CPUQuota=400%");
    assert_eq!((advice.actions[0].before.as_deref(), advice.actions[0].after.as_deref()), (Some("2"), Some("4")));
    assert_eq!(advice.actions[1].commands[0].text, "--threads 2");
    // Throttled for a twentieth of a second in each of those periods.
    let held = advice.saves.as_ref().unwrap().stall_seconds.unwrap();
    assert!((held - 0.4 * 2.0 * 86_400.0 * 10.0 / 20.0).abs() < 1.0, "{held}");
    assert!(host.judge(rule(THREADS)).advice.is_empty());
    let short = throttled(0.4, 2 * 3600, 6.0).judge(rule(QUOTA));
    assert_eq!(short.advice[0].confidence, Confidence::Medium);
}

#[test]
fn a_quota_that_seldom_throttles_or_a_busy_host_gives_no_higher_quota() {
    assert!(throttled(0.04, 2 * 86_400, 6.0).judge(rule(QUOTA)).advice.is_empty());
    let busy = throttled(0.4, 2 * 86_400, 15.5);
    assert!(busy.judge(rule(QUOTA)).advice.is_empty());
    let fewer = busy.judge(rule(THREADS)).advice;
    assert_eq!(fewer[0].title, "Let the server in llama.service run 2 threads, as its CPU quota has CPUs.");
    assert_eq!(fewer[0].actions[0].commands[0].text, "--threads 2");
}

#[test]
fn quotas_below_a_cpu_are_raised_in_tenths() {
    let of = [0.05, 0.15, 0.2, 0.35, 0.5, 0.7, 2.0].map(|quota| round_down(2.0 * quota));
    assert_eq!(of, [0.1, 0.3, 0.4, 0.7, 1.0, 1.0, 4.0]);
}

#[test]
fn one_that_works_as_ever_and_is_no_longer_throttled_is_left_alone_and_one_that_rests_is_not() {
    let later = |cpus: f64| {
        let mut host = throttled(0.4, 2 * 86_400, 6.0);
        let (periods, count) = (10 * 2 * 86_400, 4 * 2 * 86_400);
        let mut used = 1_000 * SECOND;
        for step in 1..=110 {
            let at = 301 + step * 5;
            host.serve(at, 1, model::Kind::LlamaCpp);
            // For six minutes it goes on as before, and then has twice the quota.
            let (ran, held) = (periods + step * 50, count + step.min(72) * 20);
            used += if step <= 72 { 10 * SECOND } else { (cpus * 5e9) as u64 };
            host.files(
                at,
                1,
                &[
                    (Statistic::MemoryCurrent, 1 << 30),
                    (Statistic::Populated, 1),
                    (Statistic::CpuPeriods, ran),
                    (Statistic::CpuThrottledPeriods, held),
                    (Statistic::CpuUsage, used),
                ],
            );
            let quota = if step <= 72 { 2000 } else { 4000 };
            host.close(
                at,
                1,
                &[(Close::CpuQuota, quota), (Close::CpuPeriods, ran), (Close::CpuThrottledPeriods, held)],
            );
            host.tick(at);
        }
        host.judge(rule(QUOTA)).advice.len()
    };
    assert_eq!((later(2.5), later(0.1)), (0, 1));
}

#[test]
fn one_that_is_throttled_no_more_is_left_alone() {
    let mut host = throttled(0.4, 2 * 86_400, 6.0);
    // For ten minutes it runs without being throttled.
    let (periods, count) = (10 * 2 * 86_400, 4 * 2 * 86_400);
    for step in 1..=1000 {
        let at = 301 + step * 5;
        host.serve(at, 1, model::Kind::LlamaCpp);
        host.close(
            at,
            1,
            &[(Close::CpuQuota, 2000), (Close::CpuPeriods, periods + step * 50), (Close::CpuThrottledPeriods, count)],
        );
        host.tick(at);
    }
    assert!(host.judge(rule(QUOTA)).advice.is_empty());
}

#[test]
fn what_is_missing_is_said() {
    let missing = |host: &Host| {
        let judged = host.judge(rule(QUOTA));
        assert!(judged.advice.is_empty());
        judged.lacking.into_iter().map(|lacking| lacking.missing).collect::<Vec<_>>()
    };
    assert_eq!(missing(&throttled(0.4, 1200, 6.0)), ["an hour in which it ran under its CPU quota: there are 20 min"]);
    let mut host = throttled(0.4, 2 * 86_400, 6.0);
    host.past.host.days.clear();
    assert_eq!(missing(&host), ["six hours of the host's CPU use: there are 0 s"]);
    // Nobody watches it: its quota is not read.
    let mut other = Host::new(&["/system.slice/job.service"]);
    let used = [(Statistic::CpuPeriods, 100_000), (Statistic::CpuThrottledPeriods, 50_000)];
    other.files(1, 1, &[(Statistic::MemoryCurrent, 1), (Statistic::Populated, 1), used[0], used[1]]);
    assert_eq!(
        missing(&other),
        ["its CPU quota, which is read only of workloads that serve models or hold GPU memory"]
    );
}

/// A server whose tasks wait for so many seconds in each, while the host is so busy, for so many seconds.
fn waiting(wait: f64, busy: f64, length: u64) -> Host {
    let mut host = Host::new(&["/system.slice/vllm.service"]);
    for at in (1..length).step_by(5) {
        host.serve(at, 1, model::Kind::Vllm);
        let cpu = (at as f64 * 1e9) as u64;
        host.files(
            at,
            1,
            &[(Statistic::MemoryCurrent, 1 << 30), (Statistic::Populated, 1), (Statistic::CpuUsage, cpu)],
        );
        host.close(at, 1, &[(Close::CpuWait, (at as f64 * wait * 1e9) as u64)]);
        let used = (at as f64 * busy * 4e9) as u64;
        host.host(at, &[(OfHost::Cpus, 4), (OfHost::CpuUser, used), (OfHost::CpuIdle, at * 4 * SECOND - used)]);
        host.tick(at);
    }
    host
}

#[test]
fn a_server_that_always_waits_for_cpus_gets_more_weight() {
    let judged = waiting(1.0, 1.0, 3600).judge(rule(WEIGHT));
    let [advice] = &judged.advice[..] else { panic!("{judged:?}") };
    assert_eq!(advice.actions[0].commands[0].text, "systemctl set-property vllm.service CPUWeight=500");
    assert_eq!(advice.risk, crate::action::Risk::Low);
    assert!(advice.why.contains("50 % of the time"), "{}", advice.why);
    assert!(waiting(0.1, 1.0, 3600).judge(rule(WEIGHT)).advice.is_empty(), "a little");
    assert!(waiting(1.0, 0.7, 3600).judge(rule(WEIGHT)).advice.is_empty(), "others are not the reason");
    let short = waiting(1.0, 1.0, 400).judge(rule(WEIGHT));
    assert!(short.advice.is_empty() && short.lacking[0].missing.starts_with("a quarter of an hour"), "{short:?}");
}
