//! Which processes the OOM killer has killed of late: the kernel marks threads, and one kill may come as several marks.

use std::collections::VecDeque;

/// Kills that are remembered. Only a storm of kills that each take long to end needs as many.
const KEPT: usize = 256;

/// How long a victim may take to end, in nanoseconds. Until then its other threads, dying, may still ask for memory, and
/// be marked for it; after that its process id may well be another's.
const END_NS: u64 = 60_000_000_000;

/// The victims of late.
#[derive(Clone, Debug, Default)]
pub struct Victims(VecDeque<Mark>);

#[derive(Clone, Copy, Debug)]
struct Mark {
    time: u64,
    pid: u32,
    tid: u32,
}

impl Victims {
    /// Takes down that a thread was marked; `true` if that is the kill of its process, and not one more thread of a
    /// process whose kill is known. A thread is marked once in its life: the same thread again is another one, whose
    /// process got the id of one that is gone.
    pub(crate) fn mark(&mut self, time: u64, pid: u32, tid: u32) -> bool {
        // Marks may come a little out of order where they are told at the exit of the thread.
        let lately = |mark: &&Mark| mark.pid == pid && time.abs_diff(mark.time) < END_NS;
        let known =
            self.0.iter().any(|mark| lately(&mark)) && !self.0.iter().any(|mark| lately(&mark) && mark.tid == tid);
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
    fn a_thread_that_is_marked_again_is_of_another_process_with_the_same_id() {
        let mut victims = Victims::default();
        assert!(victims.mark(100, 7, 7));
        assert!(!victims.mark(101, 7, 9));
        assert!(victims.mark(102, 7, 7));
        assert!(!victims.mark(103, 7, 9), "the threads of the first are forgotten with it");
    }

    #[test]
    fn long_after_a_kill_its_process_id_is_anybodys() {
        let mut victims = Victims::default();
        assert!(victims.mark(100, 7, 7));
        assert!(victims.mark(100 + END_NS, 7, 9));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut victims = Victims::default();
        for pid in 0..2 * KEPT as u32 {
            assert!(victims.mark(100, pid, pid));
        }
        assert_eq!(victims.0.len(), KEPT);
    }
}
