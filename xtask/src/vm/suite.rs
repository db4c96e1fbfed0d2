//! Which tests run in virtual machines. Only data, and how a program names its tests.

/// Test targets, and the modules of each that depend on the kernel. The others would give the same result in every machine,
/// or need a fast one.
pub(super) const TESTS: &[(&str, &[&str])] = &[
    (
        "live",
        &[
            "oom",
            "dying",
            "kill",
            "reclaim",
            "fault",
            "block",
            "dirty",
            "cgroup",
            "ring",
            "rule",
            "map",
            "slot",
            "pass",
            "sampled",
            "statistic",
            "host",
            "confine",
            "act",
            "isolation",
        ],
    ),
    ("gpu", &["transfer", "hostile"]),
    ("vm", &["memory", "block", "probe", "slot", "lockdown", "node"]),
];
/// Tests that are quick in an emulated machine, for each signal: `cargo xtask test` runs these on each kernel.
pub const QUICK: &[&str] = &[
    "probe::every_probe_or_its_fallback_is_attached",
    "oom::a_kill_is_reported_as_in_the_kernel_log",
    "dying::who_ends_itself_is_not_told_as_killed",
    "kill::who_kills_a_process_near_its_limit_is_named",
    "memory::a_group_is_killed_together_and_each_process_is_counted_once",
    "memory::memory_reclaim_stalls_only_the_task_that_writes",
    "fault::a_dropped_file_mapping_gives_one_major_fault_per_page",
    "block::a_slow_disk_shows_its_real_latency",
    "block::a_bad_sector_fails_only_its_own_reads",
    "block::writeback_is_charged_to_the_cgroup_that_wrote",
    "dirty::a_throttled_writer_waits_as_long_as_the_kernel_says",
    "ring::every_record_that_a_full_ring_drops_is_counted_and_the_kill_arrives",
    "pass::the_pass_over_all_cgroups_and_their_files_say_the_same",
    "host::pressure_is_reported_before_the_next_tick",
    "confine::each_forbidden_thing_is_refused_and_what_it_needs_is_not",
    "act::a_limit_is_set_read_back_written_down_and_taken_back",
];
/// Tests that `cargo xtask test` also runs in machines of one kind.
pub struct Special {
    /// That of its folder.
    pub name: &'static str,
    pub kernels: &'static [&'static str],
    /// On the kernel's command line.
    pub parameter: &'static str,
    /// Memory nodes.
    pub nodes: u32,
    pub tests: &'static [&'static str],
}

pub const SPECIAL: [Special; 3] = [
    Special {
        name: "cpus",
        // What depends on CPUs that could be there must stay small. From 6.9 on this can only lower the number that the firmware
        // names.
        kernels: &["6.1"],
        parameter: "possible_cpus=224",
        nodes: 1,
        tests: &["slot::cgroups_that_come_later_have_slots_of_their_own"],
    },
    Special {
        name: "lockdown",
        kernels: &["6.12", "7.2"],
        parameter: "lockdown=confidentiality",
        nodes: 1,
        tests: &[
            "lockdown::typed_programs_see_what_others_see_elsewhere",
            "lockdown::without_types_a_kill_is_told_by_the_kernels_count",
        ],
    },
    Special {
        name: "nodes",
        kernels: &["6.12"],
        parameter: "",
        nodes: 2,
        tests: &[
            "node::a_full_node_of_a_memory_policy_is_named_not_the_host",
            "node::a_full_node_of_a_cpuset_is_named_not_the_host",
        ],
    },
];

/// The tests of one module in a program's list.
pub(super) fn within(list: &str, module: &str) -> Vec<String> {
    let names = list.lines().filter_map(|line| line.strip_suffix(": test"));
    names.filter(|name| name.split("::").next() == Some(module)).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn source(file: &str) -> String {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/tests").join(file);
        // One with parts of its own is a folder.
        let path = if path.exists() { path } else { path.with_extension("").join("mod.rs") };
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    fn modules(target: &str) -> Vec<String> {
        let text = source(&format!("{target}/main.rs"));
        let names = text.lines().filter_map(|line| line.strip_prefix("mod ")?.strip_suffix(';'));
        names.map(str::to_owned).collect()
    }

    /// A renamed module would otherwise be left out without notice.
    #[test]
    fn the_modules_exist_and_vm_is_complete() {
        for (target, named) in TESTS {
            let there = modules(target);
            let missing: Vec<_> = named.iter().filter(|module| !there.contains(&module.to_string())).collect();
            assert!(missing.is_empty(), "{target} has no {missing:?}");
            assert!(*target != "vm" || there.len() == named.len(), "{there:?}");
        }
    }

    #[test]
    fn the_quick_tests_exist() {
        for name in QUICK.iter().chain(SPECIAL.iter().flat_map(|kind| kind.tests)) {
            let (module, test) = name.split_once("::").unwrap();
            let targets = TESTS.iter().filter(|(_, modules)| modules.contains(&module));
            let found = targets.filter(|(target, _)| {
                source(&format!("{target}/{module}.rs")).contains(&format!("#[test]\nfn {test}()"))
            });
            assert_eq!(found.count(), 1, "{name}");
        }
    }

    #[test]
    fn a_module_differs_from_one_whose_name_starts_the_same() {
        let list = "oom::a: test\noom::deep::b: test\noomph::c: test\nroom::oom::d: test\nhost::oom: test\noom::e: benchmark\n";
        assert_eq!(within(list, "oom"), ["oom::a", "oom::deep::b"]);
    }
}
