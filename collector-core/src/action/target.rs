//! The workload that is changed, as far as commands need it: who owns it, its cgroup, and what is set now. Knows no command.

use std::sync::Arc;

use super::quote;
use crate::identity::{Identity, Kind, Names};
use crate::text::unescape;

/// A workload that is changed.
#[derive(Clone, Debug)]
pub struct Target {
    /// Its name.
    pub name: Arc<str>,
    pub owner: Owner,
    /// The path of its own cgroup.
    pub path: Arc<str>,
    /// cgroup v2, where one cgroup has all controllers.
    pub unified: bool,
    pub known: Known,
    /// The cgroups above it, the outermost first.
    pub above: Vec<Above>,
}

/// A cgroup above: what it protects is all that those below it can have protected.
#[derive(Clone, Debug)]
pub struct Above {
    pub owner: Owner,
    pub path: Arc<str>,
    /// In bytes; absent: not known.
    pub memory_low: Option<u64>,
    pub memory_min: Option<u64>,
}

/// What is set now.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// Whether the limits are known: then an absent one is none.
    pub limits: bool,
    pub memory_max: Option<u64>,
    pub memory_high: Option<u64>,
    pub memory_low: Option<u64>,
    pub memory_min: Option<u64>,
    pub swap_max: Option<u64>,
    /// CPUs.
    pub cpu_max: Option<f64>,
    /// What is charged now.
    pub memory: Option<u64>,
}

/// Who sets what a workload may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// systemd. What is `transient` (a scope) keeps its settings until it ends. `user` is the uid of a user's own manager.
    Unit {
        unit: String,
        transient: bool,
        user: Option<u32>,
    },
    /// Docker. `scope` is the unit of systemd that it made, if it made one.
    Docker {
        container: String,
        scope: Option<String>,
    },
    Podman {
        container: String,
        scope: Option<String>,
        user: Option<u32>,
    },
    /// A kubelet. What is not known yet is absent.
    Kubernetes {
        namespace: Option<String>,
        pod: Option<String>,
        container: Option<String>,
    },
    Slurm,
    /// Another engine, batch system or orchestrator, by the name that it has here.
    Other(&'static str),
    /// A cgroup that nobody known owns.
    Cgroup,
    /// Somebody below a user or a container: only they know what owns it.
    Below(Arc<str>),
}

impl Owner {
    pub fn of(identity: &Identity, names: &Names) -> Owner {
        let last = identity.top.rsplit('/').next().unwrap_or_default();
        let unit = quote::unit(last).filter(|_| is_ascii(last)).map(str::to_owned);
        let scope = unit.clone().filter(|unit| unit.ends_with(".scope"));
        let user = match identity.owner.as_deref().map(|owner| owner.strip_prefix("user-").map(str::parse::<u32>)) {
            None => None,
            Some(Some(Ok(uid))) => Some(uid),
            // A node in a container, or a name in place of a uid.
            Some(_) => return Owner::Below(identity.owner.clone().unwrap_or_default()),
        };
        // Pods, and all below the kubelet's cgroups: never by the cgroup.
        if identity.pod_uid.is_some() || identity.top.contains("kubepods") {
            let text = |name: &Option<Arc<str>>| name.as_deref().and_then(quote::dns).map(str::to_owned);
            let (namespace, pod, container) = (text(&names.namespace), text(&names.pod), text(&names.container));
            return Owner::Kubernetes { namespace, pod, container };
        }
        let container = || {
            let id = identity.container_id.as_deref();
            let short = id.map(|id| id.get(..12).filter(|_| id.len() == 64).unwrap_or(id));
            let name = names.name.as_deref().or(short)?;
            quote::container(name).or_else(|| quote::container(short?)).map(str::to_owned)
        };
        match (identity.runtime, identity.kind) {
            // Without an owner: who makes cgroups below a user's could name them like anybody's container.
            ("docker", Kind::Container) if user.is_none() => {
                container().map_or(Owner::Cgroup, |container| Owner::Docker { container, scope })
            }
            // Rootless Docker has its own socket, which only its user knows.
            ("docker", Kind::Container) => Owner::Other("docker"),
            ("podman", Kind::Container) => {
                container().map_or(Owner::Cgroup, |container| Owner::Podman { container, scope, user })
            }
            ("slurm", _) => Owner::Slurm,
            ("", kind) | ("qemu" | "machine" | "nspawn" | "libvirt-lxc", kind) => {
                let below = || identity.owner.clone().map_or(Owner::Cgroup, Owner::Below);
                match unit.zip(manager(user, identity, kind)) {
                    // Sessions and machines are scopes, too.
                    Some((unit, user)) => Owner::Unit { transient: unit.ends_with(".scope"), unit, user },
                    None => below(),
                }
            }
            (runtime, _) => Owner::Other(runtime),
        }
    }
}

/// Whose manager has the unit: the system's (`Some(None)`), or a user's. `None` where a user made a cgroup that is called like a unit: the
/// unit of that name is somebody else's.
fn manager(user: Option<u32>, identity: &Identity, kind: Kind) -> Option<Option<u32>> {
    let Some(uid) = user else { return Some(None) };
    let below = format!("/user@{uid}.service/");
    match identity.top.contains(&below) && identity.top.starts_with("/user.slice/") {
        true => Some(Some(uid)),
        // Logind made it.
        false => (kind == Kind::Session).then_some(None),
    }
}

/// Whether the name of the cgroup is ASCII as it stands, without escapes of ours.
fn is_ascii(name: &str) -> bool {
    unescape(name) == name.as_bytes() && name.is_ascii()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn owner(path: &str, names: Names) -> Owner {
        Owner::of(&Identity::of(path), &names)
    }

    fn unit(unit: &str, transient: bool, user: Option<u32>) -> Owner {
        Owner::Unit { unit: unit.to_owned(), transient, user }
    }

    #[test]
    fn the_path_shows_who_owns_a_workload() {
        let plain = |path: &str| owner(path, Names::default());
        assert_eq!(plain("/system.slice/ollama.service"), unit("ollama.service", false, None));
        assert_eq!(plain(r"/system.slice/llama\x2dserver.service"), unit(r"llama\x2dserver.service", false, None));
        assert_eq!(plain("/user.slice/user-1000.slice/session-3.scope"), unit("session-3.scope", true, None));
        let own = "/user.slice/user-1000.slice/user@1000.service/app.slice/web.service";
        assert_eq!(plain(own), unit("web.service", false, Some(1000)));
        let docker = |container: &str| Owner::Docker {
            container: container.to_owned(),
            scope: Some(format!("docker-{ID}.scope")),
        };
        assert_eq!(plain(&format!("/system.slice/docker-{ID}.scope")), docker("0123456789ab"));
        let named = Names { name: Some("web-1".into()), ..Names::default() };
        assert_eq!(owner(&format!("/system.slice/docker-{ID}.scope"), named.clone()), docker("web-1"));
        assert_eq!(
            owner(&format!("/docker/{ID}"), named),
            Owner::Docker { container: "web-1".to_owned(), scope: None }
        );
        assert_eq!(plain("/slurm/uid_1000/job_7/step_0"), Owner::Slurm);
        assert_eq!(plain("/mine"), Owner::Cgroup);
        assert_eq!(plain("/lxc.payload.vm"), Owner::Other("lxc"));
    }

    #[test]
    fn what_a_kubelet_owns_is_never_a_cgroup_or_a_unit() {
        let pod =
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod0123abcd_0123_0123_0123_0123456789ab.slice";
        let unknown = Owner::Kubernetes { namespace: None, pod: None, container: None };
        for path in [pod, &format!("{pod}/cri-containerd-{ID}.scope"), "/kubepods.slice", "/kubepods/burstable"] {
            assert_eq!(owner(path, Names::default()), unknown, "{path}");
        }
        let some = |text: &str| Some(Arc::<str>::from(text));
        let names = Names { namespace: some("prod"), pod: some("web-0"), container: some("we b"), name: None };
        let Owner::Kubernetes { namespace, pod, container } = owner(&format!("{pod}/cri-containerd-{ID}.scope"), names)
        else {
            panic!("a pod");
        };
        assert_eq!((namespace.as_deref(), pod.as_deref(), container), (Some("prod"), Some("web-0"), None));
    }

    #[test]
    fn what_a_user_calls_like_a_unit_is_not_that_unit() {
        let mut grants = crate::identity::Grants::default();
        grants.set("/batch.slice", 1000);
        let forged = grants.identity("/batch.slice/sshd.service");
        assert_eq!(forged.owner.as_deref(), Some("user-1000"));
        assert_eq!(Owner::of(&forged, &Names::default()), Owner::Below("user-1000".into()));
        let forged = grants.identity("/batch.slice/user@1000.service/sshd.service");
        assert!(!matches!(Owner::of(&forged, &Names::default()), Owner::Unit { user: None, .. }));
    }
}
