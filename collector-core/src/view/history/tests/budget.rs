//! Who loses what when there is not room for all.

use super::super::*;
use super::SECOND;
use crate::view::history::Signs;

const MIB: u64 = 1 << 20;

/// Workloads by number, each of which is followed and written at every tick.
struct Host {
    history: History,
    tracks: Vec<Track>,
    now: u64,
}

impl Host {
    fn new(count: usize, limits: Limits) -> Host {
        let mut history = History::default();
        history.limit(limits);
        Host { history, tracks: vec![Track::default(); count], now: 900 }
    }

    /// Ten seconds. `used`: what each workload holds of 100 MiB.
    fn ten_seconds(&mut self, used: impl Fn(usize, u64) -> u64) {
        for _ in 0..10 {
            self.now += 1;
            let mut write = self.history.begin(self.now * SECOND);
            for (number, track) in self.tracks.iter_mut().enumerate() {
                let mut numbers = [UNKNOWN; COUNT];
                for (index, number_of) in numbers.iter_mut().enumerate() {
                    *number_of = (used(number, self.now) * MIB).wrapping_add(self.now * (index as u64 + 1) * 4099);
                }
                write.workload(track, numbers, &[UNKNOWN; COUNT]);
            }
            self.history.end(write, [UNKNOWN; COUNT]);
        }
        let now = self.now;
        for (number, track) in self.tracks.iter_mut().enumerate() {
            let (used, limit) = (Some(used(number, now) * MIB), Some(100 * MIB));
            track.follow(Signs { used, limit, total: Some(1 << 40), trouble: false });
        }
        if !self.history.fits(self.tracks.iter_mut()) {
            let mut ranked: Vec<(usize, &mut Track)> = self.tracks.iter_mut().enumerate().collect();
            ranked.sort_by(|one, other| other.1.rank().total_cmp(&one.1.rank()).then(one.0.cmp(&other.0)));
            let mut tracks: Vec<&mut Track> = ranked.into_iter().map(|(_, track)| track).collect();
            self.history.shed(&mut tracks);
        }
    }

    fn detailed(&self) -> Vec<usize> {
        let has = |track: &Track| track.0.as_ref().unwrap().detail.is_some();
        (0..self.tracks.len()).filter(|number| has(&self.tracks[*number])).collect()
    }

    fn short(&self) -> Vec<usize> {
        let is = |track: &Track| track.0.as_ref().unwrap().short;
        (0..self.tracks.len()).filter(|number| is(&self.tracks[*number])).collect()
    }
}

#[test]
fn those_nearest_their_limit_have_all_tiers_and_nobody_drops_out_for_a_moment() {
    let limits = Limits { workloads: 3, ..Limits::default() };
    let mut host = Host::new(10, limits);
    let usual = |number: usize, _| 10 * number as u64;
    (0..30).for_each(|_| host.ten_seconds(usual));
    assert_eq!(host.detailed(), [7, 8, 9]);
    let used = host.history.usage();
    assert_eq!((used.full, used.minutes, used.minute), (3, 7, 0));
    // Two readings of nearly nothing.
    (0..2).for_each(|_| host.ten_seconds(|number, now| if number == 7 { 1 } else { usual(number, now) }));
    assert_eq!(host.detailed(), [7, 8, 9]);
    // Somebody else comes a little nearer, slowly: not enough.
    let begun = host.now;
    let nearer = move |number: usize, now: u64| {
        if number == 6 { 60 + ((now - begun) / 200).min(13) } else { usual(number, now) }
    };
    (0..600).for_each(|_| host.ten_seconds(nearer));
    assert_eq!(host.detailed(), [7, 8, 9]);
    // Growth is.
    host.ten_seconds(|number, now| if number == 6 { 85 } else { usual(number, now) });
    assert_eq!(host.detailed(), [6, 8, 9]);
    // Nearly nothing for long.
    (0..200).for_each(|_| host.ten_seconds(|number, now| if number == 9 { 1 } else { usual(number, now) }));
    assert_eq!(host.detailed(), [6, 7, 8]);
}

#[test]
fn without_room_the_least_interesting_lose_the_coarse_tiers_first_and_then_minutes() {
    let usual = |number: usize, _| 4 * number as u64;
    let mut free = Host::new(20, Limits::default());
    (0..200).for_each(|_| free.ten_seconds(usual));
    assert_eq!((free.detailed().len(), free.short()), (20, vec![]));
    let whole = free.history.usage().bytes;

    let run = |memory_bytes: u64| {
        let mut host = Host::new(20, Limits { memory_bytes, workloads: 200 });
        let mut bytes = Vec::new();
        for _ in 0..400 {
            host.ten_seconds(usual);
            bytes.push(host.history.usage().bytes);
        }
        (host.detailed(), host.short(), bytes)
    };
    let (detailed, short, bytes) = run(whole * 9 / 10);
    assert!((3..20).contains(&detailed.len()), "{detailed:?}");
    assert_eq!(
        (detailed.first(), short),
        (Some(&(20 - detailed.len())), vec![]),
        "the nearest to their limits keep it"
    );
    assert!(bytes.iter().all(|bytes| *bytes <= whole * 9 / 10), "{bytes:?}");
    let (detailed, short, bytes) = run(whole / 2);
    assert!(detailed.is_empty(), "{detailed:?}");
    assert!((1..20).contains(&short.len()), "{short:?}");
    assert_eq!(short, (0..short.len()).collect::<Vec<_>>());
    let last = *bytes.last().unwrap();
    assert!(last <= whole / 2, "{last} {whole}");
    assert_eq!(run(whole / 2), run(whole / 2), "the same again");

    // The last minute stays whatever the limit is.
    let mut host = Host::new(5, Limits { memory_bytes: 1, workloads: 0 });
    (0..60).for_each(|_| host.ten_seconds(usual));
    for track in &host.tracks {
        let window = host.history.window(host.now * SECOND);
        assert_eq!(window.column(track, Series::Memory).iter().flatten().count(), 61);
        assert!(host.history.values(track, Series::Memory, Tier::Second, |_| true).len() < 130);
    }
    assert_eq!(host.history.usage().minute, 5);
}

#[test]
fn what_was_shed_comes_back_when_there_is_room() {
    let usual = |number: usize, _| 4 * number as u64;
    let mut host = Host::new(20, Limits { memory_bytes: 200 << 10, workloads: 200 });
    (0..60).for_each(|_| host.ten_seconds(usual));
    assert!(!host.short().is_empty());
    host.history.limit(Limits::default());
    (0..60).for_each(|_| host.ten_seconds(usual));
    assert_eq!((host.detailed().len(), host.short()), (20, vec![]));
}
