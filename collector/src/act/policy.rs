//! Reads the policy's file. Nobody but root may have written it: that is checked on what was opened, and of the folder that it is in.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use collector_core::act::Policy;
use rustix::fs::{CWD, FileType, Mode, OFlags, Stat, fstat, openat};

/// Longest policy, in bytes.
const LONGEST: u64 = 1 << 20;
/// Longest list of users or groups, in bytes.
const NAMES: u64 = 16 << 20;

/// Reads the policy at a path.
///
/// # Errors
/// If somebody other than root could have written it, or it is no policy.
pub fn read(path: &Path) -> Result<Policy> {
    let context = || format!("the policy {}", path.display());
    let text = trusted(path).with_context(context)?;
    let (users, groups) = (names("/etc/passwd"), names("/etc/group"));
    let policy = Policy::parse(&text, &|name| number(&users, name), &|name| number(&groups, name));
    policy.with_context(context)
}

fn trusted(path: &Path) -> Result<String> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).context("its path must be absolute")?;
    let name = path.file_name().context("its path names no file")?;
    let flags = OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::RDONLY;
    let folder = openat(CWD, folder, flags, Mode::empty()).context("open its folder")?;
    roots_alone(&fstat(&folder)?).context("its folder")?;
    // Whoever could change the folder could put a link or a pipe there.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = openat(&folder, name, flags, Mode::empty()).map_err(|error| match error {
        rustix::io::Errno::LOOP => anyhow::anyhow!("it is a link"),
        error => error.into(),
    })?;
    let stat = fstat(&file)?;
    if !FileType::from_raw_mode(stat.st_mode).is_file() {
        bail!("it is no file");
    }
    roots_alone(&stat)?;
    let mut text = String::new();
    File::from(file).take(LONGEST + 1).read_to_string(&mut text).context("read it")?;
    if text.len() as u64 > LONGEST {
        bail!("it is longer than {LONGEST} bytes");
    }
    Ok(text)
}

fn roots_alone(stat: &Stat) -> Result<()> {
    if stat.st_uid != 0 {
        bail!("belongs to uid {}, and must be root's", stat.st_uid);
    }
    if stat.st_mode & 0o022 != 0 {
        bail!("may be written by its group or by everybody: chmod go-w");
    }
    Ok(())
}

/// `name:password:number:…` (passwd(5), group(5)).
fn names(path: &str) -> String {
    let mut text = Vec::new();
    let read = File::open(path).and_then(|file| file.take(NAMES).read_to_end(&mut text));
    if let Err(error) = read {
        tracing::warn!("read {path}: {error}; names in the policy are not found");
    }
    String::from_utf8_lossy(&text).into_owned()
}

fn number(list: &str, name: &str) -> Option<u32> {
    list.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next()? == name).then(|| fields.nth(1)?.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, chown, symlink};

    #[test]
    fn only_what_root_alone_can_write_is_a_policy() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let folder = std::env::temp_dir().join(format!("headroom-act-policy-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir(&folder).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
        let file = folder.join("act.toml");
        let text = "[[allow]]\nname = \"a\"\nkinds = [\"kill\"]\nworkloads = [\"/a\"]\nusers = [\"root\"]\n";
        fs::write(&file, text).unwrap();
        let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        mode(&file, 0o644);
        assert_eq!(read(&file).unwrap().allow[0].uids, [0]);
        let refused = |says: &str| {
            let why = format!("{:#}", read(&file).unwrap_err());
            assert!(why.contains(says), "{why}");
        };
        for bits in [0o664, 0o646, 0o666] {
            mode(&file, bits);
            refused("may be written");
        }
        mode(&file, 0o600);
        chown(&file, Some(64_321), None).unwrap();
        refused("belongs to uid 64321");
        chown(&file, Some(0), None).unwrap();
        mode(&folder, 0o777);
        refused("its folder");
        mode(&folder, 0o755);
        let other = folder.join("other.toml");
        fs::rename(&file, &other).unwrap();
        symlink(&other, &file).unwrap();
        refused("it is a link");
        fs::remove_file(&file).unwrap();
        fs::create_dir(&file).unwrap();
        refused("it is no file");
        fs::remove_dir(&file).unwrap();
        fs::write(&file, "allow = 1").unwrap();
        refused("allow");
        let _ = fs::remove_dir_all(&folder);
    }
}
