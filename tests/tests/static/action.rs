//! What a person is told to type for a change: the programs themselves accept it, where they are installed. They change nothing here: units
//! and objects are files in a scratch folder, and Docker's client has no daemon to talk to.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use collector_core::action::{
    Action, Change, Known, Owner, Setting, Target, Tool, io_weights, swap_file, sysctl, zram,
};
use collector_core::identity::{Identity, Names};
use collector_core::program::{Flags, Program};
use collector_tests::require::installed;
use collector_tests::scratch::scratch;
use collector_tests::{applies, needs};
use serde_json::Value;

/// A name that no unit of this machine has.
const UNIT: &str = "headroom-checks-settings.service";
const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn target(path: &str, names: &Names) -> Target {
    let identity = Identity::of(path);
    let known = Known { limits: true, memory_max: Some(16 << 30), swap_max: Some(1 << 30), ..Known::default() };
    let (name, owner) = (identity.named(names), Owner::of(&identity, names));
    Target { name, owner, path: identity.top, unified: true, known, above: Vec::new() }
}

/// One of each.
fn changes() -> Vec<Change> {
    let device = "8:0".to_owned();
    vec![
        Change::MemoryMax(Some(20 << 30)),
        Change::MemoryMax(None),
        Change::MemoryHigh(Some(18 << 30)),
        Change::MemoryLow(1_000_000_007),
        Change::MemoryMin(64 << 20),
        Change::SwapMax(Some(0)),
        Change::CpuWeight(500),
        Change::CpuMax(Some(2.5)),
        Change::CpuMax(None),
        Change::Cpuset("0-3,8".to_owned(), Some("0".to_owned())),
        Change::IoWeight(20),
        Change::IoMax { device, read: Some(1 << 20), write: None },
        Change::Freeze,
        Change::Thaw,
    ]
}

fn commands(target: &Target, tool: Tool) -> Vec<(Change, Vec<String>)> {
    let actions = changes().into_iter().filter_map(|change| Some((target.change(&change)?, change)));
    let each =
        actions.flat_map(|(action, change)| action.commands.into_iter().map(move |command| (change.clone(), command)));
    let own = each.filter(|(_, command)| command.tool == tool && command.file.is_none());
    own.map(|(change, command)| (change, shlex::split(&command.text).unwrap())).collect()
}

/// What `systemd-analyze verify` says of a service with these lines.
fn verified(folder: &Path, lines: &str) -> String {
    fs::write(folder.join(UNIT), format!("[Service]\nExecStart=/bin/true\n{lines}")).unwrap();
    let unit = folder.join(UNIT);
    let output = Command::new("systemd-analyze")
        .args(["verify", "--man=no"])
        .arg(&unit)
        .env("SYSTEMD_LOG_LEVEL", "warning")
        .output()
        .unwrap();
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn systemd_knows_each_setting() {
    needs!(installed("systemd-analyze"), "systemd-analyze checks the settings");
    let folder = scratch();
    let found = commands(&target("/system.slice/vllm.service", &Names::default()), Tool::Systemd);
    let set = found.iter().filter(|(_, words)| words.get(1).is_some_and(|word| word == "set-property"));
    let lines: Vec<String> = set.flat_map(|(_, words)| words[3..].iter().map(|line| format!("{line}\n"))).collect();
    assert!(lines.len() >= 13, "{lines:?}");
    let own = |lines: &str| {
        let said = verified(&folder, lines);
        // Of other units on this machine it may complain as well.
        said.lines().filter(|line| line.contains(UNIT)).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(own(&lines.concat()), Vec::<String>::new());
    assert!(!own("MemoryMax=20Gi\n").is_empty(), "it does refuse what it does not know");
    assert!(!own("MemoryMost=20G\n").is_empty());

    let setting = Setting::new("OLLAMA_KEEP_ALIVE", "5 % \"x\"");
    let ollama = target("/system.slice/ollama.service", &Names::default())
        .configure(Program::Ollama, &[setting], &Flags::new())
        .unwrap();
    assert_eq!(ollama.commands[0].tool, Tool::Systemd);
    let text = ollama.commands[0].text.strip_prefix("[Service]\n").unwrap().to_owned();
    assert_eq!(own(&text), Vec::<String>::new(), "{text}");
}

#[test]
fn docker_knows_each_option() {
    applies!(installed("docker"), "Docker's client is not installed");
    let names = Names { name: Some("ai-web-1".into()), ..Names::default() };
    let found = commands(&target(&format!("/system.slice/docker-{ID}.scope"), &names), Tool::Docker);
    assert!(found.len() >= 8, "{found:?}");
    let run = |words: &[String]| {
        let nobody = "unix:///nonexistent/docker.sock";
        let output = Command::new("docker").args(&words[1..]).env("DOCKER_HOST", nobody).output().unwrap();
        String::from_utf8(output.stderr).unwrap()
    };
    for (_, words) in &found {
        let said = run(words);
        assert!(said.contains("Cannot connect") || said.contains("nonexistent"), "{words:?}: {said}");
    }
    let wrong: Vec<String> = ["docker", "update", "--memory-high", "1", "web"].map(str::to_owned).into();
    assert!(run(&wrong).contains("unknown flag"));
}

#[test]
fn kubernetes_merges_each_patch() {
    let some = |text: &str| Some(Arc::<str>::from(text));
    let names =
        Names { namespace: some("prod"), pod: some("vllm-7d9f4b6c8d-x2x7k"), container: some("server"), name: None };
    let slice = "kubepods-burstable-pod0123abcd_0123_0123_0123_0123456789ab.slice";
    let path = format!("/kubepods.slice/kubepods-burstable.slice/{slice}/cri-containerd-{ID}.scope");
    let found = commands(&target(&path, &names), Tool::Kubernetes);
    let containers = serde_json::json!([
        { "name": "side", "image": "side" },
        { "name": "server", "image": "server", "resources": { "limits": { "memory": "16Gi", "cpu": "4", "nvidia.com/gpu": "1" } } },
    ]);
    let template =
        serde_json::json!({ "metadata": { "labels": { "app": "vllm" } }, "spec": { "containers": containers } });
    let deployment = serde_json::json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "vllm", "namespace": "prod" },
        "spec": { "selector": { "matchLabels": { "app": "vllm" } }, "template": template },
    });
    let pod = serde_json::json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "vllm-7d9f4b6c8d-x2x7k", "namespace": "prod" }, "spec": { "containers": containers },
    });
    let merges = installed("kubectl");
    if !merges {
        eprintln!("kubectl is not installed: only whose patch it is was looked at, not what it makes of the object");
    }
    let folder = scratch();
    let mut limits: BTreeMap<String, Value> = BTreeMap::new();
    for (change, words) in &found {
        let patch = words.last().unwrap();
        let of_pod = words[2] == "pod";
        let whole: Value = serde_json::from_str(patch).unwrap();
        assert_eq!(whole["spec"].get("template").is_none(), of_pod, "{patch}");
        if !merges {
            continue;
        }
        let file = folder.join("object.json");
        fs::write(&file, if of_pod { &pod } else { &deployment }.to_string()).unwrap();
        let local = ["patch", "--local", "--type", "strategic", "--output", "json", "--patch", patch, "--filename"];
        let output = Command::new("kubectl").args(local).arg(&file).env("KUBECONFIG", "/dev/null").output().unwrap();
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        let merged: Value = serde_json::from_slice(&output.stdout).unwrap();
        let spec = if of_pod { &merged["spec"] } else { &merged["spec"]["template"]["spec"] };
        let of =
            |name: &str| spec["containers"].as_array().unwrap().iter().find(|it| it["name"] == *name).unwrap().clone();
        assert_eq!((spec["containers"].as_array().unwrap().len(), &of("server")["image"]), (2, &Value::from("server")));
        assert_eq!(of("server")["resources"]["limits"]["nvidia.com/gpu"], "1", "what it does not name stays");
        limits.insert(format!("{change:?} {of_pod}"), of("server")["resources"]["limits"].clone());
    }
    if merges {
        assert_eq!(limits["MemoryMax(Some(21474836480)) true"]["memory"], "20Gi");
        assert_eq!(limits["MemoryMax(Some(21474836480)) false"]["memory"], "20Gi");
        assert_eq!(limits["MemoryMax(None) false"].get("memory"), None, "it is taken away");
        assert_eq!(limits["CpuMax(Some(2.5)) false"]["cpu"], "2500m");
    }
}

#[test]
fn a_fragment_for_compose_is_yaml() {
    let names = Names { name: Some("ai-web-1".into()), ..Names::default() };
    let target = target(&format!("/system.slice/docker-{ID}.scope"), &names);
    let all =
        changes().into_iter().filter_map(|change| target.change(&change)).flat_map(|action: Action| action.commands);
    let fragments: Vec<Value> = all
        .filter(|command| command.tool == Tool::Compose)
        .map(|command| {
            serde_norway::from_str(&command.text).unwrap_or_else(|error| panic!("{}: {error}", command.text))
        })
        .collect();
    let services: Vec<&Value> = fragments.iter().map(|fragment| &fragment["services"]["web"]).collect();
    assert!(services.len() >= 6 && services.iter().all(|service| service.is_object()), "{fragments:?}");
    let limit = |key: &str| services.iter().find_map(|it| it["deploy"]["resources"]["limits"][key].as_str());
    assert_eq!((limit("memory"), limit("cpus")), (Some("21474836480"), Some("2.5")));
    assert!(
        services.iter().any(|it| it["blkio_config"]["weight"] == 20)
            && services.iter().any(|it| it["cpuset"] == "0-3,8")
    );

    let setting = Setting::new("LLAMA_ARG_CACHE_RAM", "1: \"x\"");
    let environment = target.configure(Program::Ollama, &[setting], &Flags::new()).unwrap();
    let file: Value = serde_norway::from_str(&environment.commands[0].text).unwrap();
    assert_eq!(file["services"]["SERVICE"]["environment"]["LLAMA_ARG_CACHE_RAM"], "1: \"x\"");
}

#[test]
fn a_shell_can_parse_each_command() {
    let paths =
        ["/system.slice/vllm.service", "/user.slice/user-1000.slice/user@1000.service/app.slice/web.service", "/mine"];
    let of_workloads = paths.iter().flat_map(|path| {
        let target = target(path, &Names::default());
        changes().into_iter().filter_map(move |change| target.change(&change)).collect::<Vec<_>>()
    });
    let of_host = [swap_file(16 << 30), zram(4 << 30), sysctl("vm.swappiness", None, "10".to_owned())];
    let all = of_workloads.chain(of_host).chain(io_weights("nvme0n1", Some("259:0"), true));
    let commands: Vec<_> = all.flat_map(|action| action.commands).filter(|command| command.file.is_none()).collect();
    assert!(commands.len() > 30);
    for command in commands {
        // -n reads it and runs nothing.
        let output = Command::new("sh").args(["-n", "-c", &command.text]).output().unwrap();
        assert!(output.status.success(), "{}: {}", command.text, String::from_utf8_lossy(&output.stderr));
    }
}
