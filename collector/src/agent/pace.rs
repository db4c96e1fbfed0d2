//! When the fold loop ticks: a timer of the kernel. An interval of the runtime would wake the thread twice for each, and once more
//! to set it.

use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

#[derive(Debug)]
pub struct Pace {
    timer: AsyncFd<OwnedFd>,
    /// What the timer is set to.
    set: Option<Instant>,
    tick: Duration,
    due: Instant,
}

impl Pace {
    /// The first tick is due at once. Must be called within a runtime.
    pub fn new(tick: Duration) -> io::Result<Pace> {
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)?;
        // SAFETY: nothing else owns or closes the descriptor.
        let timer = unsafe { AsyncFd::register_with_interest(timer, Interest::READABLE) }?;
        Ok(Pace { timer, set: None, tick, due: Instant::now() })
    }

    /// Waits for the next tick. Nothing is lost if it is dropped before.
    pub async fn next(&mut self) -> io::Result<()> {
        loop {
            let now = Instant::now();
            if self.is_due(now) {
                return Ok(());
            }
            // Setting it also takes what it has counted, so that it need not be read.
            if self.set != Some(self.due) {
                set(&self.timer, self.due - now)?;
                self.set = Some(self.due);
            }
            self.timer.readable().await?.clear_ready();
            self.set = None;
        }
    }

    /// Whether a tick is due; then the next one is set. After a pause (stopped process, suspended host) one is late, and none of those
    /// that were missed comes.
    fn is_due(&mut self, now: Instant) -> bool {
        let due = now >= self.due;
        if due {
            self.due += self.tick;
            if self.due <= now {
                self.due = now + self.tick;
            }
        }
        due
    }
}

fn set(timer: &AsyncFd<OwnedFd>, left: Duration) -> io::Result<()> {
    let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
    let value = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
    let once = Itimerspec { it_interval: zero, it_value: value };
    timerfd_settime(timer, TimerfdTimerFlags::empty(), &once)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_that_was_missed_comes_once_and_a_late_one_does_not_move_the_next() {
        let mut pace = Pace::new(Duration::from_millis(100)).unwrap();
        let begun = pace.due;
        let at = |ms| begun + Duration::from_millis(ms);
        assert!(pace.is_due(at(0)) && !pace.is_due(at(99)));
        assert!(pace.is_due(at(130)) && !pace.is_due(at(199)) && pace.is_due(at(200)));
        assert!(pace.is_due(at(1000)) && !pace.is_due(at(1099)) && pace.is_due(at(1100)));
    }

    #[tokio::test]
    async fn ticks_come_also_if_the_wait_for_one_is_dropped() {
        let tick = Duration::from_millis(50);
        let begun = Instant::now();
        let mut pace = Pace::new(tick).unwrap();
        for _ in 0..3 {
            pace.next().await.unwrap();
        }
        assert!(begun.elapsed() >= 2 * tick);
        tokio::select! {
            biased;
            due = pace.next() => due.unwrap(),
            () = std::future::ready(()) => {}
        }
        pace.next().await.unwrap();
        assert!(begun.elapsed() >= 3 * tick);
    }
}
