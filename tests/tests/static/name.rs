//! Names from the host, through the thread: found at once, found later, and found in an endless directory.

use std::fs;
use std::path::Path;
use std::time::Duration;

use collector::config::Config;
use collector::source::Source as _;
use collector::source::cgroup::Hierarchies;
use collector::source::name::{NameReceiver, NameSource, channel};
use collector::source::root::Root;
use collector_core::cgroup::Id;
use collector_core::sample::{Name, Reading, Sample};
use collector_core::signal::cgroup;
use collector_tests::scratch::Scratch;
use collector_tests::{allocation, alone};

/// The agent's end of the thread, on a host with cgroup v2.
fn begin(root: &Path) -> (NameSource, NameReceiver) {
    let root = Root::new(root);
    let mounts = "27 24 0:22 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
    let hierarchies = Hierarchies::parse("0::/\n", mounts, &root).unwrap();
    let (answering, answers) = channel();
    (NameSource::start(&root, &hierarchies, &Config::default(), answering).unwrap(), answers)
}

fn born(asker: &mut NameSource, id: u64, path: String) {
    asker.follow(&Reading::Cgroup(cgroup::Reading::Born { id: Id { hierarchy: 0, id }, path }));
}

/// The next answer; `None` if none comes in time.
fn answer(answers: &mut NameReceiver, patience: Duration) -> Option<(u64, String)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let next = runtime.block_on(async { tokio::time::timeout(patience, answers.next()).await.ok() });
    next.map(|Sample { reading, .. }| match reading {
        Reading::Name(Name { cgroup, names }) => {
            let known = [names.namespace, names.pod, names.container, names.name];
            (cgroup.id, known.into_iter().flatten().collect::<Vec<_>>().join(" "))
        }
        other => panic!("{other:?}"),
    })
}

const LONG: Duration = Duration::from_secs(300);

#[test]
fn a_name_that_appears_after_the_cgroup_is_reported_once() {
    let host = Scratch::in_memory();
    let (mut asker, mut answers) = begin(&host);
    let id = "4f1c2a9b".repeat(8);
    for _ in 0..3 {
        born(&mut asker, 7, format!("/docker/{id}"));
    }
    born(&mut asker, 8, format!("/docker/{id}/nested"));
    born(&mut asker, 9, "/system.slice/a.service".into());
    assert_eq!(answer(&mut answers, Duration::from_millis(200)), None);
    let folder = host.join("var/lib/docker/containers").join(&id);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("config.v2.json"), r#"{"Name":"/web"}"#).unwrap();
    assert_eq!(answer(&mut answers, LONG), Some((7, "web".into())));
    assert_eq!(answer(&mut answers, Duration::from_millis(200)), None);

    asker.follow(&Reading::Cgroup(cgroup::Reading::Died { id: Id { hierarchy: 0, id: 7 } }));
    born(&mut asker, 7, format!("/docker/{id}"));
    assert_eq!(answer(&mut answers, LONG), Some((7, "web".into())), "another cgroup with the same number");
    asker.read(&mut |lost| panic!("{lost:?}"));
}

#[test]
fn an_endless_directory_takes_no_memory() {
    const LINKS: usize = 200_000;
    alone!();
    let host = Scratch::in_memory();
    let containers = host.join("var/log/containers");
    fs::create_dir_all(&containers).unwrap();
    for link in 0..LINKS {
        std::os::unix::fs::symlink("x", containers.join(format!("p{link}_ml_server-{link:064x}.log"))).unwrap();
    }
    let mut reported = Vec::new();
    let peak = allocation::peak(|| {
        let (mut asker, mut answers) = begin(&host);
        for link in [0, LINKS / 2, LINKS - 1] {
            born(&mut asker, link as u64, format!("/system.slice/cri-containerd-{link:064x}.scope"));
        }
        reported.extend((0..3).map(|_| answer(&mut answers, LONG).unwrap()));
    });
    reported.sort_unstable();
    let expected = [0, LINKS / 2, LINKS - 1].map(|link| (link as u64, format!("ml p{link} server")));
    assert_eq!(reported, expected);
    // A list of the names alone would take tens of megabytes; the channels take one.
    assert!(peak < 4 << 20, "{peak} bytes");
}
