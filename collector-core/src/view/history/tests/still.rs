//! Workloads that a tick does not look at have the history, and the numbers, that they would have if every tick looked at all of them.

use proptest::prelude::*;

use super::super::*;
use super::SECOND;
use crate::cgroup::Id;
use crate::engine::test::start;
use crate::sample::{Probe, ProbeState, Start, Usage};
use crate::statistic::workload::{Statistic, Values};
use crate::tier::{Entry, Quarter};
use crate::view::View;

const COUNT: u64 = 4;
const GRACE: u64 = 20 * SECOND;

/// What happens to a workload before a tick.
#[derive(Clone, Copy, Debug)]
enum Step {
    Nothing,
    /// Its memory and CPU time are read, and with `turn` the parts of memory too.
    Read {
        memory: u64,
        cpu: u64,
        turn: bool,
    },
    /// The same numbers again.
    Again,
    Faults(u64),
    Pins(i64),
    Used(u64),
    Dies,
    Born,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        40 => Just(Step::Nothing),
        2 => (0..3u64, 0..3u64, any::<bool>()).prop_map(|(memory, cpu, turn)| Step::Read { memory: memory << 20, cpu: cpu * SECOND, turn }),
        2 => Just(Step::Again),
        1 => (0..9u64).prop_map(Step::Faults),
        1 => (0..3i64).prop_map(Step::Pins),
        1 => (0..9u64).prop_map(Step::Used),
        1 => Just(Step::Dies),
        1 => Just(Step::Born),
    ]
}

struct Host {
    view: View,
    /// Looks at every workload at every tick.
    all: bool,
    read: [(u64, u64, bool); COUNT as usize],
    quarters: Vec<Quarter>,
}

fn id(workload: usize) -> Id {
    Id { hierarchy: 5, id: 100 + workload as u64 }
}

impl Host {
    fn new(all: bool, time: u64) -> Host {
        let mut view = View::default();
        let history = Some(Limits { memory_bytes: 32 << 20, workloads: 3 });
        view.start(time, &Start { workload_max: 10, workload_grace: GRACE, history, ..start() });
        let mut host = Host { view, all, read: Default::default(), quarters: Vec::new() };
        (0..COUNT as usize).for_each(|workload| host.born(time, workload));
        host
    }

    fn born(&mut self, time: u64, workload: usize) {
        let View { workloads, coverage, .. } = &mut self.view;
        workloads.born(id(workload), &format!("/w{workload}"), time, coverage);
    }

    fn step(&mut self, time: u64, workload: usize, step: Step) {
        let read = &mut self.read[workload];
        match step {
            Step::Nothing => return,
            Step::Read { memory, cpu, turn } => *read = (memory, read.1 + cpu, turn),
            Step::Again => {}
            Step::Faults(count) => {
                self.view.workloads.charge(Some(id(workload))).faults[collector_common::fault::word::MAJOR] += count;
                return;
            }
            Step::Pins(bytes) => {
                self.view.workloads.charge(Some(id(workload))).transfer.held[0] = bytes;
                return;
            }
            Step::Used(bytes) => {
                let usage = Usage { cgroup: id(workload), least: bytes, mean: bytes + 1, most: bytes + 2 };
                return self.view.workloads.used(&usage);
            }
            Step::Dies => return self.view.workloads.died(id(workload), time),
            Step::Born => return self.born(time, workload),
        }
        let (memory, cpu, turn) = *read;
        let numbers = [
            (Statistic::MemoryCurrent, memory),
            (Statistic::CpuUsage, cpu),
            (Statistic::Populated, u64::from(memory > 0)),
            (Statistic::MemoryAnon, memory / 2),
        ];
        let values: Values = numbers.into_iter().collect();
        self.view.workloads.measured(time, id(workload), &values, turn);
    }

    fn tick(&mut self, time: u64) {
        if self.all {
            self.view.known = None;
        }
        self.quarters.extend(self.view.tick(time));
        self.view.workloads.seen();
    }

    /// All that can be told of a workload: what it is, and numbers.
    fn told(&self, workload: usize) -> Option<(String, Vec<Option<f32>>)> {
        let View { history, workloads, .. } = &self.view;
        let found = workloads.find(&format!("/w{workload}"))?;
        let (mut text, mut numbers) = (String::new(), vec![found.cpu_pace().map(|it| it as f32)]);
        text += &format!("{} {:?}", found.is_shown(), found.gone_since());
        for series in Series::ALL {
            for tier in [Tier::Second, Tier::TenSeconds, Tier::Minute] {
                let values = history.values(&found.track, series, tier, |_| true);
                let times: Vec<_> = values.iter().map(|(time, _)| time).collect();
                text += &format!("\n{series:?} {tier:?} {:?} {times:?}", history.kept_from(&found.track, series, tier));
                numbers.extend(values.iter().flat_map(|(_, values)| values));
            }
            let extent = history.extent(&found.track, series, 0);
            numbers.extend([extent.map(|(mean, _)| mean as f32), extent.map(|(_, most)| most)]);
        }
        let open = history.open_quarter(&found.track);
        text += &format!("\n{:?}", open.as_ref().map(|open| open.time));
        numbers.extend(open.iter().flat_map(|open| open.values.as_flattened()));
        numbers.extend(open.map(|open| Some(f32::from(open.seconds))));
        Some((text, numbers))
    }

    fn told_of_host(&self) -> Vec<Vec<Option<f64>>> {
        let window = self.view.history.window(u64::MAX);
        Series::ALL.map(|series| window.column(&self.view.history.host, series)).to_vec()
    }
}

/// Sums are added up in another order, and coarse tiers have steps of a thousandth. A part of a second counts as one.
fn are_near(one: &[Option<f32>], other: &[Option<f32>]) -> bool {
    let near = |(one, other): (&Option<f32>, &Option<f32>)| match (one, other) {
        (Some(one), Some(other)) => {
            (one - other).abs() <= one.abs() * 0.002 || (one - other).abs() == 1.0 && *one > 2.0
        }
        (one, other) => one == other,
    };
    one.len() == other.len() && one.iter().zip(other).all(near)
}

/// When a quarter began, and of which workload an entry of it is.
type Named = (u64, Option<String>);

/// Which entries went to the disk, and their memory and seconds.
fn entries(quarters: &[Quarter]) -> (Vec<Named>, Vec<Option<f32>>) {
    let all = || quarters.iter().flat_map(|quarter| quarter.entries.iter().map(|entry| (quarter.time, entry)));
    let names = all().map(|(time, entry)| (time, entry.workload.as_deref().map(str::to_owned))).collect();
    let numbers = |entry: &Entry| {
        [0, 1, 2].map(|part| entry.row[0][part].value(Series::Memory)).into_iter().chain([Some(entry.seconds.into())])
    };
    (names, all().flat_map(|(_, entry)| numbers(entry).collect::<Vec<_>>()).collect())
}

fn is_same(ours: &Host, whole: &Host) -> Result<(), TestCaseError> {
    for workload in 0..COUNT as usize {
        let (Some((text, numbers)), Some((other, wanted))) = (ours.told(workload), whole.told(workload)) else {
            prop_assert_eq!(ours.told(workload).is_some(), whole.told(workload).is_some());
            continue;
        };
        prop_assert_eq!(text, other);
        let differ = numbers.iter().zip(&wanted).position(|(one, other)| one != other);
        prop_assert!(are_near(&numbers, &wanted), "{}: {:?} of {:?} {:?}", workload, differ, numbers, wanted);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn what_is_left_out_is_what_would_have_been_written(
        ticks in prop::collection::vec(
            (
                prop_oneof![40 => Just(1000i64), 4 => 950..1050i64, 1 => Just(100), 1 => 2_000..90_000i64, 1 => Just(-3_000)],
                prop::array::uniform4(step()),
                prop::bool::weighted(0.02),
            ),
            1..200,
        ),
    ) {
        let mut now = 1_700_000_005_000i64;
        let [mut ours, mut whole] = [false, true].map(|all| Host::new(all, now as u64 * 1_000_000));
        let mut left_out = 0;
        for (number, (elapsed, steps, probe)) in ticks.into_iter().enumerate() {
            now += elapsed;
            let time = now as u64 * 1_000_000;
            for host in [&mut ours, &mut whole] {
                steps.iter().enumerate().for_each(|(workload, step)| host.step(time, workload, *step));
                if probe {
                    let state = if number % 2 == 0 { ProbeState::Attached } else { ProbeState::Failed };
                    host.view.coverage.probe(&Probe { program: "fault_major".into(), state, reason: None });
                }
                host.tick(time);
            }
            left_out += (0..COUNT as usize).filter(|it| ours.view.workloads.is_left_out(&format!("/w{it}"))).count();
            if number % 7 == 0 {
                is_same(&ours, &whole)?;
            }
        }
        is_same(&ours, &whole)?;
        prop_assert_eq!(ours.told_of_host(), whole.told_of_host());
        let rest = |host: &Host| host.view.rest().into_iter().collect::<Vec<_>>();
        for (ours, whole) in [(rest(&ours), rest(&whole)), (ours.quarters, whole.quarters)] {
            let ((names, numbers), (others, wanted)) = (entries(&ours), entries(&whole));
            prop_assert_eq!(names, others);
            prop_assert!(are_near(&numbers, &wanted), "{:?} {:?}", numbers, wanted);
        }
        // Else it would show nothing.
        prop_assume!(left_out > 0);
    }
}
