//! Stores of models on this host: where they are, and what is in each, as their programs lay them out. May block. Whoever may write
//! there may put anything there, so how much is read is bounded.

mod folder;
mod huggingface;
mod ollama;

use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use collector_core::model_file::store::{CACHED, Entry, Listing};
use collector_core::statistic::model_file::{Layout, Tier};
use collector_core::text::escape;

use super::cache::{self, Kind};
use super::device;
use super::look::Host;
use crate::config::model_store::ModelStore;
use crate::source::passwd::home;
use crate::source::root::Root;
use crate::source::untrusted::{Owner, Place};

/// Limit on the files of a store that are listed, on what names them, and on the folders that are read.
const FILES: usize = 20_000;
const FOLDERS: usize = 4096;

/// Where Ollama's packages and its script keep models.
const OLLAMA: [&str; 4] =
    ["/usr/share/ollama/.ollama/models", "/var/lib/ollama/.ollama/models", "/var/lib/ollama/models", "/var/lib/ollama"];
/// Below a user's home.
const OF_USER: [(&str, Layout); 2] =
    [(".ollama/models", Layout::Ollama), (".cache/huggingface/hub", Layout::HuggingFace)];

/// A place that may be a store.
#[derive(Clone, Debug)]
pub struct Candidate {
    pub name: String,
    pub layout: Layout,
    pub place: Place,
    /// Whose deadline is at stake.
    pub owner: Owner,
}

/// The places to look at: those of the configuration first, then the usual ones, of the host and of these users. `whose` says of whom a
/// folder is, as [`of_whom`] does, or that nobody knows.
pub fn candidates(
    root: &Root,
    configured: &[ModelStore],
    users: &BTreeSet<u32>,
    whose: &mut dyn FnMut(PathBuf) -> Option<(Place, Owner)>,
) -> Vec<Candidate> {
    let mut all: Vec<Candidate> = Vec::new();
    for store in configured {
        let Some((place, owner)) = whose(root.at(&store.path)) else { continue };
        all.push(Candidate { name: store.name.clone(), layout: store.layout(), place, owner });
    }
    for path in OLLAMA {
        let Some((place, owner)) = whose(root.at(path)) else { continue };
        all.push(Candidate { name: "ollama".to_owned(), layout: Layout::Ollama, place, owner });
    }
    for uid in users {
        let Ok(Some(home)) = home(root, *uid) else { continue };
        let owner = if *uid == 0 { Owner::Process } else { Owner::User(*uid) };
        for (below, layout) in OF_USER {
            let place = Place::new(&home, owner).join(below);
            all.push(Candidate { name: format!("{}@{uid}", layout.label()), layout, place, owner });
        }
    }
    all
}

/// A folder of root's may have what others put there, so no link in it is followed; in one of a user's only the user's files count. May
/// block.
pub fn of_whom(path: PathBuf) -> (Place, Owner) {
    let uid = Place::new(&path, Owner::Root).look().ok().flatten().map_or(0, |seen| seen.uid());
    let owner = if uid == 0 { Owner::Process } else { Owner::User(uid) };
    (Place::new(path, owner), owner)
}

/// Lists a store; `None` if there is none. The second is its folder's device and inode.
pub fn list(host: &Host, candidate: &Candidate) -> Option<(Listing, (u64, u64))> {
    let seen = candidate.place.look().ok().flatten().filter(|seen| seen.kind().is_dir())?;
    let (id, kind) = (seen.id(), cache::kind(seen.fd()).unwrap_or(Kind::Program));
    let path = candidate.place.path();
    let here = Path::new("/").join(path.strip_prefix(host.root.at("/")).unwrap_or(&path));
    let mut reading = Reading { entries: Vec::new(), missing: Vec::new(), folders: FOLDERS, names: FILES };
    // Another program answers for it: it may never end.
    if kind == Kind::Program {
        reading.missing.push("its filesystem is a program's (FUSE), and is not read".to_owned());
    } else {
        let is = match candidate.layout {
            Layout::Ollama => ollama::read(&candidate.place, &mut reading),
            Layout::HuggingFace => huggingface::read(&candidate.place, &mut reading),
            Layout::Folder => folder::read(&candidate.place, &mut reading),
        };
        if !is {
            return None;
        }
    }
    let Reading { entries, mut missing, .. } = reading;
    let asked = entries.into_iter().enumerate().filter_map(|(number, (place, entry))| match number < CACHED {
        true => Some(Entry { cached: cached(&place, entry.bytes)?, ..entry }),
        false => Some(entry),
    });
    let entries: Vec<Entry> = asked.collect();
    missing.dedup();
    let listing = Listing {
        name: escape(candidate.name.as_bytes()).into(),
        layout: candidate.layout,
        path: escape(here.as_os_str().as_bytes()).into(),
        tier: match kind {
            Kind::Program => Tier::Unknown,
            kind => device::tier(&host.root, &host.mounts, &here, id.0, kind),
        },
        fstype: host.mounts.of(&here).map(|mount| mount.fstype.as_str().into()).unwrap_or_default(),
        entries,
        missing: (!missing.is_empty()).then(|| missing.join("; ")),
    };
    Some((listing, id))
}

/// How much of a file is cached, if the kernel says; `None` if the file is not there any more.
fn cached(place: &Place, bytes: u64) -> Option<Option<u64>> {
    let seen = match place.look() {
        Ok(seen) => seen?,
        Err(_) => return Some(None),
    };
    let cached = seen.open().and_then(cache::of).ok();
    Some(cached.map(|cached| cached.cached.min(bytes)))
}

/// What is read of a store, and what not.
struct Reading {
    entries: Vec<(Place, Entry)>,
    missing: Vec<String>,
    /// How many more folders may be read.
    folders: usize,
    /// How many more manifests, digests of them, and links may be read.
    names: usize,
}

impl Reading {
    /// What is in a folder; nothing if there is none.
    fn folder(&mut self, place: &Place) -> Vec<crate::source::untrusted::Item> {
        let Some(left) = self.folders.checked_sub(1) else {
            self.note(format!("more than {FOLDERS} folders"));
            return Vec::new();
        };
        self.folders = left;
        match place.list(FILES - self.entries.len().min(FILES)) {
            Ok(Some(listed)) => {
                if !listed.whole {
                    self.note(format!("more than {FILES} files"));
                }
                listed.items
            }
            Ok(None) => Vec::new(),
            Err(error) => {
                self.note(format!("not all of it can be read: {error}"));
                Vec::new()
            }
        }
    }

    /// Whether one more name of a file has room.
    fn name(&mut self) -> bool {
        let Some(left) = self.names.checked_sub(1) else {
            self.note(format!("more than {FILES} manifests, digests and links"));
            return false;
        };
        self.names = left;
        true
    }

    fn note(&mut self, why: String) {
        if !self.missing.contains(&why) && self.missing.len() < 4 {
            self.missing.push(why);
        }
    }

    fn add(&mut self, place: Place, entry: Entry) {
        match self.entries.len() < FILES {
            true => self.entries.push((place, entry)),
            false => self.note(format!("more than {FILES} files")),
        }
    }
}

#[cfg(test)]
mod tests;
