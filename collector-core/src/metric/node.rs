//! Memory nodes (NUMA): that of each GPU, and what workloads that are watched have in each. Without series on a host with one.

use super::row::{Detail, Kind, Metric, Unit, Value};
use crate::statistic::gpu::Statistic::NumaNode;

pub const GPU_NODE: Metric = Metric {
    name: "headroom_gpu_numa_node",
    kind: Kind::Gauge,
    unit: None,
    detail: Detail::Always,
    help: "Number of the memory node (NUMA) that the GPU is connected to, as the kernel has it. Absent where the firmware does not say.",
    labels: &["gpu", "uuid"],
    needs: &[],
    read: |view, emit| {
        for gpu in view.gpus.iter() {
            let Some(node) = gpu.values.get(NumaNode) else { continue };
            emit.gauge(&[&gpu.device.gpu, &gpu.device.uuid], Value::Int(node))?;
        }
        Ok(())
    },
};

pub const WORKLOAD_MEMORY: Metric = Metric {
    name: "headroom_workload_numa_memory_bytes",
    kind: Kind::Gauge,
    unit: Some(Unit::Bytes),
    detail: Detail::Used,
    help: "Memory of the workload in each memory node (NUMA): anonymous memory and files. Only of workloads that serve models or hold GPU memory, on hosts with several nodes.",
    labels: &["workload", "namespace", "pod", "container", "node"],
    needs: &[],
    read: |view, emit| {
        for (name, nodes) in view.slow.all_nodes() {
            let Some(workload) = view.workloads.find(name) else { continue };
            let [name, namespace, pod, container] = workload.labels();
            for node in nodes {
                let Some(bytes) = node.bytes else { continue };
                emit.gauge(&[name, namespace, pod, container, &node.node.to_string()], Value::Int(bytes))?;
            }
        }
        Ok(())
    },
};
