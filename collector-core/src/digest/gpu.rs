//! What a report says of GPUs.

use std::collections::BTreeMap;

use super::Digest;
use super::axis::Unit;
use super::block::{Block, Curve, Line, Picture, Stroke, Table};
use super::card::Figures;
use super::draw::{chart, curve, most};
use super::words::{UNKNOWN, bytes, duration, shown};
use crate::amount::{percent, watts};
use crate::zone::Zone;

/// So many GPUs have a curve each; of more, there is one of their mean, with the highest and the lowest.
const CURVES: usize = 2;
const STROKES: [Stroke; CURVES] = [Stroke::Solid, Stroke::Thin];

const WORDS: &str = "USED TIME is the mean share of time in which anything ran on the GPU; it does not say how much of it was busy. POWER is \
                     the mean, and the limit. SLOWED is the time in which heat, power supply or hardware kept the clocks down; CAPPED \
                     is the time at the power limit, which is normal. PCIE TO GPU and FROM GPU are the largest shares of the link.";

/// One of the lines of a GPU.
type Of = fn(&Figures) -> &Line;

pub(super) fn gpus(blocks: &mut Vec<Block>, digest: &Digest, zone: &Zone) {
    if digest.gpus.is_empty() {
        return;
    }
    blocks.push(Block::Head("GPUs".to_owned()));
    let head = [
        "GPU",
        "MODEL",
        "MEMORY PEAK",
        "USED TIME",
        "HOTTEST",
        "SLOWED",
        "ERRORS",
        "PCIE TO GPU",
        "FROM GPU",
        "POWER",
        "CAPPED",
    ];
    let mut table = Table::new(head, 2);
    let mut pictures = Vec::new();
    for gpu in &digest.gpus {
        table.rows.push(row(gpu));
        let curves = vec![curve("memory", Stroke::Solid, &gpu.memory)];
        let top = gpu.memory_usable_bytes.unwrap_or_else(|| most(&curves));
        pictures.push(Picture { span: (digest.from, digest.to), top, curves });
    }
    table.pictures = Some(("MEMORY", pictures));
    blocks.push(Block::Table(table));
    blocks.push(Block::Paragraph(WORDS.to_owned()));
    let used = "Share of time in which anything ran on a GPU, mean of each quarter of an hour";
    let charts: [(&str, Unit, Of); 2] = [
        (used, Unit::Share, |gpu| &gpu.utilization),
        ("Temperature of GPUs, most in each quarter of an hour", Unit::Celsius, |gpu| &gpu.temperature),
    ];
    for (title, unit, of) in charts {
        let curves = curves(&digest.gpus, of);
        if !curves.is_empty() {
            blocks.push(Block::Chart(chart(title.to_owned(), unit, curves, digest, zone)));
        }
    }
}

fn row(gpu: &Figures) -> Vec<String> {
    let power = gpu.power_watts.mean.map(|mean| watts(mean, gpu.power_limit_watts));
    let mut errors: Vec<String> = gpu.xids.iter().map(|(code, count)| format!("XID {code} ×{count}")).collect();
    let counts = [
        ("ECC uncorrected", gpu.ecc_uncorrected),
        ("ECC corrected", gpu.ecc_corrected),
        ("PCIe replays", gpu.pcie_replays),
    ];
    errors.extend(counts.into_iter().filter(|(_, count)| *count > 0).map(|(what, count)| format!("{what} ×{count}")));
    vec![
        gpu.gpu.to_string(),
        if gpu.model.is_empty() { gpu.uuid.to_string() } else { gpu.model.to_string() },
        match gpu.memory_usable_bytes {
            Some(usable) => format!("{} of {}", shown(gpu.memory_bytes.max, bytes), bytes(usable)),
            None => shown(gpu.memory_bytes.max, bytes),
        },
        shown(gpu.utilization_ratio.mean, percent),
        shown(gpu.temperature_celsius.max, |celsius| format!("{celsius:.0} °C")),
        shown(gpu.throttled_seconds, duration),
        if errors.is_empty() { "none".to_owned() } else { errors.join(", ") },
        shown(gpu.pcie_to_gpu_ratio.max, percent),
        shown(gpu.pcie_from_gpu_ratio.max, percent),
        power.unwrap_or_else(|| UNKNOWN.to_owned()),
        shown(gpu.power_capped_seconds, duration),
    ]
}

fn curves(gpus: &[Figures], of: Of) -> Vec<Curve> {
    let known: Vec<&Figures> = gpus.iter().filter(|gpu| of(gpu).iter().any(|(_, value)| value.is_some())).collect();
    if known.len() <= CURVES {
        return known
            .into_iter()
            .zip(STROKES)
            .map(|(gpu, stroke)| curve(&format!("GPU {}", gpu.gpu), stroke, of(gpu)))
            .collect();
    }
    let mut times: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
    for (time, value) in known.iter().flat_map(|gpu| of(gpu)) {
        times.entry(*time).or_default().extend(value);
    }
    let line = |join: fn(&[f64]) -> f64| -> Line {
        times.iter().map(|(time, values)| (*time, (!values.is_empty()).then(|| join(values)))).collect()
    };
    let mean = format!("mean of {} GPUs", known.len());
    vec![
        curve(&mean, Stroke::Solid, &line(|values| values.iter().sum::<f64>() / values.len() as f64)),
        curve("highest of them", Stroke::Thin, &line(|values| values.iter().copied().fold(0.0, f64::max))),
        curve("lowest of them", Stroke::Thin, &line(|values| values.iter().copied().fold(f64::MAX, f64::min))),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_gpus_have_a_mean_and_what_is_around_it() {
        let gpu = |gpu: &str, values: [Option<f64>; 2]| Figures {
            gpu: gpu.into(),
            utilization: vec![(0, values[0]), (1, values[1])],
            ..Figures::default()
        };
        let few = [gpu("0", [Some(0.5), None]), gpu("1", [None; 2])];
        let lines = |gpus: &[Figures]| {
            curves(gpus, |gpu| &gpu.utilization).into_iter().map(|curve| (curve.name, curve.line)).collect::<Vec<_>>()
        };
        assert_eq!(lines(&few), [("GPU 0".to_owned(), few[0].utilization.clone())]);
        let many = [gpu("0", [Some(0.1), None]), gpu("1", [Some(0.2), None]), gpu("2", [Some(0.9), None])];
        let [mean, high, low] = &lines(&many)[..] else { panic!() };
        assert!((mean.1[0].1.unwrap() - 0.4).abs() < 1e-9 && mean.1[1].1.is_none(), "{mean:?}");
        assert_eq!((high.1[0].1, low.1[0].1), (Some(0.9), Some(0.1)));
    }
}
