//! How much memory the history may take, and who keeps how much of it: the coarse tiers first go from the workloads of least interest,
//! then five minutes become one. The host and everybody's last minute stay. Knows nothing of workloads but what is passed.

use super::{Detail, History, SHORT, Track};
use crate::tier::Limits;

/// Reevaluations, one each ten seconds, in which interest falls by two thirds, and in which usual memory follows: ten minutes.
const SLOWNESS: f32 = 60.0;
/// By how much a workload must be more interesting than one that has the coarse tiers, to take them from it.
const MARGIN: f32 = 0.1;
/// An incident is worth more than anything that use and growth can be.
const TROUBLE: f32 = 4.0;
/// Growth is judged by this much memory, in bytes, where less is used.
const LITTLE: f32 = (64u32 << 20) as f32;

/// What the history takes, when it was last looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Use {
    pub bytes: u64,
    /// Workloads with all tiers.
    pub full: usize,
    /// Those with five minutes, and those with one.
    pub minutes: usize,
    pub minute: usize,
    /// Workloads that may have the coarse tiers, where memory allows fewer than the setting.
    most: Option<usize>,
    /// A new workload gets the coarse tiers at once.
    pub(super) is_roomy: bool,
}

/// How much a workload matters.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Interest {
    level: f32,
    /// The memory that it usually holds, in bytes.
    usual: Option<f32>,
}

/// What makes a workload interesting.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Signs {
    pub used: Option<u64>,
    pub limit: Option<u64>,
    /// Memory of the host.
    pub total: Option<u64>,
    /// There was an incident within the last day.
    pub trouble: bool,
}

impl Interest {
    /// Ten seconds later: it rises at once and falls slowly, so that nobody drops out for one reading.
    fn follow(&mut self, signs: Signs) {
        let used = signs.used.unwrap_or(0) as f32;
        let share = |of: Option<u64>| of.filter(|of| *of > 0).map_or(0.0, |of| (used / of as f32).min(1.0));
        let usual = self.usual.get_or_insert(used);
        let growth = ((used - *usual) / used.max(LITTLE)).clamp(0.0, 1.0);
        *usual += (used - *usual) / SLOWNESS;
        let trouble = if signs.trouble { TROUBLE } else { 0.0 };
        let now = trouble + share(signs.limit) + growth + share(signs.total);
        self.level = if now > self.level { now } else { self.level + (now - self.level) / SLOWNESS };
    }

    pub(super) fn absorb(&mut self, newer: Interest) {
        self.level = self.level.max(newer.level);
        self.usual = self.usual.or(newer.usual);
    }
}

impl Track {
    pub(crate) fn follow(&mut self, signs: Signs) {
        if let Some(points) = &mut self.0 {
            points.interest.follow(signs);
        }
    }

    /// The higher, the later it loses something.
    pub(crate) fn rank(&self) -> f32 {
        self.0.as_ref().map_or(0.0, |points| points.interest.level + if points.detail.is_some() { MARGIN } else { 0.0 })
    }

    fn is_detailed(&self) -> bool {
        self.0.as_ref().is_some_and(|points| points.detail.is_some())
    }

    fn is_short(&self) -> bool {
        self.0.as_ref().is_some_and(|points| points.short)
    }

    fn detail(&mut self, rows: Option<[u64; 2]>) {
        if let Some(points) = &mut self.0 {
            match rows {
                Some(rows) if points.detail.is_none() => points.detail = Some(Detail::new(rows)),
                Some(_) => {}
                None => points.detail = None,
            }
        }
    }

    fn shorten(&mut self, short: bool) {
        if let Some(points) = &mut self.0 {
            points.short = short;
            if short {
                points.columns.shorten(SHORT);
            }
        }
    }
}

impl History {
    pub(crate) fn limit(&mut self, limits: Limits) {
        self.limits = limits;
        // Until it is first looked at.
        self.used.is_roomy = limits.workloads > 0;
    }

    /// What it takes, when that was last looked at.
    pub fn usage(&self) -> Use {
        self.used
    }

    /// Whether nobody has to lose anything: then all of them get all tiers, and their order does not matter.
    pub(crate) fn fits<'t>(&mut self, tracks: impl Iterator<Item = &'t mut Track>) -> bool {
        let (rows, Limits { memory_bytes, workloads }) = (self.rows(), self.limits);
        let (mut bytes, mut count, mut short) = (self.own_bytes(), 0, false);
        for track in tracks {
            (bytes, count, short) = (bytes + track.bytes() as u64, count + 1, short || track.is_short());
            if count <= workloads && self.used.most.is_none() {
                track.detail(Some(rows));
            }
        }
        let fits = count <= workloads && bytes <= memory_bytes && !short && self.used.most.is_none();
        if fits {
            let is_roomy = count < workloads;
            self.used = Use { bytes, full: count, minutes: 0, minute: 0, most: None, is_roomy };
        }
        fits
    }

    /// Gives and takes tiers. The tracks are sorted, the most interesting first.
    pub(crate) fn shed(&mut self, tracks: &mut [&mut Track]) {
        let (rows, Limits { memory_bytes, workloads }) = (self.rows(), self.limits);
        let mut most = self.used.most.unwrap_or(workloads).min(workloads);
        tracks.iter_mut().skip(most).for_each(|track| track.detail(None));
        let mut bytes = self.own_bytes() + tracks.iter().map(|track| track.bytes() as u64).sum::<u64>();
        // Below the limit by more than a little, so that not everybody loses and gets something all the time.
        let enough = memory_bytes - memory_bytes / 8;
        if bytes > memory_bytes {
            most = most.min(tracks.len());
            while most > 0 && bytes > enough {
                most -= 1;
                bytes -= change(tracks[most], |track| track.detail(None));
            }
            for track in tracks.iter_mut().rev() {
                if bytes > enough {
                    bytes -= change(track, |track| track.shorten(true));
                }
            }
        } else if bytes < memory_bytes - memory_bytes / 4 {
            let short = tracks.iter().filter(|track| track.is_short()).count();
            let longer = tracks.iter_mut().filter(|track| track.is_short()).take(short.div_ceil(16));
            longer.for_each(|track| track.shorten(false));
            if short == 0 {
                most = (most + most / 16 + 1).min(workloads);
            }
        }
        tracks.iter_mut().take(most).for_each(|track| track.detail(Some(rows)));
        let of = |which: fn(&Track) -> bool| tracks.iter().filter(|track| which(track)).count();
        self.used = Use {
            bytes,
            full: of(Track::is_detailed),
            minutes: of(|track| !track.is_detailed() && !track.is_short()),
            minute: of(Track::is_short),
            most: (most < workloads).then_some(most),
            is_roomy: false,
        };
    }

    fn own_bytes(&self) -> u64 {
        (size_of::<History>() + self.host.bytes()) as u64
    }
}

/// Bytes that a change frees.
fn change(track: &mut Track, change: impl Fn(&mut Track)) -> u64 {
    let before = track.bytes();
    change(track);
    before.saturating_sub(track.bytes()) as u64
}
