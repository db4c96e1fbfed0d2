//! memory.high of a workload that has nothing the kernel could take: it waits there, without end.

use super::found::{Found, object};
use super::{Check, workloads};
use crate::advice::{Evidence, Unit};
use crate::amount::{bytes, percent};
use crate::statistic::host;
use crate::statistic::workload::Statistic;
use crate::view::View;

pub(super) const CHECK: Check = Check {
    name: "memory_high",
    holds: "What a workload with memory.high holds can, by half of memory.high at least, be dropped or swapped out.",
    otherwise: "At memory.high the kernel makes its tasks wait and reclaim. Where it can take nothing they wait without end, and no OOM killer comes: the service hangs.",
    needs: "cgroup v2: memory.high, the page cache of the workload, the swap that it may use and what of that is free.",
    unused: "No workload has memory.high.",
    judge,
};

/// Of memory.high, what can neither be dropped nor swapped out.
const HALF: f64 = 0.5;
/// It stands there already.
const MOST: f64 = 0.95;

fn judge(view: &View, found: &mut Found) {
    for workload in workloads(view) {
        let Some(high) = workload.statistics.get(Statistic::MemoryHigh) else { continue };
        let Some(stays) = workload.unreclaimable(view.host.swap()) else {
            found.lacks(object(workload), format!("how much page cache {} has", workload.name));
            continue;
        };
        let share = stays as f64 / high.max(1) as f64;
        if share < HALF {
            found.holds();
            continue;
        }
        let swap = match view.host.statistics.get(host::Statistic::SwapTotal) {
            Some(0) => "the host has no swap",
            _ if workload.statistics.get(Statistic::MemorySwapLimit) == Some(0) => "it may not swap (memory.swap.max)",
            None => "no swap is known",
            Some(_) => "too little swap is free for it",
        };
        let name = &workload.name;
        let now = if share >= MOST { "it waits there without end" } else { "once it grows it waits there without end" };
        let is = format!(
            "memory.high of {name} is {}, of which it holds {} that can be neither dropped nor swapped out: {swap}, so {now}.",
            bytes(high),
            percent(share)
        );
        let next = match workload.statistics.get(Statistic::MemoryLimit).is_some() {
            true => format!("Remove memory.high of {name} and keep its memory.max, or add swap (headroom advise)."),
            false => format!("Set memory.max of {name} in place of memory.high, or add swap (headroom advise)."),
        };
        let evidence = vec![
            Evidence::configured("memory.high", high as f64, Unit::Bytes),
            Evidence::computed("what of it the kernel can neither drop nor swap out", stays as f64, Unit::Bytes),
        ];
        found.fails(object(workload), is, next, evidence);
    }
}
