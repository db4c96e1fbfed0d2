//! Recognises volumes in memory (tmpfs) of containers and pods by where engines and the kubelet mount them on the host. `/dev/shm`
//! of a container is such a mount: `/var/lib/docker/containers/ID/mounts/shm`.

use collector_core::identity::Identity;
use collector_core::statistic::filesystem::Owner;

/// The container or pod of a mount; `None` if it belongs to none.
pub fn owner(mountpoint: &str, fstype: &str) -> Option<Owner> {
    if fstype != "tmpfs" {
        return None;
    }
    let parts: Vec<&str> = mountpoint.split('/').collect();
    // As a cgroup, from which the identity follows.
    let (cgroup, volume) = match parts[..] {
        [.., "containers", id, "mounts", "shm"] => (format!("/docker-{id}.scope"), "/dev/shm"),
        // Podman and CRI-O: the first part is the storage driver.
        [.., store, id, "userdata", "shm"] if store.ends_with("-containers") => {
            (format!("/libpod-{id}.scope"), "/dev/shm")
        }
        [.., "io.containerd.grpc.v1.cri", "sandboxes", id, "shm"] => {
            (format!("/cri-containerd-{id}.scope"), "/dev/shm")
        }
        [.., "pods", uid, "volumes", "kubernetes.io~empty-dir", name] => (format!("/kubepods/pod{uid}"), name),
        _ => return None,
    };
    let Identity { name, container_id, pod_uid, .. } = Identity::of(&cgroup);
    let owner = || Owner {
        name,
        container_id: container_id.clone(),
        pod_uid: pod_uid.clone(),
        cgroup: None,
        volume: volume.into(),
    };
    (container_id.is_some() || pod_uid.is_some()).then(owner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "4f1c2a9be07d4f1c2a9be07d4f1c2a9be07d4f1c2a9be07d4f1c2a9be07d4f1c";
    const UID: &str = "6f0f2b3c-8c1d-4e2a-9f6b-0123456789ab";

    fn found(mountpoint: &str) -> Option<(String, bool, String)> {
        let owner = owner(mountpoint, "tmpfs")?;
        assert!(owner.container_id.is_some() != owner.pod_uid.is_some(), "{owner:?}");
        Some((owner.name.to_string(), owner.container_id.is_some(), owner.volume.to_string()))
    }

    #[test]
    fn volumes_are_known_by_where_they_are_mounted() {
        for (mountpoint, name) in [
            (format!("/var/lib/docker/containers/{ID}/mounts/shm"), "docker/4f1c2a9be07d"),
            (format!("/mnt/fast/docker/containers/{ID}/mounts/shm"), "docker/4f1c2a9be07d"),
            (format!("/var/lib/containers/storage/overlay-containers/{ID}/userdata/shm"), "podman/4f1c2a9be07d"),
            (format!("/run/containerd/io.containerd.grpc.v1.cri/sandboxes/{ID}/shm"), "containerd/4f1c2a9be07d"),
            (format!("/run/k3s/containerd/io.containerd.grpc.v1.cri/sandboxes/{ID}/shm"), "containerd/4f1c2a9be07d"),
        ] {
            assert_eq!(found(&mountpoint), Some((name.to_owned(), true, "/dev/shm".to_owned())), "{mountpoint}");
            assert_eq!(owner(&mountpoint, "overlay"), None);
        }
        let pod = format!("/var/lib/kubelet/pods/{UID}/volumes/kubernetes.io~empty-dir/dshm");
        assert_eq!(found(&pod), Some((format!("pod{UID}"), false, "dshm".to_owned())));
    }

    #[test]
    fn other_mounts_belong_to_nobody() {
        for mountpoint in [
            "/dev/shm".to_owned(),
            "/var/lib/docker/containers/web/mounts/shm".to_owned(),
            format!("/var/lib/docker/containers/{ID}/mounts/secrets"),
            format!("/var/lib/kubelet/pods/{UID}/volumes/kubernetes.io~projected/token"),
            "/var/lib/kubelet/pods/../volumes/kubernetes.io~empty-dir/x".to_owned(),
            String::new(),
        ] {
            assert_eq!(found(&mountpoint), None, "{mountpoint}");
        }
    }
}
