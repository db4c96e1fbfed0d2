//! Pods and their containers, as the kubelet lays out their cgroups under its two cgroup drivers. They are found however
//! deep they are nested: a node may itself be a container.

use super::component::{Component, components};
use super::path::outermost;
use super::{Finding, Kind, container};

/// The classes of pods that have a cgroup between the pods and the root of them all; guaranteed pods have none.
const CLASSES: [&str; 2] = ["burstable", "besteffort"];

/// The pod or container that this is, or the cgroup of a class of them.
pub(super) fn find(path: &str) -> Option<Finding<'_>> {
    let mut inside = false;
    let mut pod: Option<(String, &str)> = None;
    for component in components(path) {
        let Component { name, top, .. } = component;
        if let Some((uid, _)) = &pod
            && let Some(finding) = in_pod(name, uid, top)
        {
            return Some(finding);
        }
        if pod.is_some() {
            break;
        }
        if let Some((uid, id)) = unresolved(name) {
            return Some(found(&uid, "containerd", id, Kind::Container, top));
        }
        pod = uid(name, inside).map(|uid| (uid, top));
        inside |= name == "kubepods";
    }
    if let Some((uid, top)) = pod {
        let name = pod_name(&uid);
        return Some(Finding { name, kind: Kind::Pod, pod_uid: Some(uid), top, ..Finding::default() });
    }
    class(path)
}

/// The name of a pod before the host's names for it are known.
pub(super) fn pod_name(uid: &str) -> String {
    format!("pod{uid}")
}

fn found<'a>(uid: &str, runtime: &'static str, id: &'a str, kind: Kind, top: &'a str) -> Finding<'a> {
    let name = format!("{}/{}{}", pod_name(uid), container::short(id), container::role(kind));
    let container_id = Some(id).filter(|_| kind == Kind::Container);
    Finding { name, kind, runtime, container_id, pod_uid: Some(uid.to_owned()), top }
}

/// A container directly in its pod's cgroup.
fn in_pod<'a>(name: &'a str, uid: &str, top: &'a str) -> Option<Finding<'a>> {
    if let Some((runtime, id, kind)) = container::engine(name) {
        return Some(found(uid, runtime, id, kind, top));
    }
    // Under the kubelet's own driver every engine but CRI-O writes the bare id: the name does not tell which it was.
    container::is_id(name).then(|| found(uid, "", name, Kind::Container, top))
}

/// The uid of the pod that has this cgroup. `kubepods-burstable-pod<uid>.slice` is systemd's way to write it (with `_`
/// for `-`, and with whatever the kubelet's --cgroup-root puts before), `kubepods/burstable/pod<uid>` the kubelet's own.
fn uid(name: &str, inside: bool) -> Option<String> {
    let systemd = name.strip_suffix(".slice").filter(|stem| stem.contains("kubepods"));
    let systemd = systemd.and_then(|stem| stem.rsplit_once("-pod")).map(|(_, uid)| uid);
    let own = name.strip_prefix("pod").filter(|_| inside);
    let uid = systemd.or(own)?.replace('_', "-");
    // Of a static pod it is a hash, written without dashes.
    let digits = uid.bytes().filter(|byte| *byte != b'-');
    let fits =
        uid.len() <= 36 && digits.clone().count() == 32 && digits.into_iter().all(|byte| byte.is_ascii_hexdigit());
    fits.then_some(uid)
}

/// What containerd makes of the kubelet's systemd driver if it has not been told of it: the name that systemd was to take
/// apart is a cgroup's as it stands, `kubepods-burstable-pod<uid>.slice:cri-containerd:<id>`.
fn unresolved(name: &str) -> Option<(String, &str)> {
    let (slice, rest) = name.split_once(':')?;
    let (_, id) = rest.split_once(':').filter(|(_, id)| container::is_id(id))?;
    Some((uid(slice, false)?, id))
}

/// `kubepods`, or a class in it, under the kubelet's own driver. (systemd's are slices like others.)
fn class(path: &str) -> Option<Finding<'_>> {
    let last = components(path).last()?;
    let is_class = last.name == "kubepods" || last.parent == "kubepods" && CLASSES.contains(&last.name);
    if !is_class || outermost(path).is_some() {
        return None;
    }
    Some(Finding { name: path.to_owned(), kind: Kind::Slice, top: path, ..Finding::default() })
}
