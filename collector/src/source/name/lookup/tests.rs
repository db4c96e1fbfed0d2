//! Tests of the lookup in directories laid out like a host's.

use std::fs;
use std::sync::atomic::{AtomicU32, Ordering};

use collector_core::cgroup::Id;
use collector_core::identity::Names;

use super::*;
use crate::config::Config;
use crate::source::name::home::Homes;
use crate::source::test::DeadServer;

const UID: &str = "2b6e1f3c-98aa-4b1d-9d7e-0123456789ab";

/// A temporary host root, removed when dropped.
struct Host(PathBuf);

impl Host {
    fn new() -> Host {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("headroom-name-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        Host(std::env::temp_dir().join(name))
    }

    fn write(&self, path: &str, content: &str) {
        let path = self.0.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn lookup(&self) -> Lookup {
        Lookup::new(&Root::new(&self.0), &Config::default().workload)
    }

    /// Writes a file of a user's, if this process may give it away: otherwise it is its own.
    fn write_for(&self, uid: u32, path: &str, content: &str) {
        self.write(path, content);
        let _ = std::os::unix::fs::chown(self.0.join(path), Some(uid), None);
    }

    /// The result for each path, as text.
    fn find(&self, paths: &[String]) -> Vec<String> {
        let (mut lookup, mut homes) = (self.lookup(), Homes::new(&Root::new(&self.0)));
        let requests = requests(paths);
        let found = requests.iter().flat_map(|request| match request.user() {
            Some(_) => homes.find(&[request]),
            None => lookup.find(&[request]),
        });
        texts(found.collect())
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn requests(paths: &[String]) -> Vec<Request> {
    let request = |path: &String| Request { cgroup: Id { hierarchy: 0, id: 1 }, identity: Identity::of(path) };
    paths.iter().map(request).collect()
}

fn texts(found: Vec<Found>) -> Vec<String> {
    let words = |names: Names| {
        let Names { namespace, pod, container, name } = names;
        [namespace, pod, container, name].into_iter().flatten().collect::<Vec<_>>().join(" ")
    };
    let text = |found| match found {
        Found::Complete(names) => words(names),
        Found::Partial(names) => format!("{} …", words(names)),
        Found::Absent => "-".into(),
        Found::Unreadable => "!".into(),
        Found::Hung => "?".into(),
    };
    found.into_iter().map(text).collect()
}

/// The uid of a user whose files this process can write.
fn user() -> u32 {
    use std::os::unix::fs::MetadataExt as _;
    Some(fs::metadata("/proc/self").unwrap().uid()).filter(|uid| *uid != 0).unwrap_or(1000)
}

fn id(digit: char) -> String {
    digit.to_string().repeat(64)
}

#[test]
fn docker_config_gives_the_name_or_the_kubernetes_names() {
    let host = Host::new();
    let config = |digit: char, content: &str| {
        host.write(&format!("var/lib/docker/containers/{}/config.v2.json", id(digit)), content);
    };
    config('a', r#"{"ID":"aa","State":{"Pid":7},"Name":"/web","Config":{"Labels":{"x":"y"}}}"#);
    config('b', r#"{"Name":"plain","Config":{"Labels":null}}"#);
    let labels = |container: &str| {
        format!(
            r#"{{"Name":"/k8s_x","Config":{{"Labels":{{"io.kubernetes.pod.namespace":"ml",
            "io.kubernetes.pod.name":"vllm-0","io.kubernetes.container.name":"{container}"}}}}}}"#
        )
    };
    config('c', &labels("server"));
    config('d', &labels("POD"));
    config('e', r#"{"Name":"/cut"#);
    config('f', r#"{"Name":7}"#);
    let paths = ['a', 'b', 'c', 'd', 'e', 'f', '0'].map(|digit| format!("/system.slice/docker-{}.scope", id(digit)));
    assert_eq!(host.find(&paths), ["web", "plain", "ml vllm-0 server", "ml vllm-0", "!", "!", "-"]);
}

#[test]
fn podman_has_two_files_and_users_have_their_own() {
    let host = Host::new();
    let uid = user();
    let entry = |digit: char, name: &str| format!(r#"{{"id":"{}","names":["{name}"],"layer":"x"}}"#, id(digit));
    let storage = "var/lib/containers/storage/overlay-containers";
    host.write(&format!("{storage}/containers.json"), &format!("[{},{}]", entry('1', "x"), entry('a', "web")));
    host.write(&format!("{storage}/volatile-containers.json"), &format!("[{}]", entry('b', "tool")));
    let ann = format!("root:x:0:0:root:/:/bin/sh\nann:x:{uid}:{uid}::/homes/ann:/bin/sh\nbroken\n");
    host.write("etc/passwd", &ann);
    host.write_for(
        uid,
        "homes/ann/.local/share/containers/storage/overlay-containers/containers.json",
        &format!("[{}]", entry('a', "hers")),
    );
    host.write_for(
        uid,
        &format!("homes/ann/.local/share/docker/containers/{}/config.v2.json", id('c')),
        r#"{"Name":"/her-docker"}"#,
    );
    let user = format!("/user.slice/user-{uid}.slice/user@{uid}.service/user.slice");
    let paths = [
        format!("/machine.slice/libpod-{}.scope", id('a')),
        format!("/machine.slice/libpod-{}.scope", id('b')),
        format!("/machine.slice/libpod-{}.scope", id('c')),
        format!("{user}/libpod-{}.scope", id('a')),
        format!("{user}/docker-{}.scope", id('c')),
        format!("/user.slice/user-7.slice/user@7.service/user.slice/libpod-{}.scope", id('c')),
    ];
    assert_eq!(host.find(&paths), ["web", "tool", "-", "hers", "her-docker", "-"]);
    host.write(&format!("{storage}/containers.json"), "[{]");
    assert_eq!(host.find(&paths[..1]), ["!"]);
}

#[test]
fn of_many_containers_a_broken_book_costs_only_its_own() {
    let host = Host::new();
    let books = |id: &str| format!("var/lib/docker/containers/{id}/config.v2.json");
    let ids = ['a', 'b', 'c', 'd', 'e'].map(id);
    host.write(&books(&ids[0]), r#"{"Name": "/one"}"#);
    host.write(&books(&ids[1]), "broken");
    host.write(&books(&ids[2]), r#"{"Name": "/three"}"#);
    // The file ends in the middle: what stands before is known.
    let podman = format!(r#"[{{"id": "{}", "names": ["four"]}}, {{"id": "x""#, ids[3]);
    host.write("var/lib/containers/storage/overlay-containers/containers.json", &podman);
    let paths: Vec<String> = ids
        .iter()
        .zip(["docker", "docker", "docker", "libpod", "libpod"])
        .map(|(id, of)| format!("/{of}-{id}.scope"))
        .collect();
    let requests = requests(&paths);
    let found = texts(host.lookup().find(&requests.iter().collect::<Vec<_>>()));
    let unreadable = |index: usize| found[index] == "!";
    assert!(found[0].contains("one") && found[2].contains("three") && found[3].contains("four"), "{found:?}");
    assert!(unreadable(1) && unreadable(4), "{found:?}");
}

#[test]
fn kubelet_links_name_containers_and_directories_name_pods() {
    let host = Host::new();
    host.write(&format!("var/log/containers/vllm-0_ml_server-{}.log", id('a')), "");
    host.write("var/log/containers/README", "");
    host.write(&format!("var/log/pods/ml_vllm-0_{UID}/server/0.log"), "");
    let pod = format!("/kubepods/burstable/pod{UID}");
    let paths = [
        pod.clone(),
        format!("{pod}/{}", id('a')),
        format!("{pod}/{}", id('b')),
        format!("{pod}/crio-conmon-{}", id('a')),
        format!("/system.slice/cri-containerd-{}.scope", id('a')),
        format!("/system.slice/docker-{}.scope", id('a')),
        "/kubepods/pod8f3a5c1e9d7b4f20a1c3e5f70b2d4f68".into(),
    ];
    let server = "ml vllm-0 server";
    assert_eq!(host.find(&paths), ["ml vllm-0", server, "ml vllm-0 …", "ml vllm-0", server, server, "-"]);
}

#[test]
fn an_unreadable_directory_is_logged_once() {
    let host = Host::new();
    fs::create_dir_all(host.0.join("var/log")).unwrap();
    std::os::unix::fs::symlink("containers", host.0.join("var/log/containers")).unwrap();
    let requests = requests(&[format!("/kubepods/pod{UID}/{}", id('a'))]);
    let mut lookup = host.lookup();
    for _ in 0..3 {
        assert_eq!(lookup.find(&requests.iter().collect::<Vec<_>>()), [Found::Unreadable]);
    }
    assert_eq!(lookup.warnings.len(), 1);
}

#[test]
fn without_any_files_nothing_is_found_and_nothing_is_wrong() {
    let host = Host::new();
    let paths = [format!("/docker/{}", id('a')), format!("/libpod_parent/libpod-{}", id('a'))];
    assert_eq!(host.find(&paths), ["-", "-"]);
}

#[test]
fn books_in_another_place_are_found() {
    let host = Host::new();
    let docker = |place: &str, digit: char, name: &str| {
        host.write(&format!("{place}/containers/{}/config.v2.json", id(digit)), &format!(r#"{{"Name":"/{name}"}}"#));
    };
    host.write("etc/docker/daemon.json", r#"{"log-driver": "local", "data-root": "/data/docker"}"#);
    host.write("run/docker.pid", "77\n");
    host.write("proc/77/cmdline", "/usr/bin/dockerd\0-H\0fd://\0--data-root\0/mnt/docker\0");
    docker("data/docker", 'a', "configured");
    docker("mnt/docker", 'b', "flagged");
    docker("var/snap/docker/common/var-lib-docker", 'c', "snap");
    docker("var/lib/docker", 'd', "usual");
    let entry = |digit: char, name: &str| format!(r#"[{{"id":"{}","names":["{name}"]}}]"#, id(digit));
    host.write("etc/containers/storage.conf", "[storage]\ndriver = \"overlay\"\ngraphroot = \"/data/pods\"\n");
    host.write("data/pods/overlay-containers/containers.json", &entry('e', "moved"));
    host.write("run/containers/storage/overlay-containers/volatile-containers.json", &entry('f', "transient"));
    let docker = ['a', 'b', 'c', 'd', '0'].map(|digit| format!("/system.slice/docker-{}.scope", id(digit)));
    let podman = ['e', 'f'].map(|digit| format!("/machine.slice/libpod-{}.scope", id(digit)));
    let found = host.find(&[&docker[..], &podman[..]].concat());
    assert_eq!(found, ["configured", "flagged", "snap", "usual", "-", "moved", "transient"]);
}

#[test]
fn engines_know_the_names_of_containers_in_pods_too() {
    let host = Host::new();
    let bundle = |state: &str, namespace: &str, digit: char, annotations: &str| {
        let path = format!("{state}/io.containerd.runtime.v2.task/{namespace}/{}/config.json", id(digit));
        host.write(&path, &format!(r#"{{"ociVersion":"1.1.0","annotations":{{{annotations}}}}}"#));
    };
    let pod = r#""io.kubernetes.cri.sandbox-namespace":"ml","io.kubernetes.cri.sandbox-name":"vllm-0""#;
    bundle("run/k3s/containerd", "k8s.io", 'a', &format!(r#"{pod},"io.kubernetes.cri.container-name":"server""#));
    bundle("run/k3s/containerd", "k8s.io", 'b', pod);
    bundle("run/containerd", "default", 'c', r#""nerdctl/name":"ollama""#);
    bundle("run/containerd", "default", 'd', "");
    let crio = r#"{"annotations":{"io.kubernetes.pod.namespace":"ml","io.kubernetes.pod.name":"llm-1",
        "io.kubernetes.container.name":"llama"}}"#;
    host.write(&format!("var/lib/containers/storage/overlay-containers/{}/userdata/config.json", id('e')), crio);
    // Its storage lists containers, too, under names that nobody knows.
    let storage = format!(r#"[{{"id":"{}","names":["k8s_llama_llm-1_ml_0"]}}]"#, id('e'));
    host.write("var/lib/containers/storage/overlay-containers/containers.json", &storage);
    let pods = "/kubepods/burstable";
    let paths = [
        format!("{pods}/pod{UID}/{}", id('a')),
        format!("{pods}/pod{UID}/{}", id('b')),
        format!("/system.slice/nerdctl-{}.scope", id('c')),
        format!("/default/{}", id('d')),
        format!("{pods}/pod{UID}/crio-{}", id('e')),
    ];
    assert_eq!(host.find(&paths), ["ml vllm-0 server", "ml vllm-0 …", "ollama", "", "ml llm-1 llama"]);
}

#[test]
fn what_to_set_is_said_for_each_engine() {
    let host = Host::new();
    host.write("etc/docker/daemon.json", r#"{"data-root": "/data/docker"}"#);
    for (path, whose, words) in [
        (format!("/docker/{}", id('a')), "docker", ["/var/lib/docker, ", "/data/docker, ", "set workload.docker to"]),
        (
            format!("/libpod_parent/libpod-{}", id('a')),
            "podman",
            ["storage, ", "no books of them", "set workload.podman to"],
        ),
        (format!("/default/{}", id('a')), "containerd", ["/run/containerd, ", "k3s", "set workload.containerd to"]),
        (
            format!("/kubepods/pod{UID}/{}", id('a')),
            "Kubernetes",
            ["no books", "/var/log: ", "set workload.kubelet to"],
        ),
    ] {
        let missing = host.lookup().missing(&Identity::of(&path));
        assert_eq!(missing.whose, whose);
        assert!(words.iter().all(|word| missing.advice.contains(word)), "{missing:?}");
    }
}

/// What a user may write into a book, and what a user without a home may call a cgroup.
#[test]
fn users_speak_neither_for_the_host_nor_without_bound() {
    let host = Host::new();
    let uid = user();
    let storage = "var/lib/containers/storage/overlay-containers/containers.json";
    host.write(storage, &format!(r#"[{{"id":"{}","names":["prod"]}}]"#, id('a')));
    host.write(&format!("var/log/containers/bank-0_prod_ledger-{}.log", id('a')), "");
    host.write(&format!("var/log/pods/prod_bank-0_{UID}/ledger/0.log"), "");
    host.write("etc/passwd", &format!("ann:x:{uid}:{uid}::/homes/ann:/bin/sh\n"));
    let below = |uid: u32, path: &str| format!("/user.slice/user-{uid}.slice/user@{uid}.service/{path}");
    let paths = [
        below(uid, &format!("user.slice/libpod-{}.scope", id('a'))),
        below(77_777, &format!("user.slice/libpod-{}.scope", id('a'))),
        below(uid, &format!("kubepods/burstable/pod{UID}/{}", id('a'))),
    ];
    assert_eq!(host.find(&paths), ["-", "-", "-"]);
    let book = "homes/ann/.local/share/containers/storage/overlay-containers/containers.json";
    let long = "n".repeat(1 << 20);
    host.write_for(uid, book, &format!(r#"[{{"id":"{}","names":["{long}","x"]}}]"#, id('a')));
    let found = host.find(&paths[..1]);
    assert!(found[0].len() <= collector_core::identity::LONGEST && found[0].starts_with("nnn"), "{}", found[0].len());
    host.write_for(uid, book, &format!("[{}\"\"]", "\"\",".repeat(2 << 20)));
    assert_eq!(host.find(&paths[..1]), ["!"], "longer than a user's file may be");
}

/// A FIFO in place of a book would make whoever opens it wait, or wake whoever waits for a reader.
#[test]
fn a_book_that_is_no_file_is_not_opened() {
    let host = Host::new();
    let uid = user();
    host.write("etc/passwd", &format!("ann:x:{uid}:{uid}::/homes/ann:/bin/sh\n"));
    let folder = host.0.join("homes/ann/.local/share/containers/storage/overlay-containers");
    fs::create_dir_all(&folder).unwrap();
    let book = folder.join("containers.json");
    rustix::fs::mknodat(rustix::fs::CWD, &book, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0).unwrap();
    let path = format!("/user.slice/user-{uid}.slice/user@{uid}.service/user.slice/libpod-{}.scope", id('a'));
    assert_eq!(host.find(std::slice::from_ref(&path)), ["!"]);
    fs::remove_file(&book).unwrap();
    host.write_for(uid, "secret", &format!(r#"[{{"id":"{}","names":["x"]}}]"#, id('a')));
    std::os::unix::fs::symlink(host.0.join("secret"), &book).unwrap();
    assert_eq!(host.find(&[path]), ["!"], "through a link out of the home");
}

#[test]
fn a_home_that_does_not_answer_costs_only_its_owners_names() {
    let host = Host::new();
    let uid = user();
    let homes = format!("ann:x:{}:1::/homes/ann:/bin/sh\nbob:x:{uid}:1::/homes/bob:/bin/sh\n", uid + 1);
    host.write("etc/passwd", &homes);
    let book = "homes/bob/.local/share/containers/storage/overlay-containers/containers.json";
    host.write_for(uid, book, &format!(r#"[{{"id":"{}","names":["web"]}}]"#, id('b')));
    let Some(dead) = DeadServer::mount(&host.0.join("homes/ann")) else { return };
    let requests = requests(
        &[uid + 1, uid, uid + 1]
            .map(|uid| format!("/user.slice/user-{uid}.slice/user@{uid}.service/user.slice/libpod-{}.scope", id('b'))),
    );
    let mut homes = Homes::new(&Root::new(&host.0));
    let mut find = || texts(homes.find(&requests.iter().collect::<Vec<_>>()));
    assert_eq!(find(), ["?", "web", "?"]);
    assert_eq!(find(), ["?", "web", "?"], "without waiting for the thread that is still blocked");
    drop(dead);
    // Back: an empty home, once the blocked thread has returned.
    while find()[0] == "?" {
        std::thread::yield_now();
    }
    assert_eq!(find()[1], "web");
}
