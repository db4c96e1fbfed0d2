//! What no policy can allow: the host's own services, the actuator, and what a kubelet owns. Knows names and paths, nothing else.

use super::place::{Place, Process};
use crate::text::unescape;

/// Slices that hold whole hosts.
const SLICES: [&str; 4] = ["-.slice", "system.slice", "user.slice", "machine.slice"];

/// Services of the host, by the beginnings of their names.
const SERVICES: [&str; 18] = [
    "systemd-",
    "dbus",
    "ssh.",
    "ssh@",
    "sshd",
    "kubelet",
    "k3s",
    "k0s",
    "rke2",
    "containerd",
    "docker.",
    "dockerd",
    "cri-docker",
    "crio",
    "cri-o",
    "headroom.",
    "headroom-act",
    "getty",
];

/// The same of processes that run as root, by their names: these are whole, or begin with what ends in a dash.
const PROCESSES: [&str; 17] = [
    "systemd",
    "systemd-",
    "init",
    "(sd-pam)",
    "dbus-daemon",
    "dbus-broker",
    "sshd",
    "sshd-",
    "kubelet",
    "k3s",
    "containerd",
    "containerd-",
    "dockerd",
    "crio",
    "conmon",
    "headroom",
    "agetty",
];

/// Why nobody may change it, if so.
pub fn protected(place: &Place) -> Option<String> {
    match place {
        Place::Cgroup { path, own, processes, .. } => {
            if let Some(why) = holds_the_host(path).or_else(|| is_needed(path)) {
                return Some(why);
            }
            if *own {
                return Some(format!("{path} is protected: the actuator itself runs in it"));
            }
            processes.iter().find_map(|process| {
                let why = process_is_protected(process)?;
                Some(format!("{path} is protected: it holds process {} ({}): {why}", process.pid, process.comm))
            })
        }
        Place::Process(process) => {
            let why = process_is_protected(process).map(str::to_owned).or_else(|| is_needed(&process.path));
            why.map(|why| format!("process {} ({}) is protected: {why}", process.pid, process.comm))
        }
    }
}

/// The root, and slices that hold the services of the host: of them as a whole nothing is changed. One process in them may be anybody's.
fn holds_the_host(path: &str) -> Option<String> {
    let last = path.rsplit('/').next().unwrap_or_default();
    if last.is_empty() {
        return Some("the root of the hierarchy is the whole host".to_owned());
    }
    SLICES.contains(&last).then(|| format!("{path} is protected: it holds services that the host needs"))
}

fn is_needed(path: &str) -> Option<String> {
    // As the kernel has the names: no escape of ours hides one.
    let bytes = unescape(path);
    let names = || bytes.split(|byte| *byte == b'/');
    if names().any(|name| name.windows(8).any(|part| part == b"kubepods")) {
        return Some(format!("a kubelet owns {path}: apply this patch by hand (headroom advise shows it)"));
    }
    // A user may call a cgroup of his own like that, and loses nothing by it.
    let service = names()
        .find(|name| *name == b"init.scope" || SERVICES.iter().any(|service| name.starts_with(service.as_bytes())))?;
    Some(format!("{path} is protected: the host needs {}", String::from_utf8_lossy(service)))
}

fn process_is_protected(process: &Process) -> Option<&'static str> {
    let is = |name: &&str| match name.ends_with('-') {
        true => process.comm.starts_with(name),
        false => process.comm == **name,
    };
    if process.own {
        return Some("it is the actuator itself");
    }
    if process.pid == 1 {
        return Some("it is the first process of the host");
    }
    if process.kernel {
        return Some("it is a thread of the kernel");
    }
    // Anybody may call his program like that.
    (process.uid == 0 && PROCESSES.iter().any(is)).then_some("the host needs it")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cgroup(path: &str) -> Place {
        Place::Cgroup { path: path.to_owned(), rooted: true, own: false, processes: Vec::new() }
    }

    fn process(comm: &str, uid: u32) -> Process {
        let (path, comm) = ("/mine".to_owned(), comm.to_owned());
        Process { pid: 4711, uid, comm, path, rooted: true, kernel: false, own: false }
    }

    #[test]
    fn what_the_host_needs_is_protected_and_work_is_not() {
        for path in [
            "/",
            "/init.scope",
            "/system.slice",
            "/user.slice",
            "/system.slice/ssh.service",
            "/system.slice/sshd.service/x",
            "/system.slice/system-sshd.slice/sshd@1.service",
            "/system.slice/containerd.service",
            "/system.slice/docker.service",
            "/system.slice/systemd-journald.service",
            "/system.slice/headroom.service",
            "/system.slice/headroom-act.service",
            "/kubepods.slice/kubepods-burstable.slice/a",
            "/kubepods/besteffort/pod1/c",
            "/k8s.slice/my-kubepods.slice/a",
        ] {
            assert!(protected(&cgroup(path)).is_some(), "{path}");
        }
        for path in [
            "/system.slice/vllm.service",
            "/system.slice/docker-0123.scope",
            "/docker/0123",
            "/user.slice/user-1000.slice/user@1000.service/app.slice/web.service",
            "/machine.slice/libpod-0.scope",
            "/headroom-test-a",
        ] {
            assert_eq!(protected(&cgroup(path)), None, "{path}");
        }
        let why = protected(&cgroup("/kubepods.slice/a")).unwrap();
        assert!(why.starts_with("a kubelet owns /kubepods.slice/a: apply this patch by hand"), "{why}");
    }

    #[test]
    fn a_process_of_the_host_is_protected_wherever_it_is() {
        let holds = |processes: Vec<Process>| {
            protected(&Place::Cgroup { path: "/mine".to_owned(), rooted: true, own: false, processes })
        };
        assert_eq!(holds(vec![process("python3", 0), process("sshd", 1000)]), None, "not root's");
        for one in ["sshd", "sshd-session", "containerd-shim", "kubelet", "systemd-logind", "headroom"] {
            let why = protected(&Place::Process(process(one, 0)));
            assert!(why.is_some_and(|why| why.contains("protected")), "{one}");
            assert!(holds(vec![process("python3", 0), process(one, 0)]).is_some(), "{one}");
        }
        let own = Place::Cgroup { path: "/mine".to_owned(), rooted: true, own: true, processes: Vec::new() };
        assert!(protected(&own).is_some());
        for odd in [
            Process { pid: 1, ..process("x", 0) },
            Process { kernel: true, ..process("kswapd0", 0) },
            Process { own: true, ..process("x", 0) },
            Process { path: "/system.slice/ssh.service".to_owned(), ..process("x", 7) },
        ] {
            assert!(protected(&Place::Process(odd.clone())).is_some(), "{odd:?}");
        }
        for path in ["/mine", "/", "/system.slice", "/system.slice/vllm.service"] {
            let one = Process { path: path.to_owned(), ..process("python3", 0) };
            assert_eq!(protected(&Place::Process(one)), None, "{path}: one process is not the host");
        }
    }
}
