//! Tests with stores as their programs lay them out, and with what somebody else may put there.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, chown, symlink};
use std::sync::Arc;

use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::*;
use crate::source::model_file::mount::Mounts;
use crate::source::test::Tree;

fn host(tree: &Tree) -> Host {
    let mounts = Arc::new(Mounts::parse(b"1 0 8:1 / / rw - ext4 /dev/sda1 rw\n"));
    Host { root: Root::new(&tree.0), mounts, inspect: true }
}

fn listed(tree: &Tree, path: &str, layout: Layout) -> Option<Listing> {
    let kind = layout.label().to_owned();
    let configured = ModelStore { name: "a".into(), path: path.into(), kind };
    let all = candidates(&Root::new(&tree.0), &[configured], &BTreeSet::new(), &mut |path| Some(of_whom(path)));
    list(&host(tree), &all[0]).map(|(listing, _)| listing)
}

/// Name, bytes and models of each, by name.
fn entries(listing: &Listing) -> Vec<(String, u64, Vec<String>)> {
    let models = |entry: &Entry| entry.models.iter().map(ToString::to_string).collect();
    let mut all: Vec<_> = listing.entries.iter().map(|it| (it.name.to_string(), it.bytes, models(it))).collect();
    all.sort();
    all
}

#[test]
fn a_store_of_ollama_has_blobs_and_the_models_that_name_them() {
    let tree = Tree::new();
    let [one, other, orphan] = ["0a", "0b", "0c"].map(|digits| digits.repeat(32));
    for (digest, bytes) in [(&one, 9000), (&other, 20), (&orphan, 70)] {
        tree.write(&format!("m/blobs/sha256-{digest}"), &"x".repeat(bytes));
    }
    tree.write("m/blobs/sha256-partial", "x");
    let manifest = |digests: &[&String]| {
        let layers: Vec<_> = digests.iter().map(|digest| format!(r#"{{"digest":"sha256:{digest}"}}"#)).collect();
        format!(r#"{{"layers":[{}]}}"#, layers.join(","))
    };
    tree.write("m/manifests/registry.ollama.ai/library/llama3/8b", &manifest(&[&one, &other]));
    tree.write("m/manifests/registry.ollama.ai/library/other/latest", &manifest(&[&other]));
    let listing = listed(&tree, "/m", Layout::Ollama).unwrap();
    let of = |models: &[&str]| models.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let mut both = entries(&listing);
    both[1].2.sort();
    assert_eq!(
        both,
        [
            ("sha256-0a0a0a0a0a0a".to_owned(), 9000, of(&["llama3:8b"])),
            ("sha256-0b0b0b0b0b0b".to_owned(), 20, of(&["llama3:8b", "other:latest"])),
            ("sha256-0c0c0c0c0c0c".to_owned(), 70, of(&[])),
            ("sha256-partial".to_owned(), 1, of(&[])),
        ]
    );
    assert_eq!((listing.missing.as_deref(), &*listing.path, &*listing.fstype), (None, "/m", "ext4"));
    // A manifest that cannot be read may name any of them.
    tree.write("m/manifests/registry.ollama.ai/library/broken/latest", "{");
    assert_eq!(listed(&tree, "/m", Layout::Ollama).unwrap().missing.as_deref(), Some("a manifest cannot be read"));
    assert!(listed(&tree, "/m/manifests", Layout::Ollama).is_none(), "it has no blobs");
    assert!(listed(&tree, "/none", Layout::Ollama).is_none());
}

#[test]
fn a_cache_of_hugging_face_has_blobs_and_snapshots_that_link_to_them() {
    let tree = Tree::new();
    let [large, old] = ["0a", "0b"].map(|digits| digits.repeat(32));
    let repository = "hub/models--org--name";
    for (blob, bytes) in [(&*large, 9000), (&*old, 800), ("0123456789012345678901234567890123456789", 30)] {
        tree.write(&format!("{repository}/blobs/{blob}"), &"x".repeat(bytes));
    }
    tree.write(&format!("{repository}/refs/main"), "abc");
    let snapshot = tree.0.join(repository).join("snapshots/abc/unet");
    fs::create_dir_all(&snapshot).unwrap();
    symlink(format!("../../../blobs/{large}"), snapshot.join("model.safetensors")).unwrap();
    symlink("/etc/passwd", snapshot.join("escape.safetensors")).unwrap();
    tree.write(&format!("{repository}/snapshots/abc/plain.safetensors"), "four");
    tree.write("hub/version.txt", "1");
    let listing = listed(&tree, "/hub", Layout::HuggingFace).unwrap();
    let name = || vec!["org/name".to_owned()];
    assert_eq!(
        entries(&listing),
        [
            ("0123456789012345678901234567890123456789".to_owned(), 30, vec![]),
            ("plain.safetensors".to_owned(), 4, name()),
            ("sha256-0a0a0a0a0a0a".to_owned(), 9000, name()),
            ("sha256-0b0b0b0b0b0b".to_owned(), 800, vec![]),
        ]
    );
    let digests = listing.entries.iter().filter(|entry| entry.digest.is_some()).count();
    assert_eq!(digests, 2, "what git gives is no SHA-256");
}

#[test]
fn links_pipes_and_files_of_others_are_left_out_and_nothing_of_them_is_opened() {
    let tree = Tree::new();
    tree.write("outside/secret.gguf", "secret");
    tree.write("s/mine.gguf", "mine");
    tree.write("s/notes.txt", "notes");
    tree.write("s/deep/er/one.safetensors", "deep");
    let at = |path: &str| tree.0.join(path);
    symlink(at("outside/secret.gguf"), at("s/link.gguf")).unwrap();
    symlink(at("outside"), at("s/folder")).unwrap();
    symlink("/dev/zero", at("s/zero.gguf")).unwrap();
    mknodat(CWD, at("s/pipe.gguf"), FileType::Fifo, Mode::RWXU, 0).unwrap();
    fs::create_dir(at("s/folder.gguf")).unwrap();
    let names = |listing: &Listing| entries(listing).into_iter().map(|(name, ..)| name).collect::<Vec<_>>();
    assert_eq!(names(&listed(&tree, "/s", Layout::Folder).unwrap()), ["mine.gguf", "one.safetensors"]);
    if fs::metadata("/proc/self").unwrap().uid() == 0 {
        // A user's folder, in which root's file is not the user's.
        chown(at("s"), Some(4711), None).unwrap();
        chown(at("s/mine.gguf"), Some(4711), None).unwrap();
        assert_eq!(names(&listed(&tree, "/s", Layout::Folder).unwrap()), ["mine.gguf"]);
    }
}

#[test]
fn more_files_than_are_listed_are_told_as_that() {
    let tree = Tree::new();
    fs::create_dir(tree.0.join("s")).unwrap();
    for number in 0..FILES + 5 {
        fs::File::create(tree.0.join(format!("s/{number:x<200}.gguf"))).unwrap();
    }
    let listing = listed(&tree, "/s", Layout::Folder).unwrap();
    assert_eq!(listing.entries.len(), FILES);
    assert_eq!(listing.missing.as_deref(), Some("more than 20000 files"));
    assert!(listing.entries.iter().all(|entry| entry.name.len() <= 64));
    assert!(listing.entries.iter().filter(|entry| entry.cached.is_none()).count() >= FILES - CACHED);
}

#[test]
fn what_names_files_is_bounded_as_files_are() {
    let tree = Tree::new();
    tree.write("m/blobs/sha256-x", "x");
    let digest = |number: usize| format!(r#"{{"digest":"sha256:{number:064x}"}}"#);
    for manifest in 0..FILES / 1000 + 1 {
        let layers: Vec<_> = (manifest * 1000..(manifest + 1) * 1000).map(digest).collect();
        tree.write(&format!("m/manifests/h/n/m/{manifest}"), &format!(r#"{{"layers":[{}]}}"#, layers.join(",")));
    }
    let listing = listed(&tree, "/m", Layout::Ollama).unwrap();
    let missing = "more than 20000 manifests, digests and links";
    assert_eq!((listing.entries.len(), listing.missing.as_deref()), (1, Some(missing)));
    let mut reading = Reading { entries: Vec::new(), missing: Vec::new(), folders: 9, names: 1 };
    let snapshot = tree.0.join("hub/models--org--name/snapshots/abc");
    fs::create_dir_all(&snapshot).unwrap();
    ["a", "b"].iter().for_each(|name| symlink("../../blobs/0", snapshot.join(name)).unwrap());
    assert!(huggingface::read(&Place::new(tree.0.join("hub"), Owner::Process), &mut reading));
    assert_eq!(reading.missing, [missing]);
}

#[test]
fn a_file_that_is_gone_when_it_is_asked_about_is_left_out() {
    let tree = Tree::new();
    tree.write("a", "x");
    let place = |name: &str| Place::new(&tree.0, Owner::Process).join(name);
    assert!(cached(&place("a"), 1).is_some_and(|cached| cached.is_some() == cache::supported()));
    assert_eq!(cached(&place("b"), 1), None);
}

#[test]
fn stores_of_users_are_in_their_homes() {
    let tree = Tree::new();
    let uid = fs::metadata("/proc/self").unwrap().uid();
    tree.write("etc/passwd", &format!("ann:x:{uid}:{uid}::/homes/ann:/bin/sh\nbob:x:4711:4711::/homes/bob:/bin/sh\n"));
    tree.write("homes/ann/.ollama/models/blobs/sha256-x", "1");
    let all = candidates(&Root::new(&tree.0), &[], &BTreeSet::from([uid, 4711, 99]), &mut |_| None);
    let found: Vec<_> = all.iter().filter_map(|it| list(&host(&tree), it)).map(|(it, _)| it).collect();
    let names: Vec<_> = found.iter().map(|it| (it.name.to_string(), it.entries.len())).collect();
    assert_eq!(names, [(format!("ollama@{uid}"), 1)]);
}
