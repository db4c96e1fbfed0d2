//! Hugging Face's cache: `models--ORGANISATION--NAME/blobs/DIGEST`, and `…/snapshots/REVISION/…`, links to blobs. Large files are
//! called by their SHA-256, others by the number that git gives them.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;
use std::sync::Arc;

use collector_core::model_file::store::Entry;
use collector_core::model_file::{digest, label, revision};

use super::Reading;
use crate::source::untrusted::{Item, Place};

/// How deep the folders of a snapshot are read.
const DEPTH: usize = 4;

/// `false` if it is no such store.
pub(super) fn read(place: &Place, reading: &mut Reading) -> bool {
    let repositories = reading.folder(place);
    for item in repositories.iter().filter(|item| item.kind().is_dir()) {
        let Some(name) = revision(item.name.as_bytes()) else { continue };
        let repository = place.join(&item.name);
        let mut linked = BTreeSet::new();
        snapshot(&repository.join("snapshots"), DEPTH, &name, &mut linked, reading);
        let blobs = repository.join("blobs");
        for item in reading.folder(&blobs) {
            if item.kind().is_file() {
                let models = if linked.contains(&item.name) { vec![name.clone()] } else { Vec::new() };
                reading.add(blobs.join(&item.name), entry(&item, models));
            }
        }
    }
    true
}

/// The blobs that snapshots name. Where links are not possible, the files themselves are there.
fn snapshot(place: &Place, depth: usize, name: &Arc<str>, linked: &mut BTreeSet<OsString>, reading: &mut Reading) {
    for item in reading.folder(place) {
        let here = place.join(&item.name);
        match item.kind() {
            kind if kind.is_dir() && depth > 0 => snapshot(&here, depth - 1, name, linked, reading),
            kind if kind.is_symlink() && reading.name() => {
                let target = here.link().ok().flatten();
                linked.extend(target.and_then(|target| Some(target.file_name()?.to_owned())));
            }
            kind if kind.is_file() => reading.add(here, entry(&item, vec![name.clone()])),
            _ => {}
        }
    }
}

fn entry(item: &Item, models: Vec<Arc<str>>) -> Entry {
    Entry {
        name: label(item.name.as_bytes()),
        id: item.id(),
        bytes: item.bytes(),
        digest: digest(item.name.as_bytes()),
        models,
        written: item.written(),
        cached: None,
    }
}
