//! [`judge`]: what is in stores, what of it is there twice, and what nobody uses. It rests on what was listed and seen; times that the
//! filesystem keeps of reading count for nothing. What is not known counts as used.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::statistic::model_file::{Amount, LARGEST, Layout, Store, Stored, Tier};

/// It is asked of at most this many files of a store how much is cached.
pub const CACHED: usize = 4096;
/// At most this many models of a file are told.
const MODELS: usize = 3;
/// Why it is not known who uses a file.
const NOT_TOLD: &str = "unused files are not known: the kernel does not show what is cached";
const NOT_ASKED: &str = "unused files are not known: the store has more than 4096 files";

/// What stands in a store.
#[derive(Clone, Debug)]
pub struct Listing {
    pub name: Arc<str>,
    pub layout: Layout,
    pub path: Arc<str>,
    pub tier: Tier,
    pub fstype: Arc<str>,
    pub entries: Vec<Entry>,
    /// What was not read, for people.
    pub missing: Option<String>,
}

#[derive(Clone, Debug, Default)]
pub struct Entry {
    pub name: Arc<str>,
    /// Device and inode.
    pub id: (u64, u64),
    pub bytes: u64,
    /// What is in it, if its name says so.
    pub digest: Option<[u8; 32]>,
    /// The models that it belongs to.
    pub models: Vec<Arc<str>>,
    /// When it, or what names it, was written, in nanoseconds since the Unix epoch.
    pub written: u64,
    /// Bytes of it in the page cache; absent if that is not known.
    pub cached: Option<u64>,
}

/// What was seen of the use of files since the agent started.
#[derive(Clone, Debug, Default)]
pub struct Uses {
    /// When each was last mapped, open or named by a command line, by device and inode.
    pub seen: BTreeMap<(u64, u64), u64>,
    /// The files of which that is so now.
    pub now: BTreeSet<(u64, u64)>,
    /// Names of models that servers answer with now.
    pub models: BTreeSet<Arc<str>>,
    /// Since when somebody looks.
    pub since: u64,
    /// Why it is not known what processes have mapped.
    pub blind: Option<&'static str>,
}

impl Uses {
    /// Whether something uses a file now, or that is not known.
    fn in_use(&self, entry: &Entry) -> bool {
        self.blind.is_some()
            || self.now.contains(&entry.id)
            || entry.models.iter().any(|model| self.models.contains(model))
            // Somebody reads it, or did not long ago.
            || entry.cached != Some(0)
    }

    /// When it was last used as far as anybody saw.
    fn last(&self, entry: &Entry, time: u64) -> Option<u64> {
        let named = entry.models.iter().any(|model| self.models.contains(model));
        let now = self.now.contains(&entry.id) || named || entry.cached.is_some_and(|cached| cached > 0);
        if now { Some(time) } else { self.seen.get(&entry.id).copied() }
    }

    /// Since when nobody used it: not before somebody looked, nor before it was written.
    fn idle_since(&self, entry: &Entry, time: u64) -> u64 {
        self.last(entry, time).unwrap_or(0).max(self.since).max(entry.written)
    }
}

/// The stores, in the order of the listings: content that stands in an earlier one is a duplicate in a later one.
pub fn judge(listings: &[Listing], uses: &Uses, time: u64, unused_after: u64) -> Vec<Store> {
    let mut contents = BTreeMap::new();
    let mut files = BTreeSet::new();
    listings.iter().map(|listing| one(listing, uses, time, unused_after, &mut contents, &mut files)).collect()
}

fn one(
    listing: &Listing,
    uses: &Uses,
    time: u64,
    unused_after: u64,
    contents: &mut BTreeMap<[u8; 32], (u64, u64)>,
    files: &mut BTreeSet<(u64, u64)>,
) -> Store {
    let (mut all, mut twice, mut unreferenced, mut unused) =
        (Amount::default(), Amount::default(), Amount::default(), Amount::default());
    let mut largest = Vec::new();
    for entry in &listing.entries {
        // Another name of a file takes no room.
        if !files.insert(entry.id) {
            continue;
        }
        all.add(entry.bytes);
        let duplicate = entry.digest.is_some_and(|digest| *contents.entry(digest).or_insert(entry.id) != entry.id);
        if duplicate {
            twice.add(entry.bytes);
        }
        if entry.models.is_empty() {
            unreferenced.add(entry.bytes);
        }
        let in_use = uses.in_use(entry);
        let idle = !in_use && time.saturating_sub(uses.idle_since(entry, time)) >= unused_after;
        if idle {
            unused.add(entry.bytes);
        }
        largest.push((entry, in_use, duplicate, idle));
    }
    largest.sort_by_key(|(entry, ..)| (Reverse(entry.bytes), entry.name.clone()));
    let stored = |(entry, in_use, duplicate, unused): (&Entry, bool, bool, bool)| Stored {
        name: entry.name.clone(),
        models: entry.models.iter().take(MODELS).cloned().collect(),
        bytes: entry.bytes,
        in_use,
        used: uses.last(entry, time),
        duplicate,
        unused,
    };
    let unknown = listing.entries.iter().any(|entry| entry.cached.is_none());
    let named = listing.layout != Layout::Folder;
    let unasked = listing.entries.iter().skip(CACHED).any(|entry| entry.cached.is_none());
    let why_unknown = if unasked { NOT_ASKED } else { NOT_TOLD };
    let blind = uses.blind.or_else(|| unknown.then_some(why_unknown));
    let why = listing.missing.iter().map(String::as_str).chain(blind).collect::<Vec<_>>().join("; ");
    // What was not listed may name what seems to be nobody's.
    let complete = listing.missing.is_none();
    Store {
        name: listing.name.clone(),
        layout: listing.layout,
        path: listing.path.clone(),
        tier: listing.tier,
        fstype: listing.fstype.clone(),
        files: all.files,
        bytes: all.bytes,
        duplicates: named.then_some(twice),
        unreferenced: (named && complete).then_some(unreferenced),
        unused: blind.is_none().then_some(unused),
        why: (!why.is_empty()).then(|| why.into()),
        largest: largest.into_iter().take(LARGEST).map(stored).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AFTER: u64 = 100;

    fn entry(inode: u64, digest: u8, models: &[&str]) -> Entry {
        Entry {
            name: format!("file {inode}").into(),
            id: (1, inode),
            bytes: 1000 + inode,
            digest: Some([digest; 32]),
            models: models.iter().map(|name| Arc::from(*name)).collect(),
            written: 0,
            cached: Some(0),
        }
    }

    fn listing(layout: Layout, entries: Vec<Entry>) -> Listing {
        let (tier, fstype) = (Tier::Ssd, "ext4".into());
        Listing { name: layout.label().into(), layout, path: "/x".into(), tier, fstype, entries, missing: None }
    }

    fn unused(store: &Store) -> Option<u64> {
        store.unused.map(|amount| amount.files)
    }

    #[test]
    fn content_counts_once_over_all_stores_and_links_not_at_all() {
        let ollama = listing(Layout::Ollama, vec![entry(1, 1, &["a:1"]), entry(2, 2, &[]), entry(1, 1, &["a:1"])]);
        let cache = listing(Layout::HuggingFace, vec![entry(3, 1, &["org/a"]), entry(4, 3, &["org/b"])]);
        let folder = listing(Layout::Folder, vec![Entry { digest: None, ..entry(5, 0, &[]) }]);
        let [ollama, cache, folder] = &judge(&[ollama, cache, folder], &Uses::default(), 1000, AFTER)[..] else {
            panic!()
        };
        assert_eq!((ollama.files, ollama.bytes), (2, 2003));
        assert_eq!(ollama.duplicates, Some(Amount { files: 0, bytes: 0 }));
        assert_eq!(ollama.unreferenced, Some(Amount { files: 1, bytes: 1002 }));
        assert_eq!(cache.duplicates, Some(Amount { files: 1, bytes: 1003 }));
        assert_eq!(cache.largest.iter().map(|it| it.duplicate).collect::<Vec<_>>(), [false, true], "the largest first");
        assert_eq!((folder.duplicates, folder.unreferenced, folder.bytes), (None, None, 1005));
    }

    #[test]
    fn a_file_is_unused_only_if_that_is_known_for_long_enough() {
        let store = |change: &dyn Fn(&mut Entry, &mut Uses)| {
            let (mut entry, mut uses) = (entry(1, 1, &["a:1"]), Uses { since: 500, ..Uses::default() });
            change(&mut entry, &mut uses);
            judge(&[listing(Layout::Ollama, vec![entry])], &uses, 1000, AFTER).remove(0)
        };
        let in_use = |store: &Store| {
            assert_eq!(unused(store).is_some_and(|files| files > 0), store.largest[0].unused, "{store:?}");
            (unused(store), store.largest[0].in_use, store.largest[0].used)
        };
        assert_eq!(in_use(&store(&|_, _| {})), (Some(1), false, None));
        // What was before the agent looked is not known.
        assert_eq!(in_use(&store(&|_, uses| uses.since = 950)), (Some(0), false, None));
        assert_eq!(in_use(&store(&|entry, _| entry.written = 950)), (Some(0), false, None));
        assert_eq!(
            in_use(&store(&|_, uses| {
                uses.seen.insert((1, 1), 950);
            })),
            (Some(0), false, Some(950))
        );
        assert_eq!(
            in_use(&store(&|_, uses| {
                uses.seen.insert((1, 1), 600);
            })),
            (Some(1), false, Some(600))
        );
        assert_eq!(
            in_use(&store(&|_, uses| {
                uses.now.insert((1, 1));
            })),
            (Some(0), true, Some(1000))
        );
        assert_eq!(
            in_use(&store(&|_, uses| {
                uses.models.insert("a:1".into());
            })),
            (Some(0), true, Some(1000))
        );
        assert_eq!(in_use(&store(&|entry, _| entry.cached = Some(1))), (Some(0), true, Some(1000)));
        assert_eq!(in_use(&store(&|entry, _| entry.cached = None)), (None, true, None));
        let blind = store(&|_, uses| uses.blind = Some("it may not look into processes"));
        assert_eq!(in_use(&blind), (None, true, None));
        assert_eq!(blind.why.as_deref(), Some("it may not look into processes"));
    }

    #[test]
    fn that_it_is_not_asked_of_more_files_what_is_cached_is_said() {
        let why = |many: usize, asked: usize| {
            let cached = |number: usize| (number < asked).then_some(0);
            let entries = (0..many).map(|number| Entry { cached: cached(number), ..entry(number as u64, 1, &[]) });
            let store = judge(&[listing(Layout::Folder, entries.collect())], &Uses::default(), 1000, AFTER).remove(0);
            (store.unused.is_some(), store.why)
        };
        assert_eq!(why(CACHED, CACHED), (true, None));
        assert_eq!(why(CACHED, CACHED - 1), (false, Some(NOT_TOLD.into())));
        assert_eq!(why(CACHED + 1, CACHED), (false, Some(NOT_ASKED.into())));
    }

    #[test]
    fn what_was_not_listed_is_said() {
        let mut part = listing(Layout::Ollama, (0..99).map(|inode| entry(inode, inode as u8, &[])).collect());
        part.missing = Some("more than 20000 files".to_owned());
        let store = judge(&[part], &Uses::default(), 1000, AFTER).remove(0);
        assert_eq!((store.files, store.largest.len(), store.unreferenced), (99, LARGEST, None));
        assert_eq!((store.largest[0].bytes, store.why.as_deref()), (1098, Some("more than 20000 files")));
    }
}
