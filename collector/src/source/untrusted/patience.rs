//! Runs calls that may never return, such as the opening of a file on a server that is gone. Each has a deadline; a thread
//! that misses it is left blocked, and another one goes on with the rest. Knows nothing about what the calls do.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use super::Owner;

/// Limit on blocked threads. Once it is reached, no call is made until one of them returns.
const MAX_STUCK: usize = 8;
/// The same for calls about users' files: they leave room for root's.
const MAX_STUCK_USERS: usize = 6;
/// Stack size of a thread in bytes; more than reading a file needs.
const STACK: usize = 512 * 1024;

type Job = Box<dyn FnOnce() + Send>;

/// Makes calls one after the other, each with the deadline.
pub struct Patience {
    name: &'static str,
    deadline: Duration,
    /// To the thread that is not blocked.
    thread: Option<SyncSender<Job>>,
    stuck: Vec<Stuck>,
}

/// A call that missed its deadline.
struct Stuck {
    owner: Owner,
    what: String,
    returned: Arc<AtomicBool>,
}

/// Set when a call returns, also by a panic.
struct Returned(Arc<AtomicBool>);

impl Drop for Returned {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

impl Patience {
    /// `name` is that of the threads.
    pub fn new(name: &'static str, deadline: Duration) -> Patience {
        Patience { name, deadline, thread: None, stuck: Vec::new() }
    }

    /// Makes a call that is about `what` of `owner`. The same errors as [`Self::call_within`].
    pub fn call<T, F>(&mut self, owner: Owner, what: &str, call: F) -> io::Result<T>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        self.call_within(self.deadline, owner, what, call)
    }

    /// Makes a call that may take up to `deadline` and is about `what` of `owner`. [`io::ErrorKind::TimedOut`] if it misses the deadline, or if an earlier one
    /// still does: a user has one thread at most, anybody else one per `what`.
    pub fn call_within<T, F>(&mut self, deadline: Duration, owner: Owner, what: &str, call: F) -> io::Result<T>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        self.stuck.retain(|stuck| !stuck.returned.load(Ordering::Acquire));
        let is_user = |owner: Owner| matches!(owner, Owner::User(_));
        let same = |stuck: &&Stuck| stuck.owner == owner && (is_user(owner) || stuck.what == what);
        if let Some(stuck) = self.stuck.iter().find(same) {
            return Err(timed_out(&stuck.what));
        }
        let users = self.stuck.iter().filter(|stuck| is_user(stuck.owner)).count();
        if self.stuck.len() >= MAX_STUCK || (is_user(owner) && users >= MAX_STUCK_USERS) {
            let why = format!("not read: {} other reads have had no answer yet", self.stuck.len());
            return Err(io::Error::new(io::ErrorKind::TimedOut, why));
        }
        let (sender, result) = sync_channel(1);
        let returned = Arc::new(AtomicBool::new(false));
        let flag = returned.clone();
        self.submit(Box::new(move || {
            let returned = Returned(flag);
            let result = call();
            drop(returned);
            // Nobody waits for a late result.
            let _ = sender.send(result);
        }))?;
        match result.recv_timeout(deadline) {
            Ok(result) => Ok(result),
            Err(RecvTimeoutError::Disconnected) => {
                self.thread = None;
                Err(io::Error::other("the thread that read it has ended"))
            }
            Err(RecvTimeoutError::Timeout) => {
                // It ends when its call returns.
                self.thread = None;
                self.stuck.push(Stuck { owner, what: what.to_owned(), returned });
                Err(timed_out(what))
            }
        }
    }

    /// What does not answer now.
    pub fn stuck(&self) -> impl Iterator<Item = &str> {
        let waits = |stuck: &&Stuck| !stuck.returned.load(Ordering::Acquire);
        self.stuck.iter().filter(waits).map(|stuck| stuck.what.as_str())
    }

    fn submit(&mut self, job: Job) -> io::Result<()> {
        let thread = match self.thread.take() {
            Some(thread) => thread,
            None => {
                let (thread, jobs) = sync_channel::<Job>(1);
                let builder = thread::Builder::new().name(self.name.to_owned()).stack_size(STACK);
                builder.spawn(move || jobs.into_iter().for_each(|job| job()))?;
                thread
            }
        };
        thread.send(job).map_err(|_| io::Error::other("the thread that reads files has ended"))?;
        self.thread = Some(thread);
        Ok(())
    }
}

fn timed_out(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, format!("{what} does not answer"))
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::time::Instant;

    use super::*;

    /// A call that blocks until the writer is dropped or written to, like one on a server that is gone.
    fn blocked() -> (impl FnOnce() -> usize + Send + 'static, io::PipeWriter) {
        let (mut reader, writer) = io::pipe().unwrap();
        (move || reader.read(&mut [0]).unwrap(), writer)
    }

    #[test]
    fn a_call_that_hangs_costs_its_owner_and_nobody_else() {
        let mut patience = Patience::new("test", Duration::from_millis(20));
        let (call, mut gone) = blocked();
        let error = patience.call(Owner::User(1), "the home of user 1", call).unwrap_err();
        assert_eq!(
            (error.kind(), &*error.to_string()),
            (io::ErrorKind::TimedOut, "the home of user 1 does not answer")
        );
        let ran = Instant::now();
        for what in ["the home of user 1", "another folder"] {
            let refused = patience.call(Owner::User(1), what, || panic!("not tried again"));
            assert_eq!(refused.map(|(): ()| ()).unwrap_err().kind(), io::ErrorKind::TimedOut);
        }
        assert_eq!(patience.call(Owner::User(2), "b", || 2).unwrap(), 2);
        assert_eq!(patience.call(Owner::Root, "c", || 3).unwrap(), 3);
        assert_eq!(patience.stuck().collect::<Vec<_>>(), ["the home of user 1"]);
        gone.write_all(b"x").unwrap();
        while patience.stuck().next().is_some() {
            thread::yield_now();
            assert!(ran.elapsed() < Duration::from_secs(60), "the call has returned");
        }
        assert_eq!(patience.call(Owner::User(1), "the home of user 1", || 1).unwrap(), 1);
    }

    #[test]
    fn blocked_threads_are_few_and_users_leave_some_for_root() {
        let mut patience = Patience::new("test", Duration::from_millis(1));
        let mut writers = Vec::new();
        let mut hang = |patience: &mut Patience, owner, what: &str| {
            let (call, writer) = blocked();
            writers.push(writer);
            patience.call(owner, what, call).unwrap_err().to_string()
        };
        for uid in 0..7 {
            let error = hang(&mut patience, Owner::User(uid), "a home");
            assert_eq!(error.contains("6 other reads"), uid == 6, "{error}");
        }
        // However slow this machine is: a call that is made, and not refused, hangs.
        for what in ["a", "a", "b", "c"] {
            let error = hang(&mut patience, Owner::Process, what);
            assert_eq!(error.contains("8 other reads"), what == "c", "{what}: {error}");
        }
        assert_eq!(patience.stuck().count(), 8);
    }
}
