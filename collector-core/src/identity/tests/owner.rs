//! Users and others below whose cgroups there is what looks like somebody else's.

use super::name::names;
use super::*;

/// The id of a container that is not the one of the look-alikes.
const NODE: &str = "9b07d4f1c2a9be07d4f1c2a9be07d4f1c2a9be07d4f1c2a9be07d4f1c2a9be07";

/// Where others than the host make cgroups, and with what the name of everything below begins.
const THEIRS: &[(&str, &str)] = &[
    ("/user.slice/user-1000.slice/user@1000.service", "user"),
    ("/user.slice/user-1000.slice/user@1000.service/app.slice", "user-1000/"),
    ("/user.slice/user-1000.slice/user@1000.service/app.slice/jupyter.service", "user-1000/"),
    ("/user.slice/user-1000.slice/session-3.scope", "user-1000/"),
    ("/user.slice/user-1000.slice/session-c2.scope", "user-1000/"),
    ("/user.slice/user-1000.slice/kubelet.service", "user-1000/"),
    ("/ai.slice/user@1000.service/app.slice", "user-1000/"),
    ("/user/ann/0", "user-ann/"),
    ("/system.slice/jupyter.service", "jupyter.service"),
    ("/system.slice/jupyter.service/app.slice", "jupyter.service"),
    ("/lxc/web", "lxc/web"),
    ("/lxc.payload.web", "lxc/web"),
    ("/lxc.payload/web/init.scope", "lxc/web"),
    ("/docker/ID", "docker/SHORT"),
    ("/system.slice/docker-ID.scope/init", "docker/SHORT"),
    ("/machine.slice/libpod-ID.scope/container", "podman/SHORT"),
    ("/machine.slice/systemd-nspawn@deb.service/payload", "nspawn/deb"),
    (r"/machine.slice/machine-deb\x2d12.scope", "machine/deb-12"),
    ("/user.slice/user-1000.slice/user@1000.service/user.slice/docker-ID.scope", "user-1000/docker/SHORT"),
    ("/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-ID.scope/container", "user-1000/podman/SHORT"),
];

/// What is somebody's on a host, where only the host makes it.
const LOOK_ALIKES: &[&str] = &[
    "/kubepods.slice/kubepods-podU_D.slice/cri-containerd-ID.scope",
    "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podU_D.slice/crio-ID.scope",
    "/kubepods-burstable-podU_D.slice:cri-containerd:ID",
    "/kubepods/podUID",
    "/kubepods/burstable/podUID/ID",
    "/kubelet/kubepods/burstable/podUID/ID",
    "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-podU_D.slice/cri-containerd-ID.scope",
    "/system.slice/k3s.service/kubepods/podUID/ID",
    "/system.slice/containerd.service/kubepods-burstable-podU_D.slice:cri-containerd:ID",
    "/docker/ID/kubelet/kubepods/podUID/ID",
    "/docker/ID",
    "/docker-ID.scope",
    "/system.slice/docker-ID.scope",
    "/default/redis",
    "/k8s.io/ID",
    "/ecs/8d3a",
    "/ecstasks.slice/ecstasks-STATIC.slice",
    "/cri-containerd-ID.scope",
    "/machine.slice/libpod-ID.scope",
    "/machine.slice/machine-libpod_pod_ID.slice",
    "/libpod_parent/ID",
    "/lxc/bank",
    "/lxc.payload.bank",
    "/lxc.monitor.bank",
    "/lxc.payload/bank",
    r"/machine.slice/machine-qemu\x2d1\x2dbank.scope",
    "/machine.slice/machine-bank.scope",
    "/machine.slice/systemd-nspawn@bank.service",
    "/machine/bank.libvirt-qemu",
    "/qemu.slice/101.scope",
    "/system.slice/bank.service",
    "/user.slice/user-2000.slice/user@2000.service/app.slice/bank.service",
    "/user-2000.slice/session-1.scope/docker-ID.scope",
    "/user@2000.service/bank.service",
    "/user-2000.slice/user@2000.service/bank.service",
    "/slurm/uid_1000/job_123",
    "/system.slice/slurmstepd.scope/job_123/step_0",
    "/pbs_jobs.service/jobid/9.head",
    "/torque/8.head",
    "/lsf/cluster1/job.101.12345.1732600000",
    "/UGE/55.1",
    "/htcondor/condor_var_lib_condor_execute_slot1",
    "/oar.slice/oar-u1000.slice/oar-u1000-j125.slice",
    "/hadoop-yarn/container_1_0013_01_000002",
    "/nomad.slice/share.slice/ALLOCATION.llm.scope",
    "/nomad/ALLOCATION.llm",
];

fn there(text: &str) -> String {
    text.replace("SHORT", &NODE[..12]).replace("ID", NODE)
}

/// Whether a name begins with the owner's, or with the path of the owner's cgroup.
fn is_of(name: &str, theirs: &str, owner: &str) -> bool {
    name.starts_with(&*there(owner)) || *name == *Identity::of(&there(theirs)).name || name.starts_with(&*there(theirs))
}

#[test]
fn what_others_make_has_their_name_whatever_it_looks_like() {
    let bank = names("prod", "bank-0", "ledger", "");
    for (theirs, owner) in THEIRS {
        for look_alike in LOOK_ALIKES {
            let path = there(theirs) + &filled(look_alike);
            let identity = Identity::of(&path);
            // An engine's container as such may have names.
            let own = identity.top == Identity::of(&there(theirs)).top;
            let name = if own { identity.name.clone() } else { identity.named(&bank.fit()) };
            assert!(is_of(&name, theirs, owner), "{path}: {name}");
            let alike = Identity::of(&filled(look_alike));
            assert!(name != alike.name && name != alike.named(&bank), "{path}: {name}");
            assert_eq!(identity.pod_uid, None, "{path}");
            let accepted = identity.accept(bank.clone());
            assert!(own || accepted == Names::default(), "{path}: {accepted:?}");
        }
    }
}

#[test]
fn cgroups_of_a_user_that_look_like_nothing_are_the_users() {
    for below in ["/user@1000.service/app.slice/7", "/user@1000.service/7/8", "/user@1000.service/a.slice/b.slice/7/8"]
    {
        let identity = Identity::of(&format!("/user.slice/user-1000.slice{below}"));
        assert_eq!(identity.owner.as_deref(), Some("user-1000"), "{below}");
    }
    assert_eq!(Identity::of("/user/ann/0").owner.as_deref(), Some("user-ann"));
    assert_eq!(Identity::of("/jobs/7/8").owner, None);
}

#[test]
fn a_user_cannot_be_another() {
    let manager = "/user.slice/user-1000.slice/user@1000.service";
    for (below, name) in [
        ("/user@2000.service", "user-1000/user@2000.service"),
        ("/app.slice/user@2000.service/a.service", "user-1000/user@2000.service"),
        ("/app.slice/user@1000.service/a.service", "user-1000/user@1000.service"),
        ("/user-2000.slice", "user-1000/user-2000.slice"),
        ("/user-2000.slice/session-1.scope", "user-1000/session-1.scope"),
        ("/user.slice/user-2000.slice/a.service", "user-1000/a.service"),
        ("/machine.slice/machine-bank.scope", "user-1000/machine/bank"),
        ("/machine.slice/systemd-nspawn@bank.service", "user-1000/nspawn/bank"),
        ("/user.slice/lxc.payload.bank", "user-1000/lxc/bank"),
        ("/ecstasks.slice/ecstasks-8d3a.slice", "user-1000/ecs/8d3a"),
        ("/kubepods.slice/kubepods-podU_D.slice", "user-1000/kubepods-podUID.slice"),
    ] {
        let identity = Identity::of(&filled(&format!("{manager}{below}")));
        let name = name.replace("UID", &UID.replace('-', "_"));
        assert_eq!((&*identity.name, identity.owner.as_deref()), (&*name, Some("user-1000")), "{below}");
    }
    let beside = Identity::of("/user.slice/user-1000.slice/run-7.scope");
    assert_eq!((&*beside.name, beside.owner.as_deref()), ("user-1000/run-7.scope", Some("user-1000")));
}

#[test]
fn a_kubelet_has_its_pods_only_where_it_has_its_cgroups() {
    for (above, found) in [
        ("", true),
        ("/kubelet", true),
        ("/system.slice/k3s.service", true),
        ("/system.slice/k3s-agent.service", true),
        ("/system.slice/rke2-server.service", true),
        ("/system.slice/snap.microk8s.daemon-kubelite.service", true),
        ("/system.slice/jupyter.service", false),
        ("/system.slice/run-7.scope", false),
        ("/my/root", true),
        ("/user", false),
        ("/user/ann/0", false),
    ] {
        let path = filled(&format!("{above}/kubepods/burstable/podUID/ID"));
        let identity = Identity::of(&path);
        assert_eq!(identity.pod_uid.is_some(), found, "{path} {identity:?}");
        let name = identity.named(&names("prod", "bank-0", "ledger", ""));
        assert_eq!(&*name == "prod/bank-0/ledger", found, "{path} {name}");
    }
    // A class of pods is a sum, which is not listed: nothing of a user's may pass for one.
    assert_eq!(Identity::of("/user/ann/kubepods").kind, Kind::Cgroup);
}

/// Cgroups that root gave to user 1000, and whose names do not show it.
const GIVEN: &[&str] =
    &["/jobs/ann", "/ann", "/ai.slice", "/system.slice", "/my/root", "/docker", "/lxc", "/slurm/uid_1000", "/é"];

/// Cgroups that are a workload's or a user's already, whoever has their directory.
const NAMED: &[&str] = &[
    "/docker/ID",
    "/system.slice/docker-ID.scope",
    "/machine.slice/libpod-ID.scope",
    "/machine.slice/machine-libpod_pod_ID.slice",
    "/lxc.payload.web",
    "/lxc/web",
    "/system.slice/jupyter.service",
    "/kubepods.slice/kubepods-podU_D.slice/cri-containerd-ID.scope",
    "/slurm/uid_1000/job_123",
    "/slurm/uid_1000/job_123/step_0",
    "/user.slice/user-1000.slice/user@1000.service",
    "/user.slice/user-1000.slice/session-3.scope",
];

fn given(path: &str) -> Grants {
    let mut grants = Grants::default();
    grants.set(path, 1000);
    grants
}

#[test]
fn what_a_user_makes_in_a_cgroup_of_roots_has_the_users_name() {
    let bank = names("prod", "bank-0", "ledger", "");
    for theirs in GIVEN {
        let grants = given(theirs);
        assert_eq!(grants.identity(theirs), Identity::of(theirs), "root named it");
        for look_alike in LOOK_ALIKES {
            let path = format!("{theirs}{}", filled(look_alike));
            let identity = grants.identity(&path);
            let name = identity.named(&bank.fit());
            assert!(name.starts_with("user-1000/") || name.starts_with(theirs), "{path}: {name}");
            assert_eq!((identity.owner.as_deref(), &identity.pod_uid), (Some("user-1000"), &None), "{path}");
            assert!(identity.top.len() > theirs.len(), "{path}");
        }
    }
    let manager = given("/ai.slice").identity("/ai.slice/system.slice/user@1000.service");
    assert_eq!((&*manager.name, manager.kind), ("user-1000/user@1000.service", Kind::Service));
    let taken = |uid: u32| {
        let mut grants = given("/jobs/ann");
        grants.set("/jobs/ann", uid);
        grants.identity(&filled("/jobs/ann/docker/ID")).owner
    };
    assert_eq!((taken(1001).as_deref(), taken(0)), (Some("user-1001"), None));
    assert_eq!(given("/jobs/ann").above("/jobs/annex/docker"), None);
}

#[test]
fn whose_name_is_roots_keeps_it_in_a_user_namespace_too() {
    for named in NAMED {
        let path = filled(named);
        for below in ["", "/init.scope", "/kubelet/kubepods/podUID", "/app.slice/a.service", "/step_0"] {
            let path = filled(&format!("{path}{below}"));
            assert_eq!(given(&filled(named)).identity(&path), Identity::of(&path), "{path}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

    #[test]
    fn nobody_leaves_their_own_cgroups(at in prop::sample::select(THEIRS), below in paths()) {
        let (theirs, owner) = at;
        let identity = Identity::of(&(there(theirs) + &below));
        prop_assert!(is_of(&identity.name, theirs, owner), "{identity:?}");
        let named = identity.named(&names("prod", "bank-0", "ledger", ""));
        let own = identity.top == Identity::of(&there(theirs)).top;
        prop_assert!(own || is_of(&named, theirs, owner), "{named}");
    }

    #[test]
    fn different_names_stay_different(one in prop::collection::vec(1u8..=255, 1..20), other in "[\\\\xa-f5c]{1,9}") {
        let named = |bytes: &[u8]| {
            let bytes: Vec<u8> = bytes.iter().copied().filter(|byte| *byte != b'/').collect();
            (Identity::of(&crate::cgroup::path(&[b"/my/", &bytes[..]].concat())).name, bytes)
        };
        let (one, other) = (named(&one), named(other.as_bytes()));
        prop_assert_eq!(one.0 == other.0, one.1 == other.1);
    }

    #[test]
    fn nobody_leaves_a_cgroup_that_root_gave_them(theirs in prop::sample::select(GIVEN), below in paths()) {
        let identity = given(theirs).identity(&format!("{theirs}{below}"));
        let named = identity.named(&names("prod", "bank-0", "ledger", ""));
        // Slashes alone are below nothing.
        let itself = named == Identity::of(theirs).name;
        prop_assert!(itself || named.starts_with("user-1000/") || named.starts_with(theirs), "{named}");
    }
}
