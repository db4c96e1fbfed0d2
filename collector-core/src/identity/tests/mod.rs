//! Tests of the rules, with a row for each known shape of path.

use proptest::prelude::*;

use super::*;
use crate::text::is_shown;

mod name;
mod owner;

use name::names;

const ID: &str = "4f1c2a9be07d4f1c2a9be07d4f1c2a9be07d4f1c2a9be07d4f1c2a9be07d4f1c";
const UID: &str = "2b6e1f3c-98aa-4b1d-9d7e-0123456789ab";
const STATIC: &str = "8f3a5c1e9d7b4f20a1c3e5f70b2d4f68";
const ALLOCATION: &str = "6d2a1b3c-98aa-4b1d-9d7e-0123456789ab";

/// Own cgroup · nested path · name · kind · runtime. Placeholders: `ID` is a container id, `SHORT` its first twelve digits,
/// `UID` a pod's uid, `U_D` the same as systemd writes it, `STATIC` the uid of a static pod.
type Row = (&'static str, &'static str, &'static str, Kind, &'static str);

const ROWS: &[Row] = &[
    ("/", "", "/", Kind::Root, ""),
    // systemd
    ("/init.scope", "", "init.scope", Kind::Scope, ""),
    ("/system.slice", "", "system.slice", Kind::Slice, ""),
    ("/system.slice/ollama.service", "", "ollama.service", Kind::Service, ""),
    ("/system.slice/ollama.service", "/runner/0", "ollama.service", Kind::Service, ""),
    ("/ai.slice/ai-vllm.slice", "", "ai-vllm.slice", Kind::Slice, ""),
    ("/ai.slice/ai-vllm.slice/vllm@70b.service", "/worker", "vllm@70b.service", Kind::Service, ""),
    (r"/system.slice/system-getty.slice/getty@tty1.service", "", "getty@tty1.service", Kind::Service, ""),
    (r"/system.slice/llama\x2dserver.service", "", "llama-server.service", Kind::Service, ""),
    (r"/system.slice/caf\xc3\xa9 1.service", "", "café 1.service", Kind::Service, ""),
    ("/system.slice/_cpu.service", "", "cpu.service", Kind::Service, ""),
    ("/system.slice/run-r1f2.scope", "", "run-r1f2.scope", Kind::Scope, ""),
    ("/system.slice/dev-hugepages.mount", "", "dev-hugepages.mount", Kind::Unit, ""),
    ("/system.slice/docker.socket", "", "docker.socket", Kind::Unit, ""),
    ("/system.slice/dev-zram0.swap", "", "dev-zram0.swap", Kind::Unit, ""),
    ("/user.slice/user-1000.slice", "", "user-1000.slice", Kind::Slice, ""),
    ("/user.slice/user-1000.slice/session-3.scope", "/x", "user-1000/session-3.scope", Kind::Session, ""),
    ("/user.slice/user-1000.slice/session-c1.scope", "", "user-1000/session-c1.scope", Kind::Session, ""),
    ("/user.slice/user-1000.slice/user@1000.service", "/x", "user@1000.service", Kind::User, ""),
    ("/user.slice/user-1000.slice/user@1000.service/init.scope", "", "user-1000/init.scope", Kind::Scope, ""),
    ("/user.slice/user-1000.slice/user@1000.service/app.slice", "", "user-1000/app.slice", Kind::Slice, ""),
    (
        "/user.slice/user-1000.slice/user@1000.service/app.slice/llama.service",
        "/x",
        "user-1000/llama.service",
        Kind::Service,
        "",
    ),
    (
        r"/user.slice/user-1000.slice/user@1000.service/app.slice/app-org.gnome.Terminal.slice/vte-spawn-1\x2d2.scope",
        "",
        "user-1000/vte-spawn-1-2.scope",
        Kind::Scope,
        "",
    ),
    // Docker
    ("/docker/ID", "", "docker/SHORT", Kind::Container, "docker"),
    ("/docker/ID", "/init.scope", "docker/SHORT", Kind::Container, "docker"),
    ("/docker/ID", "/system.slice/ssh.service", "docker/SHORT", Kind::Container, "docker"),
    ("/docker/ID", "/docker/ID", "docker/SHORT", Kind::Container, "docker"),
    ("/docker/ID", "/system.slice/docker-ID.scope", "docker/SHORT", Kind::Container, "docker"),
    ("/system.slice/docker-ID.scope", "/init", "docker/SHORT", Kind::Container, "docker"),
    ("/ai.slice/docker-ID.scope", "", "docker/SHORT", Kind::Container, "docker"),
    ("/ai/team/ID", "/x", "docker/SHORT", Kind::Container, "docker"),
    ("/ecs/8d3a/ID", "", "docker/SHORT", Kind::Container, "docker"),
    ("/ecs/8d3a", "", "ecs/8d3a", Kind::Pod, "ecs"),
    ("/ecs", "", "/ecs", Kind::Slice, ""),
    ("/ecstasks.slice/ecstasks-STATIC.slice", "", "ecs/STATIC", Kind::Pod, "ecs"),
    ("/ecstasks.slice/ecstasks-STATIC.slice/docker-ID.scope", "/x", "docker/SHORT", Kind::Container, "docker"),
    ("/ecstasks.slice", "", "ecstasks.slice", Kind::Slice, ""),
    (
        "/user.slice/user-1000.slice/user@1000.service/user.slice/docker-ID.scope",
        "/init",
        "user-1000/docker/SHORT",
        Kind::Container,
        "docker",
    ),
    ("/docker", "", "/docker", Kind::Cgroup, ""),
    ("/docker/buildkit", "", "/docker/buildkit", Kind::Cgroup, ""),
    // containerd
    ("/system.slice/nerdctl-ID.scope", "", "containerd/SHORT", Kind::Container, "containerd"),
    ("/system.slice/cri-containerd-ID.scope", "", "containerd/SHORT", Kind::Container, "containerd"),
    ("/default/ID", "/x", "containerd/SHORT", Kind::Container, "containerd"),
    ("/default/redis", "", "containerd/redis", Kind::Container, "containerd"),
    ("/k8s.io/ID", "", "containerd/SHORT", Kind::Container, "containerd"),
    // CRI-O outside of Kubernetes' cgroups
    ("/system.slice/crio-ID.scope", "/container", "cri-o/SHORT", Kind::Container, "cri-o"),
    ("/system.slice/crio-conmon-ID.scope", "", "cri-o/SHORT/conmon", Kind::Monitor, "cri-o"),
    // Podman
    ("/machine.slice/libpod-ID.scope", "/container", "podman/SHORT", Kind::Container, "podman"),
    ("/machine.slice/libpod-conmon-ID.scope", "", "podman/SHORT/conmon", Kind::Monitor, "podman"),
    ("/libpod_parent/libpod-ID", "/ctr", "podman/SHORT", Kind::Container, "podman"),
    ("/libpod_parent/libpod-conmon-ID", "", "podman/SHORT/conmon", Kind::Monitor, "podman"),
    ("/libpod_parent", "", "/libpod_parent", Kind::Cgroup, ""),
    ("/libpod_parent/ID", "/x", "podman/pod-SHORT", Kind::Pod, "podman"),
    ("/libpod_parent/ID/libpod-ID", "/x", "podman/SHORT", Kind::Container, "podman"),
    ("/machine.slice/machine-libpod_pod_ID.slice", "", "podman/pod-SHORT", Kind::Pod, "podman"),
    ("/machine.slice/machine-libpod_pod_ID.slice/libpod-ID.scope", "", "podman/SHORT", Kind::Container, "podman"),
    (
        "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-ID.scope",
        "/container",
        "user-1000/podman/SHORT",
        Kind::Container,
        "podman",
    ),
    (
        "/user.slice/user-1000.slice/user@1000.service/user.slice/user-libpod_pod_ID.slice/libpod-ID.scope",
        "/container",
        "user-1000/podman/SHORT",
        Kind::Container,
        "podman",
    ),
    (
        "/user.slice/user-1000.slice/session-3.scope/libpod_parent/libpod-ID",
        "",
        "user-1000/podman/SHORT",
        Kind::Container,
        "podman",
    ),
    ("/system.slice/web.service", "/libpod-payload-ID", "web.service", Kind::Service, ""),
    ("/system.slice/web.service", "/runtime", "web.service", Kind::Service, ""),
    ("/ai/libpod-payload-ID", "", "podman/SHORT", Kind::Container, "podman"),
    // Kubernetes, cgroup driver systemd
    ("/kubepods.slice", "", "kubepods.slice", Kind::Slice, ""),
    ("/kubepods.slice/kubepods-burstable.slice", "", "kubepods-burstable.slice", Kind::Slice, ""),
    ("/kubepods.slice/kubepods-podU_D.slice", "", "podUID", Kind::Pod, ""),
    ("/kubepods.slice/kubepods-podU_D.slice", "/x", "podUID", Kind::Pod, ""),
    (
        "/kubepods.slice/kubepods-podU_D.slice/cri-containerd-ID.scope",
        "",
        "podUID/SHORT",
        Kind::Container,
        "containerd",
    ),
    (
        "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podU_D.slice/cri-containerd-ID.scope",
        "/system.slice/a.service",
        "podUID/SHORT",
        Kind::Container,
        "containerd",
    ),
    (
        "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-podSTATIC.slice/crio-ID.scope",
        "/container",
        "podSTATIC/SHORT",
        Kind::Container,
        "cri-o",
    ),
    (
        "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-podU_D.slice/crio-conmon-ID.scope",
        "",
        "podUID/SHORT/conmon",
        Kind::Monitor,
        "cri-o",
    ),
    ("/kubepods.slice/kubepods-podU_D.slice/docker-ID.scope", "/x", "podUID/SHORT", Kind::Container, "docker"),
    (
        "/system.slice/containerd.service/kubepods-burstable-podU_D.slice:cri-containerd:ID",
        "/x",
        "podUID/SHORT",
        Kind::Container,
        "containerd",
    ),
    (
        "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-podU_D.slice/cri-containerd-ID.scope",
        "",
        "podUID/SHORT",
        Kind::Container,
        "containerd",
    ),
    // Kubernetes, cgroup driver cgroupfs
    ("/kubepods", "", "/kubepods", Kind::Slice, ""),
    ("/kubepods/besteffort", "", "/kubepods/besteffort", Kind::Slice, ""),
    ("/kubepods/podUID", "", "podUID", Kind::Pod, ""),
    ("/kubepods/podUID/ID", "", "podUID/SHORT", Kind::Container, ""),
    ("/kubepods/burstable/podUID/ID", "/x", "podUID/SHORT", Kind::Container, ""),
    ("/kubepods/besteffort/podSTATIC/ID", "", "podSTATIC/SHORT", Kind::Container, ""),
    ("/kubepods/burstable/podUID/crio-ID", "", "podUID/SHORT", Kind::Container, "cri-o"),
    ("/kubepods/burstable/podUID/crio-conmon-ID", "", "podUID/SHORT/conmon", Kind::Monitor, "cri-o"),
    // Kubernetes in a container (kind, k3d), and in a service (k3s)
    ("/docker/ID", "/kubelet/kubepods/burstable", "docker/SHORT", Kind::Container, "docker"),
    ("/docker/ID/kubelet/kubepods/burstable/podUID/ID", "/x", "docker/SHORT/podUID/SHORT", Kind::Container, ""),
    (
        "/system.slice/docker-ID.scope/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-podU_D.slice/cri-containerd-ID.scope",
        "",
        "docker/SHORT/podUID/SHORT",
        Kind::Container,
        "containerd",
    ),
    ("/system.slice/k3s.service", "/kubepods", "k3s.service", Kind::Service, ""),
    ("/system.slice/k3s.service/kubepods/podUID/ID", "", "podUID/SHORT", Kind::Container, ""),
    // LXC, LXD, Incus, Proxmox VE
    ("/lxc/web", "/ns/system.slice/a.service", "lxc/web", Kind::Container, "lxc"),
    ("/lxc/101", "/ns", "lxc/101", Kind::Container, "lxc"),
    ("/lxc.payload.web", "/init.scope", "lxc/web", Kind::Container, "lxc"),
    ("/lxc.payload.ml_gpu-1", "/system.slice/docker-ID.scope", "lxc/ml_gpu-1", Kind::Container, "lxc"),
    ("/user.slice/user-1000.slice/session-3.scope/lxc.payload.web", "", "user-1000/lxc/web", Kind::Container, "lxc"),
    ("/lxc.payload/web", "/x", "lxc/web", Kind::Container, "lxc"),
    ("/lxc.monitor.web", "", "lxc/web/monitor", Kind::Monitor, "lxc"),
    ("/lxc.monitor/101", "", "lxc/101/monitor", Kind::Monitor, "lxc"),
    // Machines
    (r"/machine.slice/machine-qemu\x2d1\x2ddb\x2d2.scope", "/libvirt/vcpu0", "qemu/db-2", Kind::Machine, "qemu"),
    (r"/machine.slice/machine-lxc\x2d77\x2dweb.scope", "", "libvirt-lxc/web", Kind::Container, "libvirt-lxc"),
    (r"/machine.slice/machine-deb\x2d12.scope", "/x", "machine/deb-12", Kind::Machine, "machine"),
    ("/machine.slice/systemd-nspawn@deb.service", "/payload", "nspawn/deb", Kind::Container, "nspawn"),
    ("/machine/db.libvirt-qemu", "/emulator", "qemu/db", Kind::Machine, "qemu"),
    ("/qemu.slice/101.scope", "", "qemu/101", Kind::Machine, "qemu"),
    // Slurm
    ("/slurm", "", "/slurm", Kind::Slice, ""),
    ("/slurm/uid_1000", "", "/slurm/uid_1000", Kind::Slice, ""),
    ("/slurm/uid_1000/job_123", "", "slurm/job_123", Kind::Job, "slurm"),
    ("/slurm/uid_1000/job_123/step_0", "/task_0", "slurm/job_123/step_0", Kind::Step, "slurm"),
    ("/slurm_node7/uid_1000/job_123/step_batch", "/task_0", "slurm/job_123/step_batch", Kind::Step, "slurm"),
    ("/system.slice/slurmstepd.scope", "/system", "slurmstepd.scope", Kind::Slice, ""),
    ("/system.slice/slurmstepd.scope/job_123", "/x", "slurm/job_123", Kind::Job, "slurm"),
    ("/system.slice/slurmstepd.scope/job_123/step_0", "/user/task_0", "slurm/job_123/step_0", Kind::Step, "slurm"),
    ("/system.slice/node7_slurmstepd.scope/job_9/step_extern", "", "slurm/job_9/step_extern", Kind::Step, "slurm"),
    (
        "/system.slice/slurmstepd.scope/job_123/step_0",
        "/user/task_0/docker/ID",
        "slurm/job_123/step_0",
        Kind::Step,
        "slurm",
    ),
    ("/system.slice/slurmstepd.scope/s5K1KKYAYG5D00", "/x", "slurm/s5K1KKYAYG5D00", Kind::Job, "slurm"),
    (
        "/system.slice/slurmstepd.scope/s5K1KKYAYG5D00/step_0",
        "/user/task_0",
        "slurm/s5K1KKYAYG5D00/step_0",
        Kind::Step,
        "slurm",
    ),
    (
        "/system.slice/node7_slurmstepd.scope/s5K1KKYB2G5D00/step_batch",
        "/slurm",
        "slurm/s5K1KKYB2G5D00/step_batch",
        Kind::Step,
        "slurm",
    ),
    ("/system.slice/slurmstepd.scope", "/s5K1KKYAYG5DO0", "slurmstepd.scope", Kind::Slice, ""),
    // PBS, and Torque
    ("/pbs_jobs.service", "/jobid", "pbs_jobs.service", Kind::Slice, ""),
    ("/pbs_jobs.service/jobid/1234.pbs-head", "/x", "pbs/1234.pbs-head", Kind::Job, "pbs"),
    ("/pbs_jobs.service/jobid/7[3].pbs-head", "", "pbs/7[3].pbs-head", Kind::Job, "pbs"),
    ("/pbs_jobs.service/jobs/1235.pbs-head", "/tasks", "pbs/1235.pbs-head", Kind::Job, "pbs"),
    ("/gpu.service/jobid/9.head", "", "pbs/9.head", Kind::Job, "pbs"),
    ("/system.slice/pbs.service", "/jobid/9.head", "pbs.service", Kind::Service, ""),
    ("/system.slice/web.service", "/jobid/9.head", "web.service", Kind::Service, ""),
    ("/torque/8.head", "/task", "torque/8.head", Kind::Job, "torque"),
    // Other batch systems
    ("/lsf/cluster1/job.101.12345.1732600000", "/x", "lsf/job.101", Kind::Job, "lsf"),
    ("/lsf/cluster1/job.102[3].12345.1732600000", "", "lsf/job.102[3]", Kind::Job, "lsf"),
    ("/lsf/cluster1", "", "/lsf/cluster1", Kind::Slice, ""),
    ("/UGE/55.1", "/x", "gridengine/55.1", Kind::Job, "gridengine"),
    ("/UGE/spool", "", "/UGE/spool", Kind::Cgroup, ""),
    ("/htcondor/condor_var_lib_condor_execute_slot1", "/x", "htcondor/slot1", Kind::Job, "htcondor"),
    (
        "/system.slice/condor.service/condor_var_lib_condor_execute_slot1_2@n1.example",
        "/x",
        "htcondor/slot1_2",
        Kind::Job,
        "htcondor",
    ),
    ("/system.slice/condor.service", "/condor_x", "condor.service", Kind::Service, ""),
    ("/oar/ann_123", "/x", "oar/123", Kind::Job, "oar"),
    ("/oar.slice/ann_b_124.scope", "", "oar/124", Kind::Job, "oar"),
    ("/oar.slice/oar-u1000.slice/oar-u1000-j125.slice", "/oar-u1000-j125-s1.scope", "oar/125", Kind::Job, "oar"),
    ("/oar.slice/oar-u1000.slice", "", "oar-u1000.slice", Kind::Slice, ""),
    ("/hadoop-yarn/container_1_0013_01_000002", "/ID", "yarn/container_1_0013_01_000002", Kind::Task, "yarn"),
    // Nomad
    ("/nomad.slice/reserve.slice/ALLOCATION.llm.scope", "/x", "nomad/6d2a1b3c/llm", Kind::Task, "nomad"),
    ("/batch.slice/share.slice/ALLOCATION.llm.scope", "", "nomad/6d2a1b3c/llm", Kind::Task, "nomad"),
    ("/docker/ID", "/pbs_jobs.service/jobid/9.head", "docker/SHORT", Kind::Container, "docker"),
    (
        "/user.slice/user-7.slice/user@7.service/a.slice/ALLOCATION.llm.scope",
        "",
        "user-7/ALLOCATION.llm.scope",
        Kind::Scope,
        "",
    ),
    ("/nomad/share", "", "/nomad/share", Kind::Slice, ""),
    ("/nomad.slice/share.slice/ALLOCATION.llm.scope", "/x", "nomad/6d2a1b3c/llm", Kind::Task, "nomad"),
    ("/nomad.slice/ALLOCATION.llm.scope", "", "nomad/6d2a1b3c/llm", Kind::Task, "nomad"),
    ("/nomad/share/ALLOCATION.llm.scope", "", "nomad/6d2a1b3c/llm", Kind::Task, "nomad"),
    ("/nomad/ALLOCATION.llm", "/x", "nomad/6d2a1b3c/llm", Kind::Task, "nomad"),
    ("/nomad.slice/share.slice", "", "share.slice", Kind::Slice, ""),
    // Anything else, and lookalikes
    ("/job", "", "/job", Kind::Cgroup, ""),
    ("/job/worker", "", "/job/worker", Kind::Cgroup, ""),
    ("/job/a.service", "", "/job/a.service", Kind::Cgroup, ""),
    ("/system.slice/made by hand", "", "/system.slice/made by hand", Kind::Cgroup, ""),
    ("/.slice", "", "/.slice", Kind::Cgroup, ""),
    ("/docker/4f1c2a9be07d", "", "/docker/4f1c2a9be07d", Kind::Cgroup, ""),
    ("/kubepods/podinfo", "", "/kubepods/podinfo", Kind::Cgroup, ""),
    ("/podUID", "", "/podUID", Kind::Cgroup, ""),
    ("/slurm/job_x", "", "/slurm/job_x", Kind::Cgroup, ""),
    ("/job_123/step_0", "", "/job_123/step_0", Kind::Cgroup, ""),
    ("/a\nb\"c", "", "/a\\x0ab\"c", Kind::Cgroup, ""),
];

fn filled(text: &str) -> String {
    let mut text = text.to_owned();
    for (word, value) in [
        ("STATIC", STATIC),
        ("SHORT", &ID[..12]),
        ("U_D", &UID.replace('-', "_")),
        ("UID", UID),
        ("ALLOCATION", ALLOCATION),
        ("ID", ID),
    ] {
        text = text.replace(word, value);
    }
    text
}

#[test]
fn every_shape_of_path_is_recognised() {
    for &(top, below, name, kind, runtime) in ROWS {
        let (top, name) = (filled(top), filled(name));
        let path = format!("{top}{}", filled(below));
        let identity = Identity::of(&path);
        assert_eq!((&*identity.top, &*identity.name), (&*top, &*name), "{path}");
        assert_eq!((identity.kind, identity.runtime), (kind, runtime), "{path}");
        let pod = name.starts_with(&format!("pod{UID}")).then_some(UID);
        let pod = pod.or(name.starts_with(&format!("pod{STATIC}")).then_some(STATIC));
        assert_eq!(identity.pod_uid.as_deref(), pod, "{path}");
        let in_node = name.contains(&format!("/pod{UID}"));
        let has_id = kind == Kind::Container && top.contains(ID) && !in_node;
        assert_eq!(identity.container_id.as_deref() == Some(ID), has_id, "{path}");
    }
}

#[test]
fn names_differ_where_workloads_do() {
    let mut names = std::collections::BTreeMap::new();
    for &(top, ..) in ROWS {
        let name = Identity::of(&filled(top)).name;
        names.entry(name).or_insert_with(Vec::new).push(top);
    }
    // The same container in every shape.
    names.retain(|name, tops| {
        tops.dedup();
        tops.len() > 1 && !name.contains(&ID[..12]) && !name.contains(UID)
    });
    let again = ["lxc/web", "nomad/6d2a1b3c/llm", "slurm/job_123", "slurm/job_123/step_0"];
    assert_eq!(names.keys().map(|name| &**name).collect::<Vec<_>>(), again, "{names:?}");
}

/// Paths of components with and without a meaning.
fn paths() -> impl Strategy<Value = String> {
    let components: Vec<String> =
        ROWS.iter().flat_map(|row| [row.0, row.1]).flat_map(|path| path.split('/')).map(filled).collect();
    let component = prop_oneof![8 => prop::sample::select(components), 1 => ".{0,20}", 1 => "[a-z.:@-]{0,600}"];
    prop::collection::vec(component, 0..8).prop_map(|components| format!("/{}", components.join("/")))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

    #[test]
    fn every_path_has_an_identity(path in prop_oneof![3 => paths(), 1 => any::<String>()]) {
        let identity = Identity::of(&path);
        let below = path.strip_prefix(&*identity.top);
        prop_assert!(below.is_some_and(|below| below.is_empty() || below.starts_with('/')), "{identity:?}");
        prop_assert_eq!(&Identity::of(&identity.top), &identity);
        prop_assert!(identity.name.len() <= LONGEST && identity.name.chars().all(is_shown));
        prop_assert!(&*identity.name != crate::view::workload::OTHER || path == crate::view::workload::OTHER);
    }

    #[test]
    fn every_name_is_bounded(path in paths(), namespace in ".{0,500}", pod in ".{0,500}", name in any::<String>()) {
        let named = Identity::of(&path).named(&names(&namespace, &pod, &name, &name).fit());
        prop_assert!(named.len() <= LONGEST && named.chars().all(is_shown));
    }
}
