//! The doctor's finding about names: which containers and pods there are, whose names are found, and what to set for the rest.

use std::collections::{BTreeMap, BTreeSet};

use collector_core::identity::Identity;

use super::home::Homes;
use super::lookup::Lookup;
use super::request::{Found, Missing, Request};
use super::search::Search;
use crate::config::Config;
use crate::source::Finding;
use crate::source::cgroup::{Hierarchies, walk};
use crate::source::root::Root;

/// Limit on what is said about one engine.
const MAX_ADVICE: usize = 4;

/// Containers and pods of one engine.
#[derive(Default)]
struct Group {
    count: usize,
    named: usize,
    /// What to do, as far as it differs.
    advice: BTreeSet<String>,
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
    let mut groups = BTreeMap::new();
    let (of_users, of_host): (Vec<_>, Vec<_>) = requests.iter().partition(|request| request.user().is_some());
    collect(&mut Lookup::new(root, &config.workload), &of_host, &mut groups);
    collect(&mut Homes::new(root), &of_users, &mut groups);
    let ok = groups.values().all(|group| group.named == group.count);
    let words = groups.iter().map(|(whose, Group { count, named, advice })| match named == count {
        true => format!("{whose}: {named} of {count}"),
        false => format!("{whose}: {named} of {count}, {}", said(advice)),
    });
    let words: Vec<String> = words.collect();
    let is = if words.is_empty() { "no containers".to_owned() } else { words.join("; ") };
    Some(Finding { key: "names", title: "names", ok, is })
}

/// A few of them.
fn said(advice: &BTreeSet<String>) -> String {
    let more = advice.len().saturating_sub(MAX_ADVICE);
    let mut words = advice.iter().rev().take(MAX_ADVICE).map(String::as_str).collect::<Vec<_>>().join("; ");
    if more > 0 {
        words += &format!("; and {more} more");
    }
    words
}

/// Looks all of them up, and adds them to the groups by whose they are.
fn collect(search: &mut dyn Search, requests: &[&Request], groups: &mut BTreeMap<String, Group>) {
    let found = search.find(requests);
    for (request, found) in requests.iter().zip(&found) {
        let Missing { whose, advice } = search.missing(&request.identity);
        let group = groups.entry(whose).or_default();
        group.count += 1;
        match found {
            Found::Complete(_) | Found::Partial(_) => group.named += 1,
            Found::Absent => drop(group.advice.insert(advice)),
            Found::Unreadable => {
                group.advice.insert(match request.user() {
                    Some(uid) => format!("user {uid} has books that are not read: a link, a device, or too long"),
                    None => "their books cannot be read: run as root".to_owned(),
                });
            }
            Found::Hung => {
                let uid = request.user().unwrap_or_default();
                group.advice.insert(format!("the home of user {uid} does not answer: check its filesystem"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_whose_containers_have_no_names_and_what_to_set() {
        let host = std::env::temp_dir().join(format!("headroom-names-{}", std::process::id()));
        let write = |path: &str, text: &str| {
            let path = host.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("proc/1/cgroup", "0::/\n");
        write("proc/1/mountinfo", "27 24 0:22 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
        write("sys/fs/cgroup/system.slice/a.service/cgroup.procs", "");
        let finding = || examine(&Config::default(), &Root::new(&host)).unwrap();
        let (first, second) = ("4f1c2a9b".repeat(8), "5f1c2a9b".repeat(8));
        let none = finding();
        for id in [&first, &second] {
            write(&format!("sys/fs/cgroup/system.slice/docker-{id}.scope/nested/cgroup.procs"), "");
        }
        let missing = finding();
        write(&format!("var/lib/docker/containers/{first}/config.v2.json"), r#"{"Name":"/web"}"#);
        let some = finding();
        write("etc/docker/daemon.json", r#"{"data-root":"/data"}"#);
        write(&format!("data/containers/{second}/config.v2.json"), r#"{"Name":"/db"}"#);
        let all = finding();
        std::fs::remove_dir_all(&host).unwrap();
        assert_eq!((none.ok, &*none.is), (true, "no containers"));
        assert!(!missing.ok && missing.is.starts_with("docker: 0 of 2, no books of them in "), "{missing:?}");
        assert!(missing.is.contains("set workload.docker to Docker's data-root"), "{missing:?}");
        assert!(!some.ok && some.is.starts_with("docker: 1 of 2, "), "{some:?}");
        assert_eq!((all.ok, &*all.is), (true, "docker: 2 of 2"));
    }
}
