//! The last days, as an agent reads them from the files of an earlier one, and as its recording has them.

use std::path::Path;

use collector::clock::unix_ns;
use collector_core::engine::Engine;
use collector_core::past::{DAY_NS, midnight};
use collector_core::series::Series;
use collector_tests::agent::Agent;
use collector_tests::needs;
use collector_tests::past;
use collector_tests::require::is_root;
use collector_tests::scratch::scratch;

const WORKLOAD: &str = "docker/of-last-week";
const MIB: f32 = (1 << 20) as f32;

/// What an agent has written some days ago.
fn leave(journal: &Path, today: u64) {
    let days = [(9, 300.0), (8, 200.0), (2, 100.0)].map(|(back, mib)| (today - back * DAY_NS, mib));
    past::leave(journal, None, days.map(|(time, _)| time), |_| vec![(Series::Memory, 9000.0 * MIB)]);
    let of = |time| days.iter().find(|(day, _)| *day == time).unwrap().1;
    past::leave(journal, Some(WORKLOAD), days.map(|(time, _)| time), |time| vec![(Series::Memory, of(time) * MIB)]);
}

#[test]
fn the_days_of_before_are_known_soon_after_the_start_and_a_replay_knows_them_too() {
    needs!(is_root(), "loading eBPF programs needs root");
    let journal = scratch();
    let today = midnight(unix_ns());
    leave(&journal, today);
    let mut agent = Agent::spawn("", |command| {
        command.env("HEADROOM_JOURNAL_DIR", &*journal);
    });
    agent.await_ready();
    agent.scrape_until("the last days", |it| {
        // The agent itself may have written of today by now.
        let known = it.values("headroom_past_seconds", &[]);
        let workloads = it.values("headroom_past_workloads", &[]);
        known.first().is_some_and(|known| (2700.0..3600.0).contains(known))
            && workloads.first().is_some_and(|count| *count >= 1.0)
    });
    let mut engine = Engine::new();
    for sample in agent.stop() {
        engine.apply(&sample);
    }
    let known = &engine.view().past;
    let days = known.workloads[WORKLOAD].days.iter();
    let days: Vec<_> = days.map(|day| (today - day.time, day.memory.map(|[.., most]| most), day.seconds)).collect();
    let peak = |mib: f32| Some(f64::from(mib * MIB));
    assert_eq!(days, [(9 * DAY_NS, peak(300.0), 900), (8 * DAY_NS, peak(200.0), 900), (2 * DAY_NS, peak(100.0), 900)]);
    assert_eq!(known.host.week.len(), collector_core::past::HOURS);
}

#[test]
fn without_a_history_there_is_none_of_the_last_days() {
    needs!(is_root(), "loading eBPF programs needs root");
    // What an earlier agent left is not read either.
    let journal = scratch();
    leave(&journal, midnight(unix_ns()));
    let mut agent = Agent::spawn("history.max_bytes = 0", |command| {
        command.env("HEADROOM_JOURNAL_DIR", &*journal);
    });
    agent.await_ready();
    agent.scrape_until("that nothing is known", |it| it.values("headroom_past_seconds", &[]) == [0.0]);
}
