//! Splits a cgroup's path into components.

#[derive(Clone, Copy, Debug)]
pub(super) struct Component<'a> {
    pub name: &'a str,
    /// Name of the previous component; empty for the first.
    pub parent: &'a str,
    /// The path before this component, without the slash in between.
    pub above: &'a str,
    /// The path up to the end of this component.
    pub top: &'a str,
    /// Number of components before it.
    pub depth: usize,
}

/// The components of a path, without empty ones.
pub(super) fn components(path: &str) -> impl Iterator<Item = Component<'_>> {
    let mut end: usize = 0;
    let mut parent = "";
    let mut depth = 0;
    path.split('/').filter_map(move |name| {
        let (above, top) = (&path[..end.saturating_sub(1)], &path[..end + name.len()]);
        end += name.len() + 1;
        if name.is_empty() {
            return None;
        }
        let component = Component { name, parent, above, top, depth };
        parent = name;
        depth += 1;
        Some(component)
    })
}
