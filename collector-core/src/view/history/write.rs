//! Writing the history: at every tick, for every workload. What is read of whom is here.

use collector_common::fault::word;
use collector_common::histogram;

use super::{APART_NS, History, KEPT, NOTHING, Point, Points, Track, UNKNOWN, place};
use crate::series::{COUNT, Kind, Series};
use crate::signal::block::Operation;
use crate::signal::transfer::{Direction, Memory};
use crate::signal::{Need, block, fault, reclaim, transfer};
use crate::statistic::gpu;
use crate::statistic::host::Statistic as OfHost;
use crate::statistic::workload::Statistic;
use crate::view::coverage::Coverage;
use crate::view::gpu::Gpus;
use crate::view::host::Host;
use crate::view::workload::Workload;

/// Which of the kernel's numbers this host has, for a zero of those that it has not is none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    stalls: bool,
    faults: bool,
    io: bool,
    /// To GPUs, and from them.
    copies: [bool; 2],
    pinned: bool,
}

impl Seen {
    pub(crate) fn of(coverage: &Coverage) -> Seen {
        let sees = |need: Need| coverage.sees(need);
        Seen {
            stalls: reclaim::STALLS.into_iter().any(sees),
            faults: sees(fault::MAJOR),
            io: sees(block::COMPLETED),
            copies: [Direction::HostToDevice, Direction::DeviceToHost].map(|to| sees(transfer::COPIES[to as usize])),
            pinned: sees(transfer::HELD[Memory::Pinned as usize]),
        }
    }
}

/// One tick's writing: to the host's track, and to that of each workload.
pub(crate) struct Write {
    place: usize,
    begun: u64,
    /// Whether the point before is done with, so that the numbers then are what growth is counted from.
    fresh: bool,
    /// Seconds since then; none at the first point.
    seconds: Option<f64>,
    seen: Seen,
    /// What the workloads make together.
    sums: [f64; COUNT],
    known: [bool; COUNT],
}

impl History {
    /// When the last tick was.
    pub(crate) fn last(&self) -> Option<u64> {
        (self.begun > self.first).then(|| self.times[place(self.begun - 1)])
    }

    /// Begins a tick. When the clock was set back, nobody knows any more when all the rest was.
    pub(crate) fn begin(&mut self, time: u64, seen: Seen) -> Write {
        let mut last = self.last();
        if last.is_some_and(|last| time < last) {
            (self.begun, self.done, last) = (self.begun + KEPT as u64, true, None);
            self.first = self.begun;
        }
        let fresh = self.done;
        if fresh {
            self.since = last;
            self.begun += 1;
        }
        let place = place(self.begun - 1);
        self.times[place] = time;
        let elapsed = self.since.map(|since| time.saturating_sub(since));
        self.done = elapsed.is_none_or(|elapsed| elapsed >= APART_NS);
        Write {
            place,
            begun: self.begun,
            fresh,
            seconds: elapsed.filter(|elapsed| *elapsed > 0).map(|elapsed| elapsed as f64 / 1e9),
            seen,
            sums: [0.0; COUNT],
            known: [false; COUNT],
        }
    }

    /// Ends it with the host's point.
    pub(crate) fn end(&mut self, write: Write, host: &Host, gpus: &Gpus) {
        let numbers = host_numbers(host, gpus, write.seen);
        let (sums, known) = (write.sums, write.known);
        let point = write.put(&mut self.host, numbers, UNKNOWN);
        // What no file says of the host as a whole is what the workloads did.
        for series in [Series::Read, Series::Write, Series::HostToDevice, Series::DeviceToHost, Series::Pinned] {
            let value = &mut point[series as usize];
            if value.is_nan() && known[series as usize] {
                *value = sums[series as usize] as f32;
            }
        }
    }
}

impl Write {
    /// Writes a workload's point. `vram` is what it holds of GPUs now; `alive`, whether it has any cgroup.
    pub(crate) fn workload(&mut self, workload: &mut Workload, alive: bool, vram: Option<u64>) {
        let numbers = workload_numbers(workload, alive, vram, self.seen);
        let point = *self.put(&mut workload.track, numbers, 0);
        for ((sum, known), value) in self.sums.iter_mut().zip(&mut self.known).zip(point) {
            if !value.is_nan() {
                *sum += f64::from(value);
                *known = true;
            }
        }
    }

    /// Writes a point. Counters that are unknown in a new track begin at `origin` if they are the agent's own.
    fn put<'t>(&self, track: &'t mut Track, numbers: [u64; COUNT], origin: u64) -> &'t mut Point {
        let points = track.0.get_or_insert_with(|| {
            let mut before = [UNKNOWN; COUNT];
            OWN.iter().for_each(|series| before[*series as usize] = origin);
            Box::new(Points { points: [NOTHING; KEPT], first: self.begun - 1, before, now: before })
        });
        if self.fresh {
            points.before = points.now;
        }
        points.now = numbers;
        let point = &mut points.points[self.place];
        for (index, series) in Series::ALL.into_iter().enumerate() {
            let (now, before) = (numbers[index], points.before[index]);
            let growth = || {
                let known = now != UNKNOWN && before != UNKNOWN && now >= before;
                self.seconds.filter(|_| known).map_or(f64::NAN, |seconds| (now - before) as f64 / seconds)
            };
            point[index] = match series.kind() {
                Kind::Gauge if now == UNKNOWN => f32::NAN,
                Kind::Gauge => now as f32,
                Kind::Rate(unit) => (growth() * unit) as f32,
                // Not `min`, which prefers a number to none.
                Kind::Share => (growth() / 1e9).clamp(0.0, 1.0) as f32,
            };
        }
        point
    }
}

/// Counted by the agent alone, from nothing: what a new workload has of them it has got since the tick before.
const OWN: [Series; 6] =
    [Series::Stalls, Series::MajorFaults, Series::Read, Series::Write, Series::HostToDevice, Series::DeviceToHost];

fn workload_numbers(workload: &Workload, alive: bool, vram: Option<u64>, seen: Seen) -> [u64; COUNT] {
    let (amounts, statistics) = (&workload.amounts, &workload.statistics);
    let known = |number: Option<u64>| number.unwrap_or(UNKNOWN);
    let level = |statistic| known(statistics.get(statistic).filter(|_| alive));
    let counter = |statistic| known(statistics.get(statistic));
    let only = |seen: bool, number: u64| if seen { number } else { UNKNOWN };
    let io = |operation: Operation, statistic| match seen.io {
        true => amounts.block[operation as usize].bytes,
        false => counter(statistic),
    };
    let mut numbers = [UNKNOWN; COUNT];
    let mut put = |series: Series, number| numbers[series as usize] = number;
    put(Series::Memory, level(Statistic::MemoryCurrent));
    put(Series::Swap, level(Statistic::MemorySwap));
    put(Series::MemoryWaiting, counter(Statistic::MemoryPressureSome));
    put(Series::MemoryStalled, counter(Statistic::MemoryPressureFull));
    put(Series::IoWaiting, counter(Statistic::IoPressureSome));
    put(Series::IoStalled, counter(Statistic::IoPressureFull));
    let reclaim = amounts.reclaim.iter().map(|reclaim| reclaim.ns).fold(amounts.compaction.ns, u64::saturating_add);
    put(Series::Stalls, only(seen.stalls, reclaim));
    put(Series::MajorFaults, only(seen.faults, amounts.faults[word::MAJOR]));
    put(Series::Read, io(Operation::Read, Statistic::IoReadBytes));
    put(Series::Write, io(Operation::Write, Statistic::IoWriteBytes));
    let [to, from, _] = amounts.transfer.bytes;
    put(Series::HostToDevice, only(seen.copies[0], to));
    put(Series::DeviceToHost, only(seen.copies[1], from));
    put(Series::Vram, known(vram));
    put(Series::Pinned, only(seen.pinned && alive, amounts.transfer.bytes_held(Memory::Pinned)));
    numbers
}

fn host_numbers(host: &Host, gpus: &Gpus, seen: Seen) -> [u64; COUNT] {
    let get = |statistic| host.statistics.get(statistic);
    let used = |total, free| get(total).zip(get(free)).map(|(total, free)| total.saturating_sub(free));
    let mut numbers = [UNKNOWN; COUNT];
    let mut put = |series: Series, number: Option<u64>| numbers[series as usize] = number.unwrap_or(UNKNOWN);
    put(Series::Memory, used(OfHost::MemoryTotal, OfHost::MemoryAvailable));
    put(Series::Swap, used(OfHost::SwapTotal, OfHost::SwapFree));
    put(Series::MemoryWaiting, get(OfHost::MemoryPressureSome));
    put(Series::MemoryStalled, get(OfHost::MemoryPressureFull));
    put(Series::IoWaiting, get(OfHost::IoPressureSome));
    put(Series::IoStalled, get(OfHost::IoPressureFull));
    let times = host.reclaim.iter().chain([&host.compaction]).map(|histogram| histogram[histogram::SUM]);
    put(Series::Stalls, seen.stalls.then(|| times.fold(0, u64::saturating_add)));
    put(Series::MajorFaults, get(OfHost::MajorPageFaults));
    let cards = || gpus.iter().filter(|gpu| gpu.device.parent.is_none());
    let sum = |statistic| {
        let known = cards().filter_map(|gpu| gpu.values.get(statistic));
        known.fold(None, |sum: Option<u64>, more| Some(sum.unwrap_or(0).saturating_add(more)))
    };
    put(Series::HostToDevice, sum(gpu::Statistic::HostToDevice));
    put(Series::DeviceToHost, sum(gpu::Statistic::DeviceToHost));
    put(Series::Vram, sum(gpu::Statistic::MemoryUsed));
    numbers
}
