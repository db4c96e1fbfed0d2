//! The arguments that the programs expect of their tracepoints and functions, in every known form, and what follows
//! from the form. Only data.

use collector_common::layout::{ABSENT, Layout};

use super::field::{Slot, slot};

/// The known argument lists of one hook.
pub struct Prototype {
    pub name: &'static str,
    /// Possible first arguments; later ones are not read (kernels sometimes append some). The first form that fits is
    /// used.
    pub forms: &'static [Form],
}

/// One argument list.
pub struct Form {
    /// The types of the first arguments, spelt as in C.
    pub arguments: &'static [&'static str],
    /// The layout field that follows from it. Two hooks that set the same field must agree.
    pub sets: Option<(Slot, u32)>,
}

const fn form(arguments: &'static [&'static str]) -> Form {
    Form { arguments, sets: None }
}

const fn setting(arguments: &'static [&'static str], slot: Slot, value: u32) -> Form {
    Form { arguments, sets: Some((slot, value)) }
}

const ULONG: &str = "unsigned long";
const FAULT: &[Form] = &[form(&["unsigned long", "struct pt_regs *", "unsigned long"])];
const KSWAPD: &[Form] = &[form(&["int"])];
const RECLAIM_BEGIN: &[Form] = &[
    // Before 5.2, and so in RHEL 8: order, may_writepage, gfp_flags, and from 4.6 on classzone_idx.
    setting(&["int", "int", "gfp_t"], slot!(reclaim_begin_order), 0),
    setting(&["int", "gfp_t"], slot!(reclaim_begin_order), 0),
    setting(&["gfp_t", "int"], slot!(reclaim_begin_order), 1),
];
const RECLAIM_END: &[Form] = &[
    setting(&["unsigned long", "struct mem_cgroup *"], slot!(reclaim_end_memcg), 1),
    setting(&["unsigned long"], slot!(reclaim_end_memcg), ABSENT),
];
const ISSUE: &[Form] = &[
    setting(&["struct request *"], slot!(block_issue_request), 0),
    // Before 5.11, and before 5.10.137.
    setting(&["struct request_queue *", "struct request *"], slot!(block_issue_request), 1),
];
// Nothing else that it passes is signed; the last is when the task came.
const DIRTY: &[Form] = &[
    setting(
        &["struct bdi_writeback *", ULONG, ULONG, ULONG, ULONG, ULONG, ULONG, ULONG, ULONG, ULONG, "long", ULONG],
        slot!(dirty_pause),
        10,
    ),
    setting(
        &["struct bdi_writeback *", "struct dirty_throttle_control *", ULONG, ULONG, ULONG, ULONG, "long", ULONG],
        slot!(dirty_pause),
        6,
    ),
];
const CGROUP: &[Form] = &[form(&["struct cgroup *", "const char *"])];
const VM_FAULT: &[Form] = &[form(&["struct vm_fault *"])];

const fn on(name: &'static str, forms: &'static [Form]) -> Prototype {
    Prototype { name, forms }
}

pub const TRACEPOINTS: &[Prototype] = &[
    on(
        "mark_victim",
        &[setting(&["struct task_struct *"], slot!(victim_is_pid), 0), setting(&["int"], slot!(victim_is_pid), 1)],
    ),
    on("sched_process_exit", &[form(&["struct task_struct *"])]),
    on("signal_generate", &[form(&["int", "struct kernel_siginfo *", "struct task_struct *", "int", "int"])]),
    on("mm_vmscan_direct_reclaim_begin", RECLAIM_BEGIN),
    on("mm_vmscan_memcg_reclaim_begin", RECLAIM_BEGIN),
    on("mm_vmscan_direct_reclaim_end", RECLAIM_END),
    on("mm_vmscan_memcg_reclaim_end", RECLAIM_END),
    on("mm_vmscan_kswapd_wake", KSWAPD),
    on("mm_vmscan_kswapd_sleep", KSWAPD),
    // The current task compacts; the arguments are not read.
    on("mm_compaction_begin", &[form(&[])]),
    on("mm_compaction_end", &[form(&[])]),
    on("page_fault_user", FAULT),
    on("page_fault_kernel", FAULT),
    on("block_rq_requeue", ISSUE),
    on("block_rq_issue", ISSUE),
    on(
        "block_rq_complete",
        &[
            form(&["struct request *", "blk_status_t", "unsigned int"]),
            form(&["struct request *", "int", "unsigned int"]),
        ],
    ),
    on("balance_dirty_pages", DIRTY),
    on("cgroup_mkdir", CGROUP),
    on("cgroup_rmdir", CGROUP),
    on("cgroup_rename", CGROUP),
    on("cgroup_attach_task", &[form(&["struct cgroup *", "const char *", "struct task_struct *"])]),
];

pub const FUNCTIONS: &[Prototype] = &[
    on("filemap_fault", VM_FAULT),
    on("do_swap_page", VM_FAULT),
    on("oom_kill_process", &[form(&["struct oom_control *"])]),
];

#[cfg(test)]
mod tests {
    use collector_common::{Hook, Probe, SIGNALS};

    use super::super::field::{FIELDS, Need};
    use super::*;

    #[test]
    fn the_tables_match_the_catalogue() {
        let probes: Vec<&Probe> = SIGNALS.iter().flat_map(|signal| signal.probes).collect();
        for field in FIELDS {
            if let Need::Programs(programs) = field.need {
                assert!(programs.iter().all(|name| probes.iter().any(|p| p.program == *name)), "{}", field.slot.name);
            }
        }
        for probe in probes {
            let (name, prototypes) = match probe.hook {
                Hook::RawTracepoint { name, .. } | Hook::TypedTracepoint { name, .. } => (name, TRACEPOINTS),
                Hook::Entry(name) | Hook::Exit(name) | Hook::Kprobe(name) | Hook::Kretprobe(name) => (name, FUNCTIONS),
                Hook::Software(_) | Hook::LibraryEntry(_) | Hook::LibraryReturn(_) => continue,
            };
            assert_eq!(prototypes.iter().filter(|p| p.name == name).count(), 1, "{name}");
        }
    }
}
