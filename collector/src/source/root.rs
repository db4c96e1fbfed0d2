//! Where the host's files are. In a container the host's root is mounted at some directory, with /proc, /sys and /var
//! below it; no other file knows the difference.

use std::path::{Path, PathBuf};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root(PathBuf);

impl Root {
    /// The host's root, mounted at `path`: `/` on the host itself.
    pub fn new(path: impl Into<PathBuf>) -> Root {
        Root(path.into())
    }

    /// Translates a path of the host: `/var/log` may be `/host/var/log` here.
    pub fn at(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        self.0.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// The process whose files in /proc show the host: process 1 if this is a container, else this process.
    pub fn process(&self) -> PathBuf {
        let process = if self.is_host() { "/proc/self" } else { "/proc/1" };
        self.at(process)
    }

    /// Whether paths need no translation.
    pub fn is_host(&self) -> bool {
        self.0 == Path::new("/")
    }
}

impl Default for Root {
    fn default() -> Root {
        Root::new("/")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_below_the_root() {
        assert_eq!(Root::default().at("/proc/stat"), Path::new("/proc/stat"));
        assert_eq!(Root::new("/host").at("/proc/stat"), Path::new("/host/proc/stat"));
        assert_eq!(Root::new("/host/").at("proc/stat"), Path::new("/host/proc/stat"));
        assert_eq!(Root::new("/host").at("/"), Path::new("/host/"));
    }

    #[test]
    fn in_a_container_the_first_process_shows_the_host() {
        assert_eq!(Root::default().process(), Path::new("/proc/self"));
        assert_eq!(Root::new("/host").process(), Path::new("/host/proc/1"));
    }
}
