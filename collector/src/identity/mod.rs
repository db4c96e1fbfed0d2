//! Whose cgroup is it? [`Identity::of`] tells from the path alone; what only the host knows ([`Names`]) comes later. Pure:
//! it knows how systemd, container engines, Kubernetes and batch systems lay out their cgroups, and no cgroup in particular.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Whose a cgroup is, by its path.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Identity {
    /// What a person recognises it by, as far as the path tells.
    pub name: Arc<str>,
    /// What sort of workload it is.
    pub kind: Kind,
    /// What runs it (`docker`, `containerd`, …); empty if nothing in particular does.
    pub runtime: &'static str,
    /// The id of the container.
    pub container_id: Option<Arc<str>>,
    /// The uid of the pod that it is, or is part of.
    pub pod_uid: Option<Arc<str>>,
    /// The path of the workload's own cgroup: the whole path, or the beginning of it. What is nested below belongs to it.
    pub top: Arc<str>,
}

/// What sort of workload it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// The sum of what belongs to none.
    #[default]
    Other,
    /// The root of the hierarchy.
    Root,
    /// A cgroup that nothing is known of but its path.
    Cgroup,
}

impl Kind {
    /// The label `kind`.
    pub fn label(self) -> &'static str {
        match self {
            Kind::Other => "other",
            Kind::Root => "root",
            Kind::Cgroup => "cgroup",
        }
    }
}

/// What only the host knows a container or a pod by.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Names {
    /// The Kubernetes namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<Arc<str>>,
    /// The pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<Arc<str>>,
    /// The container in the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<Arc<str>>,
    /// The container engine's own name for the container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Arc<str>>,
}

impl Identity {
    /// Whose cgroup this is. Takes any text.
    pub fn of(path: &str) -> Identity {
        let kind = if path == "/" { Kind::Root } else { Kind::Cgroup };
        Identity { name: path.into(), kind, top: path.into(), ..Identity::default() }
    }

    /// Its name, now that the host's names for it are known.
    pub fn named(&self, names: &Names) -> Arc<str> {
        let Names { namespace, pod, container, name } = names;
        match (namespace, pod, container, name) {
            (Some(namespace), Some(pod), Some(container), _) => format!("{namespace}/{pod}/{container}").into(),
            (Some(namespace), Some(pod), None, _) => format!("{namespace}/{pod}").into(),
            (_, _, _, Some(name)) => format!("{}/{name}", self.runtime).into(),
            _ => self.name.clone(),
        }
    }
}
