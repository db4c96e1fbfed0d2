//! Files that nobody but the agent may write, nor read unless a group is named that may: the recording and the journal. Whoever can write to their folder must not
//! make the agent write through a link, or open a device or a pipe, so the type of a file is known before it is opened.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, ErrorKind};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Gid, Mode, OFlags, Uid, chownat, openat};

const FILE: u32 = 0o600;
const FOLDER: u32 = 0o700;
/// Where a group may read, too.
const SHARED_FILE: u32 = 0o640;
const SHARED_FOLDER: u32 = 0o750;

/// Creates a folder, and those above it, where they are missing. One that exists stays as it is.
pub fn folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(FOLDER).create(path)
}

/// An empty file in the place of an earlier one, to append to.
pub fn replace(path: &Path) -> io::Result<File> {
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        folder(parent)?;
    }
    match fs::symlink_metadata(path) {
        Ok(there) if there.is_file() => fs::remove_file(path)?,
        Ok(_) => return Err(unfit("it is a link, a device or a folder, and not a file")),
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    // Exclusive, so a link that was put there since then is not followed.
    File::options().append(true).create_new(true).mode(FILE).open(path)
}

/// Makes sure that the file at this path is the agent's alone, before a library opens it by its path. Creates it.
pub fn claim(path: &Path) -> io::Result<()> {
    match File::options().write(true).create_new(true).mode(FILE).open(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => secure(path),
        other => other.map(drop),
    }
}

/// The same for a file that may be missing.
pub fn secure(path: &Path) -> io::Result<()> {
    let Some(file) = plain(path)? else { return Ok(()) };
    let there = file.metadata()?;
    if there.uid() != rustix::process::geteuid().as_raw() {
        return Err(unfit(&format!("it belongs to uid {}", there.uid())));
    }
    if there.mode() & 0o7777 != FILE {
        // Through the descriptor, which stands for the file that was looked at.
        fs::set_permissions(format!("/proc/self/fd/{}", file.as_raw_fd()), Permissions::from_mode(FILE))?;
    }
    Ok(())
}

/// Lets the members of a group read a file of the agent's own, if it exists, or look into its folder.
pub fn share(path: &Path, gid: u32) -> io::Result<()> {
    let folder = path.symlink_metadata().is_ok_and(|there| there.is_dir());
    let file = if folder { Some(File::from(find(path)?)) } else { plain(path)? };
    let Some(file) = file else { return Ok(()) };
    let there = file.metadata()?;
    if there.uid() != rustix::process::geteuid().as_raw() {
        return Err(unfit(&format!("it belongs to uid {}", there.uid())));
    }
    // A folder that others may look into already is not only the agent's.
    if folder && ![FOLDER, SHARED_FOLDER].contains(&(there.mode() & 0o7777)) {
        return Ok(());
    }
    if there.gid() != gid {
        chownat(&file, "", None, Some(Gid::from_raw(gid)), AtFlags::EMPTY_PATH | AtFlags::SYMLINK_NOFOLLOW)?;
    }
    let mode = if folder { SHARED_FOLDER } else { SHARED_FILE };
    fs::set_permissions(format!("/proc/self/fd/{}", file.as_raw_fd()), Permissions::from_mode(mode))
}

/// Gives a file or folder to a user, if it exists and is neither a link nor a device.
pub fn give(path: &Path, uid: u32, gid: u32) -> io::Result<()> {
    let file = match path.symlink_metadata() {
        Ok(there) if there.is_dir() => Some(find(path)?),
        _ => plain(path)?.map(OwnedFd::from),
    };
    let Some(file) = file else { return Ok(()) };
    let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
    Ok(chownat(&file, "", uid, gid, AtFlags::EMPTY_PATH | AtFlags::SYMLINK_NOFOLLOW)?)
}

/// A handle on a file that has this name alone. It can be asked, and not read.
fn plain(path: &Path) -> io::Result<Option<File>> {
    let file = match find(path) {
        Ok(found) => File::from(found),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let there = file.metadata()?;
    if !there.is_file() {
        return Err(unfit("it is a link, a device or a folder, and not a file"));
    }
    if there.nlink() > 1 {
        return Err(unfit("it has another name too (a hard link)"));
    }
    Ok(Some(file))
}

fn find(path: &Path) -> io::Result<OwnedFd> {
    Ok(openat(CWD, path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?)
}

fn unfit(why: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidInput, why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;
    use std::os::unix::fs::symlink;
    use std::path::PathBuf;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Folder {
            let path = std::env::temp_dir().join(format!("headroom-private-{name}-{}", std::process::id()));
            fs::create_dir(&path).unwrap();
            Folder(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().mode() & 0o7777
    }

    #[test]
    fn what_is_created_is_for_the_owner_alone() {
        let folder = Folder::new("created");
        let file = folder.0.join("state/record");
        replace(&file).unwrap().write_all(b"old").unwrap();
        assert_eq!((mode(&file), mode(file.parent().unwrap())), (0o600, 0o700));
        fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
        drop(replace(&file).unwrap());
        assert_eq!((mode(&file), fs::read(&file).unwrap()), (0o600, vec![]));
        fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
        claim(&file).unwrap();
        assert_eq!(mode(&file), 0o600);
    }

    #[test]
    fn neither_links_nor_devices_nor_pipes_are_opened() {
        let folder = Folder::new("links");
        let (target, link, hard) = (folder.0.join("target"), folder.0.join("link"), folder.0.join("hard"));
        fs::write(&target, "theirs").unwrap();
        fs::set_permissions(&target, Permissions::from_mode(0o640)).unwrap();
        symlink(&target, &link).unwrap();
        let pipe = folder.0.join("pipe");
        rustix::fs::mknodat(CWD, &pipe, rustix::fs::FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        // Opening the pipe would wait for its other end.
        for path in [&link, &pipe, Path::new("/dev/full")] {
            assert_eq!(replace(path).unwrap_err().kind(), ErrorKind::InvalidInput, "{}", path.display());
            assert_eq!(claim(path).unwrap_err().kind(), ErrorKind::InvalidInput, "{}", path.display());
        }
        fs::hard_link(&target, &hard).unwrap();
        assert!(claim(&hard).unwrap_err().to_string().contains("another name"));
        assert_eq!(fs::read_to_string(&target).unwrap(), "theirs");
        assert_eq!(mode(&target), 0o640, "it was not touched");
        assert!(secure(&folder.0.join("missing")).is_ok());
    }
}
