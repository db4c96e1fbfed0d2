//! Publisher and readers without a kernel: a fake fold loop that answers when the test says so.

use collector_core::api::workloads::Summary;
use collector_core::cgroup::Id;
use collector_core::engine::Engine;
use collector_core::sample::Start;
use collector_core::sample::{Lost, Probe, ProbeState, Reading, Sample};
use collector_core::signal::{cgroup, fault};
use collector_core::stage::Stage;

use super::*;
use crate::exposition::Format;

const TICK: u64 = 1_000_000_000;

const ID: Id = Id { hierarchy: 5, id: 77 };

/// An engine that knows the cgroup [`ID`] at `/a`.
fn engine() -> Engine {
    let mut engine = Engine::new();
    let start = Start {
        version: "0.1.0".into(),
        kernel: "6.18.0".into(),
        memory_hierarchy: ID.hierarchy,
        io_hierarchy: ID.hierarchy,
        workload_max: 3,
        workload_grace: 60_000_000_000,
        own: None,
        history: None,
        level: None,
        starved: None,
        leak: None,
        controllers: None,
    };
    for reading in [Reading::Start(start), Reading::Cgroup(cgroup::Reading::Born { id: ID, path: "/a".into() })] {
        engine.apply(&Sample { time: 10, reading });
    }
    engine
}

struct Fake {
    engine: Engine,
    publisher: Publisher,
    asks: mpsc::Receiver<Ask>,
    snapshots: Arc<Snapshots>,
    left_out: Arc<AtomicU64>,
    time: u64,
}

impl Fake {
    fn new(max_series: usize) -> Fake {
        let left_out = Arc::<AtomicU64>::default();
        let cap = Cap { series: max_series, ..Cap::NONE };
        let beside = Beside { cap, left_out: left_out.clone(), ..Beside::default() };
        let (mut publisher, asks, snapshots) = channel(TICK, beside);
        // Else a slow machine would make some snapshots too old.
        publisher.fresh_ns = u64::MAX;
        Fake { engine: engine(), publisher, asks, snapshots: Arc::new(snapshots), left_out, time: 100 }
    }

    fn apply(&mut self, reading: Reading) {
        self.time += 1;
        self.engine.apply(&Sample { time: self.time, reading });
    }

    /// One round of readings.
    fn tick(&mut self) {
        self.publisher.release();
        self.apply(Reading::Tick);
        self.publisher.ticked();
    }

    /// Answers all waiting requests.
    fn answer(&mut self) -> usize {
        let waiting: Vec<Ask> = std::iter::from_fn(|| self.asks.try_recv().ok()).collect();
        let count = waiting.len();
        waiting.into_iter().for_each(|ask| self.publisher.answer(ask, self.engine.view()));
        count
    }

    /// A reader's snapshot, and how often it had to ask the fold loop for it.
    async fn read(&mut self) -> (Arc<Snapshot>, usize) {
        let reader = tokio::spawn({
            let snapshots = self.snapshots.clone();
            async move { snapshots.current().await.unwrap() }
        });
        tokio::task::yield_now().await;
        let asked = self.answer();
        (reader.await.unwrap(), asked)
    }
}

#[tokio::test]
async fn readers_share_one_snapshot_per_tick() {
    let mut fold = Fake::new(1000);
    fold.tick();
    let (first, asked) = fold.read().await;
    assert_eq!((first.tick, asked), (1, 1));
    // A sample between two ticks is folded, but visible only after the next tick.
    fold.apply(Reading::Tick);
    let (second, asked) = fold.read().await;
    assert_eq!(asked, 0, "while a reader holds the snapshot, the fold loop is not asked");
    assert!(Arc::ptr_eq(&first, &second));
    drop((first, second));
    let (third, asked) = fold.read().await;
    assert_eq!((third.tick, third.view.time, asked), (1, 101, 0), "the fold loop keeps it until the next round");
    drop(third);
    fold.tick();
    let (next, asked) = fold.read().await;
    assert_eq!((next.tick, next.view.time, asked), (2, 103, 1));
}

#[tokio::test]
async fn within_a_long_tick_an_old_snapshot_is_replaced() {
    let mut fold = Fake::new(1000);
    fold.publisher.fresh_ns = 0;
    fold.tick();
    let (first, _) = fold.read().await;
    fold.apply(Reading::Tick);
    let (second, asked) = fold.read().await;
    assert_eq!((first.tick, second.tick, asked), (1, 1, 1));
    assert_eq!((first.view.time, second.view.time), (101, 102));
}

#[tokio::test]
async fn a_slow_reader_blocks_neither_the_fold_nor_other_readers() {
    let mut fold = Fake::new(1000);
    fold.tick();
    // As if a client rendered it all the time.
    let (held, _) = fold.read().await;
    let before = Summary::of(&held.view);
    for tick in 2..50 {
        fold.tick();
        assert_eq!(fold.engine.view().time, fold.time);
        let (snapshot, _) = fold.read().await;
        assert_eq!((snapshot.tick, snapshot.view.time), (tick, fold.time));
    }
    assert_eq!(Summary::of(&held.view), before);
}

#[tokio::test]
async fn the_view_is_copied_at_most_once_per_tick_and_only_if_requested() {
    let mut fold = Fake::new(1000);
    fold.tick();
    let address = |fold: &Fake| Arc::as_ptr(fold.engine.view());
    let before = address(&fold);
    let (held, _) = fold.read().await;
    assert_eq!(Arc::as_ptr(&held.view), before, "a snapshot is a reference, not a copy");
    fold.apply(Reading::Tick);
    let copy = address(&fold);
    assert_ne!(copy, before);
    (0..9).for_each(|_| fold.apply(Reading::Tick));
    drop(fold.read().await);
    fold.tick();
    assert_eq!(address(&fold), copy, "one copy per tick, even if a reader holds the old state");
    drop(held);
    let (snapshot, _) = fold.read().await;
    drop(snapshot);
    fold.tick();
    assert_eq!(address(&fold), copy, "no reader holds it when the round begins: nothing is copied");
}

#[tokio::test]
async fn metrics_and_workloads_of_one_tick_agree() {
    let mut fold = Fake::new(1000);
    fold.tick();
    let turns = Arc::new(tokio::sync::Semaphore::new(2));
    let mut bodies = Vec::new();
    for page in [Page::Metrics(Format::Text), Page::Api(Read::Workloads), Page::Metrics(Format::Text)] {
        let (snapshot, _) = fold.read().await;
        let (pages, render) = (snapshot.pages.clone(), snapshot.clone());
        let (permit, rendered) = (turns.clone().acquire_owned().await.unwrap(), page.clone());
        let render = move || http::Snapshot::render(&*render, &rendered);
        let body = pages.plain(&page, permit, render, &http::Turns::default(), |bytes| bytes).await.unwrap();
        bodies.push(body.bytes);
        // Visible after the next tick.
        fold.apply(Reading::Lost(Lost { stage: Stage::Slot, count: 7 }));
    }
    assert_eq!(bodies[0].as_ptr(), bodies[2].as_ptr(), "one body for all");
    let text = String::from_utf8(bodies[0].to_vec()).unwrap();
    assert!(!text.contains("headroom_lost_total{stage=\"slot\"} 7"), "{text}");
    let summary: Summary = serde_json::from_slice(&bodies[1]).unwrap();
    assert_eq!(summary.time, 101);
    let (snapshot, _) = fold.read().await;
    assert_eq!(summary, Summary::of(&snapshot.view));
}

#[tokio::test]
async fn left_out_series_are_counted_once_per_body() {
    let mut fold = Fake::new(1);
    for program in ["fault_user", "fault_kernel"] {
        let probe = Probe { program: program.into(), state: ProbeState::Attached, reason: None };
        fold.apply(Reading::Probe(probe));
    }
    fold.apply(Reading::Fault(fault::Reading::Counts { cgroup: Some(ID), counts: [1; 8] }));
    fold.tick();
    let (snapshot, _) = fold.read().await;
    let turns = Arc::new(tokio::sync::Semaphore::new(2));
    let page = Page::Metrics(Format::OpenMetrics);
    let mut counts = Vec::new();
    for _ in 0..3 {
        let (render, rendered) = (snapshot.clone(), page.clone());
        let permit = turns.clone().acquire_owned().await.unwrap();
        let render = move || http::Snapshot::render(&*render, &rendered);
        snapshot.pages.plain(&page, permit, render, &http::Turns::default(), |bytes| bytes).await.unwrap();
        counts.push(fold.left_out.load(Ordering::Relaxed));
    }
    assert!(counts[0] > 0 && counts.iter().all(|count| *count == counts[0]), "{counts:?}");
}

#[tokio::test]
async fn health_never_waits_and_without_a_fold_loop_there_is_no_snapshot() {
    let mut fold = Fake::new(1000);
    assert!(fold.snapshots.ready().is_err() && fold.snapshots.healthy().is_ok());
    let started = fold.snapshots.pulse.ended.swap(0, Ordering::Relaxed);
    assert!(fold.snapshots.healthy().is_err() || clock::monotonic_ns() < START_NS, "the first readings began at boot");
    fold.snapshots.pulse.ended.store(started, Ordering::Relaxed);
    // Before the first tick there is a state, though incomplete.
    assert_eq!(fold.read().await.0.tick, 0);
    fold.tick();
    assert_eq!((fold.snapshots.ready(), fold.snapshots.healthy()), (Ok(()), Ok(())));
    fold.snapshots.pulse.ended.store(1, Ordering::Relaxed);
    assert!(fold.snapshots.healthy().is_err(), "the last round was at boot");
    let Fake { snapshots, asks, publisher, .. } = fold;
    let reader = tokio::spawn(async move { snapshots.current().await.is_none() });
    tokio::task::yield_now().await;
    drop((asks, publisher));
    assert!(reader.await.unwrap());
}
