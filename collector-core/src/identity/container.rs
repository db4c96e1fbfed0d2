//! Recognises containers by the cgroup names that their engines use.

use super::component::Component;
use super::{Finding, Kind};

/// Prefix and suffix around a container's id in the name of its cgroup, and the engine that writes it.
const ENGINES: &[(&str, &str, &str, Kind)] = &[
    ("docker-", ".scope", "docker", Kind::Container),
    ("cri-containerd-", ".scope", "containerd", Kind::Container),
    ("nerdctl-", ".scope", "containerd", Kind::Container),
    ("crio-", ".scope", "cri-o", Kind::Container),
    ("crio-", "", "cri-o", Kind::Container),
    ("crio-conmon-", ".scope", "cri-o", Kind::Monitor),
    ("crio-conmon-", "", "cri-o", Kind::Monitor),
    ("libpod-", ".scope", "podman", Kind::Container),
    ("libpod-", "", "podman", Kind::Container),
    ("libpod-payload-", "", "podman", Kind::Container),
    ("libpod-conmon-", ".scope", "podman", Kind::Monitor),
    ("libpod-conmon-", "", "podman", Kind::Monitor),
];

/// Longest container id that is not 64 hexadecimal digits, in bytes.
const ID: usize = 128;

/// The container with this cgroup. `owner` is the prefix of its name if it belongs to a user.
pub(super) fn find<'a>(component: Component<'a>, owner: &str) -> Option<Finding<'a>> {
    let Component { name, parent, top, depth, .. } = component;
    if let Some((runtime, id, kind)) = engine(name) {
        return Some(finding(owner, runtime, id, kind, top));
    }
    // ctr and nerdctl without systemd: /default/<id>, where the id can be any name.
    if depth == 1 && parent == "default" && name.len() <= ID {
        return Some(finding(owner, "containerd", name, Kind::Container, top));
    }
    // Docker without systemd, below the --cgroup-parent. (A Podman pod looks the same.)
    if is_id(name) && parent != "libpod_parent" {
        let runtime = if parent == "k8s.io" { "containerd" } else { "docker" };
        return Some(finding(owner, runtime, name, Kind::Container, top));
    }
    lxc(component, owner).or_else(|| libvirt(component, owner))
}

/// Engine, container id and kind for this cgroup name.
pub(super) fn engine(name: &str) -> Option<(&'static str, &str, Kind)> {
    ENGINES.iter().find_map(|&(prefix, suffix, runtime, kind)| {
        let id = name.strip_prefix(prefix)?.strip_suffix(suffix)?;
        is_id(id).then_some((runtime, id, kind))
    })
}

fn finding<'a>(owner: &str, runtime: &'static str, id: &'a str, kind: Kind, top: &'a str) -> Finding<'a> {
    let name = format!("{owner}{runtime}/{}{}", short(id), role(kind));
    // A monitor does not get the names of its container.
    let container_id = Some(id).filter(|_| kind == Kind::Container);
    Finding { name, kind, runtime, container_id, top, ..Finding::default() }
}

/// Suffix of the name of a monitor.
pub(super) fn role(kind: Kind) -> &'static str {
    if kind == Kind::Monitor { "/conmon" } else { "" }
}

/// A Podman pod or a task of ECS, whose containers are below it.
pub(super) fn pod<'a>(component: Component<'a>, owner: &str) -> Option<Finding<'a>> {
    let Component { name, parent, top, .. } = component;
    if let Some(task) = ecs(component) {
        return Some(Finding {
            name: format!("{owner}ecs/{task}"),
            kind: Kind::Pod,
            runtime: "ecs",
            top,
            ..Finding::default()
        });
    }
    let slice = || name.strip_suffix(".slice")?.split_once("libpod_pod_").map(|(_, id)| id);
    let id = slice().or((parent == "libpod_parent").then_some(name)).filter(|id| is_id(id))?;
    let name = format!("{owner}podman/pod-{}", short(id));
    Some(Finding { name, kind: Kind::Pod, runtime: "podman", top, ..Finding::default() })
}

/// The task of ECS with this cgroup: `/ecs/<task>`, or with systemd `/ecstasks.slice/ecstasks-<task>.slice`.
fn ecs(component: Component<'_>) -> Option<&str> {
    let Component { name, parent, depth, .. } = component;
    let slice = name.strip_prefix("ecstasks-").and_then(|name| name.strip_suffix(".slice"));
    slice.or((parent == "ecs" && depth == 1).then_some(name)).filter(|task| !task.is_empty())
}

/// LXC, LXD, Incus and Proxmox VE.
fn lxc<'a>(component: Component<'a>, owner: &str) -> Option<Finding<'a>> {
    let Component { name, parent, top, depth, .. } = component;
    let payload = name.strip_prefix("lxc.payload.").filter(|name| !name.is_empty());
    let payload = payload.or((parent == "lxc.payload" || parent == "lxc" && depth == 1).then_some(name));
    if let Some(name) = payload {
        let name = format!("{owner}lxc/{name}");
        return Some(Finding { name, kind: Kind::Container, runtime: "lxc", top, ..Finding::default() });
    }
    let monitor = name.strip_prefix("lxc.monitor.").filter(|name| !name.is_empty());
    let name = format!("{owner}lxc/{}/monitor", monitor.or((parent == "lxc.monitor").then_some(name))?);
    Some(Finding { name, kind: Kind::Monitor, runtime: "lxc", top, ..Finding::default() })
}

/// libvirt without systemd: /machine/vm.libvirt-qemu
fn libvirt<'a>(component: Component<'a>, owner: &str) -> Option<Finding<'a>> {
    let Component { name, parent, top, .. } = component;
    if parent != "machine" {
        return None;
    }
    let known = [("libvirt-qemu", "qemu", Kind::Machine), ("libvirt-lxc", "libvirt-lxc", Kind::Container)];
    let (name, end) = name.rsplit_once('.').filter(|(name, _)| !name.is_empty())?;
    let (_, runtime, kind) = known.into_iter().find(|(known, ..)| *known == end)?;
    Some(Finding { name: format!("{owner}{runtime}/{name}"), kind, runtime, top, ..Finding::default() })
}

/// The part of a container's id that engines show.
pub(super) fn short(id: &str) -> &str {
    if is_id(id) { &id[..12] } else { id }
}

/// Whether it is an id of an engine: 64 hexadecimal digits.
pub(super) fn is_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}
