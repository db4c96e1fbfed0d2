//! What a tick over cgroups in which nothing happens costs beside reading the same files naively: printed, since time differs from
//! machine to machine.

use std::fs;

use collector::config::Config;
use collector::source::cgroup::Hierarchies;
use collector::source::kernel::Kernel;
use collector::source::root::Root;
use collector::source::statistic::file::{FILES, Pace};

use crate::pass::calm;

/// CPU time of this thread in milliseconds.
fn cpu_ms() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as f64 * 1e3 + time.tv_nsec as f64 / 1e6
}

#[test]
#[ignore = "cargo xtask bench --vm KERNEL: it prints what it measures"]
fn a_tick_beside_reading_its_files() {
    let pass = Kernel::open(&Config::default()).unwrap().take_pass().expect("this kernel cannot iterate over cgroups");
    const MANY: usize = 400;
    const PERIOD: usize = 10;
    let (forest, mut passed, born) = calm(pass, MANY, PERIOD as u64);
    (0..3 * PERIOD).for_each(|_| passed.tick());
    let hierarchies = Hierarchies::find(&Root::default()).unwrap();
    let naive = |turn: usize| {
        let files = FILES.iter().filter(|file| file.v2 == forest.is_v2());
        for (file, hierarchy) in files.filter_map(|file| Some((file, hierarchies.of(file.controller)?))) {
            let at_turn = matches!(file.pace, Pace::Turn | Pace::Empty);
            for (number, (_, path)) in born.iter().enumerate() {
                if !at_turn || (number + turn).is_multiple_of(PERIOD) {
                    let _ = fs::read(hierarchy.root.join(&path[1..]).join(file.name.to_str().unwrap()));
                }
            }
        }
    };
    let mut ratios = Vec::new();
    for turn in 0..2 * PERIOD {
        let begun = cpu_ms();
        naive(turn);
        let between = cpu_ms();
        passed.tick();
        ratios.push((between - begun) / (cpu_ms() - between));
    }
    ratios.sort_by(f64::total_cmp);
    let [low, middle, high] = [PERIOD / 2, PERIOD, 3 * PERIOD / 2].map(|at| ratios[at]);
    println!(
        "a tick over {MANY} cgroups is {middle:.1} ({low:.1} … {high:.1}) times cheaper than open, read, close of the same files"
    );
}
