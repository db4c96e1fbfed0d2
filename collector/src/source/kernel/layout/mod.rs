//! The running kernel's layout from its BTF, and which programs this kernel does not support.
//!
//! The fields and prototypes are data, in `field.rs` and `prototype.rs`; `btf.rs` and `arguments.rs` query BTF,
//! `file.rs` reads it. Nothing here knows how the programs use the layout, or loads any.

mod arguments;
mod btf;
mod error;
mod field;
mod file;
mod prototype;

use std::collections::BTreeMap;

use collector_common::layout::{ABSENT, Layout};
use collector_common::{Hook, Probe, SIGNALS};
use collector_core::btf::Btf;

use btf::Types;
pub use error::{LayoutError, VMLINUX};
use field::{ENUMS, FIELDS, Field, Need, REQUEST_PROGRAMS, Source};
pub use file::load;
use prototype::{FUNCTIONS, Prototype, TRACEPOINTS};

/// The result for one kernel's BTF.
#[derive(Clone, Debug, PartialEq)]
pub struct Resolved {
    /// The layout that is passed to the programs.
    pub layout: Layout,
    /// The programs that cannot or need not run on this kernel, by name.
    pub unmet: BTreeMap<&'static str, Unmet>,
}

/// Why a program does not run on this kernel, as text for the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unmet {
    /// The kernel lacks what it needs.
    Unsupported(String),
    /// The kernel provides the same in another way.
    Unneeded(String),
}

/// Resolves everything that the programs of the catalogue need. An error if no program could work.
pub fn resolve(btf: &Btf) -> Result<Resolved, LayoutError> {
    let types = Types::new(btf, ENUMS);
    let mut layout = Layout::EMPTY;
    let mut unmet = BTreeMap::new();
    let mut unsupported = |program, why: &str| {
        unmet.entry(program).or_insert_with(|| Unmet::Unsupported(why.into()));
    };

    let mut chosen = BTreeMap::new();
    for probe in SIGNALS.iter().flat_map(|signal| signal.probes) {
        if let Err(why) = check(probe, &types, &mut layout, &mut chosen) {
            unsupported(probe.program, &why);
        }
    }
    for field in FIELDS {
        match (find(field, &types), &field.need) {
            (Ok(value), _) => *(field.slot.of)(&mut layout) = value,
            (Err(why), Need::All) => return Err(LayoutError::Attribution(why)),
            (Err(why), Need::Programs(programs)) => programs.iter().for_each(|program| unsupported(program, &why)),
            (Err(_), Need::None) => {}
        }
    }
    // BTF has most arrays of arrays as one: then the first index must be zero.
    if types.enumerator("PSI_AVGS") != Ok(0) {
        (layout.psi_memory, layout.psi_cpu, layout.psi_io) = (ABSENT, ABSENT, ABSENT);
    }
    // The helper is an enumerator in BTF; there is no other sign of it before a program is loaded.
    layout.task_btf = types.enumerator("BPF_FUNC_get_current_task_btf").is_ok().into();
    if layout.request_rq_disk == ABSENT && layout.queue_disk == ABSENT {
        let why = "neither request.rq_disk nor request_queue.disk in the kernel's BTF";
        REQUEST_PROGRAMS.iter().for_each(|program| unsupported(program, why));
    }
    if layout.victim_is_pid != 1 {
        let why = match layout.victim_is_pid {
            0 => "oom:mark_victim carries the victim's task",
            _ => "oom:mark_victim, which it would complement, does not exist",
        };
        unmet.entry("oom_process_exit").or_insert_with(|| Unmet::Unneeded(why.into()));
    }
    Ok(Resolved { layout, unmet })
}

/// Checks that the probe's hook exists and passes the expected arguments; stores what follows from their form.
fn check(
    probe: &Probe,
    types: &Types<'_>,
    layout: &mut Layout,
    chosen: &mut BTreeMap<&'static str, u32>,
) -> Result<(), String> {
    let (name, arguments, prototypes) = match probe.hook {
        Hook::RawTracepoint { name, .. } | Hook::TypedTracepoint { name, .. } => {
            (name, types.tracepoint(name)?, TRACEPOINTS)
        }
        Hook::Entry(name) | Hook::Exit(name) | Hook::Kprobe(name) | Hook::Kretprobe(name) => {
            (name, types.function(name)?, FUNCTIONS)
        }
        Hook::Software(_) | Hook::LibraryEntry(_) | Hook::LibraryReturn(_) => return Ok(()),
    };
    choose(name, &arguments, prototypes, layout, chosen)
}

/// Finds the known form of these arguments, and stores what follows from it.
fn choose(
    name: &'static str,
    arguments: &[String],
    prototypes: &[Prototype],
    layout: &mut Layout,
    chosen: &mut BTreeMap<&'static str, u32>,
) -> Result<(), String> {
    let passes = |what: &str| format!("{name} passes ({}), which {what}", arguments.join(", "));
    let Some(Prototype { forms, .. }) = prototypes.iter().find(|prototype| prototype.name == name) else {
        return Err(passes("no program expects"));
    };
    let fits = |wanted: &[&str]| arguments.len() >= wanted.len() && wanted.iter().zip(arguments).all(|(w, a)| w == a);
    let form = forms.iter().find(|form| fits(form.arguments)).ok_or_else(|| passes("is not a known form"))?;
    if let Some((slot, value)) = form.sets {
        if *chosen.entry(slot.name).or_insert(value) != value {
            return Err(passes("differs from the form of its sibling"));
        }
        *(slot.of)(layout) = value;
    }
    Ok(())
}

fn find(field: &Field, types: &Types<'_>) -> Result<u32, String> {
    match field.source {
        Source::Value(name) => types.enumerator(name),
        Source::Offset(expressions, width) => {
            let mut answer = Err(String::new());
            for expression in expressions {
                answer = types.offset(expression, width);
                if answer.is_ok() {
                    break;
                }
            }
            answer
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Kernels with a BTF fixture, reduced by `cargo xtask cut-btf`.
    const KERNELS: [&str; 8] = ["5.10.218", "5.10.262", "6.1", "6.12", "6.18", "7.1", "7.2", "7.3"];
    const X: u32 = ABSENT;

    /// The expected values per kernel: read from `bpftool btf dump` of the complete BTF of Debian's amd64 kernels.
    #[rustfmt::skip]
    const LAYOUTS: &[(&str, [u32; 8])] = &[
        ("task_btf", [0, 0, 1, 1, 1, 1, 1, 1]),
        ("task_cgroups", [3328, 3328, 3600, 3584, 3880, 3984, 4000, 4072]),
        ("css_set_memory", [32, 32, 32, 32, 32, 32, 32, 32]),
        ("css_serial_nr", [88, 88, 88, 88, 80, 80, 80, 80]),
        ("task_pid", [2232, 2232, 2416, 2432, 2704, 2800, 2808, 2872]),
        ("task_tgid", [2236, 2236, 2420, 2436, 2708, 2804, 2812, 2876]),
        ("task_comm", [2736, 2736, 2976, 2976, 3248, 3336, 3344, 3408]),
        ("task_flags", [36, 36, 44, 44, 44, 44, 44, 44]),
        ("task_mm", [2056, 2056, 2272, 2304, 2576, 2680, 2680, 2744]),
        ("task_signal", [2832, 2832, 3072, 3072, 3344, 3440, 3448, 3520]),
        ("task_cred", [2720, 2720, 2960, 2960, 3232, 3320, 3328, 3392]),
        ("task_exit_code", [2136, 2136, 2312, 2332, 2604, 2700, 2708, 2772]),
        ("css_cgroup", [0, 0, 0, 0, 0, 0, 0, 0]),
        ("css_parent", [192, 192, 192, 192, 184, 184, 184, 184]),
        ("cgroup_kn", [248, 248, 248, 256, 256, 256, 296, 296]),
        ("cgroup_root", [480, 480, 656, 720, 720, 768, 808, 808]),
        ("cgroup_level", [208, 208, 208, 216, 216, 216, 256, 256]),
        ("cgroup_memory", [408, 408, 576, 584, 584, 632, 672, 672]),
        ("cgroup_populated_csets", [228, 228, 228, 236, 236, 236, 196, 196]),
        ("cgroup_populated_domain", [232, 232, 232, 240, 240, 240, 276, 276]),
        ("cgroup_populated_threaded", [236, 236, 236, 244, 244, 244, 280, 280]),
        ("iter_session", [8, 8, 8, 8, 8, 8, 8, 8]),
        ("array_pptrs", [272, 272, 272, 264, 304, 304, 304, 296]),
        ("cgroup_cpu", [384, 384, 552, 560, 560, 608, 648, 648]),
        ("cgroup_cpuacct", [392, 392, 560, 568, 568, 616, 656, 656]),
        ("cgroup_time", [792, 792, 984, 1080, 1072, 1136, 1136, 1136]),
        ("cgroup_psi", [X, X, 1120, 1224, 1216, 1304, 1272, 1272]),
        ("cpuacct_css", [0, 0, 0, 0, 0, 0, 0, 0]),
        ("cpuacct_usage", [200, 200, 200, 208, 208, 208, 248, 248]),
        ("task_group_css", [0, 0, 0, 0, 0, 0, 0, 0]),
        ("task_group_periods", [536, 536, 552, 552, 584, 624, 688, 704]),
        ("task_group_throttled_periods", [540, 540, 556, 556, 588, 628, 692, 708]),
        ("task_group_throttled", [544, 544, 568, 568, 600, 640, 704, 720]),
        ("psi_memory", [200, 200, 264, 264, 264, 256, 256, 256]),
        ("psi_cpu", [216, 216, 280, 280, 280, 272, 272, 272]),
        ("psi_io", [184, 184, 248, 248, 248, 240, 240, 240]),
        ("root_hierarchy_id", [12, 12, 12, 12, 12, 12, 12, 12]),
        ("kn_id", [104, 104, 104, 96, 96, 96, 96, 96]),
        ("signal_oom_score_adj", [1010, 1010, 1026, 1018, 1066, 1074, 1074, 1074]),
        ("signal_maxrss", [592, 592, 608, 600, 608, 624, 624, 624]),
        ("signal_flags", [116, 116, 116, 116, 116, 116, 116, 116]),
        ("signal_group_exit_code", [96, 96, 96, 96, 96, 96, 96, 96]),
        ("cred_uid", [8, 8, 8, 8, 8, 8, 8, 8]),
        ("mm_rss_file", [712, 712, 728, 832, 936, 1168, 1208, 1208]),
        ("mm_rss_anon", [720, 720, 736, 872, 976, 1208, 1248, 1248]),
        ("mm_rss_swap", [728, 728, 744, 912, 1016, 1248, 1288, 1288]),
        ("mm_rss_shmem", [736, 736, 752, 952, 1056, 1288, 1328, 1328]),
        ("mm_hiwater_rss", [176, 176, 176, 240, 344, 544, 584, 584]),
        ("victim_is_pid", [1, 0, 0, 0, 0, 0, 0, 0]),
        ("mem_cgroup_css", [0, 0, 0, 0, 0, 0, 0, 0]),
        ("mem_cgroup_usage", [208, 208, 256, 256, 256, 256, 256, 256]),
        ("mem_cgroup_limit", [240, 240, 408, 480, 416, 416, 416, 416]),
        ("mem_cgroup_swap_limit", [352, 352, 600, 736, 608, 608, 608, 608]),
        ("mem_cgroup_peak", [304, 304, 368, 368, 368, 368, 368, 368]),
        ("mem_cgroup_high", [232, 232, 400, 472, 408, 408, 408, 408]),
        ("mem_cgroup_low", [224, 224, 392, 464, 400, 400, 400, 400]),
        ("mem_cgroup_min", [216, 216, 384, 456, 392, 392, 392, 392]),
        ("mem_cgroup_swap", [320, 320, 448, 512, 448, 448, 448, 448]),
        ("mem_cgroup_kernel", [432, 432, 640, X, X, X, X, X]),
        ("mem_cgroup_failures", [312, 312, 376, 384, 264, 264, 264, 264]),
        ("mem_cgroup_low_events", [2240, 2240, 1480, 1144, 1016, 1048, 1048, 960]),
        ("mem_cgroup_high_events", [2248, 2248, 1488, 1152, 1024, 1056, 1056, 968]),
        ("mem_cgroup_max_events", [2256, 2256, 1496, 1160, 1032, 1064, 1064, 976]),
        ("mem_cgroup_oom_events", [2264, 2264, 1504, 1168, 1040, 1072, 1072, 984]),
        ("mem_cgroup_oom_kill_events", [2272, 2272, 1512, 1176, 1048, 1080, 1080, 992]),
        ("mem_cgroup_oom_group_kill_events", [X, X, 1520, 1184, 1056, 1088, 1088, 1000]),
        ("mem_cgroup_under_oom", [820, 820, 1188, X, X, X, X, X]),
        ("mem_cgroup_swappiness", [824, 824, 1192, 964, 836, 844, 844, X]),
        ("mem_cgroup_oom_lock", [818, 818, 1185, X, X, X, X, X]),
        ("mem_cgroup_oom_group", [817, 817, 1184, 960, 832, 840, 840, 752]),
        ("oom_control_memcg", [16, 16, 16, 16, 16, 16, 16, 16]),
        ("oom_control_order", [28, 28, 28, 28, 28, 28, 28, 28]),
        ("oom_control_constraint", [56, 56, 56, 56, 56, 56, 56, 56]),
        ("constraint_cpuset", [1, 1, 1, 1, 1, 1, 1, 1]),
        ("constraint_memory_policy", [2, 2, 2, 2, 2, 2, 2, 2]),
        ("constraint_memcg", [3, 3, 3, 3, 3, 3, 3, 3]),
        ("siginfo_code", [8, 8, 8, 8, 8, 8, 8, 8]),
        ("reclaim_begin_order", [0, 0, 0, 0, 0, 1, 1, 1]),
        ("reclaim_end_memcg", [X, X, X, X, X, 1, 1, 1]),
        ("dirty_pause", [10, 10, 10, 10, 6, 6, 6, 6]),
        ("block_issue_request", [0, 0, 0, 0, 0, 0, 0, 0]),
        ("request_q", [0, 0, 0, 0, 0, 0, 0, 0]),
        ("request_rq_disk", [160, 160, X, X, X, X, X, X]),
        ("request_cmd_flags", [24, 24, 24, 24, 24, 24, 24, 24]),
        ("request_data_len", [40, 40, 44, 44, 44, 44, 44, 44]),
        ("request_bio", [56, 56, 56, 56, 56, 56, 56, 56]),
        ("request_start_time_ns", [184, 184, 104, 104, 104, 104, 104, 104]),
        ("request_io_start_time_ns", [192, 192, 112, 112, 112, 112, 112, 112]),
        ("request_rq_flags", [28, 28, 28, 28, 28, 28, 28, 28]),
        ("rqf_io_stat", [X, X, X, 8, 8, 8, 8, 8]),
        ("queue_disk", [X, X, 160, 104, 104, 96, 96, 96]),
        ("disk_major", [0, 0, 0, 0, 0, 0, 0, 0]),
        ("disk_first_minor", [4, 4, 4, 4, 4, 4, 4, 4]),
        ("disk_name", [12, 12, 12, 12, 12, 12, 12, 12]),
        ("bio_blkg", [72, 72, 72, 72, 72, 80, 80, 80]),
        ("blkg_blkcg", [40, 40, 40, 40, 40, 40, 40, 40]),
        ("blkcg_css", [0, 0, 0, 0, 0, 0, 0, 0]),
        ("op_read", [0, 0, 0, 0, 0, 0, 0, 0]),
        ("op_write", [1, 1, 1, 1, 1, 1, 1, 1]),
        ("op_flush", [2, 2, 2, 2, 2, 2, 2, 2]),
        ("op_discard", [3, 3, 3, 3, 3, 3, 3, 3]),
        ("op_secure_erase", [5, 5, 5, 5, 5, 5, 5, 5]),
        ("vm_fault_major", [4, 4, 4, 4, 4, 4, 4, 4]),
    ];

    pub(super) fn fixture(kernel: &str) -> Vec<u8> {
        std::fs::read(format!("{}/../tests/fixtures/btf/{kernel}.btf", env!("CARGO_MANIFEST_DIR"))).unwrap()
    }

    pub(super) fn resolve_bytes(bytes: &[u8]) -> Result<Resolved, LayoutError> {
        resolve(&Btf::parse(bytes).unwrap())
    }

    /// The same BTF with one name changed, as if the kernel lacked what has that name.
    fn without(mut bytes: Vec<u8>, name: &str) -> Vec<u8> {
        let needle = [b"\0", name.as_bytes(), b"\0"].concat();
        let at = bytes.windows(needle.len()).rposition(|window| window == needle).unwrap();
        bytes[at + 1] = b'?';
        bytes
    }

    fn unsupported(resolved: &Resolved) -> BTreeMap<&'static str, &str> {
        let mut unsupported = BTreeMap::new();
        for (program, unmet) in &resolved.unmet {
            if let Unmet::Unsupported(why) = unmet {
                unsupported.insert(*program, why.as_str());
            }
        }
        unsupported
    }

    #[test]
    fn every_kernel_resolves_to_its_own_layout() {
        for (i, kernel) in KERNELS.iter().enumerate() {
            let resolved = resolve_bytes(&fixture(kernel)).unwrap();
            let expected: Vec<_> = LAYOUTS.iter().map(|(name, values)| (*name, values[i])).collect();
            assert_eq!(resolved.layout.fields().collect::<Vec<_>>(), expected, "{kernel}");
            // Only this kernel's tracepoint passes just a pid and needs the victim's exit; everything else is resolved
            // everywhere.
            let unneeded = Unmet::Unneeded("oom:mark_victim carries the victim's task".into());
            let unmet = if *kernel == "5.10.218" { BTreeMap::new() } else { [("oom_process_exit", unneeded)].into() };
            assert_eq!(resolved.unmet, unmet, "{kernel}");
        }
    }

    #[test]
    fn the_running_kernel_resolves() {
        if !std::path::Path::new(VMLINUX).exists() {
            return eprintln!("not run: this kernel has no {VMLINUX}");
        }
        let layout = resolve(&load(None).unwrap()).unwrap().layout;
        // On every kernel `cgroups` is at least this far into a task, and the tgid follows the pid.
        assert!(layout.task_cgroups > 512 && layout.task_tgid == layout.task_pid + 4, "{layout:?}");
    }

    /// Of kernels without a fixture: as include/trace/events has them.
    #[test]
    fn forms_of_older_kernels_are_known() {
        let rhel8 = "int, int, gfp_t, int";
        for (name, arguments, field, value) in [
            ("mm_vmscan_direct_reclaim_begin", rhel8, "reclaim_begin_order", Some(0)),
            ("mm_vmscan_memcg_reclaim_begin", rhel8, "reclaim_begin_order", Some(0)),
            ("mm_vmscan_direct_reclaim_begin", "int, int, gfp_t", "reclaim_begin_order", Some(0)),
            ("mm_vmscan_direct_reclaim_begin", "int, int, int", "reclaim_begin_order", None),
            ("block_rq_issue", "struct request_queue *, struct request *", "block_issue_request", Some(1)),
            ("block_rq_issue", "struct request *", "block_issue_request", Some(0)),
            ("block_rq_requeue", "struct request_queue *, struct request *", "block_issue_request", Some(1)),
            ("block_rq_complete", "struct request *, int, unsigned int", "block_issue_request", Some(X)),
            ("mark_victim", "int", "victim_is_pid", Some(1)),
        ] {
            let mut layout = Layout::EMPTY;
            let words: Vec<String> = arguments.split(", ").map(str::to_owned).collect();
            let found = choose(name, &words, TRACEPOINTS, &mut layout, &mut BTreeMap::new());
            let set = layout.fields().find(|(known, _)| *known == field).map(|(_, value)| value);
            assert_eq!(found.is_ok().then_some(set).flatten(), value, "{name} ({arguments}): {found:?}");
        }
    }

    #[test]
    fn without_the_path_to_the_memory_cgroup_there_is_no_layout() {
        let path =
            ["task_struct", "cgroups", "css_set", "subsys", "memory_cgrp_id", "cgroup_subsys_state", "serial_nr"];
        for name in path.into_iter().chain(["kn", "root", "cgroup_root", "hierarchy_id", "kernfs_node", "id"]) {
            let error = resolve_bytes(&without(fixture("6.12"), name)).unwrap_err().to_string();
            assert!(
                error.starts_with("cannot resolve the path from a task to its memory cgroup: ") && error.contains(name),
                "{error}"
            );
        }
    }

    #[test]
    fn a_missing_name_affects_only_the_programs_that_need_it() {
        let block = ["block_rq_complete", "block_rq_complete_raw", "block_rq_issue", "block_rq_requeue"].as_slice();
        let cgroup = ["cgroup_attach_task", "cgroup_mkdir", "cgroup_rename", "cgroup_rmdir"].as_slice();
        let file = ["fault_file_entry", "fault_file_exit", "fault_file_kprobe", "fault_file_kretprobe"].as_slice();
        let signal = ["kill_signal", "oom_mark_victim", "oom_process_exit"].as_slice();
        let flags =
            ["compaction_begin", "compaction_end", "kill_signal", "oom_mark_victim", "oom_process_exit"].as_slice();
        let major = ["fault_file_exit", "fault_file_kretprobe", "fault_swap_exit", "fault_swap_kretprobe"].as_slice();
        for (name, programs, why) in [
            ("btf_trace_mark_victim", ["oom_mark_victim"].as_slice(), "this kernel has no tracepoint mark_victim"),
            ("btf_trace_page_fault_user", &["fault_user"], "this kernel has no tracepoint page_fault_user"),
            ("filemap_fault", file, "this kernel has no function filemap_fault that can be traced"),
            (
                "pt_regs",
                &["fault_kernel", "fault_user"],
                "(unsigned long, struct ?t_regs *, unsigned long), which is not a known form",
            ),
            (
                "gfp_t",
                &["reclaim_direct_begin", "reclaim_memcg_begin"],
                "passes (int, ?fp_t), which is not a known form",
            ),
            ("bdi_writeback", &["dirty_wait"], "balance_dirty_pages passes (struct ?di_writeback *, unsigned long,"),
            ("level", cgroup, "cgroup.level: no such field"),
            ("memcg", &["oom_kill_process", "oom_kill_process_kprobe"], "oom_control.memcg: no such field"),
            ("oom_score_adj", &["oom_mark_victim", "oom_process_exit"], "signal_struct.oom_score_adj: no such field"),
            ("group_exit_code", signal, "signal_struct.group_exit_code: no such field"),
            ("si_code", &["kill_signal"], "kernel_siginfo.si_code: no such field"),
            ("flags", flags, "_struct.flags: no such field"),
            ("VM_FAULT_MAJOR", major, "no enumerator VM_FAULT_MAJOR in the kernel's BTF"),
            ("disk", block, "neither request.rq_disk nor request_queue.disk in the kernel's BTF"),
            ("__data_len", block, "request.__data_len: no such field"),
            ("bi_blkg", &[], ""),
            ("rss_stat", &[], ""),
            ("MM_SWAPENTS", &[], ""),
        ] {
            let resolved = resolve_bytes(&without(fixture("6.12"), name)).unwrap();
            let unsupported = unsupported(&resolved);
            assert_eq!(unsupported.keys().copied().collect::<Vec<_>>(), programs, "{name}");
            assert!(unsupported.values().all(|reason| reason.contains(why)), "{name}: {unsupported:?}");
        }
        let layout = resolve_bytes(&without(fixture("6.12"), "rss_stat")).unwrap().layout;
        assert_eq!((layout.mm_rss_anon, layout.mm_hiwater_rss), (ABSENT, 240));
        let resolved = resolve_bytes(&without(fixture("5.10.218"), "btf_trace_mark_victim")).unwrap();
        assert!(matches!(resolved.unmet["oom_process_exit"], Unmet::Unneeded(_)));
    }
}
