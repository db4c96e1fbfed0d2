//! Cgroup paths, one per line → the workload of each. The workload's own cgroup is the path or one of its parents, and belongs
//! to the same workload; its name can be shown.

#![no_main]

use collector_core::identity::{Identity, LONGEST};
use collector_core::text::is_shown;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    for path in String::from_utf8_lossy(text).lines() {
        let identity = Identity::of(path);
        let below = path.strip_prefix(&*identity.top);
        assert!(below.is_some_and(|below| below.is_empty() || below.starts_with('/')), "{identity:?}");
        assert_eq!(Identity::of(&identity.top), identity);
        assert!(identity.name.len() <= LONGEST && identity.name.chars().all(is_shown), "{identity:?}");
    }
});
