//! Walks a path from the root to the outermost workload. Anything below, such as a service manager in a container or Docker in
//! Docker, belongs to that workload.

use super::component::{Component, components};
use super::{Finding, Grant, Kind, batch, container, unit};

/// The outermost unit or container. Units occur only below slices; containers anywhere.
pub(super) fn outermost(path: &str, grant: Option<Grant>) -> Option<Finding<'_>> {
    walk(path, grant, &mut unit::Owner::default())
}

/// The same; `owner` becomes the user whose cgroups these are, as far as it went.
fn walk<'a>(path: &'a str, grant: Option<Grant>, owner: &mut unit::Owner) -> Option<Finding<'a>> {
    // The result if nothing more specific follows.
    let mut fallback = None;
    let mut units = true;
    for component in components(path) {
        let Component { name, parent, above, depth, .. } = component;
        if let Some(grant) = grant.filter(|grant| grant.bytes <= above.len()) {
            owner.given(grant.uid);
        }
        if depth == 1 && parent == "user" {
            // pam_cgfs on cgroup v1 gives each user a directory: /user/ann/0
            owner.is(name);
        }
        let (user, prefix) = (owner.user().map(str::to_owned), owner.prefix());
        if let Some(finding) = container::find(component, &prefix) {
            return Some(Finding { owner: user, ..finding });
        }
        if units {
            let found = unit::find(component, owner);
            units = matches!(found, unit::Found::Slice(_) | unit::Found::Manager(_));
            match found {
                unit::Found::Slice(finding) | unit::Found::Manager(finding) => fallback = Some(finding),
                unit::Found::Session(finding) => fallback = Some(finding),
                unit::Found::Unit(finding) => return Some(finding),
                unit::Found::No => {
                    fallback = fallback.filter(|finding| finding.kind != Kind::Slice);
                }
            }
        }
        if let Some(pod) = container::pod(component, &prefix) {
            fallback = Some(Finding { owner: user, ..pod });
        }
    }
    fallback
}

/// An unknown cgroup: its path is its name.
pub(super) fn plain(path: &str, grant: Option<Grant>) -> Finding<'_> {
    let kind = match path {
        "/" => Kind::Root,
        _ if grant.is_none() && batch::is_above_jobs(path) => Kind::Slice,
        _ => Kind::Cgroup,
    };
    let mut owner = unit::Owner::default();
    walk(path, grant, &mut owner);
    let given = || grant.map(|grant| unit::user(&grant.uid.to_string()));
    let owner = owner.user().map(str::to_owned).or_else(given);
    Finding { name: path.to_owned(), kind, owner, top: path, ..Finding::default() }
}
