//! A folder with model files, and folders in it. Their names say nothing of what is in them.

use std::os::unix::ffi::OsStrExt as _;

use collector_core::model_file::store::Entry;
use collector_core::model_file::{is_model, label};

use super::Reading;
use crate::source::untrusted::Place;

/// How deep folders are read.
const DEPTH: usize = 4;

/// `true`: any folder may be one.
pub(super) fn read(place: &Place, reading: &mut Reading) -> bool {
    walk(place, DEPTH, reading);
    true
}

fn walk(place: &Place, depth: usize, reading: &mut Reading) {
    for item in reading.folder(place) {
        let here = place.join(&item.name);
        match item.kind() {
            kind if kind.is_dir() && depth > 0 => walk(&here, depth - 1, reading),
            kind if kind.is_file() && is_model(item.name.as_bytes(), item.bytes()) => {
                let entry = Entry {
                    name: label(item.name.as_bytes()),
                    id: item.id(),
                    bytes: item.bytes(),
                    written: item.written(),
                    ..Entry::default()
                };
                reading.add(here, entry);
            }
            _ => {}
        }
    }
}
