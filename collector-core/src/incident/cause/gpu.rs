//! Causes of a lost GPU.

use super::facts::Facts;
use super::{Finding, Rule};
use crate::incident::{Kind, LostGpu};
use crate::xid;

const KINDS: &[Kind] = &[Kind::GpuLost];

/// Errors (XIDs) after which a GPU is unusable. Those that name the cause come before those that follow from it.
const FATAL: [u64; 12] = [48, 94, 95, 64, 74, 62, 119, 120, 140, 143, 79, 154];

fn gpu<'a>(facts: &Facts<'a>) -> Option<&'a LostGpu> {
    facts.evidence.gpu.as_ref()
}

pub(super) const XID: Rule = Rule {
    name: "gpu_error",
    kinds: KINDS,
    when: "Within the last minute the GPU reported an error (XID) that makes it unusable.",
    find: |facts| {
        let gpu = gpu(facts)?;
        let code = FATAL.iter().find(|code| gpu.xids.contains(code))?;
        let name = code.to_string();
        Some(Finding {
            sentence: format!("GPU {} ({}) reported XID {}", gpu.gpu, gpu.model, xid::meaning(&name)),
            next: xid::action(&name).to_owned(),
            numbers: vec![
                ("xid", Some(*code as f64)),
                ("ecc_uncorrected_errors", gpu.ecc_uncorrected.map(|errors| errors as f64)),
                ("temperature_celsius", gpu.temperature.map(|degrees| degrees as f64)),
            ],
        })
    },
};

pub(super) const DRIVER_GONE: Rule = Rule {
    name: "driver_gone",
    kinds: KINDS,
    when: "All GPUs were lost at once, none had reported an error, and the driver's library no longer answers.",
    find: |facts| {
        let gpu = gpu(facts)?;
        let error = gpu.error.as_ref().filter(|_| gpu.left == 0 && gpu.xids.is_empty())?;
        let all = if gpu.lost > 1 { format!("All {} GPUs", gpu.lost) } else { "The only GPU".to_owned() };
        Some(Finding {
            sentence: format!("{all} disappeared at once, because the driver does not answer: {error}"),
            next: "Check whether the driver was unloaded, updated or reset on purpose. If not, search the kernel log for NVRM."
                .to_owned(),
            numbers: vec![("lost_gpus", Some(gpu.lost as f64))],
        })
    },
};

pub(super) fn unknown(facts: &Facts<'_>) -> Finding {
    let sentence = match gpu(facts) {
        Some(gpu) if gpu.xids.is_empty() => {
            format!("GPU {} no longer answers, and reported no error before", gpu.gpu)
        }
        Some(gpu) => {
            let codes: Vec<String> = gpu.xids.iter().map(u64::to_string).collect();
            format!(
                "GPU {} no longer answers. It reported XID {} before, which does not explain that",
                gpu.gpu,
                codes.join(", ")
            )
        }
        None => "A GPU no longer answers".to_owned(),
    };
    let next =
        "Search the kernel log for NVRM and Xid, and run `nvidia-smi -q`. The GPU may have been removed on purpose."
            .to_owned();
    Finding { sentence, next, numbers: Vec::new() }
}
