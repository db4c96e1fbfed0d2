//! What is promised to workloads, against what the host has. Knows only sums.

use crate::action::{Object, Risk, by_hand};
use crate::advice::{Advice, Confidence, Evidence, Saves, Unit};
use crate::advise::draft::draft;
use crate::advise::need::{Need, need, sized};
use crate::advise::shortage::Shortage;
use crate::advise::{Given, Judged, Rule};
use crate::amount::{bytes, percent};

pub(super) const RESERVE: Rule = Rule {
    name: "memory_host_reserve",
    when: "The memory limits of all workloads, and what those without a limit need by their daily peaks, come to more than the host has, its own use and a reserve of 2 % (512 MiB at least) included, and in the last 8 days 90 % of its memory was in use at some time.",
    needs: "Three days of history of the host and of its workloads (history.db).",
    judge,
};

/// What a host keeps for bursts of its own.
const RESERVE_SHARE: f64 = 0.02;
const RESERVE_LEAST: f64 = (512u64 << 20) as f64;
const DAYS: f64 = 3.0;

#[derive(Default)]
struct Sum {
    limits: f64,
    unlimited: f64,
    peaks: f64,
    /// The workload whose limit leaves most unused.
    widest: Option<(f64, String)>,
}

fn judge(given: &Given<'_>, judged: &mut Judged) {
    let host = Shortage::of(given).filter(|host| host.days > 0 && host.seconds as f64 >= DAYS * 86_400.0);
    let Some(host) = host else { return };
    let mut sum = Sum::default();
    let mut held = 0.0;
    for workload in sized(given.view) {
        let need = need(given.past, workload).filter(Need::is_enough);
        let peak = need.map_or(0.0, |need| need.peak);
        sum.peaks += peak;
        held += workload.statistics.get(crate::statistic::workload::Statistic::MemoryWithoutCache).unwrap_or(0) as f64;
        match workload.memory_limit().flatten().map(|limit| limit as f64).filter(|limit| *limit < host.total) {
            Some(limit) => {
                sum.limits += limit;
                let unused = limit - need.map_or(limit, |need| need.target);
                if unused > sum.widest.as_ref().map_or(0.0, |(most, _)| *most) {
                    sum.widest = Some((unused, workload.name.to_string()));
                }
            }
            None => sum.unlimited += need.map_or(0.0, |need| need.target),
        }
    }
    // What is in use and of no workload is the host's own.
    let own = (host.total - host.available - held).max(0.0);
    let reserve = (RESERVE_SHARE * host.total).max(RESERVE_LEAST);
    let over = sum.limits + sum.unlimited + own + reserve - host.total;
    // Without limits there is nothing to lower.
    if sum.limits > 0.0 && over > 0.0 {
        judged.advice.push(advice(&host, &sum, (over, own, reserve)));
    }
}

fn advice(host: &Shortage, sum: &Sum, (over, own, reserve): (f64, f64, f64)) -> Advice {
    let shown = |amount: f64| bytes(amount as u64);
    let (total, peak, kills) = (host.total, host.peak.unwrap_or(0.0), host.kills);
    let evidence = vec![
        Evidence::configured("sum of all memory limits", sum.limits, Unit::Bytes),
        Evidence::computed("what workloads without a limit need", sum.unlimited, Unit::Bytes),
        Evidence::computed("what the host itself uses", own, Unit::Bytes),
        Evidence::assumed("reserve for its bursts", reserve, Unit::Bytes),
        Evidence::measured("memory of the host", total, Unit::Bytes),
        Evidence::measured("most of it that was in use", peak, Unit::Ratio),
        Evidence::computed("sum of the peaks of all workloads", sum.peaks, Unit::Bytes),
    ];
    let widest = sum.widest.as_ref().map_or(String::new(), |(unused, name)| {
        format!(" The limit of {name} leaves most unused: {}.", shown(*unused))
    });
    let title = format!("Lower limits or move workloads: {} more is promised than the host has.", shown(over));
    let why = format!(
        "Limits add up to {}, workloads without one need {}, the host itself uses {}, of {}; at most {} of it was in use.{widest}",
        shown(sum.limits),
        shown(sum.unlimited),
        shown(own),
        shown(total),
        percent(peak)
    );
    let confidence = if kills > 0 { Confidence::Medium } else { Confidence::Low };
    let because = match kills {
        0 => "Workloads seldom all reach their limits at once, and so far nobody was killed for it.",
        _ => "Processes were killed while the host was short; which workload has to give is not for the kernel to say.",
    };
    let saves = (kills > 0).then(|| Saves {
        over_seconds: host.seconds,
        kills: Some(f64::from(kills)),
        assuming: "whoever grew would have met a limit of its own first".to_owned(),
        ..Saves::default()
    });
    let what = format!(
        "keep {} for the host: lower limits by {} in all, or move a workload; in Kubernetes, systemReserved of the kubelet",
        shown(own + reserve),
        shown(over)
    );
    let actions = vec![by_hand(Object::Host, what, Risk::High)];
    Advice {
        evidence,
        saves,
        confidence,
        because: because.to_owned(),
        ..draft(RESERVE.name, Object::Host, actions, title, why)
    }
}
