//! The causes of a GPU's loss.

use super::facts::Facts;
use super::{Finding, Rule};
use crate::incident::{Kind, LostGpu};

const KINDS: &[Kind] = &[Kind::GpuLost];

/// Errors (XIDs) after which a GPU is not to be used, in NVIDIA's words, and what they ask for. From the catalogue in NVIDIA's
/// documentation of XID errors; the ones that name the cause come first.
const FATAL: [(u64, &str, &str); 12] = [
    (48, "an uncorrectable memory error", RESET),
    (94, "a contained memory error", RESET),
    (95, "an uncontained memory error", RESET),
    (64, "a row of memory that could not be replaced", REPLACE),
    (
        74,
        "an error on NVLink",
        "See the link and the bridge (`nvidia-smi nvlink -e`), reset the GPU, and have it seen to if that comes again.",
    ),
    (62, "a halt of the GPU's internal microcontroller", RESET),
    (119, "no answer of the GPU system processor", RESET),
    (120, "an error of the GPU system processor", RESET),
    (140, "unrecovered memory errors", RESET),
    (143, "a failure of its initialisation", RESET),
    (
        79,
        "that it fell off the bus",
        "Reboot the host; see power, temperature and seating of the card, and the PCIe errors in the kernel log (AER).",
    ),
    (154, "that it needs recovery", RESET),
];

const RESET: &str = "Drain it and reset the GPU (`nvidia-smi --gpu-reset`), or reboot the host; if the error comes back, run NVIDIA's field diagnostics.";
const REPLACE: &str = "Drain it; the card has to be replaced if a reset does not mend it.";

fn gpu<'a>(facts: &Facts<'a>) -> Option<&'a LostGpu> {
    facts.evidence.gpu.as_ref()
}

pub(super) const XID: Rule = Rule {
    name: "gpu_error",
    kinds: KINDS,
    when: "The GPU reported an error (XID) of those that make it unusable, within the last minute.",
    find: |facts| {
        let gpu = gpu(facts)?;
        let (code, meaning, next) = FATAL.iter().find(|(code, ..)| gpu.xids.contains(code))?;
        Some(Finding {
            sentence: format!("GPU {} ({}) reported XID {code}: {meaning}", gpu.gpu, gpu.model),
            next: (*next).to_owned(),
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
    when: "All GPUs were lost at once, none had reported an error, and the driver's library says or does nothing more.",
    find: |facts| {
        let gpu = gpu(facts)?;
        let error = gpu.error.as_ref().filter(|_| gpu.left == 0 && gpu.xids.is_empty())?;
        let all = if gpu.lost > 1 { format!("All {} GPUs", gpu.lost) } else { "The only GPU".to_owned() };
        Some(Finding {
            sentence: format!("{all} ceased to be seen at once, because the driver does not answer: {error}"),
            next: "See whether the driver was unloaded, updated or reset on purpose; else see the kernel log for NVRM."
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
                "GPU {} no longer answers; it reported XID {} before, which does not explain that",
                gpu.gpu,
                codes.join(", ")
            )
        }
        None => "A GPU no longer answers".to_owned(),
    };
    let next =
        "See the kernel log for NVRM and Xid, and `nvidia-smi -q`: it may have been taken away on purpose.".to_owned();
    Finding { sentence, next, numbers: Vec::new() }
}
