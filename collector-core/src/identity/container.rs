//! Containers, by what their engines call the cgroups.

use super::component::Component;
use super::{Finding, Kind};

/// What stands around a container's id in the name of its cgroup, and which engine writes it so.
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

/// The longest id of a container that is not sixty-four hexadecimal digits.
const ID: usize = 128;

/// The container whose own cgroup this is. `owner` is what its name begins with if it is a user's own.
pub(super) fn find<'a>(component: Component<'a>, owner: &str) -> Option<Finding<'a>> {
    let Component { name, parent, top, depth } = component;
    if let Some((runtime, id, kind)) = engine(name) {
        return Some(finding(owner, runtime, id, kind, top));
    }
    // ctr and nerdctl without systemd: /default/<id>, where the id can be any name.
    if depth == 1 && parent == "default" && name.len() <= ID {
        return Some(finding(owner, "containerd", name, Kind::Container, top));
    }
    // Docker without systemd, below whatever --cgroup-parent says. (A pod of Podman's looks like it.)
    if is_id(name) && parent != "libpod_parent" {
        let runtime = if parent == "k8s.io" { "containerd" } else { "docker" };
        return Some(finding(owner, runtime, name, Kind::Container, top));
    }
    lxc(component).or_else(|| libvirt(component))
}

/// The engine that calls a container's cgroup so, and the container's id.
pub(super) fn engine(name: &str) -> Option<(&'static str, &str, Kind)> {
    ENGINES.iter().find_map(|&(prefix, suffix, runtime, kind)| {
        let id = name.strip_prefix(prefix)?.strip_suffix(suffix)?;
        is_id(id).then_some((runtime, id, kind))
    })
}

fn finding<'a>(owner: &str, runtime: &'static str, id: &'a str, kind: Kind, top: &'a str) -> Finding<'a> {
    let name = format!("{owner}{runtime}/{}{}", short(id), role(kind));
    // The names of a container are not its monitor's.
    let container_id = Some(id).filter(|_| kind == Kind::Container);
    Finding { name, kind, runtime, container_id, top, ..Finding::default() }
}

/// What the name of a container's monitor ends with.
pub(super) fn role(kind: Kind) -> &'static str {
    if kind == Kind::Monitor { "/conmon" } else { "" }
}

/// A pod of Podman's, whose containers are below it.
pub(super) fn pod<'a>(component: Component<'a>, owner: &str) -> Option<Finding<'a>> {
    let Component { name, parent, top, .. } = component;
    let slice = || name.strip_suffix(".slice")?.split_once("libpod_pod_").map(|(_, id)| id);
    let id = slice().or((parent == "libpod_parent").then_some(name)).filter(|id| is_id(id))?;
    let name = format!("{owner}podman/pod-{}", short(id));
    Some(Finding { name, kind: Kind::Pod, runtime: "podman", top, ..Finding::default() })
}

/// LXC, LXD, Incus and Proxmox VE.
fn lxc(component: Component<'_>) -> Option<Finding<'_>> {
    let Component { name, parent, top, depth } = component;
    let payload = name.strip_prefix("lxc.payload.").filter(|name| !name.is_empty());
    let payload = payload.or((parent == "lxc.payload" || parent == "lxc" && depth == 1).then_some(name));
    if let Some(name) = payload {
        let name = format!("lxc/{name}");
        return Some(Finding { name, kind: Kind::Container, runtime: "lxc", top, ..Finding::default() });
    }
    let monitor = name.strip_prefix("lxc.monitor.").filter(|name| !name.is_empty());
    let name = format!("lxc/{}/monitor", monitor.or((parent == "lxc.monitor").then_some(name))?);
    Some(Finding { name, kind: Kind::Monitor, runtime: "lxc", top, ..Finding::default() })
}

/// libvirt without systemd: /machine/vm.libvirt-qemu
fn libvirt(component: Component<'_>) -> Option<Finding<'_>> {
    let Component { name, parent, top, .. } = component;
    if parent != "machine" {
        return None;
    }
    let known = [("libvirt-qemu", "qemu", Kind::Machine), ("libvirt-lxc", "libvirt-lxc", Kind::Container)];
    let (name, end) = name.rsplit_once('.').filter(|(name, _)| !name.is_empty())?;
    let (_, runtime, kind) = known.into_iter().find(|(known, ..)| *known == end)?;
    Some(Finding { name: format!("{runtime}/{name}"), kind, runtime, top, ..Finding::default() })
}

/// As much of a container's id as its engine shows people.
pub(super) fn short(id: &str) -> &str {
    if is_id(id) { &id[..12] } else { id }
}

/// Whether it is an id as engines give them out: sixty-four hexadecimal digits.
pub(super) fn is_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}
