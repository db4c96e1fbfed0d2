//! Who may be served at the same time, and who gives way when there is no room: by peer, by age and by pace. Knows no socket
//! and no page.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until};

use super::limit::Limits;
use crate::mutex::lock;

/// A client that reads its response for less than this never gives way: on a local network it is done by then.
const PROTECTED: Duration = Duration::from_secs(1);
/// How often the first waiting scrape looks for a reader that has to give way, for all who wait.
const LOOK: Duration = Duration::from_millis(100);

/// Who is at the other end, as far as the kernel vouches for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Peer {
    /// An IPv4 address, or the first half of an IPv6 address: a host usually has all of the other half.
    Address(IpAddr),
    /// The user at the other end of a Unix socket.
    User(u32),
}

impl Peer {
    pub fn of(address: IpAddr) -> Peer {
        Peer::Address(match address.to_canonical() {
            IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
            v4 => v4,
        })
    }
}

impl std::fmt::Display for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Peer::Address(address) => write!(f, "{address}"),
            Peer::User(uid) => write!(f, "uid {uid}"),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Neither its head is complete nor its password checked: whoever connects gets this far.
    Arriving,
    /// It has an answer of a few bytes.
    Answered,
    /// It asked for a page that may be large, and waits for its turn.
    Queued,
    /// It waits for its page.
    Begun,
    /// It gets what happens, for as long as it likes.
    Following,
    /// It reads this body since then.
    Reading { body: u64, since: Instant },
}

struct Entry {
    peer: Peer,
    phase: Phase,
    moved: Arc<Moved>,
    turn: Arc<Notify>,
    /// None until the task of the connection runs.
    task: Option<AbortHandle>,
}

/// What a client has taken.
#[derive(Debug)]
pub struct Moved {
    bytes: AtomicU64,
    /// When it last took something, in milliseconds after `origin`.
    last: AtomicU64,
    origin: Instant,
}

impl Moved {
    pub fn add(&self, bytes: usize) {
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        self.touch();
    }

    fn touch(&self) {
        self.last.store(self.origin.elapsed().as_millis() as u64, Ordering::Relaxed);
    }

    fn last(&self) -> Instant {
        self.origin + Duration::from_millis(self.last.load(Ordering::Relaxed))
    }
}

pub struct Seats {
    limits: Limits,
    entries: Mutex<Entries>,
    shed: Arc<AtomicU64>,
}

#[derive(Default)]
struct Entries {
    next: u64,
    /// In order of arrival.
    all: BTreeMap<u64, Entry>,
    /// The first of those that wait: it looks for readers that have to give way.
    first: Option<u64>,
}

/// A connection's place. Dropped, it is free.
pub struct Seat {
    id: u64,
    pub peer: Peer,
    pub moved: Arc<Moved>,
    turn: Arc<Notify>,
    seats: Arc<Seats>,
}

impl Seats {
    /// Adds everyone who is turned away to `shed`.
    pub fn new(limits: Limits, shed: Arc<AtomicU64>) -> Arc<Seats> {
        Arc::new(Seats { limits, entries: Mutex::default(), shed })
    }

    pub fn turn_away(&self) {
        self.shed.fetch_add(1, Ordering::Relaxed);
    }

    /// A place for a new connection. If there is none left, or its peer has its share, another gives way: the oldest that was not
    /// admitted yet, of the peer that has most. None if none can.
    pub fn take(self: &Arc<Seats>, peer: Peer) -> Option<Seat> {
        let mut entries = lock(&self.entries);
        let held = entries.count(|_| true);
        let mine = held.get(&peer).copied().unwrap_or(0);
        let at_share = mine >= share(self.limits.connections);
        if at_share || entries.all.len() >= self.limits.connections {
            let of = |entry: &&Entry| !at_share || entry.peer == peer;
            let arriving = entries.all.iter().filter(|(_, entry)| of(entry) && entry.phase == Phase::Arriving);
            let oldest = arriving.min_by_key(|(id, entry)| (Reverse(held[&entry.peer]), **id)).map(|(id, _)| *id);
            let victim = oldest.or_else(|| entries.slowest(|entry| of(&entry)))?;
            entries.cut(victim);
            self.turn_away();
        }
        let id = entries.next;
        entries.next += 1;
        let moved = Arc::new(Moved { bytes: AtomicU64::new(0), last: AtomicU64::new(0), origin: Instant::now() });
        let turn = Arc::<Notify>::default();
        let entry = Entry { peer, phase: Phase::Arriving, moved: moved.clone(), turn: turn.clone(), task: None };
        entries.all.insert(id, entry);
        drop(entries);
        Some(Seat { id, peer, moved, turn, seats: self.clone() })
    }

    /// Says which task ends if this place is taken away.
    pub fn occupy(&self, id: u64, task: AbortHandle) {
        match lock(&self.entries).all.get_mut(&id) {
            Some(entry) => entry.task = Some(task),
            None => task.abort(),
        }
    }

    /// Those who still read this body give way.
    pub fn cut_readers(&self, of: u64) {
        let mut entries = lock(&self.entries);
        let reads = |entry: &Entry| matches!(entry.phase, Phase::Reading { body, .. } if body == of);
        let ids: Vec<_> = entries.all.iter().filter(|(_, entry)| reads(entry)).map(|(id, _)| *id).collect();
        for id in ids {
            entries.cut(id);
            self.turn_away();
        }
    }

    /// Gives turns to those who wait, peers with fewer scrapes first; the slowest readers give way to them.
    fn advance(&self) {
        let mut entries = lock(&self.entries);
        if entries.queued().next().is_some() {
            self.give_turns(&mut entries);
        }
        let first = entries.queued().next().map(|(id, _)| *id);
        if let Some(id) = first.filter(|_| first != entries.first) {
            entries.all[&id].turn.notify_one();
        }
        entries.first = first;
    }

    fn give_turns(&self, entries: &mut Entries) {
        let mut begun = entries.count(|phase| matches!(phase, Phase::Begun | Phase::Reading { .. }));
        loop {
            let of = |peer: &Peer| begun.get(peer).copied().unwrap_or(0);
            let Some((id, peer)) =
                entries.queued().min_by_key(|(id, entry)| (of(&entry.peer), **id)).map(|(id, entry)| (*id, entry.peer))
            else {
                return;
            };
            let at_share = of(&peer) >= share(self.limits.scrapes);
            if !at_share && begun.values().sum::<usize>() < self.limits.scrapes {
                entries.begin(id);
                *begun.entry(peer).or_default() += 1;
                continue;
            }
            let Some(victim) = entries.slowest(|entry| !at_share || entry.peer == peer) else { return };
            if let Some(count) = entries.all.get(&victim).and_then(|victim| begun.get_mut(&victim.peer)) {
                *count -= 1;
            }
            entries.cut(victim);
            self.turn_away();
        }
    }
}

/// What one peer may have of all.
fn share(all: usize) -> usize {
    (all / 2).max(1)
}

/// What large pages may have of all, so that small answers always find a place.
fn mostly(all: usize) -> usize {
    (all - all / 4).max(1)
}

impl Entries {
    fn count(&self, which: impl Fn(Phase) -> bool) -> HashMap<Peer, usize> {
        let mut count = HashMap::new();
        for entry in self.all.values().filter(|entry| which(entry.phase)) {
            *count.entry(entry.peer).or_default() += 1;
        }
        count
    }

    fn queued(&self) -> impl Iterator<Item = (&u64, &Entry)> {
        self.all.iter().filter(|(_, entry)| entry.phase == Phase::Queued)
    }

    fn begin(&mut self, id: u64) {
        if let Some(entry) = self.all.get_mut(&id) {
            entry.phase = Phase::Begun;
            entry.turn.notify_one();
        }
    }

    /// The reader with the fewest bytes a second.
    fn slowest(&self, of: impl Fn(&Entry) -> bool) -> Option<u64> {
        let pace = |entry: &Entry| match entry.phase {
            Phase::Reading { since, .. } if since.elapsed() >= PROTECTED => {
                Some(entry.moved.bytes.load(Ordering::Relaxed) as f64 / since.elapsed().as_secs_f64())
            }
            _ => None,
        };
        let readers =
            self.all.iter().filter(|(_, entry)| of(entry)).filter_map(|(id, entry)| Some((*id, pace(entry)?)));
        readers.min_by(|(_, one), (_, other)| one.total_cmp(other)).map(|(id, _)| id)
    }

    fn cut(&mut self, id: u64) {
        if let Some(task) = self.all.remove(&id).and_then(|entry| entry.task) {
            task.abort();
        }
    }
}

impl Seat {
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The client is admitted, and gets an answer of a few bytes unless it queues.
    pub fn answer(&self) {
        self.enter(Phase::Answered);
    }

    fn enter(&self, phase: Phase) {
        if let Some(entry) = lock(&self.seats.entries).all.get_mut(&self.id) {
            entry.phase = phase;
        }
    }

    /// Waits for its turn to get a page that may be large. False if that would take too long, or if so many wait that too few places
    /// were left for small answers.
    pub async fn queue(&self) -> bool {
        let seats = &self.seats;
        {
            let mut entries = lock(&seats.entries);
            let large = entries.count(|phase| !matches!(phase, Phase::Arriving | Phase::Answered | Phase::Following));
            let (all, mine) = (large.values().sum::<usize>(), large.get(&self.peer).copied().unwrap_or(0));
            let most = large.values().copied().max().unwrap_or(0);
            let is_full = all >= mostly(seats.limits.connections);
            if is_full || mine >= mostly(share(seats.limits.connections)) {
                seats.turn_away();
                // Whoever asks for more than others waits for them, and not they for him.
                let greedy = |entry: &Entry| mine < most && large.get(&entry.peer) == Some(&most);
                let victim = entries.all.iter().find(|(_, entry)| greedy(entry) && entry.phase == Phase::Queued);
                let Some(victim) = victim.map(|(id, _)| *id) else { return false };
                entries.cut(victim);
            }
            if let Some(entry) = entries.all.get_mut(&self.id) {
                entry.phase = Phase::Queued;
            }
        }
        let patience = Instant::now() + seats.limits.queue;
        loop {
            seats.advance();
            let until = if self.is_first() { patience.min(Instant::now() + LOOK) } else { patience };
            tokio::select! {
                biased;
                () = self.turn.notified() => {}
                () = sleep_until(until) => {}
            }
            if self.has_turn() {
                return true;
            }
            if Instant::now() >= patience {
                self.enter(Phase::Answered);
                seats.turn_away();
                seats.advance();
                return false;
            }
        }
    }

    fn is_first(&self) -> bool {
        lock(&self.seats.entries).first == Some(self.id)
    }

    fn has_turn(&self) -> bool {
        lock(&self.seats.entries).all.get(&self.id).is_some_and(|entry| entry.phase == Phase::Begun)
    }

    /// The client reads this body from now on.
    pub fn read(&self, body: u64) {
        self.moved.touch();
        self.enter(Phase::Reading { body, since: Instant::now() });
    }

    /// The client follows from now on.
    pub fn follow(&self) {
        self.enter(Phase::Following);
    }

    /// It has what it gets. If it was `cut`, it was too slow.
    pub fn end_follow(&self, cut: bool) {
        if cut {
            self.seats.turn_away();
        }
        self.read(0);
    }

    pub fn follows(&self) -> bool {
        lock(&self.seats.entries).all.get(&self.id).is_some_and(|entry| entry.phase == Phase::Following)
    }

    /// Resolves when the client has taken nothing of its response for too long.
    pub async fn stalled(&self) {
        let (limit, moved) = (self.seats.limits.stall, &self.moved);
        loop {
            let reading = lock(&self.seats.entries)
                .all
                .get(&self.id)
                .is_some_and(|entry| matches!(entry.phase, Phase::Reading { .. }));
            let until = if reading { moved.last() + limit } else { Instant::now() + limit };
            if reading && Instant::now() >= until {
                return;
            }
            sleep_until(until).await;
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        lock(&self.seats.entries).all.remove(&self.id);
        self.seats.advance();
    }
}

#[cfg(test)]
mod tests;
