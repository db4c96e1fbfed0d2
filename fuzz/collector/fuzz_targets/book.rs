//! The books of container engines, as users write them: whatever is in them, what is found is short, and belongs to the container
//! that was asked for.

#![no_main]

use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

use collector::source::name::engine::{containerd, crio, docker, podman};
use collector::source::untrusted::{Owner, Place};
use collector_core::identity::{LONGEST, Names};
use libfuzzer_sys::fuzz_target;

/// Ids of containers; the corpus has them, too.
const IDS: [&str; 2] = ["a", "b"];
const FILES: [&str; 4] = [
    "containers/a/config.v2.json",
    "overlay-containers/containers.json",
    "overlay-containers/a/userdata/config.json",
    "io.containerd.runtime.v2.task/default/a/config.json",
];

/// In memory where that is possible.
static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = PathBuf::from(format!("/dev/shm/headroom-fuzz-book-{}", std::process::id()));
    for file in FILES {
        fs::create_dir_all(folder.join(file).parent().expect("a folder")).expect("make a folder in memory");
    }
    folder
});

fuzz_target!(|text: &[u8]| {
    for file in FILES {
        fs::write(FOLDER.join(file), text).expect("write to memory");
    }
    let place = Place::new(&*FOLDER, Owner::Root);
    for read in [docker, podman, containerd, crio] {
        let found = read(&place, &IDS);
        assert_eq!(found.len(), IDS.len());
        for Names { namespace, pod, container, name } in found.into_iter().flatten().flatten() {
            for name in [namespace, pod, container, name].into_iter().flatten() {
                assert!(!name.is_empty() && name.len() <= LONGEST && !name.contains(char::is_control), "{name:?}");
            }
        }
    }
});
