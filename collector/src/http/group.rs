//! Whether whoever is at the other end of a Unix socket is in a group, by the kernel's word: its groups when it connected. Knows no names.

use std::os::fd::{AsFd, AsRawFd as _};

/// Groups that somebody may be in (NGROUPS_MAX).
const MOST: usize = 65_536;
/// The usual length of the list.
const USUAL: usize = 64;

/// `own` is its effective group, which the list may lack.
pub(super) fn is_member(socket: impl AsFd, own: u32, group: u32) -> bool {
    own == group || groups(socket).is_some_and(|groups| groups.contains(&group))
}

/// All of them but its effective group.
pub fn groups(socket: impl AsFd) -> Option<Vec<u32>> {
    let socket = socket.as_fd().as_raw_fd();
    let mut room = USUAL;
    loop {
        let mut groups = vec![0_u32; room];
        let mut bytes = libc::socklen_t::try_from(room * size_of::<u32>()).ok()?;
        // SAFETY: the buffer has as many bytes as the length says, and both outlive the call.
        let failed = unsafe {
            libc::getsockopt(
                socket,
                libc::SOL_SOCKET,
                libc::SO_PEERGROUPS,
                groups.as_mut_ptr().cast::<libc::c_void>(),
                &mut bytes,
            )
        };
        let found = bytes as usize / size_of::<u32>();
        if failed == 0 {
            groups.truncate(found);
            return Some(groups);
        }
        // The kernel says how many there are (sk_getsockopt of net/core/sock.c).
        let short = std::io::Error::last_os_error().raw_os_error() == Some(libc::ERANGE);
        if !short || found <= room || found > MOST {
            return None;
        }
        room = found;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    #[test]
    fn the_groups_of_this_process_are_those_that_proc_says() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("Groups:")).unwrap();
        let expected: Vec<u32> = line.split_whitespace().map(|id| id.parse().unwrap()).collect();
        assert_eq!(groups(&ours), Some(expected.clone()));
        let none = (1..).find(|id| !expected.contains(id)).unwrap();
        assert!(is_member(&ours, none, none) && !is_member(&ours, none + 1, none));
        assert!(expected.iter().all(|id| is_member(&ours, none, *id)));
    }
}
