//! Files with secrets that everybody on this host can read. Only says so: who owns them decides.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::config::load::Effective;
use crate::http::access::Access;

/// One sentence for each such file.
pub fn warnings(effective: &Effective, access: &Access) -> Vec<String> {
    let exposed = |path: &PathBuf| is_exposed(path);
    secret_files(effective, access).into_iter().filter(exposed).map(|path| warning(&path)).collect()
}

fn warning(path: &Path) -> String {
    format!("{} has secrets and everybody on this host can read it: chmod o= it", path.display())
}

fn secret_files(effective: &Effective, access: &Access) -> Vec<PathBuf> {
    let sinks = &effective.config.sink;
    let sinks = || sinks.webhook.iter().chain(&sinks.alertmanager).map(|entry| &entry.value);
    let has_secret = sinks().any(|sink| !sink.secret.is_empty() || sink.url.is_secret());
    let mut paths: Vec<PathBuf> = effective.file.clone().into_iter().filter(|_| has_secret).collect();
    paths.extend(sinks().filter_map(|sink| sink.secret_file.clone()));
    paths.extend(access.secret_files());
    paths.sort();
    paths.dedup();
    paths
}

/// Whether the file and all folders above it are open to others.
pub fn is_exposed(path: &Path) -> bool {
    let Ok(path) = fs::canonicalize(path) else { return false };
    let allows = |path: &Path, bit: u32| fs::metadata(path).is_ok_and(|there| there.mode() & bit != 0);
    allows(&path, 0o004) && path.ancestors().skip(1).all(|folder| allows(folder, 0o001))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load::{Layers, load};
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_file_with_secrets_that_everybody_can_read_is_named() {
        let folder = std::env::temp_dir().join(format!("headroom-exposure-{}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        let (file, secret) = (folder.join("headroom.toml"), folder.join("secret"));
        fs::write(&secret, "hush").unwrap();
        let mode = |path: &Path, mode: u32| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        let said = |text: &str| {
            fs::write(&file, text).unwrap();
            mode(&file, 0o644);
            let effective = load(&Layers { file: Some(file.clone()), ..Layers::default() }).unwrap();
            warnings(&effective, &Access::open(None).unwrap())
        };
        mode(&folder, 0o755);
        mode(&secret, 0o644);
        let webhook = "[[sink.webhook]]\nurl = \"http://a.example.com/\"\n";
        assert_eq!(said(webhook), [""; 0]);
        assert_eq!(said(&format!("{webhook}secret = \"hush\"")), [warning(&file)]);
        assert_eq!(said("[[sink.webhook]]\nurl = \"http://a.example.com/T0/hush\"\n"), [warning(&file)]);
        let named = format!("{webhook}secret_file = {secret:?}");
        assert_eq!(said(&named), [warning(&secret)]);
        mode(&folder, 0o750);
        assert_eq!(said(&named), [""; 0], "nobody else gets into the folder");
        mode(&folder, 0o755);
        mode(&secret, 0o640);
        assert_eq!(said(&named), [""; 0]);
        fs::remove_dir_all(folder).unwrap();
    }
}
