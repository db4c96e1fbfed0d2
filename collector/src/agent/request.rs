//! Requests on their way to the fold loop: adds what the kernel says about who asks, so that the engine can decide from samples alone.
//! Runs on threads of the endpoint, never on the fold loop's.

use std::os::unix::fs::MetadataExt as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use collector_core::api::change::Wanted;
use collector_core::api::problem::Problem;
use collector_core::lease::{Answer, Asked, Caller, Owner, OwnerName, Request, Use};
use collector_core::rate::{Bucket, Rates};
use tokio::sync::{mpsc, oneshot};

use crate::clock;
use crate::http::{Client, Requests};
use crate::mutex::lock;
use crate::source::lease::place::Places;
use crate::source::lease::tree::{self, Found};

/// Requests of one user other than root: this many a second, after as many at once.
const RATE: Bucket = Bucket::new(50.0, 200.0);

/// Releases of one user other than root: they give room back, so that they are no part of the others.
const RELEASES: Bucket = Bucket::new(100.0, 512.0);

/// So many processes of an owner count as one more request.
const TREE: usize = 16;

/// A request, and where its answer goes.
pub struct Incoming {
    pub request: Request,
    pub answer: Option<oneshot::Sender<Answer>>,
}

pub struct Intake {
    // Not bounded here: a connection has one request on its way, and there are few connections.
    sender: mpsc::UnboundedSender<Incoming>,
    next: AtomicU64,
    places: Places,
    /// Users who may ask for a high priority.
    high: Mutex<Vec<u32>>,
    /// The agent's own.
    own: u32,
    rates: Mutex<Rates>,
    releases: Mutex<Rates>,
}

impl Intake {
    /// `high`: users who may ask for a high priority.
    pub fn new(places: Places, high: Vec<u32>) -> (Intake, mpsc::UnboundedReceiver<Incoming>) {
        let (sender, requests) = mpsc::unbounded_channel();
        let intake = Intake {
            sender,
            next: AtomicU64::new(1),
            places,
            high: Mutex::new(high),
            own: rustix::process::geteuid().as_raw(),
            rates: Mutex::new(Rates::new(RATE)),
            releases: Mutex::new(Rates::new(RELEASES)),
        };
        (intake, requests)
    }

    /// From now on these users may ask for a high priority.
    pub fn allow(&self, high: Vec<u32>) {
        *lock(&self.high) = high;
    }

    fn caller(&self, client: &Client) -> Caller {
        let uid = client.uid;
        let privileged = uid == 0 || uid == self.own;
        let high = privileged || lock(&self.high).contains(&uid);
        Caller { uid, privileged, high, all: client.all, ..Caller::default() }
    }

    /// An owner that the caller may name, its cgroup, and how old it is, in nanoseconds.
    fn owner(
        &self,
        client: &Client,
        caller: &Caller,
        name: Option<OwnerName>,
    ) -> Result<(Owner, Option<String>, u64), Problem> {
        let process = |pid: u32| {
            let life = self.places.life(pid).filter(|life| !life.ended && pid > 0);
            life.ok_or_else(|| Problem::new(400, format!("there is no process {pid} here: name another owner")))
        };
        let pid = match name {
            Some(OwnerName::Cgroup(path)) => {
                self.cgroup(client, caller, &path)?;
                return Ok((Owner::Cgroup { path: path.clone() }, Some(path), u64::MAX));
            }
            Some(OwnerName::Pid(pid)) => {
                let nested = self.places.user(client.pid).is_none_or(|(_, nested)| nested);
                if nested && client.pid != pid {
                    return Err(Problem::new(
                        400,
                        "a pid counts in the namespace of its container: name no owner, or its cgroup by its path on the host",
                    ));
                }
                pid
            }
            None => client.pid,
        };
        let life = process(pid)?;
        let owner = self.places.user(pid).map(|(uid, _)| uid);
        if !caller.privileged && owner != Some(caller.uid) {
            return Err(Problem::new(403, format!("process {pid} is not of user {}", caller.uid)));
        }
        let ticks = rustix::param::clock_ticks_per_second().max(1);
        let begun = life.started.saturating_mul(1_000_000_000 / ticks);
        let age = clock::boot_ns().saturating_sub(begun);
        let cgroup = self.places.of(pid).ok().flatten();
        Ok((Owner::Process { pid, started: life.started }, cgroup, age))
    }

    /// Whether the caller may name a cgroup: its own, or one that its user was given.
    fn cgroup(&self, client: &Client, caller: &Caller, path: &str) -> Result<(), Problem> {
        let plain = path.starts_with('/') && path.len() > 1 && !path.ends_with('/');
        let steps = path.split('/').skip(1);
        if !plain || steps.into_iter().any(|name| name.is_empty() || name == "." || name == "..") {
            return Err(Problem::new(
                400,
                "the path of a cgroup begins with a slash, as in /proc/self/cgroup, and is not the root",
            ));
        }
        let found = self.places.directory(path).and_then(|directory| directory.metadata().ok());
        let found = found.ok_or_else(|| Problem::new(400, format!("there is no memory cgroup {path} here")))?;
        let own = self.places.of(client.pid).ok().flatten();
        match caller.privileged || own.as_deref() == Some(path) || found.uid() == caller.uid {
            true => Ok(()),
            false => Err(Problem::new(403, format!("cgroup {path} is not of user {}", caller.uid))),
        }
    }

    /// What an owner has. A large tree takes long to read, and counts as so many requests.
    fn used(&self, caller: &Caller, owner: &Owner) -> Use {
        let used = match tree::look(&self.places, owner) {
            Found::Has(used) | Found::Empty(used) => used,
            Found::Gone => Use::default(),
        };
        if !caller.privileged {
            let (uid, now) = (caller.uid.to_string(), clock::unix_ns());
            let mut rates = lock(&self.rates);
            (0..used.pids.len() / TREE).for_each(|_| _ = rates.allows(&uid, now));
        }
        used
    }
}

impl Requests for Intake {
    fn prepare(&self, client: &Client, wanted: Wanted) -> Result<Request, Problem> {
        let caller = self.caller(client);
        let rates = if matches!(wanted, Wanted::Release(_)) { &self.releases } else { &self.rates };
        if !caller.privileged && !lock(rates).allows(&client.uid.to_string(), clock::unix_ns()) {
            return Err(Problem::new(429, format!("user {} asks too often", client.uid)));
        }
        let (caller, asked) = match wanted {
            Wanted::Admit(ask) => (self.places.locate(caller, self.places.of(client.pid)), Asked::Admit(*ask)),
            Wanted::Claim(claim) => {
                let (owner, cgroup, _) = self.owner(client, &caller, claim.owner.clone())?;
                let used = self.used(&caller, &owner);
                let place = match cgroup {
                    None => self.places.of(client.pid),
                    cgroup => Ok(cgroup),
                };
                (self.places.locate(caller, place), Asked::Claim { claim: *claim, owner, used })
            }
            Wanted::Own(id, name) => {
                let (owner, cgroup, age) = self.owner(client, &caller, Some(name))?;
                let used = self.used(&caller, &owner);
                (Caller { cgroup, ..caller }, Asked::Own { id, owner, used, age })
            }
            Wanted::Release(id) => (caller, Asked::Release { id }),
            Wanted::Touch(id) => (caller, Asked::Touch { id }),
            Wanted::Mark(id, mark) => (caller, Asked::Mark { id, mark }),
            Wanted::Ended(ended) => (caller, Asked::Ended(ended)),
            Wanted::Learned => (caller, Asked::Learned),
            Wanted::Forget(id) => (caller, Asked::Forget { id }),
            Wanted::Settled(id) => (caller, Asked::Settled { id }),
        };
        Ok(Request { number: self.next.fetch_add(1, Ordering::Relaxed), caller, asked })
    }

    fn send(&self, request: Request) -> oneshot::Receiver<Answer> {
        let (answer, answered) = oneshot::channel();
        // If the agent has stopped, the channel closes with what was not received.
        let _ = self.sender.send(Incoming { request, answer: Some(answer) });
        answered
    }

    fn withdraw(&self, uid: u32, number: u64) {
        let asked = Asked::Withdraw { number };
        let caller = Caller { uid, privileged: uid == 0 || uid == self.own, ..Caller::default() };
        let request = Request { number: self.next.fetch_add(1, Ordering::Relaxed), caller, asked };
        let _ = self.sender.send(Incoming { request, answer: None });
    }
}
