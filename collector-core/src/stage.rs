//! The places that can drop something: the label `stage` of `headroom_lost_total`, what each drops, and what to do about it.
//! Knows nothing of who counts.

use collector_common::lost;
use serde::{Deserialize, Serialize};

/// Where something was dropped, in the order of the labels, [`Stage::Unknown`] at the end.
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
    Http,
    InFlight,
    Journal,
    Malformed,
    MissedRun,
    Name,
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
    Workload,
    /// A recording of another version has a stage that this one does not know.
    #[serde(other)]
    Unknown,
}

impl Stage {
    pub const ALL: [Stage; 29] = [
        Stage::Alert,
        Stage::AlertSeries,
        Stage::Device,
        Stage::Disk,
        Stage::Event,
        Stage::Filesystem,
        Stage::Gpu,
        Stage::GpuPcie,
        Stage::Http,
        Stage::InFlight,
        Stage::Journal,
        Stage::Malformed,
        Stage::MissedRun,
        Stage::Name,
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
        Stage::Workload,
        Stage::Unknown,
    ];

    /// The label in `headroom_lost_total`, and the name in a recording.
    pub fn label(self) -> &'static str {
        self.row().0
    }

    /// Its label, what was dropped there, and what to do about it.
    fn row(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Stage::Alert => (
                "alert",
                "An alert could not fire: 1000 fire already. It is counted once, and fires when there is room.",
                "Fix what fires, or narrow the rule that fires most.",
            ),
            Stage::AlertSeries => (
                "alert_series",
                "A series matched a rule that follows 10000 series already. The rule does not look at it.",
                "Narrow the rule with `match`.",
            ),
            Stage::Device => (
                "device",
                "IO of a block device beyond the 256 that are kept. It is missing from the device's figures.",
                "Nothing, unless the host has that many disks: then read the disks' own statistics.",
            ),
            Stage::Disk => (
                "disk",
                "Statistics of a disk beyond the 256 that are kept.",
                "Leave out disks that do not matter: `disk.exclude`.",
            ),
            Stage::Event => (
                "event",
                "An event was not written to the journal: more than 50 a second came. Alerts, incidents and metrics are complete.",
                "Nothing if it is rare. If it lasts, find the workload that stalls or fails: `headroom workloads`.",
            ),
            Stage::Filesystem => (
                "filesystem",
                "Figures of a filesystem beyond the 256 that are kept.",
                "Leave out filesystems that do not matter: `filesystem.exclude` and `filesystem.exclude_types`.",
            ),
            Stage::Gpu => (
                "gpu",
                "A reading of a GPU found its queue full, or a GPU, a holder of its memory or an error code found no room.",
                "Give the agent more CPU time. If it lasts, read GPUs less often: `gpu.interval`.",
            ),
            Stage::GpuPcie => (
                "gpu_pcie",
                "The driver gave a PCIe number that cannot be. It is missing from the bytes of that link.",
                "See [gpu.md](gpu.md). If it lasts, take the driver's next version.",
            ),
            Stage::Http => (
                "http",
                "A request was refused, because too many were open or waiting.",
                "Scrape less often, or with fewer scrapers. [access.md](access.md) names the limits.",
            ),
            Stage::InFlight => (
                "in_flight",
                "An IO could not be noted at its issue, or completed without one. Its times are missing.",
                "Nothing for a few at the start: these IOs were under way already. If it lasts, report it with the kernel.",
            ),
            Stage::Journal => (
                "journal",
                "An entry could not be written to the journal. Alerts were delivered all the same.",
                "Read the agent's log. Check that `journal.dir` can be written and its disk is not full or slow.",
            ),
            Stage::Malformed => (
                "malformed",
                "A record, a counter or a line of a recording is not what Headroom writes.",
                "Report it with the version and the kernel, unless the recording was changed.",
            ),
            Stage::MissedRun => (
                "missed_run",
                "The kernel skipped a run of a program, because another program ran on that CPU. What it would have seen is missing.",
                "Nothing if it is rare. Else look for other tracers on the host: `bpftool prog`.",
            ),
            Stage::Name => (
                "name",
                "The name of a container or pod could not be asked for or read. The workload goes by its cgroup.",
                "Read the agent's log. Check `workload.kubelet`, `workload.docker` and `workload.podman`.",
            ),
            Stage::Node => (
                "node",
                "Work of kswapd on a memory node beyond those that are kept.",
                "Nothing can be set. Report it with the number of memory nodes.",
            ),
            Stage::Outcome => (
                "outcome",
                "An outcome found 4096 others waiting. It is in no journal, and if it is an alert no receiver gets it.",
                "Give the agent more CPU time, or put `journal.dir` on a faster disk.",
            ),
            Stage::Path => (
                "path",
                "The path of a cgroup is longer than a record holds. A walk over all cgroups finds it.",
                "Nothing. If it lasts, use shorter names or fewer levels of cgroups.",
            ),
            Stage::Record => (
                "record",
                "A sample could not be written to the file of `run --record`.",
                "Make room on the disk of the recording.",
            ),
            Stage::RingBulk => (
                "ring_bulk",
                "A stall, or a slow or failed IO, found the bulk ring full. It is in the counts, but not told as an event.",
                "Raise `kernel.bulk_ring`, or `kernel.stall` and `kernel.slow_io`.",
            ),
            Stage::RingCritical => (
                "ring_critical",
                "An OOM kill, or the birth or death of a cgroup, found the critical ring full. A walk finds cgroups; a kill is gone.",
                "Raise `kernel.critical_ring`, and give the agent more CPU time.",
            ),
            Stage::Series => (
                "series",
                "A series was left out of `/metrics`, because there are more than `metrics.max_series`.",
                "Raise `metrics.max_series`, or lower `workload.max`.",
            ),
            Stage::Sink => (
                "sink",
                "An alert did not reach a receiver: it refused the alert, or 10000 waited.",
                "Read the agent's log. See [sinks.md](sinks.md).",
            ),
            Stage::Slot => (
                "slot",
                "A cgroup found no room of its own in the kernel's maps. Its counts went to the workload `other`.",
                "Raise `workload.max`, or remove cgroups that nobody uses.",
            ),
            Stage::Stopwatch => (
                "stopwatch",
                "The begin or the end of a stall was not seen. That one stall is missing.",
                "Nothing for a few at the start: these tasks were stalled already. If it lasts, report it with the kernel.",
            ),
            Stage::Transfer => (
                "transfer",
                "A call of the CUDA driver, or what it allocated, found no room. It is missing from the workload's transfers.",
                "Nothing can be set. Report it with what the process does.",
            ),
            Stage::UnknownCgroup => (
                "unknown_cgroup",
                "Counts came for a cgroup whose birth nobody saw, and went to the workload `other`.",
                "Nothing if it is rare. If it lasts, see the stages `ring_critical` and `path`.",
            ),
            Stage::Victim => (
                "victim",
                "The victim of an OOM kill was known by its pid alone, and could not be followed to its exit.",
                "Nothing can be set. The kernel's log names the process.",
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
stay at 0 on most hosts. The rule EventsLost fires while one of them grows, but for `gpu_pcie`, which has a rule of its own.

| stage | what was dropped | what to do |
|---|---|---|
";

/// The page: what each stage drops, and what to do about it.
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
    fn a_label_is_the_name_in_a_recording_and_all_are_in_order() {
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
    fn every_stage_of_the_kernel_side_has_its_own() {
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
