//! Ollama's models: `blobs/sha256-…`, and `manifests/HOST/NAMESPACE/MODEL/TAG`, which name blobs.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;
use std::sync::Arc;

use collector_core::model_file::store::Entry;
use collector_core::model_file::{LONGEST, blobs, digest, label, model};

use super::Reading;
use crate::source::untrusted::Place;

/// The models that name a blob, and when the last of their manifests was written.
type Named = BTreeMap<[u8; 32], (Vec<Arc<str>>, u64)>;

/// `false` if it is no such store.
pub(super) fn read(place: &Place, reading: &mut Reading) -> bool {
    let folder = place.join("blobs");
    if folder.look().ok().flatten().is_none_or(|seen| !seen.kind().is_dir()) {
        return false;
    }
    let mut named = Named::new();
    manifests(&place.join("manifests"), &mut Vec::new(), &mut named, reading);
    for item in reading.folder(&folder) {
        if !item.kind().is_file() {
            continue;
        }
        let digest = digest(item.name.as_bytes());
        let (models, written) = digest.and_then(|digest| named.get(&digest).cloned()).unwrap_or_default();
        let entry = Entry {
            name: label(item.name.as_bytes()),
            id: item.id(),
            bytes: item.bytes(),
            digest,
            models,
            written: written.max(item.written()),
            cached: None,
        };
        reading.add(folder.join(&item.name), entry);
    }
    true
}

fn manifests(place: &Place, parts: &mut Vec<OsString>, named: &mut Named, reading: &mut Reading) {
    for item in reading.folder(place) {
        let here = place.join(&item.name);
        parts.push(item.name.clone());
        match item.kind() {
            kind if kind.is_dir() && parts.len() < 4 => manifests(&here, parts, named, reading),
            kind if kind.is_file() && parts.len() == 4 && reading.name() => {
                let parts: Vec<&[u8]> = parts.iter().map(|part| part.as_bytes()).collect();
                let found = here.read(LONGEST).ok().flatten().and_then(|json| blobs(&json).ok());
                match (found, model(&parts)) {
                    (Some(found), Some(model)) => {
                        for digest in found {
                            if !named.contains_key(&digest) && !reading.name() {
                                break;
                            }
                            let (models, written) = named.entry(digest).or_default();
                            *written = (*written).max(item.written());
                            if !models.contains(&model) && models.len() < 16 {
                                models.push(model.clone());
                            }
                        }
                    }
                    _ => reading.note("a manifest cannot be read".to_owned()),
                }
            }
            _ => {}
        }
        parts.pop();
    }
}
