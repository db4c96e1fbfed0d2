//! The places that can drop something: the label `stage` of `headroom_lost_total`, what each drops, and what to do about it.
//! Does not know what counts them.

use collector_common::lost;
use serde::{Deserialize, Serialize};

/// A place that can drop something. Sorted by label, with [`Stage::Unknown`] last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    Alert,
    AlertSeries,
    Device,
    Disk,
    Event,
    Filesystem,
    Gpu,
    GpuPcie,
    History,
    Http,
    InFlight,
    Journal,
    Malformed,
    MissedRun,
    Model,
    ModelFile,
    Name,
    Network,
    Node,
    Outcome,
    Path,
    Record,
    RingBulk,
    RingCritical,
    Series,
    Sink,
    Slot,
    Stopwatch,
    Transfer,
    UnknownCgroup,
    Victim,
    Walk,
    Workload,
    /// A stage in a recording of another version that this version does not know.
    #[serde(other)]
    Unknown,
}

impl Stage {
    pub const ALL: [Stage; 34] = [
        Stage::Alert,
        Stage::AlertSeries,
        Stage::Device,
        Stage::Disk,
        Stage::Event,
        Stage::Filesystem,
        Stage::Gpu,
        Stage::GpuPcie,
        Stage::History,
        Stage::Http,
        Stage::InFlight,
        Stage::Journal,
        Stage::Malformed,
        Stage::MissedRun,
        Stage::Model,
        Stage::ModelFile,
        Stage::Name,
        Stage::Network,
        Stage::Node,
        Stage::Outcome,
        Stage::Path,
        Stage::Record,
        Stage::RingBulk,
        Stage::RingCritical,
        Stage::Series,
        Stage::Sink,
        Stage::Slot,
        Stage::Stopwatch,
        Stage::Transfer,
        Stage::UnknownCgroup,
        Stage::Victim,
        Stage::Walk,
        Stage::Workload,
        Stage::Unknown,
    ];

    /// The label in `headroom_lost_total`, and the name in a recording.
    pub fn label(self) -> &'static str {
        self.row().0
    }

    /// The label, what was dropped, and what to do about it.
    /// What was dropped, and what to do about it.
    pub fn texts(self) -> (&'static str, &'static str) {
        let (_, dropped, action) = self.row();
        (dropped, action)
    }

    fn row(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Stage::Alert => (
                "alert",
                "An alert could not fire, because 1000 alerts fire already. It is counted once, and fires when there is room.",
                "Fix what fires, or narrow the rule that fires most.",
            ),
            Stage::AlertSeries => (
                "alert_series",
                "A series matched a rule that follows 10000 series already. The rule ignores it.",
                "Narrow the rule with `match`.",
            ),
            Stage::Device => (
                "device",
                "IO of a block device beyond the 256 that are kept, or beyond 512 pairs of device and operation. It is missing from the device's figures.",
                "Nothing, unless the host has that many disks: then read the disks' own statistics.",
            ),
            Stage::Disk => (
                "disk",
                "Statistics of a disk beyond the 256 that are kept.",
                "Leave out disks that do not matter: `disk.exclude`.",
            ),
            Stage::Event => (
                "event",
                "An event was not written to the journal, because there were too many ([sinks.md](sinks.md) has the limits). Alerts, incidents and metrics are complete.",
                "Nothing if it is rare. If it lasts, find the workload that stalls or fails: `headroom workloads`.",
            ),
            Stage::Filesystem => (
                "filesystem",
                "Figures of a filesystem beyond the 256 that are kept, or of a container's volume in memory beyond 2048.",
                "Leave out filesystems and volumes that do not matter: add patterns to `filesystem.exclude`, or types to `filesystem.exclude_types`.",
            ),
            Stage::Gpu => (
                "gpu",
                "A GPU reading found its queue full, or there was no room for a GPU, a holder of its memory or an error code.",
                "Give the agent more CPU time. If it lasts, read GPUs less often: `gpu.interval`.",
            ),
            Stage::GpuPcie => (
                "gpu_pcie",
                "The driver reported an impossible PCIe number. It is missing from the bytes of that link.",
                "See [gpu.md](gpu.md). If it lasts, use a newer driver.",
            ),
            Stage::History => (
                "history",
                "A quarter of an hour of a workload was not written to `history.db`: the disk failed or was too slow, or there were more workloads in a day than it keeps (20000, of one user 2000).",
                "Read the agent's log. Check that `journal.dir` can be written and its disk is not full or slow. If many short-lived workloads cause it, find out who makes them: `headroom workloads`.",
            ),
            Stage::Http => (
                "http",
                "A connection or a request was refused or closed: too many were open or waiting, or its client did not read.",
                "Scrape less often, or with fewer scrapers. If your scrapers are few, find out who else connects: `ss -tn`. [access.md](access.md#limits) names the limits.",
            ),
            Stage::InFlight => (
                "in_flight",
                "An IO could not be recorded at its issue, or its issue was not seen. Its times are missing.",
                "Nothing if it is rare. If it lasts, report it with the kernel.",
            ),
            Stage::Journal => (
                "journal",
                "An entry could not be written to the journal. Alerts were still delivered.",
                "Read the agent's log. Check that `journal.dir` can be written and its disk is not full or slow.",
            ),
            Stage::Malformed => (
                "malformed",
                "A record, a counter or a line of a recording is not what Headroom writes.",
                "Report it with the version and the kernel, unless the recording was changed.",
            ),
            Stage::MissedRun => (
                "missed_run",
                "The kernel skipped a run of a program, because another program ran on that CPU. What it would have counted is missing.",
                "Nothing if it is rare. Otherwise check for other tracers on the host: `bpftool prog`.",
            ),
            Stage::Model => (
                "model",
                "A model server beyond the 256 (of one user 16), or a model beyond the 16 of a server and the 512 of all, that are kept. Its numbers are missing.",
                "Find out who starts so many: `headroom workloads`. Leave out servers that do not matter: `models.exclude`.",
            ),
            Stage::ModelFile => (
                "model_file",
                "A process beyond the 256 (of one user 64) whose model files are read, a file beyond the 16 of a process, or a store beyond the 64.",
                "Leave out stores that do not matter, or set `model_file.enabled = false`.",
            ),
            Stage::Name => (
                "name",
                "The name of a container or pod could not be requested or read. The workload is named after its cgroup.",
                "Read the agent's log. Check `workload.kubelet`, `workload.docker` and `workload.podman`.",
            ),
            Stage::Network => (
                "network",
                "An interface beyond the 256, an RDMA port beyond the 64, a network namespace beyond the 1024 or a cgroup beyond the 8192 that are kept; of the cgroups and namespaces of one owner a quarter. Its traffic is missing.",
                "Leave out interfaces that do not matter: `network.exclude`.",
            ),
            Stage::Node => (
                "node",
                "Work of kswapd on a memory node beyond those that are kept.",
                "There is no setting for it. Report it with the number of memory nodes.",
            ),
            Stage::Outcome => (
                "outcome",
                "An outcome found 4096 others waiting. It is not written to the journal, and if it is an alert, no receiver gets it.",
                "Give the agent more CPU time, or put `journal.dir` on a faster disk.",
            ),
            Stage::Path => (
                "path",
                "The path of a new or renamed cgroup is longer than a record holds. A walk over all cgroups finds it. It is in one workload with all others that are too deep below the same cgroup; the name ends with `/…`.",
                "Nothing if it is rare. If it lasts, use shorter names or fewer levels of cgroups.",
            ),
            Stage::Record => (
                "record",
                "A sample could not be written to the file of `run --record`.",
                "Free space on the disk of the recording.",
            ),
            Stage::RingBulk => (
                "ring_bulk",
                "A stall, a slow or failed IO, or a signal found the bulk ring full. Stalls and IO are counted, but not reported as events.",
                "Raise `kernel.bulk_ring`, or `kernel.stall` and `kernel.slow_io`.",
            ),
            Stage::RingCritical => (
                "ring_critical",
                "An OOM kill, or the birth or death of a cgroup, found the critical ring full. A walk over all cgroups finds the cgroup, but a kill is lost.",
                "Raise `kernel.critical_ring`, and give the agent more CPU time.",
            ),
            Stage::Series => (
                "series",
                "A series was left out of `/metrics`: there are more series than `metrics.max_series`, or more bytes than `metrics.max_bytes`. Of bytes, the series with the longest labels are left out first.",
                "Raise `metrics.max_series` or `metrics.max_bytes`, or lower `workload.max`.",
            ),
            Stage::Sink => (
                "sink",
                "An alert did not reach a receiver: it refused the alert, or 10000 were waiting.",
                "Read the agent's log. See [sinks.md](sinks.md).",
            ),
            Stage::Slot => (
                "slot",
                "There was no room for a cgroup in the kernel's maps. Its counts went to the workload `other`.",
                "Raise `workload.max`, or remove unused cgroups.",
            ),
            Stage::Stopwatch => (
                "stopwatch",
                "There was no room for the begin of a stall. That stall is missing.",
                "There is no setting for it. Report it with the kernel.",
            ),
            Stage::Transfer => (
                "transfer",
                "There was no room for a call of the CUDA driver or its allocation, or its user had a quarter of the places already. It is missing from the workload's transfers.",
                "There is no setting for it. Report it with what the process does.",
            ),
            Stage::UnknownCgroup => (
                "unknown_cgroup",
                "Counts came for a cgroup whose creation was missed. They went to the workload `other`. (A cgroup that was gone before the agent knew it is not counted here.)",
                "Nothing if it is rare. If it lasts, see the stages `ring_critical` and `path`.",
            ),
            Stage::Victim => (
                "victim",
                "The victim of an OOM kill was known only by its pid, and could not be followed to its exit.",
                "There is no setting for it. The kernel log names the process.",
            ),
            Stage::Walk => (
                "walk",
                "A directory could not be read on a walk over all cgroups. Which cgroups are in it is known only if the kernel reports them.",
                "Read the agent's log: it names the directory. Run the agent as root or with `CAP_DAC_READ_SEARCH`, or restore the directory's permissions.",
            ),
            Stage::Workload => (
                "workload",
                "A cgroup got no series of its own. Its counts are part of the workload `other`.",
                "Raise `workload.max`.",
            ),
            Stage::Unknown => (
                "unknown",
                "A recording names a stage that this version does not know.",
                "Replay it with the version that recorded it.",
            ),
        }
    }
}

impl From<lost::Stage> for Stage {
    fn from(stage: lost::Stage) -> Stage {
        match stage {
            lost::Stage::RingCritical => Stage::RingCritical,
            lost::Stage::RingBulk => Stage::RingBulk,
            lost::Stage::Slot => Stage::Slot,
            lost::Stage::Stopwatch => Stage::Stopwatch,
            lost::Stage::InFlight => Stage::InFlight,
            lost::Stage::Device => Stage::Device,
            lost::Stage::Victim => Stage::Victim,
            lost::Stage::Node => Stage::Node,
            lost::Stage::Path => Stage::Path,
            lost::Stage::Transfer => Stage::Transfer,
        }
    }
}

const HEAD: &str = "<!-- Generated by `BLESS=1 cargo test -p collector docs`. Do not edit. -->

# Losses

`headroom_lost_total{stage}` counts what Headroom dropped, by the place that dropped it. Most of them
stay at 0 on most hosts. The rule EventsLost fires while one of them grows, except `gpu_pcie`, which has its own rule.

| stage | what was dropped | what to do |
|---|---|---|
";

/// Generates docs/losses.md.
pub fn document() -> String {
    Stage::ALL.into_iter().fold(HEAD.to_owned(), |page, stage| {
        let (label, dropped, advice) = stage.row();
        page + &format!("| `{label}` | {dropped} | {advice} |\n")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_the_names_in_recordings_and_are_sorted() {
        for (index, stage) in Stage::ALL.into_iter().enumerate() {
            assert_eq!(stage as usize, index, "{stage:?}");
            let json = format!("{:?}", stage.label());
            assert_eq!(serde_json::to_string(&stage).unwrap(), json);
            assert_eq!(serde_json::from_str::<Stage>(&json).unwrap(), stage);
        }
        let (known, last) = Stage::ALL.split_at(Stage::ALL.len() - 1);
        assert!(known.is_sorted_by(|one, other| one.label() < other.label()));
        assert_eq!(last, [Stage::Unknown]);
    }

    #[test]
    fn kernel_stages_map_to_distinct_stages() {
        let mut stages = lost::Stage::ALL.map(Stage::from);
        stages.sort();
        assert!(stages.is_sorted_by(|one, other| one < other));
        assert!(!stages.contains(&Stage::Unknown));
    }

    #[test]
    fn a_stage_of_another_version_is_read() {
        assert_eq!(serde_json::from_str::<Stage>("\"unheard_of\"").unwrap(), Stage::Unknown);
    }
}
