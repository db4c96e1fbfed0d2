//! The user that a root agent becomes once it has started, and what it must own then. Files of an earlier agent that ran as root are
//! taken over.

use std::ffi::{CStr, CString};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use caps::Capability;

use crate::config::Config;
use crate::private;
use crate::privilege;
use crate::sink::{self, database};

/// Made by the unit, the DaemonSet or the agent for itself alone, so it may be given away whole.
const RUNTIME: &str = "/run/headroom";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    pub uid: u32,
    pub gid: u32,
    /// None if only its number is known: then it is in no other group.
    name: Option<CString>,
}

/// The user to become: the setting `user`, a name or a number. None if this process is not root, or is to stay so.
///
/// # Errors
/// Why it stays root although it should not.
pub fn find(config: &Config) -> Result<Option<User>, String> {
    if !rustix::process::geteuid().is_root() || config.user.is_empty() {
        return Ok(None);
    }
    let missing = [Capability::CAP_SETUID, Capability::CAP_SETGID, Capability::CAP_CHOWN];
    if let Some(capability) = missing.into_iter().find(|capability| !privilege::has(*capability)) {
        return Err(format!("to become the user {} takes {capability}", config.user));
    }
    let user = match config.user.parse() {
        Ok(uid) => Some(User { uid, gid: uid, name: None }),
        Err(_) => look_up(&config.user).map_err(|error| format!("the user {}: {error}", config.user))?,
    };
    let user = user.ok_or_else(|| format!("there is no user {} here", config.user))?;
    Ok(Some(user).filter(|user| user.uid != 0))
}

/// The number of a user, by name or number.
pub fn number(name: &str) -> Option<u32> {
    name.parse().ok().or_else(|| Some(look_up(name).ok()??.uid))
}

/// The number of a group, by name or number.
pub fn group(name: &str) -> Option<u32> {
    if let Ok(number) = name.parse() {
        return Some(number);
    }
    let name = CString::new(name).ok()?;
    // A group with many members takes more, and is then not found.
    let mut buffer = vec![0; 256 << 10];
    // SAFETY: all zero is a valid value of this C structure; it is read only after the call has filled it.
    let mut entry: libc::group = unsafe { std::mem::zeroed() };
    let mut found = std::ptr::null_mut();
    // SAFETY: all pointers are valid for the call, and the length is the buffer's.
    let failed = unsafe { libc::getgrnam_r(name.as_ptr(), &mut entry, buffer.as_mut_ptr(), buffer.len(), &mut found) };
    (failed == 0 && !found.is_null()).then_some(entry.gr_gid)
}

fn look_up(name: &str) -> io::Result<Option<User>> {
    let name = CString::new(name)?;
    let mut buffer = vec![0; 16 << 10];
    // SAFETY: all zero is a valid value of this C structure; it is read only after the call has filled it.
    let mut entry: libc::passwd = unsafe { std::mem::zeroed() };
    let mut found = std::ptr::null_mut();
    // SAFETY: all pointers are valid for the call, and the length is the buffer's.
    let failed = unsafe { libc::getpwnam_r(name.as_ptr(), &mut entry, buffer.as_mut_ptr(), buffer.len(), &mut found) };
    match failed {
        0 if found.is_null() => Ok(None),
        0 => Ok(Some(User { uid: entry.pw_uid, gid: entry.pw_gid, name: Some(name) })),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

/// The folder of the lock or of the socket, if it is the agent's alone.
pub fn runtime_folder(config: &Config) -> Option<PathBuf> {
    let files = [Some(&config.lock), config.socket.as_ref()].into_iter().flatten();
    files.filter_map(|file| file.parent()).find(|folder| *folder == Path::new(RUNTIME)).map(Path::to_owned)
}

impl User {
    /// Gives it what it must be able to write. A root agent made some of it, perhaps long ago.
    pub fn take_over(&self, config: &Config) -> Result<()> {
        let give = |path: &Path| {
            private::give(path, self.uid, self.gid)
                .with_context(|| format!("give {} to uid {}", path.display(), self.uid))
        };
        let folder = &config.journal.dir;
        private::folder(folder).with_context(|| format!("create {}", folder.display()))?;
        let files = database::files(folder, &sink::FILES).with_context(|| format!("list {}", folder.display()))?;
        // A folder that the user has already is not given away.
        let has = folder.metadata().is_ok_and(|there| there.uid() == self.uid);
        if let Some(other) = files.iter().find(|file| !file.is_ours && !has) {
            bail!("{} has files of others, such as {}", folder.display(), other.path.display());
        }
        files.iter().filter(|file| file.is_ours).try_for_each(|file| give(&file.path))?;
        give(folder)?;
        runtime_folder(config).map_or(Ok(()), |folder| give(&folder))
    }

    /// Becomes this user, with the permitted capabilities that it has. The effective ones are gone until they are set again.
    pub fn become_it(&self) -> Result<()> {
        let done = |what: &'static str, result: i32| {
            ensure!(result == 0, "{what}: {}", io::Error::last_os_error());
            anyhow::Ok(())
        };
        let name = self.name.as_deref().map_or(std::ptr::null(), CStr::as_ptr);
        // SAFETY: calls with numbers, and with a name that lives, or with a list of no groups. The C library makes them in all
        // threads.
        unsafe {
            done("keep capabilities", libc::prctl(libc::PR_SET_KEEPCAPS, 1, 0, 0, 0))?;
            match name.is_null() {
                true => done("set groups", libc::setgroups(0, std::ptr::null()))?,
                false => done("set groups", libc::initgroups(name, self.gid))?,
            }
            done("set gid", libc::setresgid(self.gid, self.gid, self.gid))?;
            done("set uid", libc::setresuid(self.uid, self.uid, self.uid))?;
            done("keep capabilities no more", libc::prctl(libc::PR_SET_KEEPCAPS, 0, 0, 0, 0))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_known_by_name_or_number() {
        let root = look_up("root").unwrap().unwrap();
        assert_eq!((root.uid, root.gid), (0, 0));
        assert_eq!(look_up("nobody-has-this-name").unwrap(), None);
        if !rustix::process::geteuid().is_root() {
            return eprintln!("not run: only root becomes another user");
        }
        let of = |user: &str| find(&Config { user: user.into(), ..Config::default() });
        assert_eq!(of("64321"), Ok(Some(User { uid: 64321, gid: 64321, name: None })));
        assert_eq!((of("root"), of("0"), of("")), (Ok(None), Ok(None), Ok(None)));
        assert_eq!(of("nobody-has-this-name"), Err("there is no user nobody-has-this-name here".into()));
    }
}
