//! `headroom.toml` → the configuration of `run`, including its rules. What `check-config` prints is a file with the same
//! settings.

#![no_main]

use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use collector::cli::check_config;
use collector::config::load::{Layers, load};
use collector::config::setting::SETTINGS;
use collector::config::{Config, file};
use collector_core::rule::export;
use libfuzzer_sys::fuzz_target;
use rustix::fs::{MemfdFlags, memfd_create};

/// In memory: the loader opens a path.
static FILE: LazyLock<(File, PathBuf)> = LazyLock::new(|| {
    let file = File::from(memfd_create("headroom.toml", MemfdFlags::CLOEXEC).expect("make a file in memory"));
    let path = format!("/proc/self/fd/{}", file.as_raw_fd()).into();
    (file, path)
});

fuzz_target!(|text: &[u8]| {
    let (file, path) = &*FILE;
    file.set_len(0).and_then(|()| file.write_all_at(text, 0)).expect("write to memory");
    let layers = Layers { file: Some(path.clone()), ..Layers::default() };
    let effective = match load(&layers) {
        Ok(effective) => effective,
        Err(errors) => {
            assert!(!errors.0.is_empty() && errors.0.iter().all(|error| !error.text.is_empty()));
            assert!(errors.to_string().contains(&*path.to_string_lossy()), "{errors}");
            return;
        }
    };
    let printed = check_config::text(&effective);
    let mut again = Config::default();
    let (_, errors) = file::apply(Path::new("printed.toml"), &printed, &mut again);
    assert!(errors.is_empty(), "{errors:?}\n{printed}");
    for setting in SETTINGS {
        assert_eq!(setting.kind.show(&again), setting.kind.show(&effective.config), "{}", setting.key);
    }
    assert_eq!(again.rule, effective.config.rule, "{printed}");
    drop(export::export(&effective.rules));
});
