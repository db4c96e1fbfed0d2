//! Histories of simulated hosts.

mod budget;
mod still;
mod tier;

use super::*;
use crate::cgroup::Id;
use crate::engine::Engine;
use crate::engine::test::{ID, engine};
use crate::sample::{self, Reading, Sample};
use crate::signal::cgroup;
use crate::signal::{fault, reclaim};
use crate::statistic::workload::{Statistic, Values};
use crate::view::View;

const SECOND: u64 = 1_000_000_000;

fn see(engine: &mut Engine, programs: &[&str]) {
    for program in programs {
        let probe = sample::Probe { program: (*program).into(), state: sample::ProbeState::Attached, reason: None };
        engine.apply(&Sample { time: 11, reading: Reading::Probe(probe) });
    }
}

fn tick(engine: &mut Engine, time: u64) {
    engine.apply(&Sample { time, reading: Reading::Tick });
}

fn measure(engine: &mut Engine, time: u64, cgroup: Id, numbers: &[(Statistic, u64)]) {
    let values: Values = numbers.iter().copied().collect();
    let statistics = sample::Statistics { cgroup, values, turn: false };
    engine.apply(&Sample { time, reading: Reading::Statistics(statistics) });
}

fn faults(engine: &mut Engine, time: u64, count: u64) {
    let mut counts = [0; 8];
    counts[collector_common::fault::word::MAJOR] = count;
    let reading = Reading::Fault(fault::Reading::Counts { cgroup: Some(ID), counts });
    engine.apply(&Sample { time, reading });
}

fn column(view: &View, until: u64, series: Series) -> Vec<Option<f64>> {
    let workload = view.workloads.of(ID).unwrap();
    view.history.window(until).column(&workload.track, series)
}

#[test]
fn gauges_are_kept_as_they_are_and_counters_as_growth_per_second() {
    let mut engine = engine();
    see(&mut engine, &["fault_major"]);
    for (second, memory, waited) in [(1, 4096, 5_000), (2, 8192, SECOND / 2), (4, 8192, SECOND), (5, 4096, 9 * SECOND)]
    {
        let numbers = [(Statistic::MemoryCurrent, memory), (Statistic::MemoryPressureSome, waited)];
        measure(&mut engine, second * SECOND, ID, &numbers);
        faults(&mut engine, second * SECOND, 10 * second);
        tick(&mut engine, second * SECOND);
    }
    let view = engine.view();
    let of = |series| column(view, 6 * SECOND, series);
    assert_eq!(of(Series::Memory), [Some(4096.0), Some(8192.0), Some(8192.0), Some(4096.0)]);
    assert_eq!(of(Series::MajorFaults), [None, Some(20.0), Some(20.0), Some(50.0)]);
    assert_eq!(of(Series::MemoryWaiting), [None, Some(0.5), Some(0.25), Some(1.0)], "never more than all the time");
    assert_eq!(of(Series::Vram), [None; 4]);
    assert_eq!(of(Series::Read), [None; 4], "what no program sees is not zero");
    let window = view.history.window(6 * SECOND);
    let track = &view.workloads.of(ID).unwrap().track;
    assert_eq!(window.growth(track, Series::Memory), Some(0.0));
    assert_eq!(window.total(track, Series::MajorFaults), Some(110.0));
    assert_eq!(window.lines(track).len(), 3);
    assert_eq!(column(view, 4 * SECOND, Series::Memory).len(), 3, "nothing of what came later");
}

#[test]
fn ticks_of_a_tenth_of_a_second_share_a_point_and_the_last_is_current() {
    let mut engine = engine();
    see(&mut engine, &["fault_major"]);
    for tenth in 0..1000 {
        faults(&mut engine, SECOND + tenth * SECOND / 10, 7);
        measure(&mut engine, SECOND, ID, &[(Statistic::MemoryCurrent, tenth)]);
        tick(&mut engine, SECOND + tenth * SECOND / 10);
        let newest = column(engine.view(), u64::MAX, Series::Memory);
        assert!(newest.is_empty(), "nothing is within reach of the end of time");
    }
    let now = SECOND + 999 * SECOND / 10;
    let rates = column(engine.view(), now, Series::MajorFaults);
    assert!((60..=68).contains(&rates.len()), "{}", rates.len());
    assert!(rates.iter().all(|rate| rate.is_some_and(|rate| (rate - 70.0).abs() < 1.0)), "{rates:?}");
    assert_eq!(column(engine.view(), now, Series::Memory).last(), Some(&Some(999.0)));
}

#[test]
fn parts_of_memory_have_a_point_only_where_they_were_read() {
    let mut engine = engine();
    let read = |engine: &mut Engine, time, anon, turn| {
        let values: Values = [(Statistic::MemoryCurrent, 100), (Statistic::MemoryAnon, anon)].into_iter().collect();
        let reading = Reading::Statistics(sample::Statistics { cgroup: ID, values, turn });
        engine.apply(&Sample { time, reading });
        tick(engine, time + 1);
    };
    for (second, anon, turn) in [(1, 7, true), (2, 7, false), (3, 7, false), (4, 8, true), (5, 9, true)] {
        read(&mut engine, second * SECOND, anon, turn);
    }
    let anon = |engine: &Engine, now| column(engine.view(), now, Series::Anon);
    assert_eq!(anon(&engine, 6 * SECOND), [Some(7.0), None, None, Some(8.0), Some(9.0)]);
    assert_eq!(column(engine.view(), 6 * SECOND, Series::Memory), [Some(100.0); 5]);
    // Ticks of a tenth of a second share a point, and it keeps what was read in one of them.
    for tenth in 0..9 {
        read(&mut engine, 6 * SECOND + tenth * SECOND / 10, 10, tenth == 3);
    }
    assert_eq!(anon(&engine, 7 * SECOND)[5..], [None, Some(10.0)]);
    engine.apply(&Sample { time: 8 * SECOND, reading: Reading::Cgroup(cgroup::Reading::Died { id: ID }) });
    tick(&mut engine, 8 * SECOND);
    assert_eq!(anon(&engine, 8 * SECOND)[6..], [None], "it has ended");
}

#[test]
fn it_reaches_back_a_minute_whatever_the_tick() {
    for (step, points) in [(SECOND, 61), (5 * SECOND, 13), (70 * SECOND, 1)] {
        let mut engine = engine();
        (1..200).for_each(|number| tick(&mut engine, number * step));
        assert_eq!(engine.view().history.window(199 * step).times().count(), points, "{step}");
    }
}

#[test]
fn a_new_workload_has_growth_since_the_last_tick_and_nothing_before() {
    let mut engine = engine();
    see(&mut engine, &["fault_major"]);
    (1..5).for_each(|second| tick(&mut engine, second * SECOND));
    let young = Id { id: 78, ..ID };
    let born = cgroup::Reading::Born { id: young, path: "/b".into() };
    engine.apply(&Sample { time: 4 * SECOND, reading: Reading::Cgroup(born) });
    let mut counts = [0; 8];
    counts[collector_common::fault::word::MAJOR] = 9;
    let reading = Reading::Fault(fault::Reading::Counts { cgroup: Some(young), counts });
    engine.apply(&Sample { time: 5 * SECOND, reading });
    measure(&mut engine, 5 * SECOND, young, &[(Statistic::MemoryPressureSome, 77 * SECOND)]);
    tick(&mut engine, 5 * SECOND);
    let view = engine.view();
    let track = &view.workloads.of(young).unwrap().track;
    let window = view.history.window(5 * SECOND);
    assert_eq!(window.column(track, Series::MajorFaults), [None, None, None, None, Some(9.0)]);
    assert_eq!(window.newest(track, Series::MemoryWaiting), None, "the time before it was seen is not known");
}

#[test]
fn a_clock_set_back_invalidates_earlier_points() {
    let mut engine = engine();
    (100..130).for_each(|second| tick(&mut engine, second * SECOND));
    (50..53).for_each(|second| tick(&mut engine, second * SECOND));
    let window = engine.view().history.window(52 * SECOND);
    assert_eq!(window.times().map(|time| time / SECOND).collect::<Vec<_>>(), [50, 51, 52]);
    assert_eq!(engine.view().history.window(129 * SECOND).times().count(), 0);
}

#[test]
fn an_ended_workload_has_no_current_gauges() {
    let mut engine = engine();
    measure(&mut engine, SECOND, ID, &[(Statistic::MemoryCurrent, 4096)]);
    tick(&mut engine, SECOND);
    engine.apply(&Sample { time: 2 * SECOND, reading: Reading::Cgroup(cgroup::Reading::Died { id: ID }) });
    tick(&mut engine, 2 * SECOND);
    assert_eq!(column(engine.view(), 2 * SECOND, Series::Memory), [Some(4096.0), None]);
}

#[test]
fn a_series_without_a_file_of_the_host_is_the_sum_of_the_workloads() {
    let mut engine = engine();
    see(&mut engine, &["block_rq_complete", "reclaim_memcg_end", "reclaim_memcg_begin"]);
    for second in 1..4 {
        for cgroup in [Some(ID), None] {
            let io = crate::signal::block::Reading::Workload {
                cgroup,
                operation: crate::signal::block::Operation::Read,
                ios: 1,
                bytes: 1000 * second,
                ns: 5,
            };
            engine.apply(&Sample { time: second * SECOND, reading: Reading::Block(io) });
        }
        let mut histogram = [0; collector_common::histogram::WORDS];
        histogram[collector_common::histogram::SUM] = SECOND / 10;
        let time = reclaim::Reading::Time { kind: reclaim::Kind::Memcg, histogram };
        engine.apply(&Sample { time: second * SECOND, reading: Reading::Reclaim(time) });
        tick(&mut engine, second * SECOND);
    }
    let view = engine.view();
    let window = view.history.window(3 * SECOND);
    assert_eq!(window.column(&view.history.host, Series::Read), [None, Some(4000.0), Some(6000.0)]);
    assert_eq!(window.column(&view.history.host, Series::Stalls), [None, Some(0.1), Some(0.1)]);
    assert_eq!(window.newest(&view.history.host, Series::Memory), None);
}

#[test]
fn two_tracks_that_are_merged_are_added() {
    let track = |first, memory: &[f32]| {
        let mut points = Points::new(first, &[5; COUNT], None);
        points.now = [UNKNOWN; COUNT];
        memory.iter().enumerate().for_each(|(at, value)| points.columns.write(first + at as u64, &[*value]));
        Track(Some(Box::new(points)))
    };
    let mut one = track(1, &[2.0]);
    one.absorb(track(0, &[8.0, 4.0]));
    assert_eq!([0, 1].map(|at| one.get(at, Series::Memory)), [Some(8.0), Some(6.0)]);
    let points = one.0.unwrap();
    assert_eq!((points.before[3], points.now[3]), (10, UNKNOWN));
    let mut none = Track::default();
    none.absorb(track(0, &[1.0, 1.0]));
    assert_eq!(none.get(1, Series::Memory), Some(1.0));
}
