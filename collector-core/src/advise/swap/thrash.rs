//! A host that swaps in what it has just swapped out.

use crate::action::{Object, Risk, by_hand};
use crate::advice::{Advice, Confidence, Evidence, Saves, Unit};
use crate::advise::draft::draft;
use crate::advise::need::sized;
use crate::advise::{Given, Judged, Rule};
use crate::amount::{bytes, percent};
use crate::series::Series;
use crate::statistic::host::Statistic;
use crate::statistic::workload::Statistic as Of;

pub(super) const THRASHING: Rule = Rule {
    name: "swap_thrashing",
    when: "For the last minutes all tasks of the host waited for memory 5 % of the time or more, and it reads 1 MiB a second from swap and more.",
    needs: "Pressure of memory (PSI), and the kernel's counts of swap.",
    judge,
};

const FULL: f64 = 0.05;
const MUCH: f64 = 0.2;
const SWAP_IN: f64 = (1u64 << 20) as f64;
const REACH_NS: u64 = 180_000_000_000;

fn judge(given: &Given<'_>, judged: &mut Judged) {
    let view = given.view;
    let get = |statistic| view.host.statistics.get(statistic).map(|bytes| bytes as f64);
    let Some(swap) = get(Statistic::SwapTotal).filter(|total| *total > 0.0) else { return };
    let Some(full) = view.history.mean(Series::MemoryStalled, REACH_NS).filter(|full| *full >= FULL) else { return };
    let pace = view.host.past.pace(|values| values.get(Statistic::SwapIn)).filter(|pace| *pace >= SWAP_IN);
    let Some(pace) = pace else { return };
    let used = swap - get(Statistic::SwapFree).unwrap_or(0.0);
    let mut evidence = vec![
        Evidence::measured("time in which all tasks waited for memory", full, Unit::Ratio),
        Evidence::measured("read from swap per second", pace, Unit::BytesPerSecond),
        Evidence::measured("swap in use", used, Unit::Bytes),
    ];
    let swapped = |of: Of| sized(view).filter_map(move |workload| Some((workload.statistics.get(of)?, workload)));
    let most = swapped(Of::MemorySwap).max_by_key(|(bytes, _)| *bytes).filter(|(bytes, _)| *bytes > 0);
    let largest = swapped(Of::MemoryWithoutCache).max_by_key(|(bytes, _)| *bytes).filter(|(bytes, _)| *bytes > 0);
    let mut who = String::new();
    if let Some((amount, workload)) = most {
        evidence.push(Evidence::measured(format!("swap of {}", workload.name), amount as f64, Unit::Bytes));
        who = format!(" {} has most in swap, {}.", workload.name, bytes(amount));
    }
    // It may wait at a limit of its own, on a host that has memory left.
    let own = most.filter(|(_, workload)| {
        let limit = workload.statistics.get(Of::MemoryLimit);
        let near = |limit: u64| {
            workload.statistics.get(Of::MemoryCurrent).is_some_and(|held| held as f64 >= 0.9 * limit as f64)
        };
        limit.is_some_and(near) && view.host.memory().is_some_and(|memory| !memory.is_short())
    });
    let (title, what) = match (own, largest) {
        (Some((_, workload)), _) => (
            format!("Give {} more memory: it swaps at its own limit while the host has memory left.", workload.name),
            format!("a higher memory limit for {}, by what it has in swap", workload.name),
        ),
        (None, Some((amount, workload))) => (
            format!(
                "Move or stop a workload: what runs does not fit into memory; {} holds most, {}.",
                workload.name,
                bytes(amount)
            ),
            format!(
                "move or stop a workload, of which {} holds most; more swap does not help, because what is in it is in use",
                workload.name
            ),
        ),
        (None, None) => (
            "Move or stop a workload: what runs does not fit into memory.".to_owned(),
            "move or stop a workload; more swap does not help, because what is in it is in use".to_owned(),
        ),
    };
    let why = format!(
        "All tasks waited for memory for {} of the last minutes, and {} a second come back from swap: it is in use.{who}",
        percent(full),
        bytes(pace as u64)
    );
    let confidence = if full >= MUCH { Confidence::High } else { Confidence::Medium };
    let because = "Pages that come back from swap while tasks wait are needed, by the kernel's own count.".to_owned();
    let saves = Some(Saves {
        over_seconds: REACH_NS / 1_000_000_000,
        stall_seconds: Some(full * (REACH_NS / 1_000_000_000) as f64),
        assuming: "all of these waits were for pages in swap".to_owned(),
        ..Saves::default()
    });
    let actions = vec![by_hand(Object::Host, what, Risk::High)];
    judged.advice.push(Advice {
        evidence,
        saves,
        confidence,
        because,
        ..draft(THRASHING.name, Object::Host, actions, title, why)
    });
}
