//! Whose cgroup is it? [`Identity::of`] tells from the path alone; what only the host knows ([`Names`]) comes later. Pure:
//! it knows how systemd, container engines, Kubernetes and batch systems lay out their cgroups, and no cgroup in particular.

mod batch;
mod component;
mod container;
mod kubernetes;
mod path;
mod text;
mod unit;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use text::LONGEST;

/// Whose a cgroup is, by its path.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Identity {
    /// What a person recognises it by, as far as the path tells: at most [`LONGEST`] bytes, without control characters.
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
    /// A cgroup that holds other workloads: a slice of systemd's, or one that Kubernetes has for pods of one class.
    Slice,
    /// A service of systemd's.
    Service,
    /// A scope of systemd's.
    Scope,
    /// A unit of another sort: a mount, a socket, a swap.
    Unit,
    /// A login session.
    Session,
    /// A user's own service manager.
    User,
    /// A container.
    Container,
    /// What watches over a container.
    Monitor,
    /// A pod: what its containers share, and the sum of them where the kernel gives sums.
    Pod,
    /// A virtual machine.
    Machine,
    /// A job of a batch system.
    Job,
    /// A step of a job.
    Step,
    /// A task of an orchestrator's.
    Task,
    /// A cgroup that nothing is known of but its path.
    Cgroup,
}

impl Kind {
    /// The label `kind`.
    pub fn label(self) -> &'static str {
        match self {
            Kind::Other => "other",
            Kind::Root => "root",
            Kind::Slice => "slice",
            Kind::Service => "service",
            Kind::Scope => "scope",
            Kind::Unit => "unit",
            Kind::Session => "session",
            Kind::User => "user",
            Kind::Container => "container",
            Kind::Monitor => "monitor",
            Kind::Pod => "pod",
            Kind::Machine => "machine",
            Kind::Job => "job",
            Kind::Step => "step",
            Kind::Task => "task",
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

impl Names {
    /// The same, fit to be shown: bounded, and without control characters.
    pub fn fit(&self) -> Names {
        let fit = |name: &Option<Arc<str>>| name.as_deref().filter(|name| !name.is_empty()).map(text::fit);
        let Names { namespace, pod, container, name } = self;
        Names { namespace: fit(namespace), pod: fit(pod), container: fit(container), name: fit(name) }
    }
}

/// What a rule says of a path; [`Identity`] is made of it.
#[derive(Clone, Debug, Default)]
struct Finding<'a> {
    name: String,
    kind: Kind,
    runtime: &'static str,
    container_id: Option<&'a str>,
    pod_uid: Option<String>,
    top: &'a str,
}

impl Identity {
    /// Whose cgroup this is. Takes any text. The rules in their order: a pod's (wherever it is nested), a job's, then
    /// the outermost thing on the path that is a unit or a container.
    pub fn of(path: &str) -> Identity {
        let rules: [fn(&str) -> Option<Finding<'_>>; 3] = [kubernetes::find, batch::find, path::outermost];
        let finding = rules.iter().find_map(|rule| rule(path)).unwrap_or_else(|| path::plain(path));
        Identity {
            name: text::fit(&finding.name),
            kind: finding.kind,
            runtime: finding.runtime,
            container_id: finding.container_id.map(Arc::from),
            pod_uid: finding.pod_uid.map(Arc::from),
            top: finding.top.into(),
        }
    }

    /// Whether the host may have names for it that the path does not tell.
    pub fn has_names(&self) -> bool {
        self.container_id.is_some() || self.pod_uid.is_some()
    }

    /// Its name, now that the host's names for it are known.
    pub fn named(&self, names: &Names) -> Arc<str> {
        let Names { namespace, pod, container, name } = names;
        let id = self.container_id.as_deref().map(container::short);
        let mut whole = self.name.to_string();
        if let (Some(namespace), Some(pod)) = (namespace, pod) {
            let known = self.pod_uid.as_deref().and_then(|uid| whole.strip_prefix(&*kubernetes::pod_name(uid)));
            let below = match (known, id) {
                (Some(below), _) => below.to_owned(),
                (None, Some(id)) => format!("/{id}"),
                (None, None) => String::new(),
            };
            whole = format!("{namespace}/{pod}{below}");
        }
        let known = id.zip(container.as_ref().or(name.as_ref()));
        if let Some((before, name)) = known.and_then(|(id, name)| Some((whole.strip_suffix(id)?, name))) {
            whole = format!("{before}{name}");
        }
        text::fit(&whole)
    }
}
