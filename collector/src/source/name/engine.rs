//! Reads the books of container engines: Docker, containerd and CRI-O have a file per container, Podman one for all. Rootless
//! engines keep theirs in their users' homes.

use std::collections::HashMap;
use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;

use collector_core::identity::Names;
use serde::Deserialize;

use super::directory::scan;
use super::json::{self, First};
use crate::source::untrusted::Place;

/// Size limit in bytes; Docker's file of one container has about 10 KB.
const DOCKER_MAX: u64 = 4 << 20;

/// Size limit in bytes; Podman's file of all containers has about 1 KB per container.
const PODMAN_MAX: u64 = 16 << 20;

/// Size limit in bytes; the OCI configuration of a container has some 30 KB.
const OCI_MAX: u64 = 4 << 20;

/// What is found for each of the containers that were asked for. The book of one may be broken.
pub type Found = Vec<io::Result<Option<Names>>>;

/// Docker's names of containers; for those that Kubernetes runs, the names in Kubernetes.
pub fn docker(data: &Place, ids: &[&str]) -> Found {
    ids.iter().map(|id| docker_one(data, id)).collect()
}

fn docker_one(data: &Place, id: &str) -> io::Result<Option<Names>> {
    let path = data.join("containers").join(id).join("config.v2.json");
    let Some(file) = path.open(DOCKER_MAX)? else { return Ok(None) };
    let Container { name, config } = json::read(file)?;
    let Labels { namespace, pod, container } = config.labels.unwrap_or_default();
    if let (Some(namespace), Some(pod)) = (namespace, pod) {
        // The sandbox container that holds a pod's namespaces is called POD; it has no name in Kubernetes.
        let container = container.filter(|name| name != "POD").map(Into::into);
        let names = Names { namespace: Some(namespace.into()), pod: Some(pod.into()), container, name: None };
        return Ok(Some(names.fit()));
    }
    Ok(names_of(name.strip_prefix('/').unwrap_or(&name)))
}

/// Podman's names of containers. Each file is read once for all of them. A file that is broken may have those that are in no other.
pub fn podman(storage: &Place, ids: &[&str]) -> Found {
    let mut names = vec![None; ids.len()];
    let result = podman_all(storage, ids, &mut names);
    let missing = |name: Option<Names>| match (name, &result) {
        (None, Err(error)) => Err(io::Error::new(error.kind(), error.to_string())),
        (name, _) => Ok(name),
    };
    names.into_iter().map(missing).collect()
}

fn podman_all(storage: &Place, ids: &[&str], found: &mut [Option<Names>]) -> io::Result<()> {
    let mut wanted: HashMap<&str, usize> = ids.iter().enumerate().map(|(index, id)| (*id, index)).collect();
    for driver in ["overlay", "vfs", "btrfs"] {
        // Containers that are removed when they end are listed in a separate file.
        for file in ["containers.json", "volatile-containers.json"] {
            let path = storage.join(format!("{driver}-containers")).join(file);
            let Some(file) = path.open(PODMAN_MAX)? else { continue };
            json::each(file, &mut |Entry { id, names }| {
                if let Some(index) = wanted.remove(&*id) {
                    found[index] = names.0.as_deref().and_then(names_of);
                }
                !wanted.is_empty()
            })?;
        }
    }
    Ok(())
}

/// The names of containers of containerd, which writes them for Kubernetes, and of those of nerdctl.
pub fn containerd(state: &Place, ids: &[&str]) -> Found {
    ids.iter().map(|id| containerd_one(state, id)).collect()
}

fn containerd_one(state: &Place, id: &str) -> io::Result<Option<Names>> {
    let tasks = state.join("io.containerd.runtime.v2.task");
    // Namespaces of containerd: k8s.io, default, moby, …
    let mut found = Ok(None);
    scan(&tasks.path(), &mut |namespace| {
        let Ok(namespace) = std::str::from_utf8(namespace) else { return ControlFlow::Continue(()) };
        if matches!(namespace, "." | "..") {
            return ControlFlow::Continue(());
        }
        found = annotations(&tasks.join(namespace).join(id).join("config.json"), CONTAINERD);
        if matches!(found, Ok(None)) { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    found
}

/// The names of containers of CRI-O.
pub fn crio(storage: &Place, ids: &[&str]) -> Found {
    let one = |id: &&str| annotations(&storage.join("overlay-containers").join(id).join("userdata/config.json"), CRIO);
    ids.iter().map(one).collect()
}

/// The annotations that are read, of containerd, nerdctl and CRI-O.
#[derive(Default, Deserialize)]
struct Annotations {
    #[serde(rename = "io.kubernetes.cri.sandbox-namespace")]
    cri_namespace: Option<String>,
    #[serde(rename = "io.kubernetes.cri.sandbox-name")]
    cri_pod: Option<String>,
    #[serde(rename = "io.kubernetes.cri.container-name")]
    cri_container: Option<String>,
    #[serde(rename = "nerdctl/name")]
    nerdctl: Option<String>,
    #[serde(rename = "io.kubernetes.pod.namespace")]
    namespace: Option<String>,
    #[serde(rename = "io.kubernetes.pod.name")]
    pod: Option<String>,
    #[serde(rename = "io.kubernetes.container.name")]
    container: Option<String>,
}

/// Picks an engine's annotations for namespace, pod, container and the engine's own name.
type Pick = fn(Annotations) -> [Option<String>; 4];

const CONTAINERD: Pick = |it| [it.cri_namespace, it.cri_pod, it.cri_container, it.nerdctl];
const CRIO: Pick = |it| [it.namespace, it.pod, it.container, None];

/// The names in the annotations of an OCI configuration. There may be none: `ctr` gives no names.
fn annotations(path: &Place, pick: Pick) -> io::Result<Option<Names>> {
    #[derive(Deserialize)]
    struct Oci {
        #[serde(default)]
        annotations: Annotations,
    }
    let Some(file) = path.open(OCI_MAX)? else { return Ok(None) };
    let Oci { annotations } = json::read(file)?;
    let [namespace, pod, container, name] =
        pick(annotations).map(|name| name.filter(|name| !name.is_empty()).map(Arc::<str>::from));
    let names = match (namespace, pod) {
        // CRI-O calls the container that holds a pod's namespaces POD.
        (Some(namespace), Some(pod)) => {
            let container = container.filter(|name| **name != *"POD");
            Names { namespace: Some(namespace), pod: Some(pod), container, name: None }
        }
        _ => Names { name, ..Names::default() },
    };
    Ok(Some(names.fit()))
}

/// Short, however long the name in a book is: the names of many containers are held at once.
fn names_of(name: &str) -> Option<Names> {
    (!name.is_empty()).then(|| Names { name: Some(name.into()), ..Names::default() }.fit())
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
struct Entry {
    id: String,
    #[serde(default)]
    names: First,
}
