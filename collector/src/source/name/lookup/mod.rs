//! Where a container's or a pod's name may be stored: which files to read for which cgroup.

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};

use super::ask::{Ask, Found};
use super::{engine, kubelet};
use crate::config;
use crate::identity::{Identity, Names};
use crate::source::root::Root;

/// Warnings that are logged at most, each once.
const COMPLAINTS: usize = 64;

/// Where rootless engines keep their state, in a user's home.
const ROOTLESS_DOCKER: &str = ".local/share/docker";
const ROOTLESS_PODMAN: &str = ".local/share/containers/storage";

/// Reads the name of a container from an engine's state folder.
type Look = fn(&Path, &str) -> io::Result<Option<Names>>;

/// Where this host's engines and kubelet keep their state.
pub(super) struct Lookup {
    root: Root,
    kubelet: PathBuf,
    docker: PathBuf,
    podman: PathBuf,
    complaints: HashSet<(PathBuf, io::ErrorKind)>,
}

impl Lookup {
    /// The lookup for the host with this root.
    pub fn new(root: &Root, config: &config::Workload) -> Lookup {
        let config::Workload { kubelet, docker, podman, .. } = config;
        Lookup {
            root: root.clone(),
            kubelet: root.at(kubelet),
            docker: root.at(docker),
            podman: root.at(podman),
            complaints: HashSet::new(),
        }
    }

    /// Looks for each, and answers in the same order. A directory is read once for all.
    pub fn look(&mut self, asks: &[&Ask]) -> Vec<Found> {
        let mut found = vec![Found::Nothing; asks.len()];
        let identities = || asks.iter().map(|ask| &ask.identity).enumerate();
        let of_engines = |identity: &Identity| matches!(identity.runtime, "docker" | "podman");
        for (place, identity) in identities().filter(|(_, identity)| of_engines(identity)) {
            found[place] = self.engine(identity);
        }
        let mut containers: HashMap<&str, Vec<usize>> = HashMap::new();
        let mut pods: HashMap<&str, Vec<usize>> = HashMap::new();
        for (place, identity) in identities().filter(|(place, _)| !matches!(found[*place], Found::Whole(_))) {
            if let Some(id) = &identity.container_id {
                containers.entry(id).or_default().push(place);
            }
        }
        let result = kubelet::containers(&self.kubelet, &mut containers, &mut |place, names| {
            found[place] = Found::Whole(names);
        });
        self.note(result, "containers", containers.into_values().flatten(), &mut found);
        for (place, identity) in identities().filter(|(place, _)| !matches!(found[*place], Found::Whole(_))) {
            if let Some(uid) = &identity.pod_uid {
                pods.entry(uid).or_default().push(place);
            }
        }
        let result = kubelet::pods(&self.kubelet, &mut pods, &mut |place, names| {
            let whole = asks[place].identity.container_id.is_none();
            found[place] = if whole { Found::Whole(names) } else { Found::Part(names) };
        });
        self.note(result, "pods", pods.into_values().flatten(), &mut found);
        found
    }

    fn engine(&mut self, identity: &Identity) -> Found {
        let Some(id) = &identity.container_id else { return Found::Nothing };
        let (look, system, rootless): (Look, _, _) = match identity.runtime {
            "docker" => (engine::docker, &self.docker, ROOTLESS_DOCKER),
            _ => (engine::podman, &self.podman, ROOTLESS_PODMAN),
        };
        let own = match user(&identity.name).map(|uid| engine::home(&self.root, uid)) {
            Some(Ok(home)) => home.map(|home| home.join(rootless)),
            _ => None,
        };
        let book = own.as_deref().unwrap_or(system);
        match look(book, id) {
            Ok(Some(names)) => Found::Whole(names),
            Ok(None) => Found::Nothing,
            Err(error) => {
                let book = book.to_owned();
                self.complain(&book, &error);
                Found::Unreadable
            }
        }
    }

    /// Marks what an unreadable directory may have held.
    fn note(
        &mut self,
        result: io::Result<()>,
        folder: &str,
        missing: impl Iterator<Item = usize>,
        found: &mut [Found],
    ) {
        let Err(error) = result else { return };
        self.complain(&self.kubelet.join(folder), &error);
        missing.for_each(|place| found[place] = Found::Unreadable);
    }

    fn complain(&mut self, book: &Path, error: &io::Error) {
        let complaint = (book.to_owned(), error.kind());
        if self.complaints.len() < COMPLAINTS && self.complaints.insert(complaint) {
            tracing::warn!("names of containers in {} cannot be read: {error}", book.display());
        }
    }
}

/// The user whose container it is, if it is not the system's: `user-1000/docker/…`.
fn user(name: &str) -> Option<&str> {
    name.strip_prefix("user-")?.split_once('/').map(|(uid, _)| uid)
}

#[cfg(test)]
mod tests;
