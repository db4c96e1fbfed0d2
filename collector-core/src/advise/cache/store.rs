//! Model files that nobody uses, by store.

use crate::action::{Action, Object, Risk, by_hand};
use crate::advice::{Advice, Confidence, Evidence, Saves, Unit};
use crate::advise::draft::draft;
use crate::advise::{Given, Judged, Rule};
use crate::amount::{bytes, percent};
use crate::statistic::model_file::{Layout, Store};
use crate::view::View;
use crate::view::host::used_ratio;

pub(super) const UNUSED: Rule = Rule {
    name: "model_files_unused",
    when: "Files of a store, 1 GiB and more, that nobody was seen to use for model_file.unused_after, and not before the agent ran for that long.",
    needs: "Who uses which model file (model_file.inspect), for as long as model_file.unused_after.",
    judge,
};

const LEAST: u64 = 1 << 30;
/// A filesystem fills up from here.
const FULL: f64 = 0.8;
/// So many models are named.
const NAMED: usize = 3;

fn judge(given: &Given<'_>, judged: &mut Judged) {
    for store in given.view.model_files.stores.values() {
        // Absent where it cannot be seen, or the agent has not run for long enough.
        if let Some(unused) = store.unused.filter(|unused| unused.bytes >= LEAST) {
            judged.advice.push(advice(given.view, store, (unused.files, unused.bytes)));
        }
    }
}

/// How full the filesystem is that the store lies on.
fn used(view: &View, store: &Store) -> Option<f64> {
    let below = |mountpoint: &str| {
        let rest = store.path.strip_prefix(mountpoint.trim_end_matches('/'));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let on = view.host.filesystems.iter().filter(|(mountpoint, _)| below(mountpoint));
    let (_, filesystem) = on.max_by_key(|(mountpoint, _)| mountpoint.len())?;
    used_ratio(filesystem.values.as_ref()?)
}

fn advice(view: &View, store: &Store, (files, size): (u64, u64)) -> Advice {
    let object = Object::File(store.path.to_string());
    let mut evidence = vec![Evidence::measured("size of files that nobody was seen to use", size as f64, Unit::Bytes)];
    let used = used(view, store);
    evidence.extend(used.map(|used| Evidence::measured("use of its filesystem", used, Unit::Ratio)));
    evidence.extend(
        store
            .duplicates
            .map(|twice| Evidence::measured("content that is there twice", twice.bytes as f64, Unit::Bytes)),
    );
    evidence.extend(
        store.unreferenced.map(|it| Evidence::measured("files that no model names", it.bytes as f64, Unit::Bytes)),
    );
    let idle = store.largest.iter().filter(|stored| stored.unused);
    let models: Vec<&str> = idle.flat_map(|stored| stored.models.iter().map(|model| &**model)).take(NAMED).collect();
    let named = match models.is_empty() {
        true => String::new(),
        false => format!(" The largest that nobody was seen to use: {}.", models.join(", ")),
    };
    let full = used.is_some_and(|used| used >= FULL);
    let why = format!(
        "{files} files of {} were used by nobody since model_file.unused_after.{}{named}",
        store.path,
        used.map_or(String::new(), |used| format!(" Its filesystem is {} full.", percent(used)))
    );
    let (confidence, because) = match full {
        true => (Confidence::Medium, "Who uses a file is seen on this host only, and a model may be for later."),
        false => (Confidence::Low, "There is room on its filesystem, and a model may be for later."),
    };
    let saves = Some(Saves {
        over_seconds: view.time.saturating_sub(view.started) / 1_000_000_000,
        bytes: Some(size as f64),
        assuming: "nobody needs them".to_owned(),
        ..Saves::default()
    });
    let title = format!("Delete model files that nobody uses from {}: {}.", store.path, bytes(size));
    let actions = vec![delete(store, &models)];
    let because = because.to_owned();
    Advice { evidence, saves, confidence, because, ..draft(UNUSED.name, object, actions, title, why) }
}

/// By hand: a name says neither which server has the model nor whether another model shares its files.
fn delete(store: &Store, models: &[&str]) -> Action {
    let with = match store.layout {
        Layout::HuggingFace => ", with the tools of its cache (hf cache)",
        Layout::Ollama => ", by its name, with the server that reads this folder",
        Layout::Folder => "",
    };
    let which = if models.is_empty() { String::new() } else { format!(", such as {}", models.join(", ")) };
    let what = format!("delete what is not needed from {}{which}{with}", store.path);
    let undo = "Only if it came from a registry: pull it again.".to_owned();
    Action { undo, ..by_hand(Object::File(store.path.to_string()), what, Risk::High) }
}
