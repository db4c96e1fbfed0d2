//! The host's CPUs, and pressure on its resources (PSI).

use super::host_statistic::rows;
use super::row::{Detail, Kind, Metric, Unit, Value};
use crate::statistic::host::{Statistic, average_busy};

rows! {
    SECONDS: Counter Seconds "headroom_host_cpu_seconds_total" ("mode"),
        "CPU time of all CPUs by mode; guest time is not counted as user time too, so the modes add up to the total time."
        {
            ["user"] CpuUser,
            ["nice"] CpuNice,
            ["system"] CpuSystem,
            ["idle"] CpuIdle,
            ["iowait"] CpuIowait,
            ["irq"] CpuIrq,
            ["softirq"] CpuSoftirq,
            ["steal"] CpuSteal,
            ["guest"] CpuGuest,
            ["guest_nice"] CpuGuestNice,
        }
    CPUS: Gauge None "headroom_host_cpus", "CPUs that are online." { [] Cpus }
    CONTEXT_SWITCHES: Counter None "headroom_host_context_switches_total",
        "Context switches on all CPUs." { [] ContextSwitches }
    FORKS: Counter None "headroom_host_forks_total", "Processes and threads created since the host started." { [] Forks }
    TASKS: Gauge None "headroom_host_tasks" ("state"),
        "Tasks that run or wait for a CPU (running), and tasks that wait for IO (blocked)."
        { ["running"] TasksRunning, ["blocked"] TasksBlocked }
    BOOT_TIME: Gauge Seconds "headroom_host_boot_time_seconds",
        "When the host started, in seconds since the Unix epoch." { [] BootTime }
    PRESSURE_WAITING: Counter Seconds "headroom_host_pressure_waiting_seconds_total" ("resource"),
        "Time in which at least one task of the host waited for the resource (PSI some)."
        { ["cpu"] CpuPressureSome, ["memory"] MemoryPressureSome, ["io"] IoPressureSome }
    PRESSURE_STALLED: Counter Seconds "headroom_host_pressure_stalled_seconds_total" ("resource"),
        "Time in which all tasks of the host that were not idle waited for the resource at once (PSI full); for irq: time in which interrupts kept them from running."
        { ["memory"] MemoryPressureFull, ["io"] IoPressureFull, ["irq"] IrqPressureFull }
}

pub const AVERAGE_BUSY: Metric = Metric {
    name: "headroom_host_cpu_average_busy_seconds_total",
    kind: Kind::Counter,
    unit: Some(Unit::Seconds),
    detail: Detail::Always,
    help: "Time in which a CPU was neither idle nor waiting for IO, averaged over the host's CPUs: its rate is the share of all CPU time that is used.",
    labels: &[],
    needs: &[],
    read: |view, emit| {
        let values = &view.host.statistics;
        match average_busy(values) {
            Some(busy) => emit.number_since(&[], busy, values.get(Statistic::BootTime).unwrap_or(0)),
            None => Ok(()),
        }
    },
};

pub const LOAD: Metric = Metric {
    name: "headroom_host_load",
    kind: Kind::Gauge,
    unit: None,
    detail: Detail::Always,
    help: "Load average: tasks that run, wait for a CPU or wait for IO, averaged over this number of minutes.",
    labels: &["minutes"],
    needs: &[],
    read: |view, emit| {
        for (minutes, load) in [("1", Statistic::Load1), ("5", Statistic::Load5), ("15", Statistic::Load15)] {
            if let Some(hundredths) = view.host.statistics.get(load) {
                emit.gauge(&[minutes], Value::Float(hundredths as f64 / 100.0))?;
            }
        }
        Ok(())
    },
};

pub const PRESSURE_TRIGGER_ARMED: Metric = Metric {
    name: "headroom_host_pressure_trigger_armed",
    kind: Kind::Gauge,
    unit: None,
    detail: Detail::Always,
    help: "1 if the kernel watches the configured PSI trigger, 0 if it could not be armed: then such waits are not reported and begin no incident.",
    labels: &["resource", "kind"],
    needs: &[],
    read: |view, emit| {
        let armed = view.host.triggers.keys().map(|trigger| (trigger, 1));
        for ((resource, kind), armed) in armed.chain(view.host.refused.keys().map(|trigger| (trigger, 0))) {
            emit.gauge(&[resource.label(), kind.label()], Value::Int(armed))?;
        }
        Ok(())
    },
};

pub const PRESSURE_EVENTS: Metric = Metric {
    name: "headroom_host_pressure_events_total",
    kind: Kind::Counter,
    unit: None,
    detail: Detail::Always,
    help: "Times that tasks of the host, some (waiting) or all (stalled), waited for longer than the threshold within the window, as reported by the kernel, or as seen at a tick where the kernel reported nothing. At most one per window.",
    labels: &["resource", "kind"],
    needs: &[],
    read: |view, emit| {
        for ((resource, kind), watch) in &view.host.triggers {
            emit.counter(&[resource.label(), kind.label()], Value::Int(watch.events), watch.created)?;
        }
        Ok(())
    },
};
