//! What the history costs: allocations of a tick, bytes on the heap, and what a snapshot makes the next tick copy. The allocator is
//! the witness.

use collector_core::cgroup::Id;
use collector_core::engine::Engine;
use collector_core::sample::{Reading, Sample, Start, Statistics};
use collector_core::signal::cgroup;
use collector_core::statistic::workload::Statistic;
use collector_core::statistic::{Kind, Statistic as _};
use collector_tests::{allocation, alone};

const SECOND: u64 = 1_000_000_000;
const WORKLOADS: u64 = 50;

struct Host {
    engine: Engine,
    second: u64,
}

impl Host {
    fn new() -> Host {
        let mut host = Host { engine: Engine::new(), second: 900_000 };
        let start = Start {
            version: "0.1.0".into(),
            kernel: "6.18.0".into(),
            memory_hierarchy: 0,
            io_hierarchy: 0,
            workload_max: 1000,
            workload_grace: 60 * SECOND,
            own: None,
            history: None,
            level: None,
            starved: None,
            leak: None,
            controllers: None,
        };
        host.apply(Reading::Start(start));
        for id in 1..=WORKLOADS {
            let path = format!("/system.slice/w{id}.service");
            host.apply(Reading::Cgroup(cgroup::Reading::Born { id: Id { hierarchy: 0, id }, path }));
        }
        host.tick();
        host
    }

    fn apply(&mut self, reading: Reading) {
        drop(self.engine.apply(&Sample { time: self.second * SECOND, reading }));
    }

    /// Every number of every workload changes. Returns the allocations of the tick alone.
    fn tick(&mut self) -> u64 {
        self.second += 1;
        for id in 1..=WORKLOADS {
            let noise = (self.second * 7919 + id).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 44;
            let of = |statistic: &Statistic| match statistic.kind() {
                // Another limit is a change that is remembered.
                Kind::Limit => 1 << 50,
                Kind::Counter => self.second * 1_000_000 + noise,
                Kind::Gauge => (1 << 30) + noise,
            };
            let values = Statistic::ALL.iter().map(|it| (*it, of(it))).collect();
            self.apply(Reading::Statistics(Statistics { cgroup: Id { hierarchy: 0, id }, values, turn: true }));
        }
        let before = allocation::count();
        self.apply(Reading::Tick);
        allocation::count() - before
    }

    fn ticked(&mut self) {
        self.tick();
    }

    fn bytes(&self) -> u64 {
        self.engine.view().history.usage().bytes
    }
}

#[test]
fn a_tick_allocates_nothing_unless_it_completes_a_chunk() {
    let mut host = Host::new();
    (0..400).for_each(|_| host.ticked());
    // Two quarters of an hour begin in this, and go to the disk's tier.
    let allocating = (0..1800).filter(|_| host.tick() > 0).count();
    // 32 points make a chunk; 32 times ten seconds and 32 minutes do, too.
    // Once a minute advice is judged.
    let most = 1800usize.div_ceil(32) + 1800usize.div_ceil(320) + 1 + 2 + 1800 / 60;
    assert!((50..=most).contains(&allocating), "{allocating}");
}

#[test]
fn its_bytes_are_those_that_the_allocator_gave() {
    alone!();
    let mut host = Host::new();
    // It is looked at every ten seconds.
    (0..20).for_each(|_| host.ticked());
    let before = host.bytes();
    let grown = allocation::peak(|| (0..700).for_each(|_| host.ticked())) as u64;
    let counted = host.bytes() - before;
    // What is freed while a chunk is made is in the peak; so are alerts, of which there are none.
    assert!(counted <= grown && grown <= counted + counted / 4, "{counted} of {grown}");
    assert!(counted > WORKLOADS * (10 << 10), "{counted}");
}

#[test]
fn whoever_holds_a_snapshot_shares_what_is_complete() {
    alone!();
    let mut host = Host::new();
    (0..700).for_each(|_| host.ticked());
    let held = host.engine.view().clone();
    let time = host.second * SECOND + 1;
    let copied = allocation::peak(|| drop(host.engine.apply(&Sample { time, reading: Reading::Tick }))) as u64;
    let all = host.bytes();
    // The open rows, and the workloads themselves: with a minute of points that was more.
    assert!(copied < WORKLOADS * (8 << 10) && copied < all / 3, "{copied} {all}");
    assert_eq!(held.time, host.second * SECOND);
}
