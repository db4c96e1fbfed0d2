//! Processes that the OOM killer killed recently, or found dying: the kernel marks threads, so that one process may arrive as
//! several marks.

use std::collections::VecDeque;

/// Maximum number of marks kept. Only many kills at once, of processes that take long to exit, need so many.
const MAX_MARKS: usize = 256;

/// How long a victim may take to exit, in nanoseconds. Until then its other threads may still allocate memory while they exit,
/// and be marked for it; after that its process id may belong to another process.
const EXIT_NS: u64 = 60_000_000_000;

#[derive(Clone, Debug, Default)]
pub struct Victims(VecDeque<Mark>);

#[derive(Clone, Copy, Debug)]
struct Mark {
    time: u64,
    pid: u32,
    tid: u32,
    dying: bool,
}

impl Victims {
    /// Records that a thread was marked. Returns `true` if this is the first mark of its process, `false` if it is one more
    /// thread of a process that is known. A thread is marked once in its life: a second mark of the same thread id belongs to
    /// another thread, whose process reuses the id. Whoever was only found `dying` so far can still be killed.
    pub(crate) fn mark(&mut self, time: u64, pid: u32, tid: u32, dying: bool) -> bool {
        // Marks may be slightly out of order where they are reported at the exit of the thread.
        let recent = |mark: &&Mark| mark.pid == pid && time.abs_diff(mark.time) < EXIT_NS;
        let known = self.0.iter().any(|mark| recent(&mark) && (dying || !mark.dying))
            && !self.0.iter().any(|mark| recent(&mark) && mark.tid == tid);
        if !known {
            self.0.retain(|mark| mark.pid != pid);
        }
        if self.0.len() == MAX_MARKS {
            self.0.pop_front();
        }
        self.0.push_back(Mark { time, pid, tid, dying });
        !known
    }

    /// Whether the OOM killer found this process dying at about that time.
    pub(crate) fn was_dying(&self, time: u64, pid: u32) -> bool {
        self.0.iter().any(|mark| mark.dying && mark.pid == pid && time.abs_diff(mark.time) < EXIT_NS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_threads_of_one_process_are_one_kill() {
        let mut victims = Victims::default();
        assert!(victims.mark(100, 7, 7, false));
        assert!(!victims.mark(101, 7, 9, false));
        assert!(!victims.mark(99, 7, 8, false));
        assert!(victims.mark(101, 8, 8, false), "another process");
    }

    #[test]
    fn a_second_mark_of_a_thread_is_a_kill_of_another_process_with_the_same_id() {
        let mut victims = Victims::default();
        assert!(victims.mark(100, 7, 7, false));
        assert!(!victims.mark(101, 7, 9, false));
        assert!(victims.mark(102, 7, 7, false));
        assert!(!victims.mark(103, 7, 9, false), "the threads of the first are forgotten with it");
    }

    #[test]
    fn long_after_a_kill_its_process_id_may_be_reused() {
        let mut victims = Victims::default();
        assert!(victims.mark(100, 7, 7, false));
        assert!(victims.mark(100 + EXIT_NS, 7, 9, false));
    }

    #[test]
    fn the_number_of_marks_is_bounded() {
        let mut victims = Victims::default();
        for pid in 0..2 * MAX_MARKS as u32 {
            assert!(victims.mark(100, pid, pid, false));
        }
        assert_eq!(victims.0.len(), MAX_MARKS);
    }
    #[test]
    fn who_was_found_dying_can_still_be_killed_but_not_the_reverse() {
        let mut victims = Victims::default();
        assert!(victims.mark(100, 7, 7, true));
        assert!(victims.was_dying(50, 7) && !victims.was_dying(50, 8));
        assert!(!victims.mark(101, 7, 8, true), "its other threads");
        assert!(victims.mark(102, 7, 9, false), "killed after all");
        assert!(!victims.mark(103, 7, 10, true), "a thread of a killed process");
    }
}
