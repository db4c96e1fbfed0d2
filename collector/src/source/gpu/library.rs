//! Finds and loads NVML's library, and explains failures. Loading it also initializes it.

use std::path::{Path, PathBuf};

use nvml_wrapper::Nvml;
use nvml_wrapper::error::NvmlError;

use crate::source::root::Root;

/// The library's soname.
const NAME: &str = "libnvidia-ml.so.1";

/// Where driver packages, container toolkits and operators install it.
const DIRECTORIES: [&str; 9] = [
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

/// Why NVML cannot be used.
#[derive(Debug, PartialEq, Eq)]
pub enum Absent {
    /// The library is not installed.
    Missing,
    /// The library exists but cannot be used, with the reason.
    Unusable(String),
}

/// Loads and initializes the library. `set` is the configured path.
pub fn open(set: Option<&Path>, root: &Root) -> Result<Nvml, Absent> {
    if let Some(path) = set {
        return match path.exists() {
            true => load(path),
            false => Err(Absent::Unusable(format!("{} does not exist", path.display()))),
        };
    }
    // Try the linker's search path first. Only the error text says that the library was not found.
    let mut result = match load(Path::new(NAME)) {
        Err(Absent::Unusable(why)) if why.contains("No such file") => Err(Absent::Missing),
        result => result,
    };
    for path in well_known(root).into_iter().filter(|path| path.exists()) {
        if result.is_ok() {
            break;
        }
        result = load(&path);
    }
    result
}

fn well_known(root: &Root) -> Vec<PathBuf> {
    DIRECTORIES.iter().map(|directory| root.at(directory).join(NAME)).collect()
}

fn load(path: &Path) -> Result<Nvml, Absent> {
    Nvml::builder().lib_path(path.as_os_str()).init().map_err(|error| Absent::Unusable(reason(&error, path)))
}

/// The error as text, with what to do about it where known.
fn reason(error: &NvmlError, path: &Path) -> String {
    let path = path.display();
    match error {
        // The linker's message starts with the path.
        NvmlError::LibloadingError(error) => format!("the library cannot be loaded: {error}"),
        NvmlError::FailedToLoadSymbol(symbol) => format!("{path} is not NVML, or too old: {symbol}"),
        NvmlError::DriverNotLoaded => {
            format!("{path} is installed, but the driver is not loaded: check the kernel module nvidia")
        }
        NvmlError::LibRmVersionMismatch => {
            format!("the version of {path} does not match the driver: reload the driver, or restart the host")
        }
        error => format!("{path} could not be initialized: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_without_the_library_reports_it_as_missing() {
        assert!(matches!(open(None, &Root::new("/nowhere")), Err(Absent::Missing)));
    }

    #[test]
    fn an_unusable_library_gives_the_reason() {
        let file = std::env::temp_dir().join(format!("headroom-nvml-{}", std::process::id()));
        std::fs::write(&file, "no library").unwrap();
        for (path, wanted) in [
            (Path::new("/nowhere/libnvidia-ml.so.1"), "does not exist"),
            (&*file, "cannot be loaded"),
            (Path::new("libc.so.6"), "does not exist"),
        ] {
            let Err(Absent::Unusable(why)) = open(Some(path), &Root::default()) else { panic!("{path:?}") };
            assert!(why.contains(wanted), "{why}");
        }
        let Err(Absent::Unusable(why)) = load(Path::new("libc.so.6")) else { panic!("libc is not NVML") };
        assert!(why.contains("is not NVML") && why.contains("nvmlInit_v2"), "{why}");
        std::fs::remove_file(file).unwrap();
    }
}
