//! Which advice comes first, and how much of it one user may have. Knows nothing of time.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use crate::action::Object;
use crate::advice::{Advice, Saves};
use crate::view::View;

/// Most about one user's workloads, and about files.
const OF_OWNER: usize = 50;
const DAY: f64 = 86_400.0;

/// The surest first; of these, what saves most a day: kills, then stalls, then memory, then power.
pub fn first(one: &Advice, other: &Advice) -> Ordering {
    let saves = |advice: &Advice| advice.saves.as_ref().map_or([0.0; 4], a_day);
    let more = saves(other).into_iter().zip(saves(one)).map(|(other, one)| other.total_cmp(&one));
    let more = more.fold(Ordering::Equal, Ordering::then);
    other.confidence.cmp(&one.confidence).then(more).then_with(|| one.id.cmp(&other.id))
}

fn a_day(saves: &Saves) -> [f64; 4] {
    let days = saves.over_seconds.max(1) as f64 / DAY;
    // What stays free stays so, however long it is looked at.
    [
        saves.kills.unwrap_or(0.0) / days,
        saves.stall_seconds.unwrap_or(0.0) / days,
        saves.bytes.unwrap_or(0.0),
        saves.watts.unwrap_or(0.0),
    ]
}

/// Whether there is room for one more about whoever it is about; takes it.
pub fn room(view: &View) -> impl FnMut(&Object) -> bool {
    let mut taken: BTreeMap<String, usize> = BTreeMap::new();
    move |object| {
        let owner = match object {
            Object::Workload(name) => view.workloads.owner(name).to_owned(),
            Object::Server(name) => {
                let told = view.models.servers.get(name.as_str());
                let workload = told.and_then(|told| told.workload(&view.workloads));
                workload.map_or_else(|| "/".to_owned(), |workload| view.workloads.owner(&workload.name).to_owned())
            }
            // Users make files, and name processes.
            Object::File(_) | Object::Process(_) => "/".to_owned(),
            Object::Host | Object::Gpu(_) | Object::Disk(_) | Object::Alert(_) => return true,
        };
        let count = taken.entry(owner).or_default();
        *count += 1;
        *count <= OF_OWNER
    }
}
