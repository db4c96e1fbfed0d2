//! Files of a host in one text, and writing them to a folder. Knows nothing of what the files mean.
//!
//! A line that begins with a slash is a path; the lines after it, indented by four, are the content of the file. `PATH -> TARGET`
//! is a link. `PATH like KERNEL` is a cgroup: a folder with all files that this kernel makes. In it, `FILE TEXT` sets
//! the only number or the line that begins with the same word, `FILE:` sets the lines that follow, indented by eight, and
//! `-FILE` removes the file. `#` begins a comment.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use collector_tests::require::is_root;
use collector_tests::scratch::{Scratch, scratch};

/// A host's files in a folder of their own. When dropped, they are removed.
pub struct Tree {
    /// The host's root folder.
    pub root: Scratch,
}

impl Tree {
    /// Writes the files of the manifest; `kernel` returns the files of a cgroup.
    pub fn plant(manifest: &str, kernel: impl Fn(&str) -> String) -> Tree {
        let tree = Tree { root: scratch() };
        for (head, lines) in entries(manifest) {
            if let Some((path, target)) = head.split_once(" -> ") {
                let path = tree.at(path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::os::unix::fs::symlink(target, path).unwrap();
            } else if let Some((path, kind)) = head.split_once(" like ") {
                for (name, text) in cgroup(&kernel(kind), &lines) {
                    tree.write(&format!("{path}/{name}"), &text);
                }
            } else {
                tree.write(head, &text(&lines));
            }
        }
        tree.give_homes();
        tree
    }

    /// What is below a home in /etc/passwd belongs to its user, if this runs as root.
    fn give_homes(&self) {
        let passwd = fs::read_to_string(self.at("/etc/passwd")).unwrap_or_default();
        for line in passwd.lines() {
            let fields: Vec<&str> = line.split(':').collect();
            let (uid, home) = (fields[2].parse().unwrap(), self.at(fields[5]));
            if is_root() && home.starts_with(self.at("/home")) && home.exists() {
                give(&home, uid);
            }
        }
    }

    /// Path of a file of the host.
    pub fn at(&self, path: &str) -> PathBuf {
        assert!(path.starts_with('/'), "{path}");
        self.root.join(&path[1..])
    }

    /// Writes a file, and makes its folders.
    pub fn write(&self, path: &str, text: &str) {
        let path = self.at(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

fn give(path: &Path, uid: u32) {
    std::os::unix::fs::lchown(path, Some(uid), Some(uid)).unwrap();
    if path.is_dir() && !path.is_symlink() {
        fs::read_dir(path).unwrap().for_each(|entry| give(&entry.unwrap().path(), uid));
    }
}

/// Folder of the manifests.
pub fn folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/tree"))
}

/// Each line without indentation, with the indented lines after it.
fn entries(manifest: &str) -> Vec<(&str, Vec<&str>)> {
    let mut entries: Vec<(&str, Vec<&str>)> = Vec::new();
    for line in manifest.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        match line.strip_prefix("    ") {
            Some(line) => entries.last_mut().unwrap_or_else(|| panic!("line without a file: {line}")).1.push(line),
            None => entries.push((line, Vec::new())),
        }
    }
    entries
}

fn text(lines: &[&str]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}

/// Files of a cgroup: the kernel's, with the changes for this one.
fn cgroup(kernel: &str, changes: &[&str]) -> BTreeMap<String, String> {
    let mut files: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, lines) in entries(kernel) {
        files.insert(name.to_owned(), lines.into_iter().map(str::to_owned).collect());
    }
    let mut whole = None;
    for change in changes {
        if let Some(line) = change.strip_prefix("    ") {
            let name: &String = whole.as_ref().unwrap_or_else(|| panic!("line without a file: {line}"));
            files.get_mut(name).unwrap().push(line.to_owned());
            continue;
        }
        let (name, value) = change.split_once(' ').unwrap_or((change, ""));
        let name = name.trim_start_matches('-').trim_end_matches(':').to_owned();
        let lines = files.get_mut(&name).unwrap_or_else(|| panic!("this kernel has no {name}"));
        if change.starts_with('-') {
            files.remove(&name);
        } else if change.ends_with(':') {
            lines.clear();
            whole = Some(name);
        } else {
            let word = value.split(' ').next();
            match lines.iter().position(|line| line.split(' ').next() == word) {
                Some(at) => value.clone_into(&mut lines[at]),
                None if lines.len() <= 1 => *lines = vec![value.to_owned()],
                None => panic!("{name} has no such line: {value}"),
            }
        }
    }
    let text = |lines: Vec<String>| lines.iter().map(|line| format!("{line}\n")).collect();
    files.into_iter().map(|(name, lines)| (name, text(lines))).collect()
}
