//! The doctor's findings about cgroups: which controllers there are, and whether they reach the workloads.

use std::collections::BTreeMap;
use std::fs;

use collector_core::identity::{Identity, Kind};

use crate::source::Finding;
use crate::source::cgroup::{Controller, Hierarchies, Hierarchy, walk};
use crate::source::root::Root;

/// Places listed; further ones are only counted.
const LISTED: usize = 4;

pub(super) fn examine(root: &Root) -> Vec<Finding> {
    let found = match Hierarchies::find(root) {
        Ok(found) => found,
        Err(error) => return vec![Finding { key: "cgroup", title: "cgroup", ok: false, is: format!("{error:#}") }],
    };
    let mut findings =
        vec![Finding { key: "cgroup", title: "cgroup", ok: found.missing.is_empty(), is: found.describe() }];
    findings.extend(delegation(&found));
    findings
}

/// Whether memory and io are enabled down to the containers; `None` without cgroup v2 or containers.
fn delegation(found: &Hierarchies) -> Option<Finding> {
    let mut count = 0;
    let mut cuts = Vec::new();
    for controller in [Controller::Memory, Controller::Io] {
        let Some(hierarchy) = found.of(controller).filter(|hierarchy| hierarchy.id == 0) else { continue };
        let (containers, below) = missing_below(hierarchy, controller)?;
        count = containers;
        cuts.extend(below.into_iter().map(|(path, containers)| cut(hierarchy, controller, &path, containers)));
    }
    if count == 0 {
        return None;
    }
    let more = cuts.len().saturating_sub(LISTED);
    let ok = cuts.is_empty();
    cuts.truncate(LISTED);
    if more > 0 {
        cuts.push(format!("and {more} more"));
    }
    let is = if ok { format!("memory and io reach all {count} containers and jobs") } else { cuts.join("; ") };
    Some(Finding { key: "delegation", title: "delegation", ok, is })
}

/// How many containers and jobs there are, and below which cgroups they lack a controller.
fn missing_below(hierarchy: &Hierarchy, controller: Controller) -> Option<(usize, BTreeMap<String, usize>)> {
    let enabled = |path: &str| {
        let directory = hierarchy.directory(path)?;
        let text = fs::read_to_string(directory.join("cgroup.subtree_control")).ok()?;
        Some(text.split_whitespace().any(|name| name == controller.name()))
    };
    let mut below = BTreeMap::new();
    let mut count = 0;
    walk(hierarchy, &mut |_, path| {
        let Identity { kind, top, .. } = Identity::of(path);
        let holds = matches!(kind, Kind::Container | Kind::Pod | Kind::Job | Kind::Step | Kind::Task | Kind::Machine);
        if !holds || *top != *path {
            return;
        }
        count += 1;
        // The first above it that does not pass the controller on.
        let above = path.match_indices('/').map(|(at, _)| if at == 0 { "/" } else { &path[..at] });
        if let Some(first) = above.into_iter().find(|above| enabled(above) == Some(false)) {
            *below.entry(first.to_owned()).or_insert(0) += 1;
        }
    })
    .ok()?;
    Some((count, below))
}

fn cut(hierarchy: &Hierarchy, controller: Controller, path: &str, containers: usize) -> String {
    let name = controller.name();
    let (unknown, property) = match controller {
        Controller::Memory => ("their memory and limits are not known", "MemoryAccounting"),
        _ => ("their disk IO is not known to the kernel's files", "IOAccounting"),
    };
    let unit = path.rsplit('/').next().filter(|unit| unit.ends_with(".slice"));
    let advice = match unit {
        Some(unit) => format!("systemctl set-property {unit} {property}=yes"),
        None => {
            let file = hierarchy.directory(path).unwrap_or_default().join("cgroup.subtree_control");
            format!("echo +{name} > {}", file.display())
        }
    };
    format!("{name} is not enabled below {path} ({containers} containers or jobs): {unknown}; {advice}")
}
