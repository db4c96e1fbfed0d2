//! Profiles: configuration files that are read beneath the operator's own. Knows those that come with Headroom, and how the tables of
//! both files become one list each; reads no files.

use collector_core::need::known::Model;
use collector_core::rule::raw::Raw;
use collector_core::spelling::closest;

use super::entry::Entry;
use super::section::Config;
use super::target::Wanted;

/// Name and text of each profile that comes with Headroom.
pub const SHIPPED: &[(&str, &str)] = &[
    ("vllm-two-tier", include_str!("../../../../deploy/profiles/vllm-two-tier.toml")),
    ("ollama-isolation", include_str!("../../../../deploy/profiles/ollama-isolation.toml")),
    ("musicgen", include_str!("../../../../deploy/profiles/musicgen.toml")),
    ("warmup", include_str!("../../../../deploy/profiles/warmup.toml")),
    ("ringrift", include_str!("../../../../deploy/profiles/ringrift.toml")),
];

/// Whether it is the path of a file. The names of shipped profiles have no slash.
pub fn is_path(profile: &str) -> bool {
    profile.contains('/')
}

/// The text of a shipped profile.
///
/// # Errors
/// There is none of this name: which was probably meant, and which there are.
pub fn shipped(name: &str) -> Result<&'static str, String> {
    let names = || SHIPPED.iter().map(|(name, _)| *name);
    SHIPPED.iter().find(|(known, _)| *known == name).map(|(_, text)| *text).ok_or_else(|| {
        let hint = closest(name, names()).map(|near| format!("; did you mean {near:?}?")).unwrap_or_default();
        let all = names().collect::<Vec<_>>().join(", ");
        format!("there is no profile {name:?}{hint} Headroom comes with {all}; the path of another has a slash")
    })
}

/// The tables of a profile that combine with those of the operator's file.
pub struct Beneath {
    rule: Vec<Entry<Raw>>,
    model: Vec<Entry<Model>>,
    target: Vec<Entry<Wanted>>,
}

impl Beneath {
    pub fn take(config: &mut Config) -> Beneath {
        Beneath {
            rule: std::mem::take(&mut config.rule),
            model: std::mem::take(&mut config.model),
            target: std::mem::take(&mut config.level.target),
        }
    }

    /// Of models and targets the first that fits counts: the operator's own come before those of the profile.
    pub fn put(self, config: &mut Config) {
        config.rule = merge(self.rule, std::mem::take(&mut config.rule));
        config.model.extend(self.model);
        config.level.target.extend(self.target);
    }
}

/// The rules of a profile with those of the operator's file: one with the same name sets only its own keys.
fn merge(profile: Vec<Entry<Raw>>, own: Vec<Entry<Raw>>) -> Vec<Entry<Raw>> {
    let mut merged = profile;
    let mut changed = vec![false; merged.len()];
    for entry in own {
        match merged.iter().take(changed.len()).position(|known| known.value.alert == entry.value.alert) {
            // A second one of the operator's is a mistake, which is found later.
            Some(index) if !changed[index] => {
                changed[index] = true;
                over(&mut merged[index], entry);
            }
            _ => merged.push(entry),
        }
    }
    merged
}

/// Sets what `entry` sets, and its places.
pub(super) fn over(known: &mut Entry<Raw>, entry: Entry<Raw>) {
    const THRESHOLD: [&str; 3] = ["above", "below", "clear"];
    known.value.change(&entry.value);
    if entry.set.iter().any(|(key, _)| THRESHOLD.contains(key)) {
        known.set.retain(|(key, _)| !THRESHOLD.contains(key));
    }
    known.set.retain(|(key, _)| !entry.set.iter().any(|(own, _)| own == key));
    known.set.extend(entry.set);
    known.place = entry.place;
}

#[cfg(test)]
mod tests;
