//! Names that only the host knows.

use super::*;

pub(super) fn names(namespace: &str, pod: &str, container: &str, name: &str) -> Names {
    let some = |text: &str| (!text.is_empty()).then(|| text.into());
    Names { namespace: some(namespace), pod: some(pod), container: some(container), name: some(name) }
}

#[test]
fn names_of_the_host_go_into_the_name() {
    let web = &names("", "", "", "web");
    let vllm = &names("ml", "vllm-0", "server", "");
    let pod = &names("ml", "vllm-0", "", "");
    for (path, names, name) in [
        ("/docker/ID", web, "docker/web"),
        ("/docker/ID/x", web, "docker/web"),
        ("/docker/ID", &Names::default(), "docker/SHORT"),
        ("/docker/ID", vllm, "ml/vllm-0/server"),
        ("/user.slice/user-7.slice/user@7.service/user.slice/docker-ID.scope", web, "user-7/docker/web"),
        ("/machine.slice/libpod-conmon-ID.scope", web, "podman/SHORT/conmon"),
        ("/kubepods/podUID", pod, "ml/vllm-0"),
        ("/kubepods/podUID", vllm, "ml/vllm-0"),
        ("/kubepods/podUID/ID", vllm, "ml/vllm-0/server"),
        ("/kubepods/podUID/ID", pod, "ml/vllm-0/SHORT"),
        ("/kubepods/podUID/ID", web, "podUID/web"),
        ("/kubepods/podUID/crio-conmon-ID", pod, "ml/vllm-0/SHORT/conmon"),
        ("/system.slice/cri-containerd-ID.scope", pod, "ml/vllm-0/SHORT"),
        ("/system.slice/a.service", web, "a.service"),
    ] {
        assert_eq!(*Identity::of(&filled(path)).named(names), *filled(name), "{path} {names:?}");
    }
}

#[test]
fn hostile_names_are_harmless() {
    let names = names(&"n".repeat(1000), "p\nq", "c\u{1b}]0;", "").fit();
    assert_eq!(names.pod.as_deref(), Some("p\\x0aq"));
    assert!(names.namespace.as_ref().unwrap().len() <= LONGEST);
    let name = Identity::of(&filled("/kubepods/podUID/ID")).named(&names);
    assert!(name.len() <= LONGEST && name.chars().all(is_shown), "{name}");
    assert_eq!(Names { name: Some("".into()), ..Names::default() }.fit(), Names::default());
}
