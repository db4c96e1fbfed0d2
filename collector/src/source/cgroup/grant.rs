//! Which cgroups root gave to users, by whose the directories are: the outermost that is not root's. Root has made it, and its user
//! makes what is below.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;

use collector_core::cgroup::Id;
use collector_core::identity::{Grant, Grants, is_open};
use collector_core::signal::cgroup::Reading;

use super::Hierarchy;

/// Finds them above cgroups that are born, and remembers what was told.
#[derive(Debug)]
pub struct Owners {
    hierarchy: Hierarchy,
    told: Grants,
    /// The paths that were told, by the id of the cgroup.
    ids: HashMap<u64, Box<str>>,
    /// The last path, with the directories on it that were asked for, and where the name of each ends.
    path: String,
    owners: Vec<(usize, Option<Directory>)>,
}

#[derive(Clone, Copy, Debug)]
struct Directory {
    id: u64,
    uid: u32,
}

impl Owners {
    /// `hierarchy` is the one by whose cgroups workloads are named.
    pub fn new(hierarchy: &Hierarchy) -> Owners {
        Owners {
            hierarchy: hierarchy.clone(),
            told: Grants::default(),
            ids: HashMap::new(),
            path: String::new(),
            owners: Vec::new(),
        }
    }

    /// A cgroup is gone: what comes to its path later is another.
    pub fn died(&mut self, id: Id, emit: &mut dyn FnMut(Reading)) {
        if id.hierarchy == self.hierarchy.id
            && let Some(path) = self.ids.remove(&id.id)
        {
            self.told.set(&path, 0);
            emit(Reading::Given { path: path.into(), uid: 0 });
        }
    }

    /// Emits what is new about the cgroups above a path. Call it before the birth is told; with `again` after others may have
    /// changed something.
    pub fn above(&mut self, path: &str, again: bool, emit: &mut dyn FnMut(Reading)) {
        let kept = if again { 0 } else { self.path.bytes().zip(path.bytes()).take_while(|(a, b)| a == b).count() };
        self.owners.retain(|(end, _)| *end <= kept && path.as_bytes().get(*end) == Some(&b'/'));
        path.clone_into(&mut self.path);
        let Some(found) = self.find(path) else { return };
        let told = self.told.above(path);
        if found == told {
            return;
        }
        let mut tell = |bytes: usize, uid: u32| {
            self.told.set(&path[..bytes], uid);
            emit(Reading::Given { path: path[..bytes].to_owned(), uid });
        };
        if let Some(told) = told.filter(|told| found.is_none_or(|found| found.bytes != told.bytes)) {
            tell(told.bytes, 0);
        }
        if let Some(found) = found {
            tell(found.bytes, found.uid);
            let asked = self.owners.iter().find(|(end, _)| *end == found.bytes);
            if let Some((_, Some(directory))) = asked {
                self.ids.insert(directory.id, path[..found.bytes].into());
            }
        }
    }

    /// The outermost directory above a path that is a user's, if the names below it say nothing of that. `None` if a directory
    /// cannot be asked: it may be gone.
    fn find(&mut self, path: &str) -> Option<Option<Grant>> {
        // The root of a mount may be somebody's in whose container the agent runs.
        let begin = self.hierarchy.prefix.len() + 1;
        let ends = path.match_indices('/').map(|(at, _)| at).filter(|end| *end >= begin);
        for end in ends {
            let asked = self.owners.iter().find(|(at, _)| *at == end).map(|(_, owner)| *owner);
            let owner = match asked {
                Some(owner) => owner,
                None => {
                    let directory = self.hierarchy.directory(&path[..end])?;
                    let owner = fs::symlink_metadata(directory).ok();
                    let owner = owner.map(|it| Directory { id: it.ino(), uid: it.uid() });
                    self.owners.push((end, owner));
                    owner
                }
            };
            let uid = owner?.uid;
            if uid != 0 {
                return Some(Some(Grant { bytes: end, uid }).filter(|_| is_open(&path[..end])));
            }
        }
        Some(None)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::chown;
    use std::path::PathBuf;

    use super::*;

    /// A tree of directories, which is removed in the end.
    struct Tree(PathBuf);

    impl Tree {
        fn new(name: &str) -> Tree {
            let folder = std::env::temp_dir().join(format!("headroom-grant-{name}-{}", std::process::id()));
            fs::create_dir_all(&folder).unwrap();
            Tree(folder)
        }

        fn make(&self, path: &str, uid: u32) {
            let directory = self.0.join(path);
            fs::create_dir_all(&directory).unwrap();
            chown(&directory, Some(uid), None).unwrap();
        }

        fn owners(&self, prefix: &str) -> Owners {
            Owners::new(&Hierarchy { id: 0, root: self.0.clone(), prefix: prefix.to_owned() })
        }
    }

    impl Drop for Tree {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    fn told(owners: &mut Owners, path: &str, again: bool) -> Vec<(String, u32)> {
        let mut told = Vec::new();
        owners.above(path, again, &mut |reading| match reading {
            Reading::Given { path, uid } => told.push((path, uid)),
            other => panic!("{other:?}"),
        });
        told
    }

    #[test]
    fn what_root_gave_to_a_user_is_told_once_and_again_if_it_changes() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let tree = Tree::new("change");
        tree.make("jobs/ann/docker", 1000);
        tree.make("jobs/ann", 1000);
        let mut owners = tree.owners("");
        let ann = |uid: u32| vec![("/jobs/ann".to_owned(), uid)];
        assert_eq!(told(&mut owners, "/jobs/ann", false), [], "root made it");
        assert_eq!(told(&mut owners, "/jobs/ann/docker", false), ann(1000));
        assert_eq!(told(&mut owners, "/jobs/ann/docker/x", false), []);
        assert_eq!(told(&mut owners, "/jobs/annex", false), []);
        tree.make("jobs/ann", 1001);
        assert_eq!(told(&mut owners, "/jobs/ann/y", true), ann(1001));
        assert_eq!(told(&mut owners, "/jobs/gone/y", true), [], "not known");
        tree.make("jobs/ann", 0);
        tree.make("jobs/ann/docker", 0);
        assert_eq!(told(&mut owners, "/jobs/ann/docker/x", true), ann(0));
        assert_eq!(told(&mut owners, "/jobs/ann/docker/x", true), []);
    }

    #[test]
    fn what_is_gone_is_no_users_any_more() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let tree = Tree::new("gone");
        let mut owners = tree.owners("");
        for job in 0..3 {
            let path = format!("jobs/{job}");
            tree.make(&path, 1000);
            let id = Id { hierarchy: 0, id: fs::metadata(tree.0.join(&path)).unwrap().ino() };
            assert_eq!(told(&mut owners, &format!("/{path}/x"), true), [(format!("/{path}"), 1000)]);
            let mut ended = Vec::new();
            owners.died(Id { hierarchy: 7, ..id }, &mut |reading| ended.push(reading));
            assert_eq!(ended, [], "of another hierarchy");
            (0..2).for_each(|_| owners.died(id, &mut |reading| ended.push(reading)));
            assert_eq!(ended, [Reading::Given { path: format!("/{path}"), uid: 0 }]);
            assert!(owners.ids.is_empty() && owners.told.above(&format!("/{path}/x")).is_none());
        }
    }

    #[test]
    fn what_its_name_tells_as_somebodys_is_not_told_again() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let tree = Tree::new("named");
        // A container of root's engine in a user namespace, a service that runs as a user, a user's manager.
        let scope = format!("system.slice/docker-{}.scope", "4f1c2a9b".repeat(8));
        let manager = "user.slice/user-1000.slice/user@1000.service";
        for path in [&*scope, "system.slice/jupyter.service", manager, "lxc.payload.web"] {
            tree.make(path, 100_000);
            assert_eq!(told(&mut tree.owners(""), &format!("/{path}/x/y"), false), [], "{path}");
        }
        // In a container all of the tree may be somebody's.
        tree.make("", 100_000);
        assert_eq!(told(&mut tree.owners("/lxc/node"), "/lxc/node/x/y", false), []);
    }
}
