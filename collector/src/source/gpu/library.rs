//! NVML's library: where it is, and why it cannot be used. Loading it starts it.

use std::path::{Path, PathBuf};

use nvml_wrapper::Nvml;
use nvml_wrapper::error::NvmlError;

use crate::source::root::Root;

/// The name that the linker knows it by.
const NAME: &str = "libnvidia-ml.so.1";

/// Where drivers' packages, container toolkits and operators put it.
const FOLDERS: [&str; 9] = [
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/usr/lib64",
    "/usr/lib",
    "/usr/local/nvidia/lib64",
    "/usr/lib/wsl/lib",
    "/run/nvidia/driver/usr/lib/x86_64-linux-gnu",
    "/run/nvidia/driver/usr/lib64",
    "/run/opengl-driver/lib",
];

/// Why NVML is not there.
#[derive(Debug, PartialEq, Eq)]
pub enum Absent {
    /// There is no library.
    Missing,
    /// There is one, and this is why it is of no use.
    Useless(String),
}

/// Loads and starts the library.
pub fn open(set: Option<&Path>, root: &Root) -> Result<Nvml, Absent> {
    if let Some(path) = set {
        return match path.exists() {
            true => load(path),
            false => Err(Absent::Useless(format!("{} does not exist", path.display()))),
        };
    }
    // The linker's own places first. It says in words alone that there is none.
    let mut result = match load(Path::new(NAME)) {
        Err(Absent::Useless(why)) if why.contains("No such file") => Err(Absent::Missing),
        result => result,
    };
    for path in usual(root).into_iter().filter(|path| path.exists()) {
        if result.is_ok() {
            break;
        }
        result = load(&path);
    }
    result
}

fn usual(root: &Root) -> Vec<PathBuf> {
    FOLDERS.iter().map(|folder| root.at(folder).join(NAME)).collect()
}

fn load(path: &Path) -> Result<Nvml, Absent> {
    Nvml::builder().lib_path(path.as_os_str()).init().map_err(|error| Absent::Useless(reason(&error, path)))
}

/// In words, with what to do about it where that is known.
fn reason(error: &NvmlError, path: &Path) -> String {
    let path = path.display();
    match error {
        // The linker's own words begin with the path.
        NvmlError::LibloadingError(error) => format!("the library cannot be loaded: {error}"),
        NvmlError::FailedToLoadSymbol(symbol) => format!("{path} is no NVML, or far too old: {symbol}"),
        NvmlError::DriverNotLoaded => format!("{path} is there, but no driver: is the kernel module nvidia loaded?"),
        NvmlError::LibRmVersionMismatch => {
            format!("{path} is of another version than the driver: reload the driver, or restart the host")
        }
        error => format!("{path} does not start: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_without_the_library_misses_it_and_nothing_else() {
        assert!(matches!(open(None, &Root::new("/nowhere")), Err(Absent::Missing)));
    }

    #[test]
    fn what_cannot_be_used_says_why() {
        let file = std::env::temp_dir().join(format!("headroom-nvml-{}", std::process::id()));
        std::fs::write(&file, "no library").unwrap();
        for (path, wanted) in [
            (Path::new("/nowhere/libnvidia-ml.so.1"), "does not exist"),
            (&*file, "cannot be loaded"),
            (Path::new("libc.so.6"), "does not exist"),
        ] {
            let Err(Absent::Useless(why)) = open(Some(path), &Root::default()) else { panic!("{path:?}") };
            assert!(why.contains(wanted), "{why}");
        }
        let Err(Absent::Useless(why)) = load(Path::new("libc.so.6")) else { panic!("libc is no NVML") };
        assert!(why.contains("no NVML") && why.contains("nvmlInit_v2"), "{why}");
        std::fs::remove_file(file).unwrap();
    }
}
