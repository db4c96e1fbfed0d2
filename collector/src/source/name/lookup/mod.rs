//! Finds the names of the host's containers and pods: which files to read for which cgroup.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};

use collector_core::identity::Identity;

use super::books::{Books, ENGINES};
use super::kubelet;
use super::request::{Found, Missing, Request};
use super::search::Search;
use crate::config;
use crate::source::root::Root;
use crate::source::untrusted::{Owner, Place};

/// Limit on logged warnings; each is logged once.
const MAX_WARNINGS: usize = 64;

/// The books of this host's engines and kubelet.
pub(super) struct Lookup {
    root: Root,
    config: config::Workload,
    kubelet: PathBuf,
    warnings: HashSet<(PathBuf, io::ErrorKind)>,
    /// Where the engines keep their books, as found in this round.
    directories: HashMap<&'static str, Vec<PathBuf>>,
}

impl Lookup {
    pub fn new(root: &Root, config: &config::Workload) -> Lookup {
        Lookup {
            root: root.clone(),
            config: config.clone(),
            kubelet: root.at(&config.kubelet),
            warnings: HashSet::new(),
            directories: HashMap::new(),
        }
    }
}

impl Search for Lookup {
    /// Each directory of the kubelet is read once for all requests.
    fn find(&mut self, requests: &[&Request]) -> Vec<Found> {
        self.directories.clear();
        let identities = || requests.iter().map(|request| &request.identity).enumerate();
        let in_pod = |identity: &Identity| identity.pod_uid.is_some();
        // Containers in pods first have a look at the kubelet's links: they need not be opened.
        let mut found = self.engines(&identities().filter(|(_, it)| !in_pod(it)).collect(), requests.len());
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
        // The engines know the names of containers in pods, too, wherever the kubelet has its logs.
        let open = identities().filter(|(index, it)| in_pod(it) && !matches!(found[*index], Found::Complete(_)));
        for (index, known) in self.engines(&open.collect(), requests.len()).into_iter().enumerate() {
            if let Found::Complete(names) = known
                && names.pod.is_some()
            {
                let whole = names.container.is_some();
                found[index] = if whole { Found::Complete(names) } else { Found::Partial(names) };
            }
        }
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

    fn missing(&mut self, identity: &Identity) -> Missing {
        let books = ENGINES.iter().find(|books| books.runtime == identity.runtime);
        let (whose, places, setting, place) = match books.filter(|_| identity.pod_uid.is_none()) {
            Some(books) => (books.runtime, self.directories(books), books.setting, books.place),
            None => ("Kubernetes", vec![self.kubelet.clone()], "workload.kubelet", "the folder of the kubelet's logs"),
        };
        let places: Vec<_> = places.iter().map(|place| place.display().to_string()).collect();
        let advice = format!("no books of them in {}: set {setting} to {place}", places.join(", "));
        Missing { whose: whose.to_owned(), advice }
    }
}

impl Lookup {
    /// Looks into the books of the containers' engines; for those in pods whose engine is not known, of each. A book is read once for
    /// all of its containers. Of `count` requests, those that are not wanted are absent.
    fn engines(&mut self, wanted: &BTreeMap<usize, &Identity>, count: usize) -> Vec<Found> {
        let mut found = vec![Found::Absent; count];
        for books in ENGINES {
            let of_engine = |it: &Identity| it.runtime.is_empty() || books.runtime == it.runtime;
            let containers = wanted.iter().filter(|(_, it)| of_engine(it));
            let mut containers: Vec<(usize, &str)> =
                containers.filter_map(|(index, it)| Some((*index, it.container_id.as_deref()?))).collect();
            for directory in if containers.is_empty() { Vec::new() } else { self.directories(books) } {
                containers.retain(|(index, _)| !matches!(found[*index], Found::Complete(_)));
                let ids: Vec<&str> = containers.iter().map(|(_, id)| *id).collect();
                let names = (books.read)(&Place::new(&directory, Owner::Root), &ids);
                for ((index, _), names) in containers.iter().zip(names) {
                    match names {
                        Ok(Some(names)) => found[*index] = Found::Complete(names),
                        Ok(None) => {}
                        Err(error) => {
                            self.warn_once(&directory, &error);
                            found[*index] = Found::Unreadable;
                        }
                    }
                }
            }
        }
        found
    }

    /// Where the books of an engine may be.
    fn directories(&mut self, books: &Books) -> Vec<PathBuf> {
        let Lookup { root, config, directories, .. } = self;
        directories.entry(books.runtime).or_insert_with(|| (books.directories)(root, config)).clone()
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

#[cfg(test)]
mod tests;
