//! Offsets, argument positions and enum values of the running kernel, as far as the programs need them. Resolved from BTF
//! when the agent starts and passed to the programs as one read-only global, so that one binary works on every kernel.
//!
//! What this kernel does not have is [`ABSENT`]: code that needs it must do without.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Name of the global in the ELF object.
pub const GLOBAL: &str = "LAYOUT";

/// This kernel has no such field or argument.
pub const ABSENT: u32 = u32::MAX;

macro_rules! layout {
    ($($(#[$doc:meta])* $field:ident,)*) => {
        /// Byte offsets, argument positions and enum values.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
        #[repr(C)]
        pub struct Layout { $($(#[$doc])* pub $field: u32,)* }

        impl Layout {
            pub const EMPTY: Layout = Layout { $($field: ABSENT,)* };

            /// Every field with its name.
            pub fn fields(&self) -> impl Iterator<Item = (&'static str, u32)> {
                [$((stringify!($field), self.$field),)*].into_iter()
            }
        }
    };
}

layout! {
    // The fields read at every page fault come first: they share a cache line.
    /// 1 if `bpf_get_current_task_btf` exists (5.11), so that direct loads can read the current task; otherwise 0.
    task_btf,
    /// `task_struct.cgroups`.
    task_cgroups,
    /// `css_set.subsys[memory_cgrp_id]`.
    css_set_memory,
    /// `cgroup_subsys_state.serial_nr`: unique while the kernel is up.
    css_serial_nr,
    /// `task_struct.pid`: the thread id.
    task_pid,
    /// `task_struct.tgid`: the process id.
    task_tgid,
    /// `task_struct.comm`.
    task_comm,
    /// `task_struct.flags`.
    task_flags,
    /// `task_struct.mm`.
    task_mm,
    /// `task_struct.signal`.
    task_signal,
    /// `task_struct.cred`.
    task_cred,
    /// `task_struct.exit_code`.
    task_exit_code,
    /// `cgroup_subsys_state.cgroup`.
    css_cgroup,
    /// `cgroup_subsys_state.parent`.
    css_parent,
    /// `cgroup.kn`.
    cgroup_kn,
    /// `cgroup.root`.
    cgroup_root,
    /// `cgroup.level`.
    cgroup_level,
    /// `cgroup.subsys[memory_cgrp_id]`.
    cgroup_memory,
    /// `cgroup.nr_populated_csets` (7.2: in `cgroup.self`).
    cgroup_populated_csets,
    /// `cgroup.nr_populated_domain_children`.
    cgroup_populated_domain,
    /// `cgroup.nr_populated_threaded_children`.
    cgroup_populated_threaded,
    /// `bpf_iter_meta.session_id`.
    iter_session,
    /// `bpf_array.pptrs`.
    array_pptrs,
    /// `cgroup.subsys[cpu_cgrp_id]`.
    cgroup_cpu,
    /// `cgroup.subsys[cpuacct_cgrp_id]`.
    cgroup_cpuacct,
    /// `cgroup.bstat.cputime.sum_exec_runtime`, in nanoseconds.
    cgroup_time,
    /// `cgroup.psi`, if it is a pointer (from 5.19).
    cgroup_psi,
    /// `cpuacct.css`.
    cpuacct_css,
    /// `cpuacct.cpuusage`, a per-CPU number of nanoseconds.
    cpuacct_usage,
    /// `task_group.css`.
    task_group_css,
    /// `task_group.cfs_bandwidth.nr_periods`.
    task_group_periods,
    /// `task_group.cfs_bandwidth.nr_throttled`.
    task_group_throttled_periods,
    /// `task_group.cfs_bandwidth.throttled_time`, in nanoseconds.
    task_group_throttled,
    /// `psi_group.total[PSI_AVGS][PSI_MEM_SOME]`, in nanoseconds.
    psi_memory,
    /// `psi_group.total[PSI_AVGS][PSI_CPU_SOME]`.
    psi_cpu,
    /// `psi_group.total[PSI_AVGS][PSI_IO_SOME]`.
    psi_io,
    /// `cgroup_root.hierarchy_id`.
    root_hierarchy_id,
    /// `kernfs_node.id`.
    kn_id,
    /// `signal_struct.oom_score_adj`.
    signal_oom_score_adj,
    /// `signal_struct.maxrss`.
    signal_maxrss,
    /// `signal_struct.flags`.
    signal_flags,
    /// `signal_struct.group_exit_code`.
    signal_group_exit_code,
    /// `cred.uid`.
    cred_uid,
    /// Signed 64-bit count `MM_FILEPAGES` of `mm_struct.rss_stat`.
    mm_rss_file,
    /// Count `MM_ANONPAGES`.
    mm_rss_anon,
    /// Count `MM_SWAPENTS`.
    mm_rss_swap,
    /// Count `MM_SHMEMPAGES`.
    mm_rss_shmem,
    /// `mm_struct.hiwater_rss`.
    mm_hiwater_rss,
    /// 1 if `oom:mark_victim` passes only the victim's pid, 0 if it passes the task.
    victim_is_pid,
    /// `mem_cgroup.css`.
    mem_cgroup_css,
    /// `mem_cgroup.memory.usage`, in pages.
    mem_cgroup_usage,
    /// `mem_cgroup.memory.max`, in pages.
    mem_cgroup_limit,
    /// `mem_cgroup.swap.max`, in pages; cgroup v1: `memsw.max`, which shares its place.
    mem_cgroup_swap_limit,
    /// `mem_cgroup.memory.watermark`, in pages.
    mem_cgroup_peak,
    /// `mem_cgroup.memory.high`, in pages.
    mem_cgroup_high,
    /// `mem_cgroup.memory.low`, in pages.
    mem_cgroup_low,
    /// `mem_cgroup.memory.min`, in pages.
    mem_cgroup_min,
    /// `mem_cgroup.swap.usage`, in pages; cgroup v1: `memsw.usage`, which shares its place.
    mem_cgroup_swap,
    /// `mem_cgroup.kmem.usage`, in pages (from 6.12 on only with cgroup v1).
    mem_cgroup_kernel,
    /// `mem_cgroup.memory.failcnt`.
    mem_cgroup_failures,
    /// `mem_cgroup.memory_events[MEMCG_LOW]`.
    mem_cgroup_low_events,
    /// `mem_cgroup.memory_events[MEMCG_HIGH]`.
    mem_cgroup_high_events,
    /// `mem_cgroup.memory_events[MEMCG_MAX]`.
    mem_cgroup_max_events,
    /// `mem_cgroup.memory_events[MEMCG_OOM]`.
    mem_cgroup_oom_events,
    /// `mem_cgroup.memory_events[MEMCG_OOM_KILL]`.
    mem_cgroup_oom_kill_events,
    /// `mem_cgroup.memory_events[MEMCG_OOM_GROUP_KILL]`.
    mem_cgroup_oom_group_kill_events,
    /// `mem_cgroup.under_oom` (from 6.12 on only with cgroup v1).
    mem_cgroup_under_oom,
    /// `mem_cgroup.swappiness`.
    mem_cgroup_swappiness,
    /// `mem_cgroup.oom_lock` (from 6.12 on only with cgroup v1).
    mem_cgroup_oom_lock,
    /// `mem_cgroup.oom_group`.
    mem_cgroup_oom_group,
    /// `oom_control.memcg`.
    oom_control_memcg,
    /// `oom_control.order`.
    oom_control_order,
    /// `oom_control.constraint`.
    oom_control_constraint,
    /// `CONSTRAINT_CPUSET`.
    constraint_cpuset,
    /// `CONSTRAINT_MEMORY_POLICY`.
    constraint_memory_policy,
    /// `CONSTRAINT_MEMCG`.
    constraint_memcg,
    /// `kernel_siginfo.si_code`.
    siginfo_code,
    /// Position of the allocation order among the arguments of `mm_vmscan_*_reclaim_begin` (0 before 7.1, then 1).
    reclaim_begin_order,
    /// Position of the target `mem_cgroup` among the arguments of `mm_vmscan_*_reclaim_end` (from 7.1).
    reclaim_end_memcg,
    /// Position of the pause among the arguments of `balance_dirty_pages` (6.12 and older: 10, 6.18 and newer: 6).
    dirty_pause,
    /// Position of the request among the arguments of `block_rq_issue` and `block_rq_requeue` (1 before 5.11, then 0).
    block_issue_request,
    /// `request.q`.
    request_q,
    /// `request.rq_disk` (before 5.17).
    request_rq_disk,
    /// `request.cmd_flags`.
    request_cmd_flags,
    /// `request.__data_len`.
    request_data_len,
    /// `request.bio`.
    request_bio,
    /// `request.start_time_ns`: when the request was created; zero for a device that keeps no statistics (`queue/iostats`).
    request_start_time_ns,
    /// `request.io_start_time_ns`: when the request was issued last. Zero until then; the kernel sets it where something on the
    /// device needs statistics (QUEUE_FLAG_STATS), such as writeback throttling, and newer ones not for a driver's own commands.
    request_io_start_time_ns,
    /// `request.rq_flags`.
    request_rq_flags,
    /// `__RQF_IO_STAT` (from 6.12): the bit of a request that is accounted.
    rqf_io_stat,
    /// `request_queue.disk` (from 5.17).
    queue_disk,
    /// `gendisk.major`.
    disk_major,
    /// `gendisk.first_minor`.
    disk_first_minor,
    /// `gendisk.disk_name`.
    disk_name,
    /// `bio.bi_blkg`.
    bio_blkg,
    /// `blkcg_gq.blkcg`.
    blkg_blkcg,
    /// `blkcg.css`.
    blkcg_css,
    /// `REQ_OP_READ`.
    op_read,
    /// `REQ_OP_WRITE`.
    op_write,
    /// `REQ_OP_FLUSH`.
    op_flush,
    /// `REQ_OP_DISCARD`.
    op_discard,
    /// `REQ_OP_SECURE_ERASE`.
    op_secure_erase,
    /// `VM_FAULT_MAJOR`.
    vm_fault_major,
}
