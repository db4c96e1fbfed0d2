//! The last days, as an agent reads them from the files of an earlier one, and as its recording has them.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use collector::sink::history::file::Limits;
use collector::sink::history::thread::History;
use collector_core::engine::Engine;
use collector_core::past::{DAY_NS, midnight};
use collector_core::series::Series;
use collector_core::tier::{Code, Entry, KEPT, Quarter, ROUNDS, kept};
use collector_tests::agent::Agent;
use collector_tests::needs;
use collector_tests::require::is_root;
use collector_tests::scratch::scratch;

const WORKLOAD: &str = "docker/of-last-week";
const MIB: f32 = (1 << 20) as f32;

/// What an agent has written some days ago.
fn leave(journal: &Path, today: u64) {
    let limits = Limits {
        max_age: Duration::from_secs(90 * 86_400),
        max_bytes: 1 << 28,
        workloads: 1000,
        workloads_of_owner: 100,
    };
    let history = History::start(journal.to_owned(), limits).unwrap();
    for (back, memory) in [(9, 300.0), (8, 200.0), (2, 100.0)] {
        let entry = |workload: Option<&str>, memory: f32| {
            let mut row = [[Code::UNKNOWN; 3]; KEPT.len()];
            row[kept(Series::Memory).unwrap()] = ROUNDS.map(|round| Code::of(Series::Memory, memory * MIB, round));
            Entry { workload: workload.map(Into::into), owner: None, seconds: 900, row }
        };
        let entries = vec![entry(None, 9000.0), entry(Some(WORKLOAD), memory)];
        let time = today - back * DAY_NS;
        history.write(Quarter { time, entries, cards: Vec::new(), counts: Vec::new() });
    }
    history.close();
}

#[test]
fn the_days_of_before_are_known_soon_after_the_start_and_a_replay_knows_them_too() {
    needs!(is_root(), "loading eBPF programs needs root");
    let journal = scratch();
    let today = midnight(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64);
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
    let past = &engine.view().past;
    let days = past.workloads[WORKLOAD].days.iter();
    let days: Vec<_> = days.map(|day| (today - day.time, day.memory.map(|[.., most]| most), day.seconds)).collect();
    let peak = |mib: f32| Some(f64::from(mib * MIB));
    assert_eq!(days, [(9 * DAY_NS, peak(300.0), 900), (8 * DAY_NS, peak(200.0), 900), (2 * DAY_NS, peak(100.0), 900)]);
    assert_eq!(past.host.week.len(), collector_core::past::HOURS);
}

#[test]
fn without_a_history_there_is_none_of_the_last_days() {
    needs!(is_root(), "loading eBPF programs needs root");
    // What an earlier agent left is not read either.
    let journal = scratch();
    leave(&journal, midnight(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64));
    let mut agent = Agent::spawn("history.max_bytes = 0", |command| {
        command.env("HEADROOM_JOURNAL_DIR", &*journal);
    });
    agent.await_ready();
    agent.scrape_until("that nothing is known", |it| it.values("headroom_past_seconds", &[]) == [0.0]);
}
