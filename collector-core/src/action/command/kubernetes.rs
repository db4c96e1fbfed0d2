//! Kubernetes: patches for `kubectl`, never the cgroup of a kubelet. What makes a pod shows only in how its name ends, and not surely.

use serde_json::{Value, json};

use crate::action::{Change, Command, Tool, quote};

/// What made a pod, as its name shows it.
#[derive(Debug, PartialEq, Eq)]
enum Maker<'a> {
    Deployment(&'a str),
    StatefulSet(&'a str),
    /// A DaemonSet, a Job, or a ReplicaSet of its own.
    DaemonSetOrJob(&'a str),
    Unknown,
}

/// Patches for a container of a pod: of the pod in place, and of what makes it.
pub(super) fn patches(
    namespace: Option<&str>,
    pod: Option<&str>,
    container: Option<&str>,
    change: &Change,
) -> Vec<Command> {
    let (Some(namespace), Some(pod), Some(container)) = (namespace, pod, container) else { return Vec::new() };
    let Some(resources) = resources(change) else { return Vec::new() };
    let containers = json!([{ "name": container, "resources": resources }]);
    let in_place = json!({ "spec": { "containers": containers } });
    let template = json!({ "spec": { "template": { "spec": { "containers": containers } } } });
    let resize = || {
        let words = ["kubectl", "patch", "pod", pod, "--namespace", namespace, "--subresource", "resize", "--patch"];
        let note = "In place, until the pod is recreated. From Kubernetes 1.33 on; a lower memory limit may need a restart of the \
            container (resizePolicy). A limit below the request is refused.";
        Some(command(&words, &in_place)?.note(note))
    };
    // A limit cannot be taken away in place.
    let removes = matches!(change, Change::MemoryMax(None) | Change::CpuMax(None));
    let of_maker = |kind: &str, name: &str, sure: &str| {
        let words = ["kubectl", "patch", kind, name, "--namespace", namespace, "--type", "strategic", "--patch"];
        let ask =
            format!("kubectl get pod {pod} --namespace {namespace} --output jsonpath={{.metadata.ownerReferences}}");
        let note = format!("This restarts it: all pods of the {kind} are replaced. {sure} Check: {ask}");
        Some(command(&words, &template)?.note(note))
    };
    let guess = "The name of the pod alone shows what made it.";
    let lasting = match maker(pod) {
        Maker::Deployment(name) => of_maker("deployment", name, guess),
        Maker::StatefulSet(name) => of_maker("statefulset", name, guess),
        Maker::DaemonSetOrJob(name) => of_maker(
            "daemonset",
            name,
            "The name of the pod fits a DaemonSet, a Job and a ReplicaSet; a Job cannot be changed.",
        ),
        Maker::Unknown => None,
    };
    (!removes).then(resize).flatten().into_iter().chain(lasting).collect()
}

/// Starts all pods of what made this one again.
pub(super) fn restart(namespace: Option<&str>, pod: Option<&str>) -> Vec<Command> {
    let (Some(namespace), Some(pod)) = (namespace, pod) else { return Vec::new() };
    let delete = ["kubectl", "delete", "pod", pod, "--namespace", namespace];
    let note = "What made the pod makes it again; a pod that nothing made is gone.";
    let rollout = match maker(pod) {
        Maker::Deployment(name) => Some(("deployment", name)),
        Maker::StatefulSet(name) => Some(("statefulset", name)),
        Maker::DaemonSetOrJob(_) | Maker::Unknown => None,
    };
    let rollout = rollout.and_then(|(kind, name)| {
        let words = ["kubectl", "rollout", "restart", &format!("{kind}/{name}"), "--namespace", namespace];
        let note = format!("It starts all pods of the {kind} again. The name of the pod alone shows what made it.");
        Some(Command::new(Tool::Kubernetes, quote::line(words)?).note(note))
    });
    let delete = quote::line(delete).map(|text| Command::new(Tool::Kubernetes, text).note(note));
    delete.into_iter().chain(rollout).collect()
}

fn command(words: &[&str], patch: &Value) -> Option<Command> {
    let patch = patch.to_string();
    let words = words.iter().copied().chain([&*patch]);
    Some(Command::new(Tool::Kubernetes, quote::line(words)?))
}

/// The container's `resources`. What Kubernetes has no field for (memory.low, weights of IO, sets of CPUs) is `None`.
/// So is the weight of CPUs: it follows from the request for CPUs, which is not known here and may be larger already.
fn resources(change: &Change) -> Option<Value> {
    Some(match change {
        Change::MemoryMax(bytes) => json!({ "limits": { "memory": bytes.map(quantity) } }),
        Change::CpuMax(cpus) => {
            json!({ "limits": { "cpu": cpus.map(|cpus| format!("{}m", (cpus * 1000.0).round())) } })
        }
        _ => return None,
    })
}

/// Bytes with a suffix of Kubernetes', without rounding.
fn quantity(bytes: u64) -> String {
    let fits = [("Gi", 1 << 30), ("Mi", 1 << 20), ("Ki", 1 << 10)].into_iter();
    let mut fits = fits.filter(|(_, unit)| bytes > 0 && bytes.is_multiple_of(*unit));
    fits.next().map_or_else(|| bytes.to_string(), |(suffix, unit)| format!("{}{suffix}", bytes / unit))
}

/// Pods of a Deployment end in the hash of its ReplicaSet and five random letters, those of a StatefulSet in a number, those of a
/// DaemonSet or a Job in five random letters. The letters are those of `SafeEncodeString` (k8s.io/apimachinery/pkg/util/rand).
fn maker(pod: &str) -> Maker<'_> {
    let random = |text: &str| text.bytes().all(|byte| b"bcdfghjklmnpqrstvwxz2456789".contains(&byte));
    let Some((before, last)) = pod.rsplit_once('-').filter(|(before, last)| !before.is_empty() && !last.is_empty())
    else {
        return Maker::Unknown;
    };
    if last.len() == 5 && random(last) {
        // A CronJob's Jobs have a number of eight digits there.
        let is_hash = |hash: &str| {
            (8..=10).contains(&hash.len()) && random(hash) && !hash.bytes().all(|byte| byte.is_ascii_digit())
        };
        return match before.rsplit_once('-').filter(|(name, hash)| !name.is_empty() && is_hash(hash)) {
            Some((name, _)) => Maker::Deployment(name),
            None => Maker::DaemonSetOrJob(before),
        };
    }
    match last.parse::<u32>() {
        Ok(_) => Maker::StatefulSet(before),
        Err(_) => Maker::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_pod_shows_what_made_it_or_does_not() {
        for (pod, wanted) in [
            ("vllm-7d9f4b6c8d-x2x7k", Maker::Deployment("vllm")),
            ("my-vllm-7d9f4b6c8d-x2x7k", Maker::Deployment("my-vllm")),
            ("vllm-0", Maker::StatefulSet("vllm")),
            ("node-exporter-x2x7k", Maker::DaemonSetOrJob("node-exporter")),
            ("backup-28374659-x2x7k", Maker::DaemonSetOrJob("backup-28374659")),
            ("kube-apiserver-node", Maker::Unknown),
            ("web", Maker::Unknown),
            ("-x2x7k", Maker::Unknown),
        ] {
            assert_eq!(maker(pod), wanted, "{pod}");
        }
    }

    #[test]
    fn what_kubernetes_has_no_field_for_has_no_patch() {
        let patches = |change| patches(Some("prod"), Some("vllm-0"), Some("server"), &change).len();
        assert_eq!([patches(Change::MemoryLow(1)), patches(Change::IoWeight(100)), patches(Change::Freeze)], [0; 3]);
        assert_eq!(patches(Change::CpuWeight(500)), 0, "a request that is set may be larger");
        assert_eq!([patches(Change::MemoryMax(Some(1 << 30))), patches(Change::MemoryMax(None))], [2, 1]);
        assert_eq!(super::patches(None, Some("vllm-0"), Some("server"), &Change::MemoryMax(Some(1 << 30))).len(), 0);
    }
}
