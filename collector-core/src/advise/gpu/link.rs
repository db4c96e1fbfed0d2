//! PCIe links: full, lower than card and slot can, or in a slot that is less than the card.

use super::{Card, Judged, Rule, cards, holders};
use crate::action::Risk;
use crate::advice::{Advice, Confidence, Evidence, Unit};
use crate::advise::draft::{lately, sure};
use crate::amount::{bytes, duration, percent};
use crate::statistic::gpu::Statistic::{
    PcieGeneration, PcieGenerationCard, PcieGenerationMax, PcieLink, PcieWidth, PcieWidthCard, PcieWidthMax,
};
use crate::statistic::model::Statistic::OffloadBytes;
use crate::view::slow::Fact;

/// A link is full if it was for this share of the time, and for so many seconds.
const OFTEN: f64 = 0.05;
const OFTEN_SECONDS: f64 = 600.0;
/// It is lower than it could be if it was in this share of the time in which the GPU was busy, and for so many seconds.
const ALWAYS: f64 = 0.9;
const BUSY_SECONDS: f64 = 600.0;
/// A GPU that does so little may save power in its link.
const LITTLE: f64 = 0.3;
/// A link that carries so much on average matters.
const CARRIES: f64 = 0.2;

pub(super) const FULL: Rule = Rule {
    name: "pcie_link_full",
    when: "80 % or more of a GPU's PCIe link was in use for ten minutes and 5 % of the last day at least.",
    needs: "NVML's PCIe counters or throughput",
    judge: |given, judged| {
        for card in cards(given) {
            let day = &card.day;
            if day.link_full_seconds < OFTEN_SECONDS
                || day.link_full_seconds < OFTEN * day.link.seconds
                || !card.seen("pcie_link_full", day.link.seconds, judged)
            {
                continue;
            }
            let title = format!(
                "Copy less over the PCIe link of {}: it was full for {}.",
                card.name(),
                duration(day.link_full_seconds)
            );
            let (text, what) = copies(&card);
            let mean = day.link.mean().unwrap_or(0.0);
            let why = format!(
                "80 % or more of it were in use for {} of {}, {} on average{text}.",
                duration(day.link_full_seconds),
                duration(day.link.seconds),
                percent(mean)
            );
            let mut evidence = vec![
                Evidence::measured(
                    "time in which 80 % or more of the link were in use",
                    day.link_full_seconds,
                    Unit::Seconds,
                ),
                Evidence::measured("share of the link in use, on average", mean, Unit::Ratio),
            ];
            let link = card.gpu.values.get(PcieLink);
            evidence.extend(link.map(|link| {
                Evidence::measured("what the link carries in each direction", link as f64, Unit::BytesPerSecond)
            }));
            let (confidence, because) = sure(day.link.seconds, Confidence::High);
            let advice = card.draft("pcie_link_full", card.by_hand(what, Risk::High), title, why);
            judged.advice.push(Advice { evidence, confidence, because, ..advice });
        }
    },
};

/// Who copies most over it lately, and what would make that less.
fn copies(card: &Card<'_>) -> (String, &'static str) {
    let view = card.given.view;
    let rate = |name: &str| {
        let trail = view.slow.workload(name)?;
        let of = |fact| lately(view, trail, fact);
        of(Fact::ToGpu).into_iter().chain(of(Fact::FromGpu)).reduce(f64::max)
    };
    let most = holders(card.given, card.gpu).into_iter().filter_map(|(name, _)| Some((name, rate(name)?)));
    let most = most.max_by(|(_, one), (_, two)| one.total_cmp(two)).filter(|(_, rate)| *rate >= 1e6);
    let text =
        most.map_or(String::new(), |(name, rate)| format!("; {name} copies most: {}/s lately", bytes(rate as u64)));
    let offloads = view.models.servers.values().any(|told| {
        let here = told.workload(&view.workloads).is_some_and(|own| crate::view::slow::holds(view, card.gpu, own));
        here && told.models.values().any(|model| model.values.get(OffloadBytes).is_some_and(|size| size > 0))
    });
    let what = match offloads {
        true => "Keep less KV cache and fewer weights in host memory, or spread the work over more GPUs",
        false => {
            "Larger batches, data that stay on the GPU, fewer layers in host memory, or another GPU for a part of the work"
        }
    };
    (text, what)
}

pub(super) const DEGRADED: Rule = Rule {
    name: "pcie_link_degraded",
    when: "In 90 % of the time in which a GPU was busy in the last day, ten minutes at least, its PCIe link had fewer lanes or a lower generation than card and slot can.",
    needs: "NVML's PCIe generation and width",
    judge: |given, judged| {
        for card in cards(given) {
            let day = &card.day;
            let lower = day.degraded_seconds >= BUSY_SECONDS && day.degraded_seconds >= ALWAYS * day.link_share.seconds;
            let Some(share) = day.link_share.mean().filter(|_| lower) else { continue };
            let get = |statistic| card.gpu.values.get(statistic);
            let (Some(width), Some(best)) = (get(PcieWidth), get(PcieWidthMax)) else { continue };
            let narrow = width < best;
            let generation = get(PcieGeneration)
                .zip(get(PcieGenerationMax))
                .map_or(String::new(), |(now, most)| format!(", generation {now} of {most}"));
            let title =
                format!("Have the PCIe link of {} checked: it carries {} of what it can.", card.name(), percent(share));
            let why = format!(
                "It has {width} of {best} lanes{generation}, in {} of the {} in which the GPU was busy.",
                duration(day.degraded_seconds),
                duration(day.link_share.seconds)
            );
            let evidence = vec![
                Evidence::measured("link while the GPU was busy, as a share of its best", share, Unit::Ratio),
                Evidence::measured("lanes now", width as f64, Unit::Count),
                Evidence::measured("lanes that card and slot have", best as f64, Unit::Count),
                Evidence::measured("time in which it was busy and its link lower", day.degraded_seconds, Unit::Seconds),
            ];
            // A link that saves power lowers its generation, not its lanes.
            let idles = day.utilization.mean().is_none_or(|used| used < LITTLE);
            let (confidence, because) = match narrow {
                true => (Confidence::High, "Lanes are missing while it works, which no power saving does.".to_owned()),
                false if idles => {
                    (Confidence::Low, "It does little, and may lower its generation to save power.".to_owned())
                }
                false => (
                    Confidence::Medium,
                    "Its generation is low while it works; a driver may limit it on purpose.".to_owned(),
                ),
            };
            let what = "Check dmesg for PCIe errors (AER), reseat the card, try another slot or riser, and the firmware's setting for the slot";
            let advice = card.draft("pcie_link_degraded", card.by_hand(what, Risk::High), title, why);
            judged.advice.push(Advice { evidence, confidence, because, ..advice });
        }
    },
};

pub(super) const SLOT: Rule = Rule {
    name: "pcie_slot",
    when: "A card supports more lanes, or a higher generation, than the slot that it is in.",
    needs: "NVML's PCIe generation and width, and /sys/bus/pci",
    judge: |given, judged| {
        for card in cards(given) {
            let get = |statistic| card.gpu.values.get(statistic);
            let less = |here, of_card| get(here).zip(get(of_card)).filter(|(here, card)| here < card);
            let (lanes, generation) = (less(PcieWidthMax, PcieWidthCard), less(PcieGenerationMax, PcieGenerationCard));
            if lanes.is_none() && generation.is_none() {
                continue;
            }
            slot(judged, &card, lanes, generation);
        }
    },
};

type Less = Option<(u64, u64)>;

fn slot(judged: &mut Judged, card: &Card<'_>, lanes: Less, generation: Less) {
    let lanes_text = lanes.map(|(here, card)| format!("{here} lanes, and the card has {card}"));
    let generation_text = generation.map(|(here, card)| format!("generation {here}, and the card supports {card}"));
    let text = lanes_text.into_iter().chain(generation_text).collect::<Vec<_>>().join("; ");
    let used = card.day.link.mean();
    let carries = used.is_some_and(|used| used >= CARRIES) || card.day.link_full_seconds >= OFTEN_SECONDS;
    let title = format!("Put {} into a slot that has what the card supports.", card.name());
    let mut evidence = Vec::new();
    for (what, less) in [("lanes", lanes), ("generation", generation)] {
        if let Some((here, card)) = less {
            evidence.push(Evidence::measured(format!("{what} of the slot"), here as f64, Unit::Count));
            evidence.push(Evidence::measured(format!("{what} of the card"), card as f64, Unit::Count));
        }
    }
    evidence.extend(used.map(|used| Evidence::measured("share of the link in use, on average", used, Unit::Ratio)));
    let why = match used {
        Some(used) => format!("Its slot has {text}. {} of that link are in use on average.", percent(used)),
        None => format!("Its slot has {text}. How much of that link is in use is not known."),
    };
    let (confidence, because) = match carries {
        true => (Confidence::Medium, "The link is used much; in a virtual machine the slot may be made up.".to_owned()),
        false => (Confidence::Low, "Little goes over the link, so another slot would hardly be felt.".to_owned()),
    };
    let what = "Another slot, riser or CPU socket's lanes; the firmware may divide a slot (bifurcation) or limit its generation";
    let advice = card.draft("pcie_slot", card.by_hand(what, Risk::High), title, why);
    judged.advice.push(Advice { evidence, confidence, because, ..advice });
}
