//! Where each fact is read in the view. Decides nothing.

use super::fact::Fact;
use super::node;
use super::trail::Raw;
use crate::statistic::contention;
use crate::statistic::gpu::{Holder, POWER_CAPPED, Statistic as OfGpu, THROTTLED};
use crate::statistic::host::Statistic as OfHost;
use crate::statistic::model::{Statistic as OfModel, Values as Model, WHOLE};
use crate::statistic::network::Statistic as OfNetwork;
use crate::statistic::workload::Statistic;
use crate::statistic::{disk, host};
use crate::view::View;
use crate::view::gpu::Gpu;
use crate::view::number::{Known, Number};
use crate::view::workload::Workload;

/// A GPU is busy from this utilization on, in percent.
const BUSY: u64 = 5;

/// A workload, and what is read of it because it is watched.
pub(super) fn of_workload(
    view: &View,
    known: Known,
    workload: &Workload,
    (close, nodes): (&contention::Values, &[contention::Node]),
    fact: Fact,
) -> Option<Raw> {
    let one = |number: Option<u64>| number.map(plain);
    let close = |statistic| close.get(statistic);
    let own = |statistic| workload.statistics.get(statistic);
    let number = |number: Number| number.of(workload, known);
    // Without a network namespace of its own nothing is counted for it.
    let traffic = |statistic: OfNetwork| Some(workload.amounts.network[statistic as usize]).filter(|bytes| *bytes > 0);
    let gpus = || view.gpus.iter().filter(|gpu| holds(view, gpu, workload));
    match fact {
        Fact::Cpu => one(own(Statistic::CpuUsage)),
        Fact::CpuQuota => close(contention::Statistic::CpuQuota).map(|quota| (quota as f64 / 1e3, f64::NAN)),
        Fact::CpuThrottled => {
            let close = close(contention::Statistic::CpuThrottledPeriods).zip(close(contention::Statistic::CpuPeriods));
            pair(close.or_else(|| own(Statistic::CpuThrottledPeriods).zip(own(Statistic::CpuPeriods))))
        }
        Fact::CpuWait => one(close(contention::Statistic::CpuWait)),
        Fact::CpuWaiting => one(own(Statistic::CpuPressureSome)),
        Fact::Tasks => one(close(contention::Statistic::Tasks)),
        Fact::Memory => one(number(Number::Memory)),
        Fact::MemoryLimit => one(number(Number::Limit)),
        Fact::MemoryHigh => one(number(Number::High)),
        Fact::File => one(number(Number::File)),
        Fact::Swap => one(number(Number::Swap)),
        Fact::MemoryWaiting => one(own(Statistic::MemoryPressureSome)),
        Fact::IoWaiting => one(own(Statistic::IoPressureSome)),
        Fact::Reclaim => one(number(Number::ReclaimStall)),
        Fact::Compaction => one(number(Number::CompactionStall)),
        Fact::HighEvents => one(own(Statistic::MemoryEventHigh)),
        Fact::LimitEvents => one(own(Statistic::MemoryEventMax)),
        Fact::MajorFaults => one(close(contention::Statistic::MajorFaults).or(number(Number::MajorFaults))),
        Fact::RefaultFile => one(close(contention::Statistic::RefaultFile)),
        Fact::RefaultAnon => one(close(contention::Statistic::RefaultAnon)),
        Fact::Read => one(number(Number::BlockRead)),
        Fact::Written => one(number(Number::BlockWritten)),
        Fact::DirtyWait => one(number(Number::DirtyWait)),
        Fact::ToGpu => one(number(Number::HostToDevice)),
        Fact::FromGpu => one(number(Number::DeviceToHost)),
        Fact::Pinned => one(number(Number::Pinned)),
        Fact::Received => one(traffic(OfNetwork::ReceiveBytes)),
        Fact::Sent => one(traffic(OfNetwork::TransmitBytes)),
        Fact::GpuUtilization => {
            let (sum, count) = gpus()
                .filter_map(|gpu| gpu.values.get(OfGpu::Utilization))
                .fold((0, 0), |(sum, count), it| (sum + it, count + 1));
            (count > 0).then(|| (sum as f64 / f64::from(count) / 100.0, f64::NAN))
        }
        Fact::GpuOthers => others(view, gpus(), workload),
        Fact::GpuClock => one(gpus().filter_map(|gpu| gpu.values.get(OfGpu::ClockSm)).min()),
        Fact::GpuThrottled => reduced(gpus(), THROTTLED),
        Fact::GpuPowerCapped => reduced(gpus(), POWER_CAPPED),
        Fact::PcieLink => least(gpus().filter(|gpu| is_busy(gpu)).filter_map(link_ratio)),
        Fact::PcieUsed => most(gpus().filter_map(link_used)),
        Fact::PcieReplays => {
            one(gpus().filter_map(|gpu| gpu.values.get(OfGpu::PcieReplays)).reduce(u64::saturating_add))
        }
        Fact::RemoteMemory => node::remote_memory(nodes, gpus()).map(|share| (share, f64::NAN)),
        Fact::RemoteCpus => node::remote_cpus(nodes, gpus()).map(|remote| (f64::from(u8::from(remote)), f64::NAN)),
        _ => None,
    }
}

pub(super) fn of_model(values: &Model, fact: Fact) -> Option<Raw> {
    let one = |statistic| values.get(statistic).map(plain);
    match fact {
        Fact::Running => one(OfModel::RequestsRunning),
        Fact::Waiting => one(OfModel::RequestsWaiting),
        Fact::Slots => one(OfModel::Slots),
        Fact::KvUsed => values.get(OfModel::KvUsed).map(|used| (used as f64 / WHOLE as f64, f64::NAN)),
        Fact::Preemptions => one(OfModel::Preemptions),
        Fact::Retracted => one(OfModel::RetractedTokens),
        Fact::Generated => one(OfModel::GeneratedTokens),
        Fact::Prompt => one(OfModel::PromptTokens),
        Fact::PrefixHits => pair(values.get(OfModel::PrefixHits).zip(values.get(OfModel::PrefixLookups))),
        Fact::Offload => {
            let ways = [OfModel::OffloadStored, OfModel::OffloadLoaded];
            ways.into_iter().filter_map(|way| values.get(way)).reduce(u64::saturating_add).map(plain)
        }
        _ => None,
    }
}

pub(super) fn of_host(view: &View, fact: Fact) -> Option<Raw> {
    let host = &view.host;
    let get = |statistic| host.statistics.get(statistic);
    let one = |statistic| get(statistic).map(plain);
    match fact {
        Fact::HostCpuBusy => {
            let steal = host::average(&host.statistics, &[OfHost::CpuSteal]).unwrap_or(0);
            host::average_busy(&host.statistics).map(|busy| plain(busy.saturating_sub(steal)))
        }
        Fact::HostSteal => get(OfHost::CpuSteal).and(host::average(&host.statistics, &[OfHost::CpuSteal])).map(plain),
        Fact::HostCpuWaiting => one(OfHost::CpuPressureSome),
        Fact::HostAvailable => host.memory().map(|memory| (memory.available_ratio(), f64::NAN)),
        Fact::HostMemoryWaiting => one(OfHost::MemoryPressureSome),
        Fact::HostIoWaiting => one(OfHost::IoPressureSome),
        Fact::HostReclaimed => {
            get(OfHost::ReclaimedKswapd)?;
            Some(plain(host::sum(&host.statistics, &[OfHost::ReclaimedKswapd, OfHost::ReclaimedDirect])))
        }
        Fact::HostSwapIn => one(OfHost::SwapIn),
        Fact::HostSwapOut => one(OfHost::SwapOut),
        Fact::DiskBusy => busiest_disk(view).map(|(_, busy)| (busy, f64::NAN)),
        Fact::DiskService => {
            use disk::Statistic::{ReadTime, Reads, WriteTime, Writes};
            let sum = |one, two| {
                let all = host.disks.values().flat_map(|values| [values.get(one), values.get(two)]);
                all.flatten().fold(0u64, u64::saturating_add)
            };
            (!host.disks.is_empty()).then(|| (sum(ReadTime, WriteTime) as f64 / 1e9, sum(Reads, Writes) as f64))
        }
        Fact::NetworkUsed => busiest_link(view).map(|(_, used)| (used, f64::NAN)),
        Fact::NetworkDrops => {
            let drops = [OfNetwork::ReceiveDrops, OfNetwork::TransmitDrops];
            let each = host.network.interfaces.values().flat_map(|it| drops.map(|drop| it.values.get(drop)));
            each.flatten().reduce(u64::saturating_add).map(plain)
        }
        _ => None,
    }
}

/// The disk with IO in flight for the largest share of the last seconds.
pub(crate) fn busiest_disk(view: &View) -> Option<(&str, f64)> {
    let busy = |past: &crate::view::host::Past<disk::Values>| past.share(|values| values.get(disk::Statistic::Busy));
    let all = view.host.disks_past.iter().filter_map(|(name, past)| Some((&**name, busy(past)?)));
    all.max_by(|(_, one), (_, two)| one.total_cmp(two))
}

/// The interface with the largest share of its link in use in the last seconds.
pub(crate) fn busiest_link(view: &View) -> Option<(&str, f64)> {
    let used =
        |interface: &crate::view::host::network::Interface| interface.used().into_iter().flatten().reduce(f64::max);
    let all = view.host.network.interfaces.iter().filter_map(|(name, interface)| Some((&**name, used(interface)?)));
    all.max_by(|(_, one), (_, two)| one.total_cmp(two))
}

/// Whether a process of the workload holds memory of the GPU.
pub(crate) fn holds(view: &View, gpu: &Gpu, workload: &Workload) -> bool {
    gpu.processes().iter().any(|holder| is_of(view, holder, workload))
}

/// Whether a process is one of the workload.
pub(crate) fn is_of(view: &View, holder: &Holder, workload: &Workload) -> bool {
    let of = |id| view.workloads.of(id).is_some_and(|holder| holder.name == workload.name);
    holder.cgroup.is_some_and(of)
}

/// An idle GPU lowers its link.
pub(super) fn is_busy(gpu: &Gpu) -> bool {
    gpu.values.get(OfGpu::Utilization).is_none_or(|percent| percent >= BUSY)
}

/// The negotiated link as a share of the best.
pub(super) fn link_ratio(gpu: &Gpu) -> Option<f64> {
    let get = |statistic| gpu.values.get(statistic);
    // Each generation carries twice as much a lane as the one before.
    let carries = |generation: u64, width: u64| width as f64 * (generation.min(16) as f64).exp2();
    let now = carries(get(OfGpu::PcieGeneration)?, get(OfGpu::PcieWidth)?);
    let best = carries(get(OfGpu::PcieGenerationMax)?, get(OfGpu::PcieWidthMax)?);
    (best > 0.0).then(|| (now / best).min(1.0))
}

pub(super) fn link_used(gpu: &Gpu) -> Option<f64> {
    let get = |statistic| gpu.values.get(statistic);
    let most = [OfGpu::HostToDeviceRate, OfGpu::DeviceToHostRate].into_iter().filter_map(get).max()?;
    let link = get(OfGpu::PcieLink).filter(|link| *link > 0)?;
    // The link may have dropped to a lower generation since then: it was faster while it carried that.
    Some((most as f64 / link as f64).min(1.0))
}

/// What others hold on these GPUs; `None` if that is not known of some process.
fn others<'g>(view: &View, gpus: impl Iterator<Item = &'g Gpu>, workload: &Workload) -> Option<Raw> {
    let mut gpus = gpus.peekable();
    gpus.peek()?;
    let foreign = gpus.flat_map(Gpu::processes).filter(|holder| !is_of(view, holder, workload));
    foreign.map(|holder| holder.bytes).try_fold(0u64, |sum, bytes| Some(sum.saturating_add(bytes?))).map(plain)
}

/// Whether the clocks of any of these are reduced for one of these reasons.
fn reduced<'g>(gpus: impl Iterator<Item = &'g Gpu>, reasons: u64) -> Option<Raw> {
    let bits = gpus.filter_map(|gpu| gpu.values.get(OfGpu::Throttle)).reduce(|one, two| one | two)?;
    Some((f64::from(u8::from(bits & reasons != 0)), f64::NAN))
}

fn most(numbers: impl Iterator<Item = f64>) -> Option<Raw> {
    numbers.reduce(f64::max).map(|number| (number, f64::NAN))
}

fn least(numbers: impl Iterator<Item = f64>) -> Option<Raw> {
    numbers.reduce(f64::min).map(|number| (number, f64::NAN))
}

fn plain(number: u64) -> Raw {
    (number as f64, f64::NAN)
}

fn pair(numbers: Option<(u64, u64)>) -> Option<Raw> {
    numbers.map(|(part, whole)| (part as f64, whole as f64))
}
