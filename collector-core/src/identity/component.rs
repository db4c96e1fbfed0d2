//! The components of a cgroup's path.

/// A component of a path, where it stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Component<'a> {
    /// Its name.
    pub name: &'a str,
    /// The name of the one before; empty for the first.
    pub parent: &'a str,
    /// The path up to its end.
    pub top: &'a str,
    /// How many come before it.
    pub depth: usize,
}

/// The components of a path; empty ones are passed over.
pub(super) fn components(path: &str) -> impl Iterator<Item = Component<'_>> {
    let mut end = 0;
    let mut parent = "";
    let mut depth = 0;
    path.split('/').filter_map(move |name| {
        let top = &path[..end + name.len()];
        end += name.len() + 1;
        if name.is_empty() {
            return None;
        }
        let component = Component { name, parent, top, depth };
        parent = name;
        depth += 1;
        Some(component)
    })
}
