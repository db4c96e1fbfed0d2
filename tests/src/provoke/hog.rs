//! `hog [anon=BYTES] [shmem=BYTES] [file=PATH] [threads=N] [score=ADJ] [uid=UID] [comm=NAME] [rounds=N]`: allocates
//! memory, anonymous memory last, in N threads at once and N times, then exits.

use std::fs::{self, File};

use crate::memory::Memory;
use crate::option::{number, size, text};

pub fn run(arguments: &[String]) {
    dress(arguments);
    if let Some(path) = text(arguments, "file") {
        let memory = Memory::file(&File::open(path).unwrap());
        // Otherwise reclaim takes the file's pages before anything is killed.
        memory.lock();
        memory.read();
    }
    Memory::shared(size(arguments, "shmem")).write();
    // Last before the kill, since the new user may not be allowed anything else.
    become_another(arguments);
    let memory = Memory::anonymous(size(arguments, "anon"));
    let count = number(arguments, "threads").unwrap_or(1) as usize;
    std::thread::scope(|scope| {
        for index in 1..count {
            let part = memory.part(index, count);
            scope.spawn(move || part.write());
        }
        (0..number(arguments, "rounds").unwrap_or(1)).for_each(|_| memory.part(0, count).write());
    });
}

/// Sets what the kernel's OOM report shows of a process besides its memory.
pub fn dress(arguments: &[String]) {
    if let Some(score) = number(arguments, "score") {
        fs::write("/proc/self/oom_score_adj", score.to_string()).unwrap();
    }
    if let Some(name) = text(arguments, "comm") {
        fs::write("/proc/self/comm", name).unwrap();
    }
}

/// Switches to the given user, if any.
pub fn become_another(arguments: &[String]) {
    if let Some(uid) = number(arguments, "uid") {
        // SAFETY: no preconditions.
        assert_eq!(unsafe { libc::setuid(uid as libc::uid_t) }, 0, "setuid: {}", std::io::Error::last_os_error());
    }
}
