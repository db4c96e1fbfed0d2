//! The doctor's finding about model servers: which there are, and which of them cannot be reached and why. Asks none.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;

use collector_core::text::shown;

use super::find::Finder;
use super::place::Places;
use super::server::{Known, Seen};
use super::wanted::Settings;
use crate::clock;
use crate::config::Config;
use crate::source::Finding;
use crate::source::cgroup::Hierarchies;
use crate::source::root::Root;

/// Servers that are named.
const SHOWN: usize = 16;

pub(super) fn examine(config: &Config, root: &Root) -> Finding {
    let finding = |ok, is: String| Finding { key: "models", title: "model servers", ok, is };
    if !config.models.enabled {
        return finding(true, "off (models.enabled)".to_owned());
    }
    let settings = match Settings::of(config) {
        Ok(settings) => settings,
        Err(error) => return finding(false, format!("{error:#}")),
    };
    let Ok(hierarchies) = Hierarchies::find(root) else {
        return finding(false, "not looked for: cgroups cannot be read".to_owned());
    };
    let mut finder = Finder::new(root, &hierarchies.memory);
    if let Err(error) = finder.scan(None, clock::monotonic_ns(), &Mutex::default()) {
        return finding(false, format!("processes cannot be listed: {error}"));
    }
    let (reached, mut said) = found(&root.at("/proc"), &finder, &settings);
    said.extend(settings.servers.iter().map(|server| format!("{} (configured)", server.name)));
    match said.len() {
        0 => finding(true, "none found".to_owned()),
        count => {
            said.truncate(SHOWN);
            if count > SHOWN {
                said.push(format!("and {} more", count - SHOWN));
            }
            finding(reached, said.join("; "))
        }
    }
}

/// Whether all that are not left out can be reached, and a text for each.
fn found(proc: &Path, finder: &Finder, settings: &Settings) -> (bool, Vec<String>) {
    let (mut reached, mut said) = (true, BTreeMap::new());
    for (key, spot) in Places::read(proc).spots(&finder.candidates) {
        let candidate = finder.candidates.get(&spot.pid);
        let seen = Seen { configured: None, spot: Some(spot.clone()), candidate };
        let name = seen.name(&Known::Found(key, seen.kind()));
        let out = settings.exclude.matches(&name)
            || candidate.is_some_and(|candidate| settings.exclude.matches(&candidate.path));
        let text = match (&spot.way, out) {
            (_, true) => format!("{name} left out (models.exclude)"),
            (Ok(_), _) => name.clone(),
            (Err((_, why)), _) => {
                reached = false;
                format!("{name} not reached: {}", shown(why))
            }
        };
        said.insert((name, key), text);
    }
    (reached, said.into_values().collect())
}
