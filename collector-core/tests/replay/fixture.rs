//! Reads the recordings in `tests/fixtures` and compares with the golden files beside them; and how a made-up recording
//! begins. Does not know what is recorded.

use std::path::{Path, PathBuf};
use std::{env, fs};

use collector_core::recording;
use collector_core::sample::{Sample, Start};

pub fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures").join(name)
}

/// All recordings in a folder.
pub fn recordings(name: &str) -> Vec<PathBuf> {
    let files = fs::read_dir(folder(name)).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = files.filter(|path| path.extension().is_some_and(|it| it == "jsonl")).collect();
    files.sort();
    files
}

pub fn samples(path: &Path) -> Vec<Sample> {
    recording::samples(fs::read(path).unwrap().as_slice()).map(Result::unwrap).collect()
}

/// What a made-up recording says first: of a host with cgroup v2.
pub fn start() -> Start {
    Start {
        version: "0.1.0".into(),
        kernel: "6.18.0".into(),
        memory_hierarchy: 0,
        io_hierarchy: 0,
        workload_max: 10,
        workload_grace: 60_000_000_000,
        own: None,
        history: None,
        level: None,
        starved: None,
        leak: None,
        controllers: None,
    }
}

/// Compares with the file; `BLESS=1` writes it.
pub fn golden(path: &Path, actual: &str) {
    if env::var_os("BLESS").is_some() {
        fs::write(path, actual).unwrap();
    }
    let expected = fs::read_to_string(path).unwrap_or_default();
    let difference = expected.lines().zip(actual.lines()).find(|(expected, actual)| expected != actual);
    assert!(expected == actual, "{} differs: {difference:?}; BLESS=1 rewrites it", path.display());
}
