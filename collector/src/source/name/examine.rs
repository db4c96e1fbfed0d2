//! The doctor's finding about names: which containers and pods there are, whose names are found, and what to set for the rest.

use std::collections::BTreeMap;

use collector_core::identity::Identity;

use super::lookup::{Lookup, Missing};
use super::request::{Found, Request};
use crate::config::Config;
use crate::source::Finding;
use crate::source::cgroup::{Hierarchies, walk};
use crate::source::root::Root;

/// Containers and pods of one engine.
#[derive(Default)]
struct Group {
    count: usize,
    named: usize,
    advice: String,
}

/// `None` if the cgroups cannot be read, which is another finding.
pub(super) fn examine(config: &Config, root: &Root) -> Option<Finding> {
    let memory = Hierarchies::find(root).ok()?.memory;
    let mut requests = Vec::new();
    walk(&memory, &mut |cgroup, path| {
        let identity = Identity::of(path);
        if identity.has_names() && *identity.top == *path {
            requests.push(Request { cgroup, identity });
        }
    })
    .ok()?;
    let mut lookup = Lookup::new(root, &config.workload);
    let found = lookup.find(&requests.iter().collect::<Vec<_>>());
    let mut groups: BTreeMap<&str, Group> = BTreeMap::new();
    for (Request { identity, .. }, found) in requests.iter().zip(&found) {
        let Missing { whose, advice } = lookup.missing(identity);
        let group = groups.entry(whose).or_default();
        group.count += 1;
        match found {
            Found::Complete(_) | Found::Partial(_) => group.named += 1,
            Found::Absent => group.advice = advice,
            Found::Unreadable => group.advice = "their books cannot be read: run as root".to_owned(),
        }
    }
    let ok = groups.values().all(|group| group.named == group.count);
    let words = groups.iter().map(|(whose, Group { count, named, advice })| match named == count {
        true => format!("{whose}: {named} of {count}"),
        false => format!("{whose}: {named} of {count}, {advice}"),
    });
    let words: Vec<String> = words.collect();
    let is = if words.is_empty() { "no containers".to_owned() } else { words.join("; ") };
    Some(Finding { key: "names", title: "names", ok, is })
}
