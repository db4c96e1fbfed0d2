//! The tree of cgroups: which paths are below which. Knows nothing of workloads.

use std::collections::{HashMap, HashSet};

/// The indices of the paths that match, and of all above these, in the order of the tree, with their depths: each path is below the
/// nearest one above it. Those at the same place keep their order.
pub fn tree(paths: &[&str], matching: impl Fn(usize) -> bool) -> Vec<(usize, usize)> {
    let places: HashMap<&str, usize> = paths.iter().enumerate().map(|(index, path)| (*path, index)).collect();
    let parents: Vec<Option<usize>> = paths.iter().map(|path| above(path, &places)).collect();
    let mut kept = HashSet::new();
    for index in (0..paths.len()).filter(|index| matching(*index)) {
        let mut at = Some(index);
        while let Some(index) = at.filter(|index| kept.insert(*index)) {
            at = parents[index];
        }
    }
    let mut children: HashMap<Option<usize>, Vec<usize>> = HashMap::new();
    for (index, parent) in parents.iter().enumerate().filter(|(index, _)| kept.contains(index)) {
        children.entry(*parent).or_default().push(index);
    }
    let below = |of: Option<usize>, depth: usize| {
        let all = children.get(&of).into_iter().flatten().rev();
        all.map(move |index| (*index, depth))
    };
    let mut sorted = Vec::new();
    let mut stack: Vec<(usize, usize)> = below(None, 0).collect();
    while let Some((index, depth)) = stack.pop() {
        stack.extend(below(Some(index), depth + 1));
        sorted.push((index, depth));
    }
    sorted
}

/// The nearest of these that is above this path.
fn above(path: &str, places: &HashMap<&str, usize>) -> Option<usize> {
    let mut path = path;
    while path.len() > 1 {
        path = match path.rfind('/')? {
            0 => "/",
            end => &path[..end],
        };
        if let Some(place) = places.get(path) {
            return Some(*place);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_below_the_nearest_that_is_there() {
        let paths = ["/a/b/c/d", "/z", "/a", "", "/a/b", "/", "/ab"];
        let shown = |matching: &dyn Fn(usize) -> bool| {
            tree(&paths, matching).iter().map(|(index, depth)| format!("{depth}{}", paths[*index])).collect::<Vec<_>>()
        };
        assert_eq!(shown(&|_| true), ["0", "0/", "1/z", "1/a", "2/a/b", "3/a/b/c/d", "1/ab"]);
        assert_eq!(shown(&|index| index == 4), ["0/", "1/a", "2/a/b"], "with all above it");
        assert_eq!(shown(&|_| false), Vec::<String>::new());
    }

    #[test]
    fn the_same_path_twice_and_a_deep_one_are_no_trouble() {
        assert_eq!(tree(&["/a", "/a", "/a/b"], |_| true), [(0, 0), (1, 0), (2, 1)]);
        let paths: Vec<String> = (1..2000).map(|depth| "/x".repeat(depth)).collect();
        let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
        assert_eq!(tree(&paths, |_| true).last(), Some(&(1998, 1998)));
    }
}
