//! Finds the names of containers and pods: which files to read for which cgroup.

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};

use collector_core::identity::{Identity, Names};

use super::request::{Found, Request};
use super::{engine, kubelet};
use crate::config;
use crate::source::root::Root;

/// Limit on logged warnings; each is logged once.
const MAX_WARNINGS: usize = 64;

/// State directories of rootless engines below the user's home.
const ROOTLESS_DOCKER: &str = ".local/share/docker";
const ROOTLESS_PODMAN: &str = ".local/share/containers/storage";

/// Reads the names of a container from an engine's state directory.
type Read = fn(&Path, &str) -> io::Result<Option<Names>>;

/// The state directories of this host's engines and kubelet.
pub(super) struct Lookup {
    root: Root,
    kubelet: PathBuf,
    docker: PathBuf,
    podman: PathBuf,
    warnings: HashSet<(PathBuf, io::ErrorKind)>,
}

impl Lookup {
    pub fn new(root: &Root, config: &config::Workload) -> Lookup {
        let config::Workload { kubelet, docker, podman, .. } = config;
        Lookup {
            root: root.clone(),
            kubelet: root.at(kubelet),
            docker: root.at(docker),
            podman: root.at(podman),
            warnings: HashSet::new(),
        }
    }

    /// Returns a result per request, in the same order. Each directory is read once for all requests.
    pub fn find(&mut self, requests: &[&Request]) -> Vec<Found> {
        let mut found = vec![Found::Absent; requests.len()];
        let identities = || requests.iter().map(|request| &request.identity).enumerate();
        let of_engines = |identity: &Identity| matches!(identity.runtime, "docker" | "podman");
        for (index, identity) in identities().filter(|(_, identity)| of_engines(identity)) {
            found[index] = self.engine(identity);
        }
        let mut containers: HashMap<&str, Vec<usize>> = HashMap::new();
        let mut pods: HashMap<&str, Vec<usize>> = HashMap::new();
        for (index, identity) in identities().filter(|(index, _)| !matches!(found[*index], Found::Complete(_))) {
            if let Some(id) = &identity.container_id {
                containers.entry(id).or_default().push(index);
            }
        }
        let result = kubelet::containers(&self.kubelet, &mut containers, &mut |index, names| {
            found[index] = Found::Complete(names);
        });
        self.mark_unreadable(result, "containers", containers.into_values().flatten(), &mut found);
        for (index, identity) in identities().filter(|(index, _)| !matches!(found[*index], Found::Complete(_))) {
            if let Some(uid) = &identity.pod_uid {
                pods.entry(uid).or_default().push(index);
            }
        }
        let result = kubelet::pods(&self.kubelet, &mut pods, &mut |index, names| {
            let complete = requests[index].identity.container_id.is_none();
            found[index] = if complete { Found::Complete(names) } else { Found::Partial(names) };
        });
        self.mark_unreadable(result, "pods", pods.into_values().flatten(), &mut found);
        found
    }

    fn engine(&mut self, identity: &Identity) -> Found {
        let Some(id) = &identity.container_id else { return Found::Absent };
        let (read, system, rootless): (Read, _, _) = match identity.runtime {
            "docker" => (engine::docker, &self.docker, ROOTLESS_DOCKER),
            _ => (engine::podman, &self.podman, ROOTLESS_PODMAN),
        };
        let home = match user(&identity.name).map(|uid| engine::home(&self.root, uid)) {
            Some(Ok(home)) => home.map(|home| home.join(rootless)),
            _ => None,
        };
        let directory = home.as_deref().unwrap_or(system);
        match read(directory, id) {
            Ok(Some(names)) => Found::Complete(names),
            Ok(None) => Found::Absent,
            Err(error) => {
                let directory = directory.to_owned();
                self.warn_once(&directory, &error);
                Found::Unreadable
            }
        }
    }

    /// Marks requests as unreadable whose names an unreadable directory may contain.
    fn mark_unreadable(
        &mut self,
        result: io::Result<()>,
        name: &str,
        missing: impl Iterator<Item = usize>,
        found: &mut [Found],
    ) {
        let Err(error) = result else { return };
        self.warn_once(&self.kubelet.join(name), &error);
        missing.for_each(|index| found[index] = Found::Unreadable);
    }

    fn warn_once(&mut self, directory: &Path, error: &io::Error) {
        let warning = (directory.to_owned(), error.kind());
        if self.warnings.len() < MAX_WARNINGS && self.warnings.insert(warning) {
            tracing::warn!("could not read names of containers from {}: {error}", directory.display());
        }
    }
}

/// The uid of a rootless container's user: `user-1000/docker/…`.
fn user(name: &str) -> Option<&str> {
    name.strip_prefix("user-")?.split_once('/').map(|(uid, _)| uid)
}

#[cfg(test)]
mod tests;
