//! Recent victims of the OOM killer. The kernel marks threads, so one kill may come as several marks.

use std::collections::VecDeque;

/// At most this many marks are remembered. Only many kills whose victims exit slowly need as many.
const KEPT: usize = 256;

/// How long a victim may take to exit, in nanoseconds. Until then its other threads may still allocate and be marked. After
/// that, its pid may belong to another process.
const END_NS: u64 = 60_000_000_000;

#[derive(Clone, Debug, Default)]
pub struct Victims(VecDeque<Mark>);

#[derive(Clone, Copy, Debug)]
struct Mark {
    time: u64,
    pid: u32,
    tid: u32,
}

impl Victims {
    /// Records that a thread was marked; `true` if its process was not known to be killed. A thread is marked only once: the
    /// same tid again is a new thread, of a process that reuses the pid.
    pub(crate) fn mark(&mut self, time: u64, pid: u32, tid: u32) -> bool {
        // Marks that are reported at the exit of the thread may come slightly out of order.
        let recent = |mark: &&Mark| mark.pid == pid && time.abs_diff(mark.time) < END_NS;
        let known =
            self.0.iter().any(|mark| recent(&mark)) && !self.0.iter().any(|mark| recent(&mark) && mark.tid == tid);
        if !known {
            self.0.retain(|mark| mark.pid != pid);
        }
        if self.0.len() == KEPT {
            self.0.pop_front();
        }
        self.0.push_back(Mark { time, pid, tid });
        !known
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_threads_of_one_process_are_one_kill() {
        let mut victims = Victims::default();
        assert!(victims.mark(100, 7, 7));
        assert!(!victims.mark(101, 7, 9));
        assert!(!victims.mark(99, 7, 8));
        assert!(victims.mark(101, 8, 8), "another process");
    }

    #[test]
    fn the_same_tid_again_is_another_process_with_the_same_pid() {
        let mut victims = Victims::default();
        assert!(victims.mark(100, 7, 7));
        assert!(!victims.mark(101, 7, 9));
        assert!(victims.mark(102, 7, 7));
        assert!(!victims.mark(103, 7, 9), "the threads of the first are forgotten with it");
    }

    #[test]
    fn long_after_a_kill_the_pid_is_free() {
        let mut victims = Victims::default();
        assert!(victims.mark(100, 7, 7));
        assert!(victims.mark(100 + END_NS, 7, 9));
    }

    #[test]
    fn memory_is_bounded() {
        let mut victims = Victims::default();
        for pid in 0..2 * KEPT as u32 {
            assert!(victims.mark(100, pid, pid));
        }
        assert_eq!(victims.0.len(), KEPT);
    }
}
