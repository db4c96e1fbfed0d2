//! Finds the workload of a cgroup. [`Identity::of`] uses only the path; names that only the host knows ([`Names`]) come later.
//! Knows how systemd, container engines, Kubernetes and batch systems lay out cgroups, but no particular cgroup.

mod batch;
mod component;
mod container;
mod grant;
mod kubernetes;
mod path;
mod share;
mod text;
mod unit;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::text::escape;

pub use grant::{Grant, Grants, is_open};
pub use share::Shares;
pub use text::LONGEST;

/// The workload of a cgroup, as its path shows it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Identity {
    /// Readable name, as far as the path shows it: at most [`LONGEST`] bytes, all of which can be shown.
    pub name: Arc<str>,
    pub kind: Kind,
    /// Runtime (`docker`, `containerd`, …); empty if there is none.
    pub runtime: &'static str,
    pub container_id: Option<Arc<str>>,
    /// The uid of its pod.
    pub pod_uid: Option<Arc<str>>,
    /// Who makes the cgroups here, if it is not the host itself: a user, or the container that is a node. Its name begins with it
    /// (but for a user's manager), and the host knows no pods and containers of Kubernetes there.
    pub owner: Option<Arc<str>>,
    /// The path of the workload's top cgroup: the whole path or its beginning. Cgroups nested below belong to the workload.
    pub top: Arc<str>,
}

/// Kind of a workload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// The sum of everything that has no workload of its own.
    #[default]
    Other,
    /// The root of the hierarchy.
    Root,
    /// A cgroup that holds other workloads: a systemd slice, or the Kubernetes cgroup of a class of pods.
    Slice,
    /// A systemd service.
    Service,
    /// A systemd scope.
    Scope,
    /// Another systemd unit: a mount, a socket, a swap.
    Unit,
    /// A login session.
    Session,
    /// A user's service manager.
    User,
    Container,
    /// The monitor process of a container, such as conmon.
    Monitor,
    /// A pod: what its containers share, and their sum where the kernel gives sums.
    Pod,
    /// A virtual machine.
    Machine,
    /// A job of a batch system.
    Job,
    /// A step of a job.
    Step,
    /// A task of an orchestrator.
    Task,
    /// A cgroup of which only the path is known.
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

/// Names of a container or pod that only the host knows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Names {
    /// The Kubernetes namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<Arc<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<Arc<str>>,
    /// The container in the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<Arc<str>>,
    /// The container engine's name for the container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Arc<str>>,
}

impl Names {
    /// The same, escaped and with bounded length.
    pub fn fit(&self) -> Names {
        let fit = |name: &Option<Arc<str>>| {
            name.as_deref().filter(|name| !name.is_empty()).map(|name| text::fit(&escape(name.as_bytes())))
        };
        let Names { namespace, pod, container, name } = self;
        Names { namespace: fit(namespace), pod: fit(pod), container: fit(container), name: fit(name) }
    }
}

/// What a rule finds in a path. [`Identity`] is made from it.
#[derive(Clone, Debug, Default)]
struct Finding<'a> {
    name: String,
    kind: Kind,
    runtime: &'static str,
    container_id: Option<&'a str>,
    pod_uid: Option<String>,
    owner: Option<String>,
    top: &'a str,
}

impl Identity {
    /// The workload of a path ([`crate::cgroup::path`]); takes any text. The rules in order: a pod below the kubelet's own cgroup, a
    /// job, then the outermost unit or container on the path.
    pub fn of(path: &str) -> Identity {
        Identity::within(path, None)
    }

    /// The same below a cgroup that root gave to a user: there the user makes what looks like a pod or a job.
    pub fn within(path: &str, grant: Option<Grant>) -> Identity {
        let rules: [fn(&str) -> Option<Finding<'_>>; 2] = [kubernetes::find, batch::find];
        let finding = rules.iter().filter(|_| grant.is_none()).find_map(|rule| rule(path));
        let finding = finding.or_else(|| path::outermost(path, grant)).unwrap_or_else(|| path::plain(path, grant));
        Identity {
            name: text::fit(&finding.name),
            kind: finding.kind,
            runtime: finding.runtime,
            container_id: finding.container_id.map(Arc::from),
            pod_uid: finding.pod_uid.map(Arc::from),
            owner: finding.owner.map(Arc::from),
            top: finding.top.into(),
        }
    }

    /// The same, named by its path alone.
    pub fn by_path(self) -> Identity {
        Identity { name: text::fit(&self.top), container_id: None, pod_uid: None, ..self }
    }

    /// Whether the host may know names for it.
    pub fn has_names(&self) -> bool {
        self.container_id.is_some() || self.pod_uid.is_some()
    }

    /// Those of the host's names that it may have: an id in a path proves nothing where others make the cgroups.
    pub fn accept(&self, names: Names) -> Names {
        match self.owner {
            _ if !self.has_names() => Names::default(),
            Some(_) => Names { name: names.name, ..Names::default() },
            None => names,
        }
    }

    /// Its name with the host's names.
    pub fn named(&self, names: &Names) -> Arc<str> {
        let Names { namespace, pod, container, name } = &self.accept(names.clone());
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
