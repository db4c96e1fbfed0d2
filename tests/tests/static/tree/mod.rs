//! Hosts of every kind, read by the real sources: each `tests/fixtures/tree/NAME.tree` gives the workloads' families in
//! `NAME.prom`. `BLESS=1` rewrites these. Some expected numbers were computed by hand from the files.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::{env, fs};

use collector_tests::needs;
use collector_tests::require::is_root;
use host::Host;
use manifest::{Tree, folder};

mod host;
mod manifest;
mod place;
mod trouble;

const GIB: f64 = 1_073_741_824.0;

/// The hosts, and the number of names that each has for workloads.
const HOSTS: [(&str, usize); 8] = [
    ("batch", 0),
    ("books", 5),
    ("docker", 3),
    ("hybrid", 0),
    ("kubernetes", 13),
    ("slurm-v1", 0),
    ("slurm-v2", 0),
    ("v1", 1),
];

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn plant(name: &str) -> Tree {
    let manifest = read(&folder().join(format!("{name}.tree")));
    Tree::plant(&manifest, |kernel| read(&folder().join("kernel").join(kernel)))
}

fn host(name: &str) -> Host {
    let mut host = Host::open(plant(name));
    host.walk();
    assert_eq!(host.read(), None);
    let (_, names) = HOSTS.into_iter().find(|(known, _)| *known == name).unwrap();
    host.await_names(names);
    host
}

#[test]
fn every_host_gives_its_exposition() {
    needs!(is_root(), "a user's books are the user's: chown(2) needs root");
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(folder()).unwrap() {
        let path: PathBuf = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "tree") {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            let actual = host(&name).exposition();
            let golden = path.with_extension("prom");
            if env::var_os("BLESS").is_some() {
                fs::write(&golden, &actual).unwrap();
            }
            let expected = fs::read_to_string(&golden).unwrap_or_default();
            let lines = expected.lines().zip(actual.lines()).find(|(expected, actual)| expected != actual);
            assert!(expected == actual, "{name}.prom differs: {lines:?}; BLESS=1 rewrites it");
            names.insert(name);
        }
    }
    assert_eq!(names, HOSTS.map(|(name, _)| name.to_owned()).into());
}

/// Metric, labels, and the value if there is one.
type Row<'a> = (&'a str, &'a [(&'a str, &'a str)], Option<f64>);

#[track_caller]
fn check(host: &Host, workload: (&str, &str), rows: &[Row<'_>]) {
    for (name, labels, expected) in rows {
        let name = format!("headroom_workload_{name}");
        let labels: Vec<_> = [workload].into_iter().chain(labels.iter().copied()).collect();
        assert_eq!(host.value(&name, &labels), *expected, "{name} {labels:?}\n{}", host.exposition());
    }
}

#[test]
fn on_kubernetes_pods_have_their_names_and_numbers() {
    let host = host("kubernetes");
    let labels = [("namespace", "ml"), ("pod", "vllm-0"), ("container", "server")];
    for (key, value) in labels {
        check(
            &host,
            ("workload", "ml/vllm-0/server"),
            &[("memory_current_bytes", &[(key, value)], Some(60_129_542_144.0))],
        );
    }
    check(
        &host,
        ("workload", "ml/vllm-0/server"),
        &[
            // 60129542144 - 3221225472
            ("memory_working_set_bytes", &[], Some(56_908_316_672.0)),
            ("memory_anon_bytes", &[], Some(48.0 * GIB)),
            ("memory_file_bytes", &[], Some(7.0 * GIB)),
            ("memory_kernel_bytes", &[], Some(0.25 * GIB)),
            ("memory_shmem_bytes", &[], Some(GIB)),
            ("memory_limit_bytes", &[], Some(64.0 * GIB)),
            ("memory_high_bytes", &[], None),
            ("memory_swap_bytes", &[], Some(0.0)),
            ("memory_events_total", &[("event", "max")], Some(12.0)),
            ("memory_events_total", &[("event", "oom_kill")], Some(0.0)),
            ("pressure_waiting_seconds_total", &[("resource", "memory")], Some(7.5)),
            ("pressure_stalled_seconds_total", &[("resource", "memory")], Some(4.2)),
            ("pressure_waiting_seconds_total", &[("resource", "cpu")], Some(98.0)),
            ("pressure_stalled_seconds_total", &[("resource", "io")], Some(0.55)),
            // 86400000000 µs
            ("cpu_seconds_total", &[], Some(86_400.0)),
            ("cpu_throttled_seconds_total", &[], Some(1.8)),
        ],
    );
    check(
        &host,
        ("workload", "ml/embedder-6c9f7b8d5-x2x7k/app"),
        &[
            ("memory_high_bytes", &[], Some(6e9)),
            ("memory_events_total", &[("event", "high")], Some(1900.0)),
            ("memory_events_total", &[("event", "oom")], Some(3.0)),
            ("memory_events_total", &[("event", "oom_kill")], Some(2.0)),
            ("memory_events_total", &[("event", "oom_group_kill")], Some(1.0)),
            (
                "info",
                &[
                    ("kind", "container"),
                    ("runtime", "containerd"),
                    ("pod_uid", "0f4e2d1c-aaaa-4bbb-8ccc-112233445566"),
                ],
                Some(1.0),
            ),
        ],
    );
    check(
        &host,
        ("workload", "default/batch-import-28700-abcde/main"),
        &[
            // Cgroups nested in the container are included in its numbers.
            ("memory_current_bytes", &[], Some(1_073_405_952.0)),
            // The kernel does not read its numbers at one moment: more inactive than total leaves zero.
            ("memory_working_set_bytes", &[], Some(0.0)),
            ("memory_swap_bytes", &[], Some(2.0 * GIB)),
            ("memory_limit_bytes", &[], None),
            ("cpu_throttled_seconds_total", &[], Some(543.210987)),
        ],
    );
    check(
        &host,
        ("workload", "kube-system/kube-apiserver-node1/kube-apiserver"),
        &[("memory_current_bytes", &[], Some(1_073_405_952.0))],
    );
    check(&host, ("workload", "ml/vllm-0"), &[("memory_current_bytes", &[], Some(60_129_878_016.0))]);
    // The container that holds the namespaces of a pod is not named after another container.
    check(&host, ("workload", "ml/vllm-0/2b0000000000"), &[("memory_current_bytes", &[], Some(335_872.0))]);
    // Numbers of the root are the host's, not a workload's.
    check(&host, ("workload", "/"), &[("memory_anon_bytes", &[], None), ("info", &[("kind", "root")], Some(1.0))]);
}

#[test]
fn on_a_systemd_host_units_and_containers_have_their_names() {
    needs!(is_root(), "a user's books are the user's: chown(2) needs root");
    let host = host("docker");
    let workloads: BTreeMap<&str, f64> = [
        ("llama-server.service", 8_589_934_592.0),
        ("vllm@meta-llama.service", 4_294_967_296.0),
        ("getty@tty1.service", 262_144.0),
        ("docker/shop-db-1", 2_147_483_648.0),
        ("docker/ffff0000ffff", 1_048_576.0),
        ("podman/registry", 72_351_744.0),
        ("podman/b0b0b0b0b0b0/conmon", 1_048_576.0),
        ("user-1000/session-3.scope", 33_554_432.0),
        ("user-1000/ollama.service", GIB),
        ("user-1000/podman/notebook", 209_715_200.0),
    ]
    .into();
    for (name, bytes) in workloads {
        check(&host, ("workload", name), &[("memory_current_bytes", &[], Some(bytes))]);
    }
    check(
        &host,
        ("workload", "llama-server.service"),
        &[
            // 8589934592 / 10737418240
            ("memory_limit_used_ratio", &[], Some(0.8)),
            ("memory_high_bytes", &[], Some(9.0 * GIB)),
            // 65536 + 1000000 + 4096: 5.10 has only the parts.
            ("memory_kernel_bytes", &[], Some(1_069_632.0)),
            // 5.10 counts neither kills of whole groups nor full stalls for CPU.
            ("memory_events_total", &[("event", "oom_group_kill")], None),
            ("memory_events_total", &[("event", "oom_kill")], Some(0.0)),
            ("pressure_waiting_seconds_total", &[("resource", "cpu")], Some(0.0025)),
            ("pressure_stalled_seconds_total", &[("resource", "cpu")], None),
            ("cpu_seconds_total", &[], Some(0.00001)),
        ],
    );
    check(
        &host,
        ("workload", "user-1000/ollama.service"),
        &[
            ("cpu_seconds_total", &[], Some(4.0)),
            // systemd has not delegated these controllers to the user.
            ("cpu_throttled_seconds_total", &[], None),
            ("io_bytes_total", &[("operation", "read")], None),
        ],
    );
}

#[test]
fn on_v1_each_controller_has_its_part_of_a_workload() {
    let host = host("v1");
    check(
        &host,
        ("workload", "docker/shop-db-1"),
        &[
            ("memory_current_bytes", &[], Some(2_147_418_112.0)),
            // 2147418112 - 67108864
            ("memory_working_set_bytes", &[], Some(2_080_309_248.0)),
            ("memory_limit_bytes", &[], Some(2.0 * GIB)),
            // The sum of a cgroup and its descendants, not its own.
            ("memory_anon_bytes", &[], Some(1_996_423_168.0)),
            ("memory_swap_bytes", &[], Some(0.5 * GIB)),
            ("memory_kernel_bytes", &[], Some(16_777_216.0)),
            ("memory_events_total", &[("event", "max")], Some(54_321.0)),
            ("memory_events_total", &[("event", "oom_kill")], Some(2.0)),
            ("memory_events_total", &[("event", "high")], None),
            ("cpu_seconds_total", &[], Some(98.765432109)),
            ("cpu_throttled_seconds_total", &[], Some(12.5)),
            ("pressure_waiting_seconds_total", &[("resource", "memory")], None),
            // 1000000 of one device and 24 of another
            ("io_bytes_total", &[("operation", "read")], Some(1_000_024.0)),
            ("io_bytes_total", &[("operation", "write")], Some(2_004_000.0)),
        ],
    );
    // Without a limit there is no series: 9223372036854771712 is what v1 shows for no limit.
    check(
        &host,
        ("workload", "docker/0123456789ab"),
        &[
            ("memory_limit_bytes", &[], None),
            ("memory_limit_used_ratio", &[], None),
            ("memory_working_set_bytes", &[], Some(0.0)),
        ],
    );
    check(
        &host,
        ("workload", "/night build"),
        &[("memory_limit_used_ratio", &[], Some(1.0)), ("cpu_seconds_total", &[], None)],
    );
}

#[test]
fn on_a_hybrid_host_processes_show_which_cgroups_belong_together() {
    let host = host("hybrid");
    check(
        &host,
        ("workload", "/manager/worker-1"),
        &[
            ("memory_current_bytes", &[], Some(1e9)),
            ("memory_limit_used_ratio", &[], Some(0.5)),
            ("cpu_seconds_total", &[], Some(123.0)),
            ("cpu_throttled_seconds_total", &[], Some(0.25)),
            ("io_bytes_total", &[("operation", "read")], Some(4096.0)),
            ("io_bytes_total", &[("operation", "write")], Some(12_288.0)),
        ],
    );
    // Two workloads share it: it belongs to neither.
    for name in ["/manager/worker-2", "/manager/worker-3"] {
        check(&host, ("workload", name), &[("cpu_seconds_total", &[], None)]);
    }
    check(
        &host,
        ("workload", "ssh.service"),
        &[
            ("cpu_seconds_total", &[], Some(1.5)),
            ("pressure_waiting_seconds_total", &[("resource", "memory")], Some(0.000077)),
            ("pressure_stalled_seconds_total", &[("resource", "io")], Some(0.000033)),
        ],
    );
}

#[test]
fn on_slurm_jobs_and_steps_are_workloads_and_tasks_are_not() {
    let v1 = host("slurm-v1");
    check(
        &v1,
        ("workload", "slurm/job_4711"),
        &[("memory_current_bytes", &[], Some(6e10)), ("memory_limit_used_ratio", &[], Some(0.9375))],
    );
    check(
        &v1,
        ("workload", "slurm/job_4711/step_0"),
        &[
            ("memory_current_bytes", &[], Some(5e10)),
            ("memory_events_total", &[("event", "oom_kill")], Some(1.0)),
            ("cpu_seconds_total", &[], Some(7000.0)),
        ],
    );
    let v2 = host("slurm-v2");
    check(
        &v2,
        ("workload", "slurm/job_815"),
        &[("memory_working_set_bytes", &[], Some(1.72e11)), ("cpu_seconds_total", &[], Some(3600.0))],
    );
    check(
        &v2,
        ("workload", "slurm/job_815/step_0"),
        &[
            ("memory_current_bytes", &[], Some(1.79e11)),
            ("memory_events_total", &[("event", "oom_kill")], Some(1.0)),
            ("pressure_waiting_seconds_total", &[("resource", "memory")], Some(1.000001)),
        ],
    );
    for host in [v1, v2] {
        assert!(!host.exposition().contains("task_"), "{}", host.exposition());
    }
}

#[test]
fn jobs_below_one_unit_have_their_own_names_and_limits() {
    let host = host("batch");
    for (workload, current, limit) in [
        ("slurm/s5K1KKYAYG5D00", 4e10, Some(40.0 * GIB)),
        ("slurm/s5K1KKYAYG5D00/step_0", 3.95e10, None),
        ("slurm/s5K1KKYB2G5D00", 1e9, Some(80.0 * GIB)),
        ("pbs/1234.pbs-head", 9e8, Some(8.0 * GIB)),
        ("pbs/1235.pbs-head", 7e8, Some(8.0 * GIB)),
        ("htcondor/slot1_2", 6e8, Some(4.0 * GIB)),
        ("lsf/job.101", 5e8, Some(2.0 * GIB)),
        ("ecs/8f3a5c1e9d7b4f20a1c3e5f70b2d4f68", 4e8, Some(471_859_200.0)),
    ] {
        let rows: &[Row<'_>] = &[("memory_current_bytes", &[], Some(current)), ("memory_limit_bytes", &[], limit)];
        check(&host, ("workload", workload), rows);
    }
    for sum in ["slurmstepd.scope", "pbs_jobs.service"] {
        check(&host, ("workload", sum), &[("info", &[("kind", "slice")], Some(1.0))]);
    }
}

#[test]
fn containers_have_their_names_wherever_the_books_are() {
    let host = host("books");
    for (workload, current) in [
        ("docker/ollama", 1e8),
        ("docker/vllm", 2e8),
        ("podman/sglang", 3e8),
        ("ml/llm-0/server", 4e8),
        ("containerd/tgi", 5e8),
    ] {
        check(&host, ("workload", workload), &[("memory_current_bytes", &[], Some(current))]);
    }
}
