//! Limits that are too high, too low or missing, and hosts on which they are right.

use collector_core::action::Risk;
use collector_core::advice::Confidence;
use collector_core::past::Day;
use collector_core::statistic::host::Statistic as OfHost;
use collector_core::statistic::model;
use collector_core::statistic::workload::Statistic;

use super::{day, host_days};
use crate::made::{GIB, Host, MIB, advice};

const HOST: u64 = 64 * GIB;
const WEB: &str = "/system.slice/web.service";

/// A service with a limit, and what of its memory the kernel cannot drop, for so many days.
pub(super) fn web(limit: u64, anon: u64, days: u64, of_day: impl Fn(u64, Day) -> Day) -> (Host, u64) {
    let mut host = Host::new(HOST);
    host_days(&mut host, HOST, 0.5, (0.0, 0));
    let web = host.workload(WEB, anon, anon);
    host.has(web, Statistic::MemoryLimit, limit);
    host.days(Some("web.service"), days, |back| of_day(back, day(anon, anon, Some(limit))));
    host.run(60, 1);
    (host, web)
}

#[test]
fn a_host_on_which_all_is_well_is_left_alone() {
    let (host, _) = web(8 * GIB, 6 * GIB, 8, |_, day| day);
    let judged = host.expect(&[]);
    assert!(judged.advice.is_empty(), "{:#?}", judged.advice);
}

#[test]
fn a_limit_of_which_most_is_never_used_is_lowered() {
    let (host, _) = web(32 * GIB, 6 * GIB, 8, |_, day| day);
    let judged = host.expect(&["memory_limit_lower:web.service"]);
    let lower = advice(&judged, "memory_limit_lower:web.service");
    assert_eq!((lower.confidence, lower.risk), (Confidence::High, Risk::High));
    // 6 GiB and 15 %: 6.9 GiB, which is 7 GiB to a quarter.
    assert_eq!(lower.actions[0].after.as_deref(), Some((7 * GIB).to_string().as_str()));
    assert_eq!(lower.saves.as_ref().unwrap().bytes, Some((25 * GIB) as f64));
    // A peak of three days ago is needed in full, though it hardly counts for the ninth decile.
    let (host, _) = web(32 * GIB, 6 * GIB, 8, |back, other| match back {
        5 => day(20 * GIB, 20 * GIB, Some(32 * GIB)),
        _ => other,
    });
    let judged = host.expect(&["memory_limit_lower:web.service"]);
    let lower = advice(&judged, "memory_limit_lower:web.service");
    assert_eq!(lower.actions[0].after.as_deref(), Some((20 * GIB).to_string().as_str()));
}

#[test]
fn little_data_widens_what_is_enough() {
    // A day and a half: what is needed may be 1.7 times as much.
    for (limit, lowered) in [(10 * GIB, false), (32 * GIB, true)] {
        let (host, _) = web(limit, 6 * GIB, 2, |_, day| day);
        let judged = host.expect(&[]);
        let found = judged.advice.iter().any(|advice| advice.rule == "memory_limit_lower");
        assert_eq!(found, lowered, "{limit}");
    }
    let (host, _) = web(32 * GIB, 6 * GIB, 1, |_, day| day);
    let judged = host.expect(&[]);
    assert!(judged.advice.is_empty());
    let missing: Vec<&str> = judged.lacking.iter().map(|lacking| &*lacking.missing).collect();
    assert_eq!(missing, ["a day of history: there are 12 hours"]);
}

#[test]
fn what_a_server_may_still_take_is_not_given_away() {
    let (mut host, web) = web(16 * GIB, 3 * GIB, 8, |_, day| day);
    host.serves(web, model::Kind::LlamaCpp, &[(model::Statistic::PromptCacheBytes, 8 * GIB)]).run(30, 1);
    let judged = host.judged();
    let lower = judged.advice.iter().find(|advice| advice.rule == "memory_limit_lower");
    let to: u64 = lower.map_or(16 * GIB, |lower| lower.actions[0].after.as_deref().unwrap().parse().unwrap());
    assert!(to >= 11 * GIB + 400 * MIB, "3 GiB and 15 %, and 8 GiB: {to}");
}

/// Three processes were killed yesterday.
pub(super) fn killed(back: u64, day: Day) -> Day {
    if back == 1 { Day { kills: Some(3), kills_here: Some(3), ..day } } else { day }
}

#[test]
fn kills_at_the_limit_raise_it_and_kills_at_an_older_one_do_not() {
    let (host, _) = web(2 * GIB, 2 * GIB - 20 * MIB, 8, killed);
    let judged = host.expect(&["memory_limit_raise:web.service"]);
    let raise = advice(&judged, "memory_limit_raise:web.service");
    assert_eq!(raise.confidence, Confidence::High);
    assert_eq!(raise.saves.as_ref().unwrap().kills, Some(3.0));
    let to: u64 = raise.actions[0].after.as_deref().unwrap().parse().unwrap();
    assert!((2 * GIB * 12 / 10..=2 * GIB * 13 / 10).contains(&to), "{to}");
    // It has been raised since then, and that was enough.
    let older = |back, other: Day| match back {
        1 => Day { kills: Some(3), kills_here: Some(3), ..day(2 * GIB, 2 * GIB, Some(2 * GIB)) },
        _ => other,
    };
    let (host, _) = web(3 * GIB, 2 * GIB, 8, older);
    assert!(host.expect(&[]).advice.is_empty());
    // It was killed because a limit above it was hit, or the host was full.
    let limit = 4 * GIB;
    let elsewhere = |back, _| Day { kills: Some(if back == 1 { 3 } else { 0 }), ..day(limit, GIB, Some(limit)) };
    let (host, _) = web(limit, GIB, 8, elsewhere);
    assert!(host.expect(&[]).advice.iter().all(|advice| advice.rule != "memory_limit_raise"));
}

#[test]
fn a_raise_that_the_host_cannot_give_is_not_sure() {
    let killed = |_, day: Day| Day { kills: Some(1), kills_here: Some(1), ..day };
    let (mut host, _) = web(40 * GIB, 40 * GIB - MIB, 8, killed);
    host.is(OfHost::MemoryAvailable, 2 * GIB).run(5, 1);
    let judged = host.expect(&[]);
    assert_eq!(advice(&judged, "memory_limit_raise:web.service").confidence, Confidence::Low);
}

#[test]
fn no_limit_above_the_hosts_memory_is_advised() {
    let killed = |_, day: Day| Day { kills: Some(1), kills_here: Some(1), ..day };
    let (host, _) = web(60 * GIB, 60 * GIB - MIB, 8, killed);
    let judged = host.judged();
    assert!(judged.advice.iter().all(|advice| advice.rule != "memory_limit_raise"), "{:#?}", judged.advice);
    let missing = judged.lacking.iter().find(|lacking| lacking.rule == "memory_limit_raise");
    assert!(
        missing.is_some_and(|lacking| lacking.missing.starts_with("a host with more memory")),
        "{:?}",
        judged.lacking
    );
}

#[test]
fn what_was_held_weeks_ago_is_left_to_it_and_page_cache_beyond_the_new_limit_is_not_sure() {
    // A job of each month.
    let (host, _) = web(32 * GIB, 6 * GIB, 20, |back, other| match back {
        15 => day(16 * GIB, 16 * GIB, Some(32 * GIB)),
        _ => other,
    });
    let judged = host.judged();
    let lower = advice(&judged, "memory_limit_lower:web.service");
    assert_eq!(lower.actions[0].after.as_deref(), Some((16 * GIB).to_string().as_str()));
    let (host, _) = web(32 * GIB, 6 * GIB, 8, |_, _| day(20 * GIB, 6 * GIB, Some(32 * GIB)));
    let judged = host.judged();
    let lower = advice(&judged, "memory_limit_lower:web.service");
    assert_eq!(lower.confidence, Confidence::Low, "{}", lower.because);
}

#[test]
fn a_need_near_the_limit_raises_it_and_page_cache_at_the_limit_does_not() {
    let limit = 4 * GIB;
    let (host, _) = web(limit, limit - 64 * MIB, 8, |_, day| day);
    host.expect(&["memory_limit_raise:web.service"]);
    // The same, and most of it is page cache that nobody waits for.
    let cache = |_, _| day(limit, GIB, Some(limit));
    let (mut host, web) = web(limit, GIB, 8, cache);
    host.has(web, Statistic::MemoryCurrent, limit).has(web, Statistic::MemoryFile, limit - GIB).run(5, 1);
    host.expect(&[]);
    // Now some task waits for it for 3 % of the time.
    host.days(Some("web.service"), 8, |_| Day { memory_waiting: Some(2600.0), ..day(limit, GIB, Some(limit)) });
    let judged = host.expect(&["memory_limit_raise:web.service"]);
    let raise = advice(&judged, "memory_limit_raise:web.service");
    assert!(raise.saves.as_ref().unwrap().stall_seconds.unwrap() > 15_000.0, "{raise:#?}");
}

/// A service that was killed at its limit, and takes twelve per cent of it an hour, for three hours.
pub(super) fn leaks() -> Host {
    let limit = 8 * GIB;
    let (mut host, web) = web(limit, limit - 20 * MIB, 8, killed);
    host.has(web, Statistic::MemoryCurrent, 2 * GIB).has(web, Statistic::MemoryAnon, 2 * GIB);
    for statistic in [Statistic::MemoryCurrent, Statistic::MemoryAnon, Statistic::MemoryWithoutCache] {
        host.gains(web, statistic, limit / 8 / 3600);
    }
    host.run(3 * 3600, 5);
    host
}

#[test]
fn a_leak_is_not_cured_by_a_higher_limit() {
    let host = leaks();
    assert!(host.view().leaks.iter().count() > 0, "the engine finds it");
    let judged = host.expect(&[]);
    assert!(judged.lacking.iter().any(|lacking| lacking.rule == "memory_limit_raise"), "{:#?}", judged.lacking);
}

/// A job without a limit on a host that waited and killed, and of which so much was in use.
pub(super) fn hog(hurt: (f64, u32), used: f64) -> Host {
    let mut host = Host::new(HOST);
    host_days(&mut host, HOST, used, hurt);
    host.workload("/system.slice/train.service", 30 * GIB, 30 * GIB);
    host.days(Some("train.service"), 8, |_| day(30 * GIB, 30 * GIB, None));
    host.run(60, 1);
    host
}

#[test]
fn a_limit_is_missed_only_where_the_host_was_hurt() {
    let judged = hog((900.0, 2), 0.97).expect(&["memory_limit_missing:train.service"]);
    let missing = advice(&judged, "memory_limit_missing:train.service");
    let to: u64 = missing.actions[0].after.as_deref().unwrap().parse().unwrap();
    assert!((34 * GIB..38 * GIB).contains(&to), "{to}");
    // A host that had enough all the time.
    let judged = hog((0.0, 0), 0.6).expect(&[]);
    assert_eq!(advice(&judged, "memory_limit_missing:train.service").confidence, Confidence::Low);
    // A slice above it has one.
    let mut host = hog((900.0, 2), 0.97);
    let slice = host.workload("/system.slice", 30 * GIB, 30 * GIB);
    host.has(slice, Statistic::MemoryLimit, 40 * GIB).run(5, 1);
    assert!(host.expect(&[]).advice.is_empty());
}

/// Three services whose limits together are more than the host has.
pub(super) fn promised(used: f64, hurt: (f64, u32)) -> Host {
    let mut host = Host::new(HOST);
    host_days(&mut host, HOST, used, hurt);
    for name in ["a", "b", "c"] {
        let workload = host.workload(&format!("/system.slice/{name}.service"), 24 * GIB, 24 * GIB);
        host.has(workload, Statistic::MemoryLimit, 28 * GIB);
        host.days(Some(&format!("{name}.service")), 8, |_| day(24 * GIB, 24 * GIB, Some(28 * GIB)));
    }
    host.is(OfHost::MemoryAvailable, GIB).run(60, 1);
    host
}

#[test]
fn what_is_promised_beyond_the_host_counts_once_it_was_short() {
    let judged = promised(0.97, (0.0, 3)).expect(&["memory_host_reserve:host"]);
    assert!(advice(&judged, "memory_host_reserve:host").why.contains("84.0 GiB"), "{judged:#?}");
    assert_eq!(promised(0.97, (0.0, 0)).expect(&[]).advice.len(), 1, "not sure, but told");
    assert!(promised(0.8, (0.0, 0)).expect(&[]).advice.is_empty());
}
