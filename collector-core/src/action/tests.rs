//! What a person types for a change, for each owner.

use std::sync::Arc;

use super::*;
use crate::identity::{Identity, Names};

const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const GIB: u64 = 1 << 30;

fn target(path: &str, names: Names, unified: bool) -> Target {
    let identity = Identity::of(path);
    let known = Known {
        limits: true,
        memory_max: Some(16 * GIB),
        memory: Some(15 * GIB),
        swap_max: Some(0),
        ..Known::default()
    };
    let (name, owner) = (identity.named(&names), Owner::of(&identity, &names));
    Target { name, owner, path: identity.top, unified, known, above: Vec::new() }
}

fn plain(path: &str) -> Target {
    target(path, Names::default(), true)
}

fn docker(name: &str) -> Target {
    let names = Names { name: Some(name.into()), ..Names::default() };
    target(&format!("/system.slice/docker-{ID}.scope"), names, true)
}

fn pod(pod: &str) -> Target {
    let text = |text: &str| Some(Arc::<str>::from(text));
    let names = Names { namespace: text("prod"), pod: text(pod), container: text("server"), name: None };
    let slice = "kubepods-burstable-pod0123abcd_0123_0123_0123_0123456789ab.slice";
    target(&format!("/kubepods.slice/kubepods-burstable.slice/{slice}/cri-containerd-{ID}.scope"), names, true)
}

/// Tools and texts of the commands of an action.
fn texts(action: Option<Action>) -> Vec<(Tool, String)> {
    action.unwrap().commands.into_iter().map(|command| (command.tool, command.text)).collect()
}

fn first(action: Option<Action>) -> String {
    texts(action).into_iter().next().map(|(_, text)| text).unwrap_or_default()
}

#[test]
fn a_higher_limit_is_typed_as_its_owner_wants_it() {
    let bytes = Some(20 * GIB);
    let unit = plain("/system.slice/vllm.service").memory_max(bytes).unwrap();
    assert_eq!(unit.commands[0].text, "systemctl set-property vllm.service MemoryMax=20G");
    assert_eq!(
        (unit.key.as_deref(), unit.before.as_deref(), unit.after.as_deref()),
        (Some("memory.max"), Some("17179869184"), Some("21474836480"))
    );
    assert_eq!(
        unit.undo,
        "Set the memory limit back to 16.0 GiB. What is above it then is reclaimed, or ends in an OOM kill."
    );
    let session = plain("/user.slice/user-1000.slice/session-3.scope").memory_max(bytes);
    assert_eq!(first(session), "systemctl set-property --runtime session-3.scope MemoryMax=20G");
    let own = plain("/user.slice/user-1000.slice/user@1000.service/app.slice/web.service").memory_max(bytes);
    let as_user =
        "sudo -u '#1000' XDG_RUNTIME_DIR=/run/user/1000 systemctl --user set-property web.service MemoryMax=20G";
    assert_eq!(first(own), as_user);
    assert_eq!(
        texts(docker("ai-web-1").memory_max(bytes)),
        [
            (Tool::Docker, "docker update --memory 21474836480 --memory-swap 21474836480 ai-web-1".to_owned()),
            (
                Tool::Compose,
                "services:\n  \"web\":\n    deploy:\n      resources:\n        limits:\n          memory: \"21474836480\"\n".to_owned()
            ),
        ]
    );
    let podman = plain(&format!("/machine.slice/libpod-{ID}.scope")).memory_max(bytes);
    assert_eq!(first(podman), "podman update --memory 21474836480 --memory-swap 21474836480 0123456789ab");
    assert_eq!(first(plain("/slurm/uid_1000/job_7").memory_max(bytes)), "#SBATCH --mem=20480M");
    assert_eq!(first(plain("/mine").memory_max(bytes)), "echo 21474836480 > /sys/fs/cgroup/mine/memory.max");
    let legacy = target("/mine", Names::default(), false).memory_max(bytes);
    assert_eq!(first(legacy), "echo 21474836480 > /sys/fs/cgroup/memory/mine/memory.limit_in_bytes");
}

#[test]
fn a_pod_is_patched_and_its_cgroup_left_alone() {
    let commands = texts(pod("vllm-7d9f4b6c8d-x2x7k").memory_max(Some(20 * GIB)));
    let words = |text: &str| shlex::split(text).unwrap();
    assert_eq!(commands.len(), 2);
    let (resize, lasting) = (words(&commands[0].1), words(&commands[1].1));
    assert_eq!(
        resize[..9],
        [
            "kubectl",
            "patch",
            "pod",
            "vllm-7d9f4b6c8d-x2x7k",
            "--namespace",
            "prod",
            "--subresource",
            "resize",
            "--patch"
        ]
    );
    let patch = r#"{"spec":{"containers":[{"name":"server","resources":{"limits":{"memory":"20Gi"}}}]}}"#;
    assert_eq!(resize[9], patch);
    assert_eq!(lasting[..8], ["kubectl", "patch", "deployment", "vllm", "--namespace", "prod", "--type", "strategic"]);
    assert_eq!(lasting[9], format!(r#"{{"spec":{{"template":{patch}}}}}"#));
    // Whatever it is: no unit and no file.
    for target in [pod("vllm-0"), plain("/kubepods.slice"), plain("/kubepods/burstable")] {
        let actions = [
            target.memory_max(Some(GIB)),
            target.memory_high(Some(GIB)),
            target.memory_low(GIB),
            target.cpu_weight(100),
            target.cpu_max(Some(1.0)),
            target.cpuset("0-3", None),
            target.io_weight(100),
            target.reclaim(GIB),
            target.freeze(),
            target.restart(),
        ];
        let commands = actions.into_iter().flatten().flat_map(|action| action.commands);
        for command in commands {
            assert_eq!(command.tool, Tool::Kubernetes, "{command:?}");
        }
    }
}

#[test]
fn what_an_engine_cannot_do_goes_to_its_unit() {
    let high = texts(docker("web").memory_high(Some(8 * GIB)));
    let scope = format!("systemctl set-property --runtime docker-{ID}.scope MemoryHigh=8G");
    assert_eq!(high, [(Tool::Systemd, scope)]);
    let unlimited = first(docker("web").memory_max(None));
    assert_eq!(unlimited, format!("systemctl set-property --runtime docker-{ID}.scope MemoryMax=infinity"));
    assert_eq!(first(docker("web").cpu_max(Some(1.5))), "docker update --cpus 1.5 web");
    assert_eq!(first(docker("web").io_weight(5000)), "docker update --blkio-weight 1000 web");
    let unit = plain("/system.slice/web.service");
    assert_eq!(first(unit.cpu_max(Some(1.5))), "systemctl set-property web.service CPUQuota=150%");
    assert_eq!(first(unit.cpu_max(None)), "systemctl set-property web.service CPUQuota=");
    assert_eq!(
        first(unit.cpuset("0-3", Some("0"))),
        "systemctl set-property web.service AllowedCPUs=0-3 AllowedMemoryNodes=0"
    );
    assert_eq!(first(unit.reclaim(GIB)), "echo 1073741824 > /sys/fs/cgroup/system.slice/web.service/memory.reclaim");
    let quota = unit.cpu_max(Some(1.5)).unwrap();
    assert_eq!((quota.key.as_deref(), quota.after.as_deref()), (Some("cpu.max"), Some("1.5")));
    let io = first(unit.io_max("8:0", Some(1 << 20), None));
    assert_eq!(
        shlex::split(&io).unwrap()[3..],
        ["IOReadBandwidthMax=/dev/block/8:0 1M", "IOWriteBandwidthMax=/dev/block/8:0 infinity"]
    );
}

#[test]
fn protection_is_given_from_the_outermost_on() {
    let slice = |path: &str, low: Option<u64>| {
        let owner = Owner::of(&Identity::of(path), &Names::default());
        Above { owner, path: path.into(), memory_low: low, memory_min: None }
    };
    let unit = plain("/system.slice/system-ai.slice/web.service");
    let above = vec![slice("/system.slice", Some(GIB)), slice("/system.slice/system-ai.slice", Some(0))];
    let target = Target { above, ..unit.clone() };
    let low = target.memory_low(2 * GIB).unwrap();
    assert_eq!(
        low.commands[0].text,
        "systemctl set-property system.slice MemoryLow=3G && systemctl set-property system-ai.slice MemoryLow=2G \
         && systemctl set-property web.service MemoryLow=2G"
    );
    assert!(low.commands[0].note.as_deref().unwrap().contains("that comes first"));
    // What somebody else may have set is not overwritten.
    let target = Target { above: vec![slice("/system.slice", None)], ..unit };
    let low = target.memory_low(2 * GIB).unwrap();
    assert_eq!(low.commands[0].text, "systemctl set-property web.service MemoryLow=2G");
    assert!(low.commands[0].note.as_deref().unwrap().contains("not all of them are known"));
    assert!(!target.memory_max(None).unwrap().commands[0].text.contains("&&"));
}

#[test]
fn cgroup_v1_does_what_it_can() {
    let target = target("/mine", Names::default(), false);
    let cannot = [target.memory_low(GIB), target.memory_high(None), target.reclaim(GIB), target.swap_max(None)];
    assert_eq!(cannot, [None, None, None, None]);
    let root = "/sys/fs/cgroup/cpu/mine";
    assert_eq!(
        first(target.cpu_max(Some(2.0))),
        format!("echo 100000 > {root}/cpu.cfs_period_us && echo 200000 > {root}/cpu.cfs_quota_us")
    );
    assert_eq!(first(target.cpu_weight(200)), format!("echo 2048 > {root}/cpu.shares"));
    assert_eq!(first(target.freeze()), "echo FROZEN > /sys/fs/cgroup/freezer/mine/freezer.state");
}

#[test]
fn a_hostile_name_never_becomes_more_than_a_name() {
    let names = ["a; reboot", "$(reboot)", "`id`", "a'b", "-rf", "a b", "../../x", "a\nb", "*"];
    for name in names {
        for target in
            [docker(name), pod(name), plain(&format!("/{name}")), plain(&format!("/system.slice/{name}.service"))]
        {
            let actions = [target.memory_max(Some(GIB)), target.cpu_weight(50), target.restart(), target.freeze()];
            for command in actions.into_iter().flatten().flat_map(|action| action.commands) {
                if command.file.is_some() {
                    continue;
                }
                assert!(!command.text.contains('\n'), "{command:?}");
                // What the shell would take for more than a name stands in a word that is the whole name, or is not there at all.
                let words = shlex::split(&command.text).unwrap();
                let special = |word: &&String| {
                    word.contains([';', '$', '`', '*', '\'']) || matches!(&***word, "reboot" | "-rf" | "b")
                };
                for word in words.iter().filter(special) {
                    assert!(word.contains(name) && word.len() > name.len(), "{command:?}");
                }
            }
        }
    }
}

#[test]
fn the_risk_is_what_may_happen() {
    let target = plain("/system.slice/web.service");
    let risk = |action: Option<Action>| action.unwrap().risk;
    assert_eq!(risk(target.memory_max(Some(20 * GIB))), Risk::Medium, "others have less until it is taken back");
    assert_eq!(risk(target.memory_max(None)), Risk::Medium);
    assert_eq!(risk(target.memory_max(Some(8 * GIB))), Risk::High);
    assert_eq!(risk(target.swap_max(Some(0))), Risk::Medium, "as it is");
    assert_eq!([risk(target.memory_low(GIB)), risk(target.io_weight(50)), risk(target.reclaim(GIB))], [Risk::Low; 3]);
    assert_eq!([risk(target.memory_high(None)), risk(target.cpu_max(None))], [Risk::Medium; 2]);
    assert_eq!([risk(target.restart()), risk(target.freeze()), risk(target.memory_min(GIB))], [Risk::High; 3]);
    let unknown = Target { known: Known::default(), ..target };
    let action = unknown.memory_max(Some(20 * GIB)).unwrap();
    assert_eq!((action.risk, action.before), (Risk::High, None), "it may be less than before");
}

#[test]
fn an_action_survives_json() {
    for action in
        [docker("a-b-1").memory_max(Some(GIB)).unwrap(), sysctl("vm.swappiness", None, "10".to_owned()), zram(GIB)]
    {
        let json = serde_json::to_string(&action).unwrap();
        assert_eq!(serde_json::from_str::<Action>(&json).unwrap(), action, "{json}");
    }
}
