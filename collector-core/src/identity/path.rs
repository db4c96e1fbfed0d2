//! Walks a path from the root to the outermost workload. Anything below, such as a service manager in a container or Docker in
//! Docker, belongs to that workload.

use super::component::components;
use super::{Finding, Kind, batch, container, unit};

/// The outermost unit or container. Units occur only below slices; containers anywhere.
pub(super) fn outermost(path: &str) -> Option<Finding<'_>> {
    let mut owner = unit::Owner::default();
    // The result if nothing more specific follows.
    let mut fallback = None;
    let mut units = true;
    for component in components(path) {
        if let Some(finding) = container::find(component, owner.prefix()) {
            return Some(finding);
        }
        if units {
            match unit::find(component, &mut owner) {
                unit::Found::Slice(finding) => fallback = Some(finding),
                unit::Found::Manager(finding) => fallback = Some(finding),
                unit::Found::Session(finding) => {
                    fallback = Some(finding);
                    units = false;
                }
                unit::Found::Unit(finding) => return Some(finding),
                unit::Found::No => {
                    units = false;
                    fallback = fallback.filter(|finding| finding.kind != Kind::Slice);
                }
            }
        }
        if let Some(pod) = container::pod(component, owner.prefix()) {
            fallback = Some(pod);
        }
    }
    fallback
}

/// An unknown cgroup: its path is its name.
pub(super) fn plain(path: &str) -> Finding<'_> {
    let kind = match path {
        "/" => Kind::Root,
        _ if batch::is_above_jobs(path) => Kind::Slice,
        _ => Kind::Cgroup,
    };
    Finding { name: path.to_owned(), kind, top: path, ..Finding::default() }
}
