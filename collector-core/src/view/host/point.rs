//! The numbers of the host that the history keeps.

use collector_common::histogram;

use super::Host;
use crate::count;
use crate::series::{COUNT, Series};
use crate::statistic::gpu;
use crate::statistic::host::Statistic;
use crate::view::gpu::Gpus;
use crate::view::history::UNKNOWN;

impl Host {
    /// Its numbers at a tick. `stalls`: reclaim is observed.
    pub(crate) fn point(&self, gpus: &Gpus, stalls: bool) -> [u64; COUNT] {
        let get = |statistic| self.statistics.get(statistic);
        let used = |total, free| get(total).zip(get(free)).map(|(total, free)| total.saturating_sub(free));
        let mut numbers = [UNKNOWN; COUNT];
        let mut put = |series: Series, number: Option<u64>| numbers[series as usize] = number.unwrap_or(UNKNOWN);
        put(Series::Memory, self.memory().map(|memory| memory.total - memory.available));
        put(Series::MemoryLimit, self.memory().map(|memory| memory.total));
        put(Series::Anon, get(Statistic::MemoryAnon));
        put(Series::File, get(Statistic::MemoryCached));
        put(Series::Shmem, get(Statistic::MemoryShmem));
        let tables = get(Statistic::MemoryPageTables).unwrap_or(0);
        put(Series::Kernel, get(Statistic::MemorySlab).map(|slab| slab.saturating_add(tables)));
        put(Series::Swap, used(Statistic::SwapTotal, Statistic::SwapFree));
        put(Series::MemoryWaiting, get(Statistic::MemoryPressureSome));
        put(Series::MemoryStalled, get(Statistic::MemoryPressureFull));
        put(Series::IoWaiting, get(Statistic::IoPressureSome));
        put(Series::IoStalled, get(Statistic::IoPressureFull));
        let times = self.reclaim.iter().chain([&self.compaction]).map(|histogram| histogram[histogram::SUM]);
        put(Series::Stalls, stalls.then(|| count::sum(times)));
        put(Series::MajorFaults, get(Statistic::MajorPageFaults));
        let cards = || gpus.iter().filter(|gpu| gpu.device.parent.is_none());
        let sum = |statistic| {
            let known = cards().filter_map(|gpu| gpu.values.get(statistic));
            known.fold(None, |sum: Option<u64>, more| Some(sum.unwrap_or(0).saturating_add(more)))
        };
        put(Series::HostToDevice, sum(gpu::Statistic::HostToDevice));
        put(Series::DeviceToHost, sum(gpu::Statistic::DeviceToHost));
        put(Series::Vram, sum(gpu::Statistic::MemoryUsed));
        put(Series::Cpu, self.busy_ns());
        numbers
    }

    /// CPU time in which a CPU was neither idle nor waiting for IO, summed over the CPUs, in nanoseconds.
    pub(crate) fn busy_ns(&self) -> Option<u64> {
        let get = |statistic| self.statistics.get(statistic);
        get(Statistic::CpuUser)?;
        let busy = [
            Statistic::CpuUser,
            Statistic::CpuNice,
            Statistic::CpuSystem,
            Statistic::CpuIrq,
            Statistic::CpuSoftirq,
            Statistic::CpuSteal,
            Statistic::CpuGuest,
            Statistic::CpuGuestNice,
        ];
        Some(count::sum(busy.into_iter().filter_map(get)))
    }
}
