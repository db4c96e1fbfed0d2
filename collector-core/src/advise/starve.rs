//! What of the host keeps the GPUs of a workload waiting. Knows no rule: what would make more use of a GPU is not known while it waits for that.

use super::Given;
use super::draft::lately;
use crate::amount::percent;
use crate::view::slow::{Fact, holds};
use crate::view::starved::State;
use crate::view::workload::Workload;

/// Shares of the time in which its quota throttles it, its tasks wait for CPUs, IO or memory, and of its link in use.
const THROTTLED: f64 = 0.05;
const WAITS: f64 = 0.2;
const WAITS_FOR_MEMORY: f64 = 0.05;
const LINK: f64 = 0.7;

/// What of the host keeps its GPUs waiting in the last minutes, as a sentence's part.
pub(super) fn starves(given: &Given<'_>, workload: &Workload) -> Option<String> {
    let view = given.view;
    let own = view.gpus.iter().filter(|gpu| holds(view, gpu, workload));
    let mut low = own.filter_map(|gpu| view.starved.gpus.get(&gpu.device.uuid));
    if low.any(|job| matches!(job.state, State::Low(_))) {
        return Some("it uses its GPU less than it usually does".to_owned());
    }
    let trail = view.slow.workload(&workload.name)?;
    let of = |fact| lately(view, trail, fact);
    let share = |wait: f64, ran: f64| if wait + ran > 0.0 { wait / (wait + ran) } else { 0.0 };
    // Of many tasks one always waits for a little: how long all of them do says more.
    let cpus = of(Fact::CpuWait).zip(of(Fact::Cpu));
    let cpus = cpus.map(|(wait, ran)| if wait >= WAITS { share(wait, ran) } else { 0.0 }).or(of(Fact::CpuWaiting));
    let all = [
        (of(Fact::CpuThrottled), THROTTLED, "its CPU quota throttles it in", "its periods"),
        (cpus, WAITS, "its tasks wait for CPUs in", "the time"),
        (of(Fact::IoWaiting), WAITS, "its tasks wait for IO in", "the time"),
        (of(Fact::MemoryWaiting), WAITS_FOR_MEMORY, "its tasks wait for memory in", "the time"),
        (of(Fact::PcieUsed), LINK, "its copies fill", "the PCIe link"),
    ];
    let found =
        all.into_iter().find_map(|(value, from, what, whole)| Some((value.filter(|it| *it >= from)?, what, whole)));
    found.map(|(value, what, whole)| format!("{what} {} of {whole}", percent(value)))
}
