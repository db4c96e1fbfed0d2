//! Jobs on GPUs: how much of its GPU each usually uses, and whether it starves can be told at all.

use super::row::{Detail, Kind, Metric, Value};
use crate::view::starved::State;

pub const USUAL: Metric = Metric {
    name: "headroom_gpu_usual_utilization_ratio",
    kind: Kind::Gauge,
    unit: None,
    detail: Detail::Always,
    help: "Share of time, 0 to 1, in which the job that has this GPU usually runs something on it: the median of its windows of starved.window, without those in which the host kept it from working. Absent while the job is new, uses the GPU too little, or shares it.",
    labels: &["gpu", "uuid"],
    needs: &[],
    read: |view, emit| {
        for (uuid, job) in &view.starved.gpus {
            if let Some(usual) = job.usual {
                emit.gauge(&[&job.gpu, uuid], Value::Float(f64::from(usual)))?;
            }
        }
        Ok(())
    },
};

pub const STATE: Metric = Metric {
    name: "headroom_gpu_job_state",
    kind: Kind::Gauge,
    unit: None,
    detail: Detail::Used,
    help: "1 for what is said of the job on this GPU, else 0: shared (several workloads hold its memory, so whose utilization it is cannot be told), learning (not seen for long enough), idle (it uses too little to say anything), usual, phase (low, as it is by itself now and then, or because it has less to do), low (much lower than usual; an incident gpu_starved says so if the host is to blame).",
    labels: &["gpu", "uuid", "state"],
    needs: &[],
    read: |view, emit| {
        for (uuid, job) in &view.starved.gpus {
            for label in State::LABELS {
                emit.gauge(&[&job.gpu, uuid, label], Value::Int(u64::from(job.state.label() == label)))?;
            }
        }
        Ok(())
    },
};
