//! How the kernel gets memory back, and what comes of it, by its own count since the host started.

use super::host_statistic::rows;

rows! {
    /// What was freed.
    RECLAIMED_BYTES: Counter Bytes "headroom_host_reclaimed_bytes_total" ("by"),
        "Memory that was reclaimed, each page once: by kswapd in the background, by tasks that had to wait for it (direct), by khugepaged, because user space asked for it (proactive), or for the limit of a cgroup (cgroup; newer kernels count that as direct, and it is absent)."
        {
            ["kswapd"] ReclaimedKswapd,
            ["direct"] ReclaimedDirect,
            ["khugepaged"] ReclaimedKhugepaged,
            ["proactive"] ReclaimedProactive,
            ["cgroup"] ReclaimedCgroup,
        }
    /// What was looked at.
    SCANNED_BYTES: Counter Bytes "headroom_host_reclaim_scanned_bytes_total" ("by"),
        "Memory that was looked at in order to reclaim it, by whom as for reclaimed."
        {
            ["kswapd"] ScannedKswapd,
            ["direct"] ScannedDirect,
            ["khugepaged"] ScannedKhugepaged,
            ["proactive"] ScannedProactive,
            ["cgroup"] ScannedCgroup,
        }
    /// Allocations that had to reclaim.
    ALLOCATION_STALLS: Counter None "headroom_host_allocation_stalls_total",
        "Allocations that had to reclaim memory before they got any." { [] AllocationStalls }
    /// Pages that came back.
    REFAULTS: Counter None "headroom_host_refaults_total" ("type"),
        "Pages that were needed again after they had been reclaimed: anonymous ones from swap, or of files."
        { ["anon"] RefaultsAnon, ["file"] RefaultsFile }
    /// From swap.
    SWAP_IN: Counter Bytes "headroom_host_swap_in_bytes_total", "Memory read from swap." { [] SwapIn }
    /// To swap.
    SWAP_OUT: Counter Bytes "headroom_host_swap_out_bytes_total", "Memory written to swap." { [] SwapOut }
    /// Faults.
    PAGE_FAULTS: Counter None "headroom_host_page_faults_total", "Page faults of all processes." { [] PageFaults }
    /// Those that took IO.
    MAJOR_PAGE_FAULTS: Counter None "headroom_host_major_page_faults_total",
        "Page faults of all processes that needed IO." { [] MajorPageFaults }
    /// Kills.
    OOM_KILLS: Counter None "headroom_host_oom_kills_total",
        "Processes that the OOM killer killed since the host started, by the kernel's own count." { [] OomKills }
}
