//! What of a workload is far from its GPUs: memory and CPUs in other memory nodes (NUMA). Decides nothing.

use crate::statistic::contention::Node;
use crate::statistic::gpu::Statistic::NumaNode;
use crate::view::gpu::Gpu;

/// The memory nodes of these GPUs, each once; empty if one is not known: then nothing can be said of what is far from them.
pub fn own_nodes<'g>(gpus: impl Iterator<Item = &'g Gpu>) -> Vec<u32> {
    let number = |gpu: &Gpu| u32::try_from(gpu.values.get(NumaNode)?).ok();
    let mut nodes = gpus.map(number).collect::<Option<Vec<u32>>>().unwrap_or_default();
    nodes.sort_unstable();
    nodes.dedup();
    nodes
}

/// The share of its memory in other nodes.
pub(super) fn remote_memory<'g>(nodes: &[Node], gpus: impl Iterator<Item = &'g Gpu>) -> Option<f64> {
    let own = near(nodes, gpus)?;
    let all = nodes.iter().map(|node| node.bytes).collect::<Option<Vec<u64>>>()?;
    let all = crate::count::sum(all.into_iter());
    let far = nodes.iter().filter(|node| !own.contains(&node.node)).filter_map(|node| node.bytes);
    (all > 0).then(|| crate::count::sum(far) as f64 / all as f64)
}

/// Whether it may run only on CPUs of other nodes.
pub(super) fn remote_cpus<'g>(nodes: &[Node], gpus: impl Iterator<Item = &'g Gpu>) -> Option<bool> {
    let own = near(nodes, gpus)?;
    // A node without CPUs is near to nobody's tasks.
    let near: Vec<&Node> = nodes.iter().filter(|node| own.contains(&node.node) && !node.cpus.is_empty()).collect();
    let may = near.iter().map(|node| node.runs).collect::<Option<Vec<bool>>>()?;
    (!may.is_empty()).then(|| !may.contains(&true))
}

fn near<'g>(nodes: &[Node], gpus: impl Iterator<Item = &'g Gpu>) -> Option<Vec<u32>> {
    if nodes.len() < 2 {
        return None;
    }
    let own = own_nodes(gpus);
    // A GPU on a node that the kernel does not list is on none that could be compared.
    (!own.is_empty() && own.iter().all(|own| nodes.iter().any(|node| node.node == *own))).then_some(own)
}
