//! Homes of users, from the host's /etc/passwd. Users of a directory service are not in it.

use std::io;
use std::path::PathBuf;

use super::root::Root;
use super::untrusted::{Owner, Place};

/// Limit on the file's length in bytes.
const LONGEST: u64 = 16 << 20;

/// A user's home directory.
pub fn home(root: &Root, uid: u32) -> io::Result<Option<PathBuf>> {
    let Some(content) = Place::new(root.at("/etc/passwd"), Owner::Root).read(LONGEST)? else { return Ok(None) };
    // name:password:uid:gid:comment:home:shell (passwd(5))
    let content = String::from_utf8_lossy(&content);
    let home = content.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.nth(2)?.parse() == Ok(uid)).then(|| fields.nth(2))?
    });
    Ok(home.filter(|home| home.starts_with('/')).map(|home| root.at(home)))
}
