//! Reclaim and its consequences, as counted by the kernel since the host started.

use super::host_statistic::rows;

rows! {
    RECLAIMED_BYTES: Counter Bytes "headroom_host_reclaimed_bytes_total" ("by"),
        "Memory that was reclaimed, each page counted once: by kswapd in the background, by tasks that had to wait for it (direct), by khugepaged, at the request of user space (proactive), or for the limit of a cgroup (cgroup; newer kernels count that as direct, and this series is absent)."
        {
            ["kswapd"] ReclaimedKswapd,
            ["direct"] ReclaimedDirect,
            ["khugepaged"] ReclaimedKhugepaged,
            ["proactive"] ReclaimedProactive,
            ["cgroup"] ReclaimedCgroup,
        }
    SCANNED_BYTES: Counter Bytes "headroom_host_reclaim_scanned_bytes_total" ("by"),
        "Memory that was scanned in order to reclaim it, with the same values of by as headroom_host_reclaimed_bytes_total."
        {
            ["kswapd"] ScannedKswapd,
            ["direct"] ScannedDirect,
            ["khugepaged"] ScannedKhugepaged,
            ["proactive"] ScannedProactive,
            ["cgroup"] ScannedCgroup,
        }
    ALLOCATION_STALLS: Counter None "headroom_host_allocation_stalls_total",
        "Allocations that had to reclaim memory first (direct reclaim)." { [] AllocationStalls }
    REFAULTS: Counter None "headroom_host_refaults_total" ("type"),
        "Pages that were needed again after they had been reclaimed: anonymous pages from swap (anon), or pages of files (file)."
        { ["anon"] RefaultsAnon, ["file"] RefaultsFile }
    SWAP_IN: Counter Bytes "headroom_host_swap_in_bytes_total", "Memory read from swap." { [] SwapIn }
    SWAP_OUT: Counter Bytes "headroom_host_swap_out_bytes_total", "Memory written to swap." { [] SwapOut }
    PAGE_FAULTS: Counter None "headroom_host_page_faults_total", "Page faults of all processes." { [] PageFaults }
    MAJOR_PAGE_FAULTS: Counter None "headroom_host_major_page_faults_total",
        "Page faults of all processes that needed IO." { [] MajorPageFaults }
    OOM_KILLS: Counter None "headroom_host_oom_kills_total",
        "Processes that the OOM killer killed since the host started, as counted by the kernel." { [] OomKills }
}
