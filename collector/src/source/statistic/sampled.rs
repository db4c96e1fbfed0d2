//! Memory between ticks: the workloads that are near a limit or grow fast are read many times a second, from one file that stays
//! open meanwhile. What was found comes with the next tick, and with a kill. Does not know where limits and workloads come from, nor
//! when it is read (`sampler.rs`).

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use collector_core::cgroup::Id;
use collector_core::identity::Shares;
use collector_core::sample::Usage;
use collector_core::signal::oom::Charged;
use rustix::io::pread;

use super::attention::{growth, nearness};
use super::parse;

/// At most this many workloads are read between ticks.
const MOST: usize = 64;
/// A workload grows fast if it has this share more than at the tick before.
const GREW: f64 = 0.02;
/// It is read for so many ticks more. A tick of readings costs more than ten times what it costs to open the file again.
const STAYS: u8 = 1;
/// At most this many readings of one workload are kept.
const READINGS: usize = 256;
/// How far back the readings reach that come with a kill, and at the least those that come with a tick, in nanoseconds.
const SECOND: u64 = 1_000_000_000;

#[derive(Debug, Default)]
pub struct Sampled {
    watched: Vec<Watched>,
    /// Whose they are: one user's workloads leave room for others.
    owners: Shares,
    /// How far back the readings reach that come with a tick, in nanoseconds.
    reach: u64,
    /// When the last of the readings was, in nanoseconds since the Unix epoch.
    now: u64,
    /// How many readings are kept of each; 0 if nothing is to be read between ticks.
    kept: usize,
}

#[derive(Debug)]
struct Watched {
    id: Id,
    owner: Option<Arc<str>>,
    file: Opened,
    readings: VecDeque<Charged>,
    /// Ticks for which it is still read.
    left: u8,
}

/// A file of memory in use. Who reads it shares it, and allocates what that takes: a tick does not.
#[derive(Debug)]
enum Opened {
    Now(Option<OwnedFd>),
    Shared(Arc<OwnedFd>),
}

/// A workload's memory at a tick, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// The least limit that applies to it.
    pub limit: Option<u64>,
    pub before: Option<u64>,
    pub now: Option<u64>,
}

impl Memory {
    fn matters(self) -> bool {
        let Some(now) = self.now else { return false };
        nearness(self.limit, now).is_some() || growth(self.before, now).is_some_and(|share| share >= GREW)
    }
}

impl Sampled {
    /// With a reading in each `interval`; none, if that is zero or not shorter than a `tick`.
    pub fn new(interval: Duration, tick: Duration) -> Sampled {
        let reach = tick.max(Duration::from_nanos(SECOND));
        let count = reach.as_nanos().checked_div(interval.as_nanos()).unwrap_or(0);
        let kept = usize::try_from(count).unwrap_or(READINGS).min(READINGS);
        let kept = if !interval.is_zero() && interval < tick { kept + 1 } else { 0 };
        let watched = Vec::with_capacity(if kept > 0 { MOST } else { 0 });
        Sampled { reach: u64::try_from(reach.as_nanos()).unwrap_or(u64::MAX), kept, watched, ..Sampled::default() }
    }

    /// Whether a workload is read between ticks.
    pub fn any(&self) -> bool {
        !self.watched.is_empty()
    }

    /// Whether there can be any.
    pub fn is_on(&self) -> bool {
        self.kept > 0
    }

    /// The files to read now.
    pub fn files(&mut self) -> impl Iterator<Item = (Id, Arc<OwnedFd>)> {
        self.watched.iter_mut().filter_map(|watched| Some((watched.id, watched.file.share()?)))
    }

    /// Takes what they said at a moment, in bytes. One that said nothing is gone.
    pub fn take(&mut self, time: u64, read: &[(Id, Option<u64>)]) {
        let Sampled { watched, owners, kept, .. } = self;
        self.now = time;
        watched.retain_mut(|watched| match read.iter().find(|(id, _)| *id == watched.id) {
            Some((_, Some(bytes))) => {
                if watched.readings.len() >= *kept {
                    watched.readings.pop_front();
                } else if watched.readings.capacity() == 0 {
                    watched.readings.reserve_exact(*kept);
                }
                watched.readings.push_back(Charged { time, bytes: *bytes });
                true
            }
            Some((_, None)) => {
                owners.leave(&watched.owner);
                false
            }
            // It began meanwhile.
            None => true,
        });
    }

    /// At a tick, of every workload: decides whether it is read from now on, and returns what was read since the tick before.
    /// `open` opens the file of its memory in use.
    pub fn tick(
        &mut self,
        id: Id,
        owner: &Option<Arc<str>>,
        memory: Memory,
        open: impl FnOnce() -> Option<OwnedFd>,
    ) -> Option<Usage> {
        let matters = memory.matters();
        if let Some(watched) = self.watched.iter_mut().find(|watched| watched.id == id) {
            if matters {
                // One more than it stays: the end of this tick takes one.
                watched.left = STAYS + 1;
            }
            return watched.usage(memory.now?, self.now.saturating_sub(self.reach));
        }
        if matters && self.kept > 0 && self.watched.len() < MOST && self.owners.has_room(owner, MOST) {
            let file = Opened::Now(Some(open()?));
            self.owners.take(owner);
            let readings = VecDeque::new();
            self.watched.push(Watched { id, owner: owner.clone(), file, readings, left: STAYS + 1 });
        }
        None
    }

    /// After a tick: those that have not mattered for a while are not read any more, nor are those that are gone.
    pub fn end(&mut self) {
        let Sampled { watched, owners, .. } = self;
        watched.retain_mut(|watched| {
            watched.left = watched.left.saturating_sub(1);
            if watched.left == 0 {
                owners.leave(&watched.owner);
            }
            watched.left > 0
        });
    }

    /// What was read of a cgroup in the second before a moment, oldest first.
    pub fn before(&self, id: Id, time: u64) -> Vec<Charged> {
        let watched = self.watched.iter().find(|watched| watched.id == id);
        let recent = |it: &&Charged| it.time <= time && time - it.time <= SECOND;
        watched.map(|watched| watched.readings.iter().filter(recent).copied().collect()).unwrap_or_default()
    }
}

impl Opened {
    fn share(&mut self) -> Option<Arc<OwnedFd>> {
        if let Opened::Now(file) = self {
            *self = Opened::Shared(Arc::new(file.take()?));
        }
        match self {
            Opened::Shared(file) => Some(file.clone()),
            Opened::Now(_) => None,
        }
    }
}

/// What a file of memory in use says, in bytes; `None` if its cgroup is gone.
pub fn read(file: &OwnedFd) -> Option<u64> {
    let mut text = [0; 24];
    let length = pread(file, &mut text[..], 0).ok()?;
    parse::single(&text[..length])
}

impl Watched {
    /// Of the readings after a moment, and what is charged now.
    fn usage(&self, now: u64, since: u64) -> Option<Usage> {
        let read = self.readings.iter().filter(|it| it.time > since).map(|it| it.bytes);
        let start = (1, [now; 3]);
        let (count, [least, sum, most]) = read.fold(start, |(count, [least, sum, most]), bytes| {
            (count + 1, [least.min(bytes), sum.saturating_add(bytes), most.max(bytes)])
        });
        (count > 1).then(|| Usage { cgroup: self.id, least, mean: sum / count, most })
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::path::PathBuf;

    use super::*;

    const MIB: u64 = 1 << 20;

    fn id(id: u64) -> Id {
        Id { hierarchy: 0, id }
    }

    fn memory(limit: u64, before: u64, now: u64) -> Memory {
        Memory { limit: Some(limit * MIB), before: Some(before * MIB), now: Some(now * MIB) }
    }

    fn file(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("headroom-sampled-{name}-{}", std::process::id()))
    }

    fn ten() -> Sampled {
        Sampled::new(Duration::from_millis(100), Duration::from_secs(1))
    }

    fn read(sampled: &mut Sampled, time: u64) {
        let read: Vec<_> = sampled.files().map(|(id, file)| (id, super::read(&file))).collect();
        sampled.take(time, &read);
    }

    #[test]
    fn those_near_a_limit_and_those_that_grow_fast_matter() {
        assert!(memory(100, 80, 80).matters() && memory(100, 81, 80).matters());
        assert!(!memory(100, 79, 79).matters());
        assert!(memory(1000, 98, 100).matters(), "by 2 %");
        assert!(!memory(1000, 99, 100).matters(), "by 1 %");
        assert!(!Memory { before: Some(0), now: Some(255 << 10), limit: None }.matters(), "by what one CPU is charged");
        assert!(!Memory { before: None, now: Some(MIB), limit: None }.matters(), "what was before is not known");
        assert!(!Memory { before: None, now: None, limit: Some(1) }.matters());
    }

    #[test]
    fn a_spike_between_two_ticks_is_in_the_most_and_a_kill_has_the_last_second() {
        let path = file("spike");
        fs::write(&path, "0\n").unwrap();
        let mut sampled = ten();
        let open = || Some(OwnedFd::from(File::open(&path).unwrap()));
        assert_eq!(sampled.tick(id(1), &None, memory(100, 80, 80), open), None);
        sampled.end();
        for tenth in 1..10 {
            fs::write(&path, format!("{}\n", if tenth == 4 { 99 * MIB } else { (80 - tenth) * MIB })).unwrap();
            read(&mut sampled, SECOND + tenth * SECOND / 10);
        }
        let usage = sampled.tick(id(1), &None, memory(100, 80, 80), || None).unwrap();
        let sum: u64 = 80 + 99 + (1..10).filter(|tenth| *tenth != 4).map(|tenth| 80 - tenth).sum::<u64>();
        assert_eq!(usage, Usage { cgroup: id(1), least: 71 * MIB, mean: sum * MIB / 10, most: 99 * MIB });
        let last = sampled.before(id(1), SECOND + SECOND / 2);
        assert_eq!(last.iter().map(|it| it.bytes / MIB).collect::<Vec<_>>(), [79, 78, 77, 99, 75]);
        (1..30).for_each(|tenth| read(&mut sampled, 2 * SECOND + tenth * SECOND / 10));
        assert_eq!(sampled.before(id(1), 2 * SECOND + 29 * SECOND / 10).len(), 11, "a second, with both its ends");
        assert_eq!(sampled.before(id(2), SECOND), []);
        fs::remove_file(path).unwrap();
    }

    #[test]
    fn it_is_read_for_some_ticks_after_it_mattered_and_not_when_it_is_gone() {
        let path = file("stays");
        fs::write(&path, "1\n").unwrap();
        let open = || Some(OwnedFd::from(File::open(&path).unwrap()));
        let mut sampled = ten();
        for calm in 0..STAYS {
            sampled.tick(id(1), &None, memory(100, 50, if calm == 0 { 90 } else { 50 }), open);
            sampled.end();
            assert!(sampled.any(), "{calm}");
        }
        sampled.tick(id(1), &None, memory(100, 50, 50), open);
        sampled.end();
        assert!(!sampled.any());
        sampled.tick(id(1), &None, memory(100, 50, 90), open);
        fs::write(&path, "").unwrap();
        read(&mut sampled, 1);
        assert!(!sampled.any(), "a removed cgroup cannot be read");
        fs::remove_file(path).unwrap();
    }

    #[test]
    fn one_owner_leaves_room_and_there_is_a_bound() {
        let open = || Some(OwnedFd::from(File::open("/dev/null").unwrap()));
        let mut sampled = ten();
        let user: Option<Arc<str>> = Some("user-1000".into());
        for number in 0..100 {
            sampled.tick(id(number), &user, memory(100, 90, 90), open);
        }
        assert_eq!(sampled.watched.len(), MOST / 4);
        for number in 100..300 {
            sampled.tick(id(number), &None, memory(100, 90, 90), open);
        }
        assert_eq!(sampled.watched.len(), MOST);
    }

    #[test]
    fn without_an_interval_or_with_ticks_that_are_as_short_nothing_is_read() {
        for (interval, tick, wanted) in
            [(100, 1000, 11), (0, 1000, 0), (100, 100, 0), (100, 200, 11), (50, 60_000, 257)]
        {
            let [interval, tick] = [interval, tick].map(Duration::from_millis);
            assert_eq!(Sampled::new(interval, tick).kept, wanted, "{interval:?} {tick:?}");
        }
    }
}
