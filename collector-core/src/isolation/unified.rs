//! Limits of memory on a host whose GPU has no memory of its own. What CUDA allocates there is the host's memory, and is charged to no cgroup.

use super::found::{Found, object};
use super::{Check, workloads};
use crate::action::Object;
use crate::advice::{Evidence, Unit};
use crate::amount::bytes;
use crate::statistic::gpu::Statistic::MemoryTotal;
use crate::statistic::workload::Statistic;
use crate::view::View;
use crate::view::gpu::Gpu;
use crate::view::workload::Workload;

pub(super) const CHECK: Check = Check {
    name: "unified_gpu_memory",
    holds: "Where workloads with a limit of memory use a GPU, the GPU has memory of its own.",
    otherwise: "On a GPU that shares the host's memory (GB10, Jetson) memory.max does not see what CUDA allocates: the workload takes the host's memory past its limit, and the OOM killer takes somebody else.",
    needs: "The GPU's model and whether the driver knows its memory; which workloads hold GPU memory.",
    unused: "No GPU is known.",
    judge,
};

/// Words in the names of models that share the host's memory: DGX Spark, and Jetson from Xavier on.
const MODELS: [&str; 5] = ["GB10", "Orin", "Thor", "Xavier", "Tegra"];

fn judge(view: &View, found: &mut Found) {
    let mut unified = is_tegra(view);
    for gpu in view.gpus.iter().filter(|gpu| gpu.device.parent.is_none()) {
        match shares(gpu) {
            Some(true) => unified = true,
            Some(false) => found.says("The GPUs have memory of their own.".to_owned()),
            None => found.lacks(card(gpu), format!("whether {} has memory of its own", gpu.device.model)),
        }
    }
    if unified {
        limited(view, found);
    }
}

fn card(gpu: &Gpu) -> Object {
    gpu.device.gpu.parse().map_or(Object::Host, Object::Gpu)
}

/// Whether it shares the host's memory. The driver knows no size of memory there.
fn shares(gpu: &Gpu) -> Option<bool> {
    let mut words = gpu.device.model.split(|c: char| !c.is_ascii_alphanumeric());
    if words.any(|word| MODELS.contains(&word)) {
        return Some(true);
    }
    gpu.values.get(MemoryTotal).filter(|bytes| *bytes > 0).map(|_| false)
}

/// NVIDIA's kernel for Jetson, whose driver may have no NVML.
fn is_tegra(view: &View) -> bool {
    view.build.as_ref().is_some_and(|build| build.kernel.ends_with("-tegra"))
}

fn limited(view: &View, found: &mut Found) {
    let has_limit = |workload: &&Workload| workload.statistics.get(Statistic::MemoryLimit).is_some();
    let mut limited = workloads(view).filter(has_limit).peekable();
    if limited.peek().is_none() {
        return found.says("A GPU shares the host's memory, and no workload relies on a limit of memory.".to_owned());
    }
    let mut users = limited.filter(|it| it.vram().is_some_and(|bytes| bytes > 0)).peekable();
    if users.peek().is_none() {
        return found.lacks(Object::Host, "which of the workloads with a limit of memory use the GPU");
    }
    for workload in users {
        let name = &workload.name;
        let limit = workload.statistics.get(Statistic::MemoryLimit).unwrap_or_default();
        let held = workload.vram().unwrap_or_default();
        let is = format!(
            "The limit of memory of {name}, {}, does not see its {} of GPU memory, which is the host's memory here.",
            bytes(limit),
            bytes(held)
        );
        let next = format!(
            "Bound {name} by its engine (vLLM --gpu-memory-utilization, llama.cpp -c and -ngl), and reserve for it (headroom reserve)."
        );
        let evidence = vec![
            Evidence::configured("limit of memory", limit as f64, Unit::Bytes),
            Evidence::measured("GPU memory that it holds", held as f64, Unit::Bytes),
        ];
        found.fails(object(workload), is, next, evidence);
    }
}
