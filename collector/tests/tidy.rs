//! What decides must not do: the fold, its state, the signals and the metrics import no IO, no clock, no runtime.

#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

const PURE: [&str; 4] = ["engine", "view", "signal", "metric"];
const FORBIDDEN: [&str; 9] =
    ["aya", "nvml", "tokio", "std::fs", "std::net", "std::process", "SystemTime", "Instant", "rustix"];

fn files(path: &Path, found: &mut Vec<PathBuf>) {
    if path.is_dir() {
        for entry in std::fs::read_dir(path).unwrap() {
            files(&entry.unwrap().path(), found);
        }
    } else if path.extension().is_some_and(|extension| extension == "rs") {
        found.push(path.to_owned());
    }
}

#[test]
fn what_decides_is_pure() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for part in PURE {
        let mut found = Vec::new();
        files(&source.join(part), &mut found);
        files(&source.join(part).with_extension("rs"), &mut found);
        found.retain(|file| file.exists());
        assert!(!found.is_empty(), "{part} has no file");
        for file in found {
            let text = std::fs::read_to_string(&file).unwrap();
            let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
            for (word, line) in code.flat_map(|line| FORBIDDEN.map(|word| (word, line))) {
                let named = line.split(|c: char| !c.is_alphanumeric() && !"_:".contains(c));
                let named = named.flat_map(|path| [path, path.split("::").last().unwrap_or(path)]);
                let bad = named.into_iter().any(|path| path == word || path.starts_with(&format!("{word}::")));
                assert!(!bad, "{}: {line}", file.display());
            }
        }
    }
}
