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
    tick: Interval,
}

#[derive(Debug)]
struct Interval {
    length: Duration,
    next: Instant,
}

impl Interval {
    /// Whether it is over; then another one begins. After a pause (stopped process, suspended host) one is late, and none of those
    /// that were missed comes.
    fn is_over(&mut self, now: Instant) -> bool {
        let over = now >= self.next;
        if over {
            self.next += self.length;
            if self.next <= now {
                self.next = now + self.length;
            }
        }
        over
    }
}

impl Pace {
    /// The first tick is due at once. Must be called within a runtime.
    pub fn new(tick: Duration) -> io::Result<Pace> {
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)?;
        // SAFETY: nothing else owns or closes the descriptor.
        let timer = unsafe { AsyncFd::register_with_interest(timer, Interest::READABLE) }?;
        Ok(Pace { timer, set: None, tick: Interval { length: tick, next: Instant::now() } })
    }

    /// Waits for the next tick. Nothing is lost if it is dropped before.
    pub async fn next(&mut self) -> io::Result<()> {
        loop {
            let now = Instant::now();
            if self.tick.is_over(now) {
                return Ok(());
            }
            // Setting it also takes what it has counted, so that it need not be read.
            if self.set != Some(self.tick.next) {
                set(&self.timer, self.tick.next - now)?;
                self.set = Some(self.tick.next);
            }
            self.timer.readable().await?.clear_ready();
            self.set = None;
        }
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

    #[test]
    fn one_that_was_missed_comes_once_and_a_late_one_does_not_move_the_next() {
        let begun = Instant::now();
        let at = |ms| begun + Duration::from_millis(ms);
        let mut interval = Interval { length: Duration::from_millis(100), next: begun };
        assert!(interval.is_over(at(0)) && !interval.is_over(at(99)));
        assert!(interval.is_over(at(130)) && !interval.is_over(at(199)) && interval.is_over(at(200)));
        assert!(interval.is_over(at(1000)) && !interval.is_over(at(1099)) && interval.is_over(at(1100)));
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
