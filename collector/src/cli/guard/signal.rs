//! The signals that a wrapper takes for the command that it runs: blocked, and read one by one with their sender. Knows no command.

use std::io;
use std::mem::zeroed;
use std::ptr::null_mut;
use std::time::Duration;

use libc::{c_int, pid_t, sigset_t, timespec};

/// What the command gets, too, if somebody sends it to the guard.
const PASSED_ON: [c_int; 10] = [
    libc::SIGHUP,
    libc::SIGINT,
    libc::SIGQUIT,
    libc::SIGTERM,
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGALRM,
    libc::SIGWINCH,
    libc::SIGTSTP,
    libc::SIGCONT,
];

/// These signals do not act on this process while this lives: they wait to be read.
pub struct Signals {
    taken: sigset_t,
    before: sigset_t,
}

/// A signal that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Came {
    pub signal: c_int,
    /// From the kernel, such as for a key on the terminal: then all processes of the group got it.
    pub from_kernel: bool,
    /// The process that sent it; 0 if none of this pid namespace did.
    pub sender: pid_t,
}

impl Signals {
    /// Takes them, but for those that are ignored: `nohup` means the command as well.
    pub fn take() -> io::Result<Signals> {
        // A parent may have ignored it, and then no child could be waited for.
        // SAFETY: a valid signal and a valid disposition.
        if unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) } == libc::SIG_ERR {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: a set of signals is plain data, and `sigemptyset` makes it a valid one.
        let (mut taken, mut before) = unsafe { (zeroed::<sigset_t>(), zeroed::<sigset_t>()) };
        // SAFETY: both are valid to write to, and all are numbers of signals.
        unsafe {
            libc::sigemptyset(&mut taken);
            libc::sigaddset(&mut taken, libc::SIGCHLD);
            for signal in PASSED_ON.into_iter().filter(|signal| !is_ignored(*signal)) {
                libc::sigaddset(&mut taken, signal);
            }
            match libc::pthread_sigmask(libc::SIG_BLOCK, &taken, &mut before) {
                0 => Ok(Signals { taken, before }),
                error => Err(io::Error::from_raw_os_error(error)),
            }
        }
    }

    /// What this process blocked before: the command's own.
    pub fn before(&self) -> sigset_t {
        self.before
    }

    /// The next one, if one comes within this time.
    pub fn next(&self, within: Duration) -> io::Result<Option<Came>> {
        // SAFETY: plain data; the kernel fills it.
        let mut info = unsafe { zeroed::<libc::siginfo_t>() };
        let seconds = within.as_secs().try_into().unwrap_or(libc::time_t::MAX);
        let time = timespec { tv_sec: seconds, tv_nsec: within.subsec_nanos().into() };
        // SAFETY: the set, the information and the time are valid for the call.
        match unsafe { libc::sigtimedwait(&self.taken, &mut info, &time) } {
            -1 => match io::Error::last_os_error() {
                // EINTR: it was stopped and went on.
                error if matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EINTR)) => Ok(None),
                error => Err(error),
            },
            signal => {
                let from_kernel = info.si_code > 0;
                // SAFETY: a signal that a process sent has the sender's pid, and one from the kernel is not asked for it.
                let sender = if from_kernel { 0 } else { unsafe { info.si_pid() } };
                Ok(Some(Came { signal, from_kernel, sender }))
            }
        }
    }
}

/// Ends this process with a signal, as its command ended. Returns if that does not end it.
pub fn end_with(signal: c_int) {
    // SAFETY: a valid signal with its default disposition, to this process.
    unsafe {
        libc::signal(signal, libc::SIG_DFL);
        libc::raise(signal);
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        block_only(&self.before);
    }
}

/// Blocks these signals and no others, in this thread.
pub fn block_only(mask: &sigset_t) {
    // SAFETY: a mask that the kernel gave.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, mask, null_mut()) };
}

fn is_ignored(signal: c_int) -> bool {
    // SAFETY: plain data; the kernel fills it, and the disposition stays as it is.
    unsafe {
        let mut action = zeroed::<libc::sigaction>();
        libc::sigaction(signal, std::ptr::null(), &mut action) == 0 && action.sa_sigaction == libc::SIG_IGN
    }
}
