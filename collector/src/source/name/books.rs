//! Where the container engines of this host keep their books, and how those are read: a row for each engine. A directory may
//! be configured here, named in the engine's own configuration, or one of its usual places; each is tried.

use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::engine;
use crate::config;
use crate::source::root::Root;
use crate::source::untrusted::{Owner, Place};

/// Size limit of an engine's configuration, in bytes.
const CONFIG_MAX: u64 = 1 << 20;

/// An engine's books.
pub(super) struct Books {
    /// As in the identity of its containers.
    pub runtime: &'static str,
    /// The setting that says where they are, and what it must be set to.
    pub setting: &'static str,
    pub place: &'static str,
    /// The directories of the host's engine.
    pub directories: fn(&Root, &config::Workload) -> Vec<PathBuf>,
    /// The directory of a user's own engine, below the home.
    pub rootless: Option<&'static str>,
    /// Reads the names of containers from such a directory, in the order of their ids.
    pub read: fn(&Place, &[&str]) -> engine::Found,
}

pub(super) const ENGINES: &[Books] = &[
    Books {
        runtime: "docker",
        setting: "workload.docker",
        place: "Docker's data-root (docker info -f '{{.DockerRootDir}}')",
        directories: docker,
        rootless: Some(".local/share/docker"),
        read: engine::docker,
    },
    Books {
        runtime: "podman",
        setting: "workload.podman",
        place: "Podman's graphRoot (podman info -f '{{.Store.GraphRoot}}')",
        directories: podman,
        rootless: Some(".local/share/containers/storage"),
        read: engine::podman,
    },
    Books {
        runtime: "containerd",
        setting: "workload.containerd",
        place: "containerd's state directory (containerd config dump | grep state)",
        directories: containerd,
        rootless: None,
        read: engine::containerd,
    },
    Books {
        runtime: "cri-o",
        setting: "workload.podman",
        place: "CRI-O's storage root (crio config | grep root)",
        directories: podman,
        rootless: None,
        read: engine::crio,
    },
];

/// As configured here; as the daemon's configuration and command line say; and that of the snap.
fn docker(root: &Root, config: &config::Workload) -> Vec<PathBuf> {
    let mut found = vec![root.at(&config.docker)];
    let files = ["/etc/docker/daemon.json", "/var/snap/docker/current/config/daemon.json"];
    let running = ["/run/docker.pid", "/run/snap.docker/docker.pid"];
    let flags: Vec<Flags> = running.iter().filter_map(|path| flags(root, path)).collect();
    let named = flags.iter().filter_map(|flags| flags.config.as_deref());
    for file in files.into_iter().map(Path::new).chain(named) {
        found.extend(daemon(&root.at(file)).map(|directory| root.at(directory)));
    }
    found.extend(flags.iter().filter_map(|flags| flags.data.as_ref()).map(|directory| root.at(directory)));
    found.push(root.at("/var/snap/docker/common/var-lib-docker"));
    distinct(found)
}

/// `data-root` in Docker's daemon.json; `graph` before 17.05.
fn daemon(path: &Path) -> Option<String> {
    #[derive(Deserialize)]
    struct Daemon {
        #[serde(rename = "data-root")]
        data_root: Option<String>,
        graph: Option<String>,
    }
    let Daemon { data_root, graph } = serde_json::from_slice(&read(path, CONFIG_MAX).ok()??).ok()?;
    data_root.or(graph).filter(|directory| directory.starts_with('/'))
}

#[derive(Debug, Default, PartialEq)]
struct Flags {
    data: Option<String>,
    config: Option<PathBuf>,
}

/// The flags of the daemon with this pid file.
fn flags(root: &Root, pid_file: &str) -> Option<Flags> {
    let pid: u32 = String::from_utf8(read(&root.at(pid_file), CONFIG_MAX).ok()??).ok()?.trim().parse().ok()?;
    let line = read(&root.at(format!("/proc/{pid}/cmdline")), CONFIG_MAX).ok()??;
    Some(parse(&String::from_utf8_lossy(&line)))
}

/// The flags in a command line whose words end in zeros.
fn parse(line: &str) -> Flags {
    let mut flags = Flags::default();
    let mut words = line.split('\0');
    while let Some(word) = words.next() {
        let (name, value) = word.split_once('=').map_or((word, None), |(name, value)| (name, Some(value)));
        let is_data = matches!(name, "--data-root" | "--graph" | "-g");
        if !is_data && name != "--config-file" {
            continue;
        }
        let value = value.or_else(|| words.next()).filter(|path| path.starts_with('/')).map(str::to_owned);
        match is_data {
            true => flags.data = value,
            false => flags.config = value.map(PathBuf::from),
        }
    }
    flags
}

/// As configured here and in containers-storage.conf(5), which CRI-O reads too; and the place of transient storage.
fn podman(root: &Root, config: &config::Workload) -> Vec<PathBuf> {
    let mut found = vec![root.at(&config.podman)];
    for file in ["/etc/containers/storage.conf", "/usr/share/containers/storage.conf"] {
        found.extend(storage(&root.at(file)).into_iter().flatten().flatten().map(|directory| root.at(directory)));
    }
    found.push(root.at("/run/containers/storage"));
    distinct(found)
}

/// `graphroot` and `runroot` in containers-storage.conf.
fn storage(path: &Path) -> Option<[Option<String>; 2]> {
    let text = String::from_utf8(read(path, CONFIG_MAX).ok()??).ok()?;
    let table: toml::Table = text.parse().ok()?;
    let storage = table.get("storage")?.as_table()?;
    let directory = |key: &str| Some(storage.get(key)?.as_str()?.to_owned()).filter(|it: &String| it.starts_with('/'));
    Some(["graphroot", "runroot"].map(directory))
}

/// As configured here and in containerd's configuration, and where K3s, RKE2, k0s and MicroK8s keep theirs.
fn containerd(root: &Root, config: &config::Workload) -> Vec<PathBuf> {
    let mut found = vec![root.at(&config.containerd)];
    let state = |path: &str| {
        let text = String::from_utf8(read(&root.at(path), CONFIG_MAX).ok()??).ok()?;
        let table: toml::Table = text.parse().ok()?;
        Some(table.get("state")?.as_str()?.to_owned()).filter(|it| it.starts_with('/'))
    };
    found.extend(state("/etc/containerd/config.toml").map(|directory| root.at(directory)));
    let usual =
        ["/run/containerd", "/run/k3s/containerd", "/run/k0s/containerd", "/var/snap/microk8s/common/run/containerd"];
    found.extend(usual.map(|directory| root.at(directory)));
    distinct(found)
}

/// The content of a file that only root writes.
fn read(path: &Path, max_bytes: u64) -> io::Result<Option<Vec<u8>>> {
    Place::new(path, Owner::Root).read(max_bytes)
}

fn distinct(found: Vec<PathBuf>) -> Vec<PathBuf> {
    let mut distinct = Vec::with_capacity(found.len());
    for directory in found {
        if !distinct.contains(&directory) {
            distinct.push(directory);
        }
    }
    distinct
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_of_dockerd_are_parsed() {
        let flags = |data: &str, config: &str| {
            let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
            Flags { data: some(data), config: some(config).map(PathBuf::from) }
        };
        for (line, expected) in [
            ("dockerd\0--data-root\0/a\0", flags("/a", "")),
            ("dockerd\0--data-root=/a\0--config-file=/c.json\0", flags("/a", "/c.json")),
            ("dockerd\0-g\0/a\0-H\0fd://\0", flags("/a", "")),
            ("dockerd\0--data-root=relative\0", flags("", "")),
            ("dockerd\0--data-root", flags("", "")),
            ("", flags("", "")),
        ] {
            assert_eq!(parse(line), expected, "{line}");
        }
    }
}
