//! Page faults.

use collector_common::fault::word;

use super::number::rows;
use super::row::{Detail, Kind, Metric, Unit, Value};
use crate::signal::fault;

pub const MAJOR_FAULT_SECONDS: Metric = Metric {
    name: "headroom_major_fault_seconds",
    kind: Kind::Histogram,
    unit: Some(Unit::Seconds),
    detail: Detail::Used,
    help: "Page faults that had to wait for IO on a file or on swap, by how long the faulting task waited; faults on swapped-out shared memory are not counted.",
    labels: &[],
    needs: &[fault::MAJOR_TIME],
    read: |view, emit| emit.histogram(&[], &view.host.major_fault, view.started),
};

/// For each of [`fault::FAULTS`]: its faults by mode and access, with the index of the count.
const SORTS: [&[(&str, &str, usize)]; 3] = [
    &[("user", "read", word::USER), ("user", "write", word::USER + 1), ("user", "execute", word::USER + 2)],
    &[("kernel", "read", word::KERNEL), ("kernel", "write", word::KERNEL + 1), ("kernel", "execute", word::KERNEL + 2)],
    &[("any", "any", word::ANY)],
];

pub const PAGE_FAULTS: Metric = Metric {
    name: "headroom_workload_page_faults_total",
    kind: Kind::Counter,
    unit: None,
    detail: Detail::By(&[("kernel", Detail::Full), ("", Detail::Busy)]),
    help: "Page faults of the workload's tasks, by mode and access; both are any where the kernel does not report them.",
    labels: &["workload", "namespace", "pod", "container", "mode", "access"],
    needs: &fault::FAULTS,
    read: |view, emit| {
        for workload in emit.workloads(view) {
            let [name, namespace, pod, container] = workload.labels();
            for (need, sorts) in SORTS.iter().enumerate() {
                if !emit.sees(need) {
                    continue;
                }
                for &(mode, access, word) in *sorts {
                    let labels = [name, namespace, pod, container, mode, access];
                    let faults = workload.amounts.faults[word];
                    match (mode, access) {
                        ("kernel", "execute") => emit.rare(&labels, Value::Int(faults), workload.created)?,
                        _ => emit.counter(&labels, Value::Int(faults), workload.created)?,
                    }
                }
            }
        }
        Ok(())
    },
};

rows! {
    MAJOR_PAGE_FAULTS = "headroom_workload_major_page_faults_total",
        "Page faults of the workload's tasks that needed IO.", MajorFaults, Detail::Always;
}
