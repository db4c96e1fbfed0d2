//! The kernel's files about cgroups: `/proc/PID/cgroup`, mounts and statistics.

#![no_main]

use std::path::Path;

use collector::source::cgroup::{Hierarchies, path_in};
use collector::source::root::Root;
use collector::source::statistic::file::{FILES, derive};
use collector_core::statistic::workload::Values;
use collector_core::text::unescape;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    for hierarchy in [0, 4] {
        if let Some(path) = path_in(text, hierarchy) {
            let line = [format!("{hierarchy}:memory:").as_bytes(), &unescape(&path), b"\n"].concat();
            assert_eq!(path_in(&line, hierarchy).as_deref(), Some(&*path));
        }
    }
    let lossy = String::from_utf8_lossy(text);
    // Both files in one input: the lines of one are ignored in the other.
    if let Ok(found) = Hierarchies::parse(&lossy, &lossy, &Root::new("/host")) {
        for hierarchy in found.all() {
            assert!(hierarchy.root.starts_with(Path::new("/host")), "{hierarchy:?}");
            assert!(!hierarchy.prefix.ends_with('/') && !hierarchy.prefix.starts_with("/../"), "{hierarchy:?}");
        }
    }
    let mut all = Values::new();
    for file in FILES {
        let mut values = Values::new();
        file.format.read(text, &mut values);
        let once = values.clone();
        file.format.read(text, &mut values);
        assert_eq!(values, once, "{:?}", file.name);
        file.format.forget(&mut values);
        assert_eq!(values, Values::new(), "{:?}", file.name);
        file.format.read(text, &mut all);
    }
    derive(&mut all);
});
