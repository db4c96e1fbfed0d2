//! Slow for the GPU: its link, its clocks, its errors.

use super::{BOTH, LATENCY, both, numbers};
use crate::amount::{bytes, fixed, percent};
use crate::incident::cause::{Finding, Rule};
use crate::view::slow::Fact;
use crate::xid;

/// A link is degraded below this share of what it was.
const DEGRADED: f64 = 0.9;
/// An idle GPU lowers its link: from this utilisation on it is busy.
const BUSY: f64 = 0.05;
/// A link is saturated from this share of it, if that is so much more than before.
const SATURATED: f64 = 0.7;
const SATURATED_BY: f64 = 0.2;
/// Others on its GPU explain slowness from so many bytes more of its memory.
const SHARED_BY: f64 = 268_435_456.0;
/// Clocks that are reduced explain slowness from this share of the readings.
const REDUCED_BY: f64 = 0.2;

pub(in crate::incident::cause) const LINK_DEGRADED: Rule = Rule {
    name: "pcie_degraded",
    kinds: BOTH,
    when: "The PCIe link of a busy GPU has fewer lanes or a lower generation than before.",
    find: |facts| {
        let (now, before) = (facts.now(Fact::PcieLink)?, facts.usual(Fact::PcieLink)?);
        let busy = facts.now(Fact::GpuUtilization).is_none_or(|used| used >= BUSY);
        let replays = facts.worse(Fact::PcieReplays, 0.1);
        (busy && now < DEGRADED * before).then(|| Finding {
            sentence: format!(
                "The PCIe link of {} carries {} of what it can (before: {}), although the GPU is busy{}",
                facts.gpus(),
                percent(now),
                percent(before),
                replays.map_or(String::new(), |worse| format!("; retries: {}", both(Fact::PcieReplays, worse))),
            ),
            next: "Check dmesg for PCIe errors (AER), reseat or swap the card or its riser, and compare nvidia-smi -q -d PCIE. A reset of the GPU often brings the link back.".to_owned(),
            numbers: numbers(facts, &[Fact::PcieLink, Fact::PcieUsed, Fact::PcieReplays]),
        })
    },
};

pub(in crate::incident::cause) const LINK_SATURATED: Rule = Rule {
    name: "pcie_saturated",
    kinds: BOTH,
    when: "70 % or more of the PCIe link of its GPU was in use, and 20 % more of it than before; without transfers of KV cache to host memory that rose with it.",
    find: |facts| {
        let worse = facts.worse(Fact::PcieUsed, SATURATED_BY).filter(|worse| worse.now >= SATURATED)?;
        // Then that is the cause.
        if facts.worse(Fact::Offload, super::server::OFFLOAD_BY).is_some() {
            return None;
        }
        Some(Finding {
            sentence: format!("The PCIe link of {} is full: {} of it in use", facts.gpus(), both(Fact::PcieUsed, worse)),
            next: "Move less: larger batches, pinned buffers, fewer layers in host memory, less KV offload. Check headroom gpus for others that copy over the same link.".to_owned(),
            numbers: numbers(facts, &[Fact::PcieUsed, Fact::PcieLink, Fact::ToGpu, Fact::FromGpu]),
        })
    },
};

pub(in crate::incident::cause) const CLOCKS: Rule = Rule {
    name: "gpu_clocks",
    kinds: LATENCY,
    when: "Heat, too little power or its power limit reduced the clocks of its GPU in 20 % of the readings more than before, half as often again.",
    find: |facts| {
        let throttled = facts.worse(Fact::GpuThrottled, REDUCED_BY).map(|worse| (Fact::GpuThrottled, worse));
        // A power limit is in force all the time on a GPU that is busy: only if the clock fell as well, it makes it slow.
        let capped = || facts.worse(Fact::GpuPowerCapped, REDUCED_BY).filter(|_| lower_clock(facts).is_some());
        let (fact, worse) = throttled.or_else(|| capped().map(|worse| (Fact::GpuPowerCapped, worse)))?;
        let reasons = facts.evidence.slow.as_ref().map(|slow| slow.clock_reasons.join(", ")).unwrap_or_default();
        let reasons = if reasons.is_empty() { String::new() } else { format!(" ({reasons})") };
        let clock = lower_clock(facts).map_or(String::new(), |(now, before)| {
            format!("; its clock is {} MHz (before: {} MHz)", fixed(now / 1e6, 0), fixed(before / 1e6, 0))
        });
        Some(Finding {
            sentence: format!("The clocks of {} are reduced{reasons} in {} of the readings{clock}", facts.gpus(), both(fact, worse)),
            next: match fact {
                Fact::GpuPowerCapped => "Raise its power limit (nvidia-smi -pl) if power supply and cooling allow it, or spread the load over more GPUs.",
                _ => "Check cooling (fans, air flow, dust, the temperature of neighbours) and power supply. headroom gpus shows temperature and power.",
            }
            .to_owned(),
            numbers: numbers(facts, &[Fact::GpuThrottled, Fact::GpuPowerCapped, Fact::GpuClock]),
        })
    },
};

fn lower_clock(facts: &super::Facts<'_>) -> Option<(f64, f64)> {
    let (now, before) = (facts.now(Fact::GpuClock)?, facts.usual(Fact::GpuClock)?);
    (now < 0.95 * before).then_some((now, before))
}

pub(in crate::incident::cause) const SHARED: Rule = Rule {
    name: "gpu_shared",
    kinds: LATENCY,
    when: "Others hold at least 256 MiB more memory of its GPUs than before, half as much again, and these are busy.",
    find: |facts| {
        let worse = facts.worse(Fact::GpuOthers, SHARED_BY)?;
        if facts.now(Fact::GpuUtilization).is_some_and(|used| used < BUSY) {
            return None;
        }
        // Of several it is not known who came.
        let others = &facts.evidence.slow.as_ref()?.gpu_others;
        let who = others.first().filter(|_| others.len() == 1);
        let others = who.map_or("Others", String::as_str);
        let verb = if who.is_some() { "uses" } else { "use" };
        let who = who.map_or("them", String::as_str);
        Some(Finding {
            sentence: format!(
                "{others} {verb} {} as well, so {} gets less of its time: others hold {} of its memory (before: {})",
                facts.gpus(),
                facts.slowed(),
                bytes(worse.now as u64),
                bytes(worse.before as u64),
            ),
            next: format!(
                "Move {who} to another GPU (CUDA_VISIBLE_DEVICES) or to a MIG device of its own, or let it have less of this one (CUDA_MPS_ACTIVE_THREAD_PERCENTAGE with MPS). headroom gpus lists who holds each GPU."
            ),
            numbers: numbers(facts, &[Fact::GpuOthers, Fact::GpuUtilization]),
        })
    },
};

pub(in crate::incident::cause) const ERROR: Rule = Rule {
    name: "gpu_xid",
    kinds: BOTH,
    when: "A GPU that it holds memory of reported an error (XID) since it became slow, or in the minute before.",
    find: |facts| {
        let code = *facts.evidence.slow.as_ref()?.xids.first()?;
        Some(Finding {
            sentence: format!("{} reported an error (XID {}) when {} became slow", facts.gpus(), xid::meaning(&code.to_string()), facts.slowed()),
            next: "Check dmesg and nvidia-smi -q for the error; restart the work if its context is lost, and reset the GPU if it does not recover.".to_owned(),
            numbers: vec![("xid", Some(code as f64))],
        })
    },
};

impl super::Facts<'_> {
    /// `GPU 0`, `GPUs 0, 1`.
    fn gpus(&self) -> String {
        let gpus = self.evidence.slow.as_ref().map(|slow| slow.gpus.as_slice()).unwrap_or_default();
        match gpus {
            [] => "its GPU".to_owned(),
            [one] => format!("GPU {one}"),
            more => format!("GPUs {}", more.join(", ")),
        }
    }
}
