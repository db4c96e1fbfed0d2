//! The source of each field of the layout, and which programs need it. Only data.

use collector_common::layout::Layout;

/// A field of the layout: name and accessor.
#[derive(Clone, Copy)]
pub struct Slot {
    pub name: &'static str,
    pub of: fn(&mut Layout) -> &mut u32,
}

macro_rules! slot {
    ($field:ident) => {
        Slot { name: stringify!($field), of: |layout: &mut Layout| &mut layout.$field }
    };
}
pub(super) use slot;

/// One field of the layout.
pub struct Field {
    pub slot: Slot,
    pub source: Source,
    pub need: Need,
}

/// Source of a value.
pub enum Source {
    /// The byte offset of a kernel's field of the given size in bytes (0: any), spelt as in C; the first that exists is
    /// used.
    Offset(&'static [&'static str], usize),
    /// The value of an enumerator.
    Value(&'static str),
}

/// The programs that need a field.
pub enum Need {
    /// Every program: it is on the path from a task to its memory cgroup.
    All,
    Programs(&'static [&'static str]),
    /// No program; it is optional.
    None,
}

use Need::{All, None, Programs};
use Source::{Offset, Value};

/// The enums whose enumerators are read; `""` is the unnamed enum of the resident page counters.
pub const ENUMS: &[&str] = &[
    "cgroup_subsys_id",
    "memcg_memory_event",
    "oom_constraint",
    "req_op",
    "req_opf",
    "vm_fault_reason",
    "bpf_func_id",
    "rqf_flags",
    "psi_aggregators",
    "psi_states",
    "",
];

/// The programs that read a victim's task.
const OOM: Need = Programs(&["oom_mark_victim", "oom_process_exit"]);
/// These and the one that reads the task to which a signal is sent.
const TARGET: Need = Programs(&["oom_mark_victim", "oom_process_exit", "kill_signal"]);
/// The programs that find the cgroup whose limit was hit.
const LIMITED: Need = Programs(&["oom_kill_process", "oom_kill_process_kprobe"]);
/// The programs that distinguish kernel threads from other tasks.
const COMPACTION: Need = Programs(&["compaction_begin", "compaction_end"]);
/// The programs that read a cgroup's level.
const CGROUP: Need = Programs(&["cgroup_mkdir", "cgroup_rmdir", "cgroup_rename", "cgroup_attach_task"]);
/// The programs that read the result of a fault.
const MAJOR: Need = Programs(&["fault_file_exit", "fault_swap_exit", "fault_file_kretprobe", "fault_swap_kretprobe"]);
/// The programs that read a request.
pub const REQUEST_PROGRAMS: &[&str] =
    &["block_rq_complete", "block_rq_complete_raw", "block_rq_requeue", "block_rq_issue"];
const REQUEST: Need = Programs(REQUEST_PROGRAMS);

macro_rules! fields {
    ($($field:ident: $source:expr, $need:expr;)*) => {
        &[$(Field { slot: slot!($field), source: $source, need: $need },)*]
    };
}

/// Every field that is an offset or a value; the rest follows from the prototypes.
pub const FIELDS: &[Field] = fields! {
    task_cgroups: Offset(&["task_struct.cgroups"], 8), All;
    css_set_memory: Offset(&["css_set.subsys[memory_cgrp_id]"], 8), All;
    css_cgroup: Offset(&["cgroup_subsys_state.cgroup"], 8), All;
    css_serial_nr: Offset(&["cgroup_subsys_state.serial_nr"], 8), All;
    cgroup_kn: Offset(&["cgroup.kn"], 8), All;
    cgroup_root: Offset(&["cgroup.root"], 8), All;
    root_hierarchy_id: Offset(&["cgroup_root.hierarchy_id"], 4), All;
    kn_id: Offset(&["kernfs_node.id"], 8), All;
    cgroup_level: Offset(&["cgroup.level"], 4), CGROUP;
    cgroup_memory: Offset(&["cgroup.subsys[memory_cgrp_id]"], 8), None;
    cgroup_populated_csets: Offset(&["cgroup.nr_populated_csets", "cgroup.self.nr_populated_csets"], 4), None;
    cgroup_populated_domain: Offset(&["cgroup.nr_populated_domain_children"], 4), None;
    cgroup_populated_threaded: Offset(&["cgroup.nr_populated_threaded_children"], 4), None;
    iter_session: Offset(&["bpf_iter_meta.session_id"], 8), None;
    array_pptrs: Offset(&["bpf_array.pptrs"], 0), None;
    cgroup_cpu: Offset(&["cgroup.subsys[cpu_cgrp_id]"], 8), None;
    cgroup_cpuacct: Offset(&["cgroup.subsys[cpuacct_cgrp_id]"], 8), None;
    cgroup_time: Offset(&["cgroup.bstat.cputime.sum_exec_runtime"], 8), None;
    cgroup_psi: Offset(&["cgroup.psi"], 8), None;
    cpuacct_css: Offset(&["cpuacct.css"], 0), None;
    cpuacct_usage: Offset(&["cpuacct.cpuusage"], 8), None;
    task_group_css: Offset(&["task_group.css"], 0), None;
    task_group_periods: Offset(&["task_group.cfs_bandwidth.nr_periods"], 4), None;
    task_group_throttled_periods: Offset(&["task_group.cfs_bandwidth.nr_throttled"], 4), None;
    task_group_throttled: Offset(&["task_group.cfs_bandwidth.throttled_time"], 8), None;
    psi_memory: Offset(&["psi_group.total[PSI_AVGS][PSI_MEM_SOME]", "psi_group.total[PSI_MEM_SOME]"], 8), None;
    psi_cpu: Offset(&["psi_group.total[PSI_AVGS][PSI_CPU_SOME]", "psi_group.total[PSI_CPU_SOME]"], 8), None;
    psi_io: Offset(&["psi_group.total[PSI_AVGS][PSI_IO_SOME]", "psi_group.total[PSI_IO_SOME]"], 8), None;
    css_parent: Offset(&["cgroup_subsys_state.parent"], 8), None;
    task_pid: Offset(&["task_struct.pid"], 4), TARGET;
    task_tgid: Offset(&["task_struct.tgid"], 4), TARGET;
    task_comm: Offset(&["task_struct.comm"], 16), TARGET;
    task_flags: Offset(&["task_struct.flags"], 4), COMPACTION;
    task_mm: Offset(&["task_struct.mm"], 8), OOM;
    task_signal: Offset(&["task_struct.signal"], 8), TARGET;
    task_cred: Offset(&["task_struct.cred"], 8), OOM;
    task_exit_code: Offset(&["task_struct.exit_code"], 4), OOM;
    signal_oom_score_adj: Offset(&["signal_struct.oom_score_adj"], 2), OOM;
    signal_maxrss: Offset(&["signal_struct.maxrss"], 8), None;
    signal_flags: Offset(&["signal_struct.flags"], 4), TARGET;
    signal_group_exit_code: Offset(&["signal_struct.group_exit_code"], 4), TARGET;
    cred_uid: Offset(&["cred.uid"], 4), OOM;
    // Up to 6.1 a struct with an array, from 6.2 an array of per-CPU counters.
    mm_rss_file: Offset(&["mm_struct.rss_stat[MM_FILEPAGES].count", "mm_struct.rss_stat.count[MM_FILEPAGES]"], 8), None;
    mm_rss_anon: Offset(&["mm_struct.rss_stat[MM_ANONPAGES].count", "mm_struct.rss_stat.count[MM_ANONPAGES]"], 8), None;
    mm_rss_swap: Offset(&["mm_struct.rss_stat[MM_SWAPENTS].count", "mm_struct.rss_stat.count[MM_SWAPENTS]"], 8), None;
    mm_rss_shmem: Offset(&["mm_struct.rss_stat[MM_SHMEMPAGES].count", "mm_struct.rss_stat.count[MM_SHMEMPAGES]"], 8), None;
    mm_hiwater_rss: Offset(&["mm_struct.hiwater_rss"], 8), None;
    mem_cgroup_css: Offset(&["mem_cgroup.css"], 0), LIMITED;
    mem_cgroup_usage: Offset(&["mem_cgroup.memory.usage"], 8), None;
    mem_cgroup_limit: Offset(&["mem_cgroup.memory.max"], 8), None;
    mem_cgroup_swap_limit: Offset(&["mem_cgroup.swap.max"], 8), None;
    mem_cgroup_peak: Offset(&["mem_cgroup.memory.watermark"], 8), None;
    mem_cgroup_high: Offset(&["mem_cgroup.memory.high"], 8), None;
    mem_cgroup_low: Offset(&["mem_cgroup.memory.low"], 8), None;
    mem_cgroup_min: Offset(&["mem_cgroup.memory.min"], 8), None;
    mem_cgroup_swap: Offset(&["mem_cgroup.swap.usage"], 8), None;
    mem_cgroup_kernel: Offset(&["mem_cgroup.kmem.usage"], 8), None;
    mem_cgroup_failures: Offset(&["mem_cgroup.memory.failcnt"], 8), None;
    mem_cgroup_low_events: Offset(&["mem_cgroup.memory_events[MEMCG_LOW]"], 8), None;
    mem_cgroup_high_events: Offset(&["mem_cgroup.memory_events[MEMCG_HIGH]"], 8), None;
    mem_cgroup_max_events: Offset(&["mem_cgroup.memory_events[MEMCG_MAX]"], 8), None;
    mem_cgroup_oom_events: Offset(&["mem_cgroup.memory_events[MEMCG_OOM]"], 8), None;
    mem_cgroup_oom_kill_events: Offset(&["mem_cgroup.memory_events[MEMCG_OOM_KILL]"], 8), None;
    mem_cgroup_oom_group_kill_events: Offset(&["mem_cgroup.memory_events[MEMCG_OOM_GROUP_KILL]"], 8), None;
    mem_cgroup_under_oom: Offset(&["mem_cgroup.under_oom"], 4), None;
    mem_cgroup_swappiness: Offset(&["mem_cgroup.swappiness"], 4), None;
    mem_cgroup_oom_lock: Offset(&["mem_cgroup.oom_lock"], 1), None;
    mem_cgroup_oom_group: Offset(&["mem_cgroup.oom_group"], 1), None;
    oom_control_memcg: Offset(&["oom_control.memcg"], 8), LIMITED;
    oom_control_order: Offset(&["oom_control.order"], 4), None;
    oom_control_constraint: Offset(&["oom_control.constraint"], 4), None;
    constraint_cpuset: Value("CONSTRAINT_CPUSET"), None;
    constraint_memory_policy: Value("CONSTRAINT_MEMORY_POLICY"), None;
    constraint_memcg: Value("CONSTRAINT_MEMCG"), None;
    siginfo_code: Offset(&["kernel_siginfo.si_code"], 4), Programs(&["kill_signal"]);
    request_q: Offset(&["request.q"], 8), REQUEST;
    request_rq_disk: Offset(&["request.rq_disk"], 8), None;
    request_cmd_flags: Offset(&["request.cmd_flags"], 4), REQUEST;
    request_data_len: Offset(&["request.__data_len"], 4), REQUEST;
    request_bio: Offset(&["request.bio"], 8), None;
    request_start_time_ns: Offset(&["request.start_time_ns"], 8), REQUEST;
    request_io_start_time_ns: Offset(&["request.io_start_time_ns"], 8), None;
    request_rq_flags: Offset(&["request.rq_flags"], 4), None;
    rqf_io_stat: Value("__RQF_IO_STAT"), None;
    queue_disk: Offset(&["request_queue.disk"], 8), None;
    disk_major: Offset(&["gendisk.major"], 4), REQUEST;
    disk_first_minor: Offset(&["gendisk.first_minor"], 4), REQUEST;
    disk_name: Offset(&["gendisk.disk_name"], 32), None;
    bio_blkg: Offset(&["bio.bi_blkg"], 8), None;
    blkg_blkcg: Offset(&["blkcg_gq.blkcg"], 8), None;
    blkcg_css: Offset(&["blkcg.css"], 0), None;
    op_read: Value("REQ_OP_READ"), REQUEST;
    op_write: Value("REQ_OP_WRITE"), REQUEST;
    op_flush: Value("REQ_OP_FLUSH"), REQUEST;
    op_discard: Value("REQ_OP_DISCARD"), REQUEST;
    op_secure_erase: Value("REQ_OP_SECURE_ERASE"), None;
    vm_fault_major: Value("VM_FAULT_MAJOR"), MAJOR;
};
