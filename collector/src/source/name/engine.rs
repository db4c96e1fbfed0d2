//! Reads the books of container engines: Docker, containerd and CRI-O have a file per container, Podman one for all. Rootless
//! engines keep theirs in their users' homes.

use std::collections::HashMap;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use collector_core::identity::Names;
use serde::Deserialize;

use super::file::{read, scan};
use crate::source::root::Root;

/// Size limit in bytes; Docker's file of one container has about 10 KB.
const DOCKER_MAX: u64 = 4 << 20;

/// Size limit in bytes; Podman's file of all containers has about 1 KB per container.
const PODMAN_MAX: u64 = 16 << 20;

/// Size limit in bytes; the OCI configuration of a container has some 30 KB.
const OCI_MAX: u64 = 4 << 20;

const PASSWD_MAX: u64 = 1 << 20;

/// Docker's name of a container; for a container that Kubernetes runs, the names in Kubernetes.
pub(super) fn docker(data: &Path, id: &str) -> io::Result<Option<Names>> {
    let path = data.join("containers").join(id).join("config.v2.json");
    let Some(content) = read(&path, DOCKER_MAX)? else { return Ok(None) };
    let Container { name, config } = serde_json::from_slice(&content)?;
    let Labels { namespace, pod, container } = config.labels.unwrap_or_default();
    if let (Some(namespace), Some(pod)) = (namespace, pod) {
        // The sandbox container that holds a pod's namespaces is called POD; it has no name in Kubernetes.
        let container = container.filter(|name| name != "POD").map(Into::into);
        return Ok(Some(Names { namespace: Some(namespace.into()), pod: Some(pod.into()), container, name: None }));
    }
    Ok(names_of(name.strip_prefix('/').unwrap_or(&name)))
}

/// Podman's name of a container.
pub(super) fn podman(storage: &Path, id: &str) -> io::Result<Option<Names>> {
    for driver in ["overlay", "vfs", "btrfs"] {
        // Containers that are removed when they end are listed in a separate file.
        for file in ["containers.json", "volatile-containers.json"] {
            let path = storage.join(format!("{driver}-containers")).join(file);
            let Some(content) = read(&path, PODMAN_MAX)? else { continue };
            let entries: Vec<Entry<'_>> = serde_json::from_slice(&content)?;
            if let Some(entry) = entries.into_iter().find(|entry| entry.id == id) {
                return Ok(entry.names.unwrap_or_default().first().and_then(|name| names_of(name)));
            }
        }
    }
    Ok(None)
}

/// The names of a container of containerd, which writes them for Kubernetes, and of one of nerdctl.
pub(super) fn containerd(state: &Path, id: &str) -> io::Result<Option<Names>> {
    let tasks = state.join("io.containerd.runtime.v2.task");
    // Namespaces of containerd: k8s.io, default, moby, …
    let mut found = Ok(None);
    scan(&tasks, &mut |namespace| {
        let Ok(namespace) = std::str::from_utf8(namespace) else { return ControlFlow::Continue(()) };
        if matches!(namespace, "." | "..") {
            return ControlFlow::Continue(());
        }
        found = annotations(&tasks.join(namespace).join(id).join("config.json"), &CONTAINERD);
        if matches!(found, Ok(None)) { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    found
}

/// The names of a container of CRI-O.
pub(super) fn crio(storage: &Path, id: &str) -> io::Result<Option<Names>> {
    annotations(&storage.join("overlay-containers").join(id).join("userdata/config.json"), &CRIO)
}

/// Keys of the annotations for namespace, pod, container and the engine's own name.
type Keys = [&'static str; 4];

const CONTAINERD: Keys = [
    "io.kubernetes.cri.sandbox-namespace",
    "io.kubernetes.cri.sandbox-name",
    "io.kubernetes.cri.container-name",
    "nerdctl/name",
];
const CRIO: Keys = ["io.kubernetes.pod.namespace", "io.kubernetes.pod.name", "io.kubernetes.container.name", ""];

/// The names in the annotations of an OCI configuration. There may be none: `ctr` gives no names.
fn annotations(path: &Path, keys: &Keys) -> io::Result<Option<Names>> {
    #[derive(Deserialize)]
    struct Oci {
        #[serde(default)]
        annotations: HashMap<String, String>,
    }
    let Some(content) = read(path, OCI_MAX)? else { return Ok(None) };
    let Oci { annotations } = serde_json::from_slice(&content)?;
    let [namespace, pod, container, name] =
        keys.map(|key| annotations.get(key).filter(|name| !name.is_empty()).map(|name| name.as_str().into()));
    let names = match (namespace, pod) {
        // CRI-O calls the container that holds a pod's namespaces POD.
        (Some(namespace), Some(pod)) => {
            let container = container.filter(|name: &std::sync::Arc<str>| **name != *"POD");
            Names { namespace: Some(namespace), pod: Some(pod), container, name: None }
        }
        _ => Names { name, ..Names::default() },
    };
    Ok(Some(names))
}

/// A user's home directory from the host's /etc/passwd.
pub(super) fn home(root: &Root, uid: &str) -> io::Result<Option<PathBuf>> {
    let Some(content) = read(&root.at("/etc/passwd"), PASSWD_MAX)? else { return Ok(None) };
    // name:password:uid:gid:comment:home:shell (passwd(5))
    let content = String::from_utf8_lossy(&content);
    let home = content.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.nth(2)? == uid).then(|| fields.nth(2))?
    });
    Ok(home.filter(|home| home.starts_with('/')).map(|home| root.at(home)))
}

fn names_of(name: &str) -> Option<Names> {
    (!name.is_empty()).then(|| Names { name: Some(name.into()), ..Names::default() })
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Container {
    name: String,
    #[serde(default)]
    config: Config,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Config {
    labels: Option<Labels>,
}

#[derive(Default, Deserialize)]
struct Labels {
    #[serde(rename = "io.kubernetes.pod.namespace")]
    namespace: Option<String>,
    #[serde(rename = "io.kubernetes.pod.name")]
    pod: Option<String>,
    #[serde(rename = "io.kubernetes.container.name")]
    container: Option<String>,
}

#[derive(Deserialize)]
struct Entry<'a> {
    #[serde(borrow)]
    id: std::borrow::Cow<'a, str>,
    names: Option<Vec<String>>,
}
