//! Reads the state files of Docker and Podman: Docker has one file per container, Podman one for all. Rootless engines
//! keep theirs in their users' homes.

use std::io;
use std::path::{Path, PathBuf};

use collector_core::identity::Names;
use serde::Deserialize;

use super::file::read;
use crate::source::root::Root;

/// Size limit in bytes; Docker's file of one container has about 10 KB.
const DOCKER_MAX: u64 = 4 << 20;

/// Size limit in bytes; Podman's file of all containers has about 1 KB per container.
const PODMAN_MAX: u64 = 16 << 20;

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
