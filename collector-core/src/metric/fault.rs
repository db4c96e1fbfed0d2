//! Page faults.

use std::fmt;

use collector_common::fault::word;

use super::row::{Detail, Emit, Kind, Metric, Unit, Value, WORKLOAD};
use crate::signal::fault;
use crate::statistic::workload::Statistic;
use crate::view::workload::Workload;

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
    help: "Page faults of the workload's tasks, by mode and access; both are any where the kernel does not report them. Where no program runs at page faults (fault.access), they are the kernel's count since the cgroup was created, from memory.stat, read once in workload.stat_interval.",
    labels: &["workload", "namespace", "pod", "container", "mode", "access"],
    needs: &[],
    read: |view, emit| {
        let seen = fault::FAULTS.map(|need| view.coverage.sees(need));
        let own = SORTS.iter().zip(seen).filter(|(_, seen)| *seen);
        for workload in emit.workloads(view) {
            let [name, namespace, pod, container] = workload.labels();
            for &(mode, access, word) in own.clone().flat_map(|(sorts, _)| *sorts) {
                let labels = [name, namespace, pod, container, mode, access];
                let faults = workload.amounts.faults[word];
                match (mode, access) {
                    ("kernel", "execute") => emit.rare(&labels, Value::Int(faults), workload.created)?,
                    _ => emit.counter(&labels, Value::Int(faults), workload.created)?,
                }
            }
            if seen == [false; fault::FAULTS.len()] {
                kernels(emit, &[name, namespace, pod, container, "any", "any"], workload, Statistic::PageFaults)?;
            }
        }
        Ok(())
    },
};

pub const MAJOR_PAGE_FAULTS: Metric = Metric {
    name: "headroom_workload_major_page_faults_total",
    kind: Kind::Counter,
    unit: None,
    detail: Detail::Always,
    help: "Page faults of the workload's tasks that needed IO. Where the program is missing, they are the kernel's count since the cgroup was created, from memory.stat, read once in workload.stat_interval.",
    labels: &WORKLOAD,
    needs: &[],
    read: |view, emit| {
        let seen = view.coverage.sees(fault::MAJOR);
        for workload in emit.workloads(view) {
            match seen {
                true => {
                    let faults = workload.amounts.faults[word::MAJOR];
                    emit.counter(&workload.labels(), Value::Int(faults), workload.created)?;
                }
                false => kernels(emit, &workload.labels(), workload, Statistic::MajorPageFaults)?,
            }
        }
        Ok(())
    },
};

/// What the kernel counted, if it is known.
fn kernels(emit: &mut Emit<'_>, labels: &[&str], workload: &Workload, statistic: Statistic) -> fmt::Result {
    match workload.statistics.get(statistic) {
        Some(faults) => emit.counter(labels, Value::Int(faults), 0),
        None => Ok(()),
    }
}
