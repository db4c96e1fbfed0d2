//! Reads names from the kubelet's directories: `/var/log/containers/<pod>_<namespace>_<container>-<id>.log` for each
//! running container, and `/var/log/pods/<namespace>_<pod>_<uid>/` for each pod. Names in Kubernetes do not contain
//! `_`.

use std::collections::HashMap;
use std::io;
use std::ops::ControlFlow;
use std::path::Path;

use collector_core::identity::Names;

use super::directory::scan;

/// Finds the names of wanted containers, by container id.
pub(super) fn containers(
    logs: &Path,
    wanted: &mut HashMap<&str, Vec<usize>>,
    found: &mut dyn FnMut(usize, Names),
) -> io::Result<()> {
    scan_for(&logs.join("containers"), wanted, container, found)
}

/// Finds the names of wanted pods, by uid.
pub(super) fn pods(
    logs: &Path,
    wanted: &mut HashMap<&str, Vec<usize>>,
    found: &mut dyn FnMut(usize, Names),
) -> io::Result<()> {
    scan_for(&logs.join("pods"), wanted, pod, found)
}

/// Scans once for all wanted ids, and stops after the last match.
fn scan_for(
    directory: &Path,
    wanted: &mut HashMap<&str, Vec<usize>>,
    parse: fn(&str) -> Option<(&str, Names)>,
    found: &mut dyn FnMut(usize, Names),
) -> io::Result<()> {
    if wanted.is_empty() {
        return Ok(());
    }
    scan(directory, &mut |entry| {
        let parsed = std::str::from_utf8(entry).ok().and_then(parse);
        if let Some((id, names)) = parsed
            && let Some(indices) = wanted.remove(id)
        {
            indices.into_iter().for_each(|index| found(index, names.clone()));
        }
        if wanted.is_empty() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })
}

fn container(link: &str) -> Option<(&str, Names)> {
    let (name, id) = link.strip_suffix(".log")?.rsplit_once('-')?;
    let mut parts = name.splitn(3, '_');
    let (pod, namespace, container) = (parts.next()?, parts.next()?, parts.next()?);
    Some((id, names(namespace, pod, Some(container))?))
}

fn pod(directory: &str) -> Option<(&str, Names)> {
    let mut parts = directory.splitn(3, '_');
    let (namespace, pod, uid) = (parts.next()?, parts.next()?, parts.next()?);
    Some((uid, names(namespace, pod, None)?))
}

fn names(namespace: &str, pod: &str, container: Option<&str>) -> Option<Names> {
    let empty = namespace.is_empty() || pod.is_empty() || container.is_some_and(str::is_empty);
    let names = Names {
        namespace: Some(namespace.into()),
        pod: Some(pod.into()),
        container: container.map(Into::into),
        name: None,
    };
    (!empty).then_some(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(parsed: Option<(&str, Names)>) -> Option<String> {
        let (id, Names { namespace, pod, container, .. }) = parsed?;
        Some(format!("{id} {} {} {}", namespace?, pod?, container.as_deref().unwrap_or("-")))
    }

    #[test]
    fn links_and_directories_are_parsed() {
        for (link, expected) in [
            ("vllm-0_ml_server-4f1c.log", Some("4f1c ml vllm-0 server")),
            ("a.b-7d9f_kube-system_x-y-4f1c.log", Some("4f1c kube-system a.b-7d9f x-y")),
            ("vllm-0_ml_server-4f1c", None),
            ("vllm-0_ml-4f1c.log", None),
            ("_ml_server-4f1c.log", None),
            ("vllm-0_ml_-4f1c.log", None),
            (".log", None),
            ("", None),
        ] {
            assert_eq!(named(container(link)).as_deref(), expected, "{link}");
        }
        assert_eq!(named(pod("ml_vllm-0_2b6e-1f")).as_deref(), Some("2b6e-1f ml vllm-0 -"));
        assert_eq!(named(pod("ml_vllm-0")), None);
        assert_eq!(named(pod("__2b6e")), None);
    }
}
