//! Recognises pods and their containers in the layouts of the kubelet's two cgroup drivers, below the cgroups where a kubelet has
//! its own. A node may itself be a container: its pods are told as its own, because whoever is root in it makes them.

use super::component::{Component, components};
use super::path::outermost;
use super::{Finding, Kind, batch, container};

/// Classes of pods with a cgroup of their own above the pods; guaranteed pods have none.
const CLASSES: [&str; 2] = ["burstable", "besteffort"];

/// Services below which there are pods: those that are a kubelet or an engine, or run one.
const SERVICES: [&str; 9] =
    ["kubelet", "k3s", "rke2", "k0s", "snap.microk8s", "containerd", "crio", "cri-docker", "docker"];

/// The pod or container of this path, or the class of pods.
pub(super) fn find(path: &str) -> Option<Finding<'_>> {
    if !path.contains("kubepods") {
        return None;
    }
    let mut node = None;
    // Below a user's cgroups.
    let mut foreign = false;
    let mut inside = false;
    let mut pod: Option<(String, &str)> = None;
    for component in components(path) {
        let Component { name, top, depth, .. } = component;
        if let Some((uid, _)) = &pod
            && let Some(finding) = in_pod(name, uid, top)
        {
            return Some(of(node, finding));
        }
        if pod.is_some() {
            break;
        }
        if let Some((uid, id)) = unresolved(name).filter(|_| !foreign) {
            return Some(of(node, found(&uid, "containerd", id, Kind::Container, top)));
        }
        pod = uid(name, inside).filter(|_| !foreign).map(|uid| (uid, top));
        if pod.is_none() && node.is_none() && !is_kubelet(component, inside) {
            node = node_at(top)?;
            inside &= node.is_none();
            foreign |= depth == 0 && matches!(name, "user.slice" | "user");
        }
        inside |= name == "kubepods";
    }
    if let Some((uid, top)) = pod {
        let name = pod_name(&uid);
        return Some(of(node, Finding { name, kind: Kind::Pod, pod_uid: Some(uid), top, ..Finding::default() }));
    }
    if foreign { None } else { class(path) }
}

/// The container or machine at the end of a path, which may be a node; `Some(None)` if it may be further below, and `None` if
/// all below belongs to another service or to a user.
fn node_at(path: &str) -> Option<Option<Finding<'_>>> {
    match outermost(path, None) {
        Some(outer) if outer.owner.is_some() => None,
        Some(outer) if matches!(outer.kind, Kind::Container | Kind::Machine) => Some(Some(outer)),
        Some(outer) if outer.kind != Kind::Slice => None,
        _ => Some(None),
    }
}

/// Whether this cgroup of the host is surely a kubelet's, or one above it: a slice, its own, or its service.
fn is_kubelet(component: Component<'_>, inside: bool) -> bool {
    let Component { name, depth, .. } = component;
    match name.strip_suffix(".service") {
        Some(service) => SERVICES.iter().any(|known| service.starts_with(known)),
        None if name.ends_with(".slice") => depth > 0 || name != "user.slice",
        None => name == "kubepods" || inside && CLASSES.contains(&name),
    }
}

/// The pod or its container as the node's: the host's kubelet does not know it.
fn of<'a>(node: Option<Finding<'_>>, finding: Finding<'a>) -> Finding<'a> {
    let Some(node) = node else { return finding };
    let name = format!("{}/{}", node.name, finding.name);
    Finding { name, container_id: None, pod_uid: None, owner: Some(node.name), ..finding }
}

/// The name of a pod until the host's names for it are known.
pub(super) fn pod_name(uid: &str) -> String {
    format!("pod{uid}")
}

fn found<'a>(uid: &str, runtime: &'static str, id: &'a str, kind: Kind, top: &'a str) -> Finding<'a> {
    let name = format!("{}/{}{}", pod_name(uid), container::short(id), container::role(kind));
    let container_id = Some(id).filter(|_| kind == Kind::Container);
    Finding { name, kind, runtime, container_id, pod_uid: Some(uid.to_owned()), owner: None, top }
}

/// A container directly below its pod's cgroup.
fn in_pod<'a>(name: &'a str, uid: &str, top: &'a str) -> Option<Finding<'a>> {
    if let Some((runtime, id, kind)) = container::engine(name) {
        return Some(found(uid, runtime, id, kind, top));
    }
    // Under the kubelet's own driver every engine except CRI-O writes the bare id, so the runtime is unknown.
    container::is_id(name).then(|| found(uid, "", name, Kind::Container, top))
}

/// The uid of the pod with this cgroup. systemd writes `kubepods-burstable-pod<uid>.slice` (with `_` for `-`, and with the
/// kubelet's --cgroup-root as a prefix), the kubelet itself `kubepods/burstable/pod<uid>`.
fn uid(name: &str, inside: bool) -> Option<String> {
    let systemd = name.strip_suffix(".slice").filter(|stem| stem.contains("kubepods"));
    let systemd = systemd.and_then(|stem| stem.rsplit_once("-pod")).map(|(_, uid)| uid);
    let own = name.strip_prefix("pod").filter(|_| inside);
    let uid = systemd.or(own)?.replace('_', "-");
    // A static pod has a hash, without dashes.
    let digits = uid.bytes().filter(|byte| *byte != b'-');
    let fits =
        uid.len() <= 36 && digits.clone().count() == 32 && digits.into_iter().all(|byte| byte.is_ascii_hexdigit());
    fits.then_some(uid)
}

/// containerd that is not configured for the kubelet's systemd driver uses the name for systemd literally as a cgroup name:
/// `kubepods-burstable-pod<uid>.slice:cri-containerd:<id>`.
fn unresolved(name: &str) -> Option<(String, &str)> {
    let (slice, rest) = name.split_once(':')?;
    let (_, id) = rest.split_once(':').filter(|(_, id)| container::is_id(id))?;
    Some((uid(slice, false)?, id))
}

/// `kubepods`, or a class in it, under the kubelet's own driver. (With systemd these are ordinary slices.)
fn class(path: &str) -> Option<Finding<'_>> {
    let last = components(path).last()?;
    let is_class = last.name == "kubepods" || last.parent == "kubepods" && CLASSES.contains(&last.name);
    if !is_class || outermost(path, None).is_some() || batch::find(path).is_some() {
        return None;
    }
    Some(Finding { name: path.to_owned(), kind: Kind::Slice, top: path, ..Finding::default() })
}
