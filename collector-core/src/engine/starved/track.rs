//! [`Track`]: the utilization of one GPU under one job, against what that job usually reaches. Knows times and numbers only: neither
//! GPUs nor workloads, nor why utilization falls.

use std::collections::VecDeque;

use crate::starved::Settings;

/// Parts of a window. Each is judged by itself, so that a short stall, however deep, is no fall.
const PARTS: usize = 6;
/// Of these parts as many must be low, or high again.
const MOST: usize = 5;
/// Windows that are kept: two hours at the default length.
const KEPT: usize = 240;
/// A job that uses a GPU less than this is not judged: whatever it does is noise.
const LEAST: f32 = 0.2;
/// A fall by less than this, as a share of the GPU's time, is none.
const APART: f32 = 0.1;
/// A job whose utilization falls by itself now and then, to evaluate or to write a checkpoint, starves once it stays low longer than
/// it ever did, by this factor.
const LONGER: f64 = 1.5;
/// A server whose requests fell to less than this share of the usual has less to do.
const LOAD: f32 = 0.8;
/// A fall that lasts this many windows is what is usual from then on.
const ACCEPTED: u64 = 120;

/// Utilization is a share of 0 to 1.
#[derive(Clone, Debug)]
pub(super) struct Track {
    /// When the last reading was made.
    last: Option<u64>,
    open: Part,
    /// The parts of the last window, oldest first.
    parts: VecDeque<Mean>,
    /// Parts since the last window that is kept.
    fresh: usize,
    /// Windows, oldest first.
    windows: VecDeque<Mean>,
    /// When the fall began, while there is one.
    low_since: Option<u64>,
    /// The fall was explained: what is low now is not what is usual.
    explained: bool,
    /// Windows of this fall, and how many of them are among those that are kept.
    low_windows: u64,
    kept: usize,
}

/// What is summed up of a part of a window.
#[derive(Clone, Copy, Debug, Default)]
struct Part {
    begun: u64,
    /// Time that readings stand for, and utilization times that.
    known: u64,
    sum: f64,
    load: f64,
}

#[derive(Clone, Copy, Debug)]
struct Mean {
    utilization: f32,
    /// Requests that its servers worked on; NaN where they do not say.
    load: f32,
}

/// What a track says after a part of a window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Standing {
    /// The job was not seen for long enough.
    Learning,
    /// It uses the GPU so little that nothing can be said.
    Idle,
    Usual {
        now: f32,
        usual: f32,
    },
    /// It fell, as it does by itself now and then, or because it has less to do.
    Phase {
        now: f32,
        usual: f32,
    },
    /// Low since that time.
    Low {
        now: f32,
        usual: f32,
        since: u64,
    },
}

impl Track {
    pub fn new() -> Track {
        Track {
            last: None,
            open: Part::default(),
            parts: VecDeque::with_capacity(PARTS),
            fresh: 0,
            windows: VecDeque::with_capacity(KEPT),
            low_since: None,
            explained: false,
            low_windows: 0,
            kept: 0,
        }
    }

    /// Adds a reading. `load`: requests that its model servers work on, if it has any that say so. Returns what holds now at the end of
    /// each part of a window.
    pub fn see(&mut self, time: u64, utilization: f64, load: Option<u64>, settings: &Settings) -> Option<Standing> {
        let length = settings.window / PARTS as u64;
        let Some(last) =
            self.last.replace(time).filter(|last| *last <= time && time - *last <= length.max(10_000_000_000))
        else {
            // The first, one after a gap, or the clock was set back: nothing is known of the time before.
            self.begin(time);
            return None;
        };
        let spent = time - last;
        self.open.known += spent;
        self.open.sum += utilization.clamp(0.0, 1.0) * spent as f64;
        self.open.load += load.map_or(f64::NAN, |load| load as f64 * spent as f64);
        if time - self.open.begun < length || self.open.known == 0 {
            return None;
        }
        let known = self.open.known as f64;
        let mean = Mean { utilization: (self.open.sum / known) as f32, load: (self.open.load / known) as f32 };
        let begun = std::mem::replace(&mut self.open, Part { begun: time, ..Part::default() }).begun;
        Some(self.end_part(begun, mean, settings))
    }

    /// The fall was explained, if there is one: what is low is not learned.
    pub fn explain(&mut self) {
        self.explained |= self.low_since.is_some();
    }

    fn begin(&mut self, time: u64) {
        self.open = Part { begun: time, ..Part::default() };
        self.parts.clear();
        self.fresh = 0;
        self.end_fall();
    }

    fn end_part(&mut self, begun: u64, mean: Mean, settings: &Settings) -> Standing {
        if self.parts.len() == PARTS {
            self.parts.pop_front();
        }
        self.parts.push_back(mean);
        self.fresh += 1;
        let standing = self.judge(begun, settings);
        if self.fresh >= PARTS {
            self.fresh = 0;
            self.learn();
        }
        standing
    }

    /// Keeps the last window, unless it is low for a reason of the host's.
    fn learn(&mut self) {
        self.low_windows = if self.low_since.is_some() { self.low_windows + 1 } else { 0 };
        if self.explained {
            if self.low_windows < ACCEPTED {
                return;
            }
            // It has been so for an hour: that is how it is now.
            self.windows.clear();
            self.end_fall();
        }
        if self.windows.len() == KEPT {
            self.windows.pop_front();
        }
        self.windows.push_back(self.window());
        self.kept += usize::from(self.low_since.is_some());
    }

    fn end_fall(&mut self) {
        (self.low_since, self.explained, self.low_windows, self.kept) = (None, false, 0, 0);
    }

    fn window(&self) -> Mean {
        let count = self.parts.len().max(1) as f32;
        let mean = |of: fn(&Mean) -> f32| self.parts.iter().map(of).sum::<f32>() / count;
        Mean { utilization: mean(|part| part.utilization), load: mean(|part| part.load) }
    }

    fn judge(&mut self, begun: u64, settings: &Settings) -> Standing {
        let needed = (settings.baseline / settings.window.max(1)).clamp(2, KEPT as u64) as usize;
        if self.windows.len() < needed || self.parts.len() < PARTS {
            return Standing::Learning;
        }
        let usual = median(self.windows.iter().map(|window| window.utilization));
        if usual < LEAST {
            return Standing::Idle;
        }
        let now = self.window();
        let fall = settings.fall as f32;
        let low = (usual * (1.0 - fall)).min(usual - APART);
        let high = usual - (usual - low) / 2.0;
        let count = |is: &dyn Fn(f32) -> bool| self.parts.iter().filter(|part| is(part.utilization)).count();
        let utilization = now.utilization;
        if self.low_since.is_some() && count(&|part| part >= high) >= MOST {
            self.end_fall();
        } else if self.low_since.is_none() && utilization <= low && count(&|part| part <= low) >= MOST {
            // From the first low part of this window on.
            let parts = self.parts.iter().rev().take_while(|part| part.utilization <= low).count() as u64;
            self.low_since = Some(begun.saturating_sub((parts.saturating_sub(1)) * settings.window / PARTS as u64));
            self.kept = self.windows.iter().rev().take_while(|window| window.utilization <= low).count();
        }
        let Some(since) = self.low_since else { return Standing::Usual { now: utilization, usual } };
        let lasted = (begun + settings.window / PARTS as u64).saturating_sub(since) as f64;
        let phase = self.longest_phase(low) as f64 * settings.window as f64;
        if self.has_less_to_do(now.load) || phase > 0.0 && lasted < LONGER * phase {
            return Standing::Phase { now: utilization, usual };
        }
        Standing::Low { now: utilization, usual, since }
    }

    /// The most windows in a row that were low before this fall.
    fn longest_phase(&self, low: f32) -> usize {
        // Those of this fall are the newest.
        let before = self.windows.len().saturating_sub(self.kept);
        let usual = self.usual_load();
        let mut runs = (0, 0);
        for window in self.windows.iter().take(before) {
            // While it has less to do it is low for that reason.
            let idle = window.load < LOAD * usual;
            let phase = window.utilization <= low && !idle;
            runs.0 = if phase { runs.0 + 1 } else { 0 };
            runs.1 = runs.1.max(runs.0);
        }
        runs.1
    }

    /// Whether its servers work on fewer requests than usual, or no longer say how many.
    fn has_less_to_do(&self, now: f32) -> bool {
        let usual = self.usual_load();
        match now.is_nan() {
            true => usual.is_finite(),
            false => usual.is_nan() || now < LOAD * usual || now < LOAD,
        }
    }

    /// NaN where no window knows it.
    fn usual_load(&self) -> f32 {
        median(self.windows.iter().map(|window| window.load).filter(|load| load.is_finite()))
    }
}

/// NaN of nothing.
fn median(numbers: impl Iterator<Item = f32>) -> f32 {
    let (mut sorted, mut count) = ([0f32; KEPT], 0);
    for number in numbers.take(KEPT) {
        sorted[count] = number;
        count += 1;
    }
    let sorted = &mut sorted[..count];
    sorted.sort_unstable_by(f32::total_cmp);
    sorted.get(count / 2).copied().unwrap_or(f32::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;
    const SETTINGS: Settings = Settings { enabled: true, fall: 0.25, window: 30 * SECOND, baseline: 300 * SECOND };

    /// A job, second by second.
    struct Job {
        track: Track,
        second: u64,
        /// What was said last.
        said: Option<Standing>,
        noise: u64,
    }

    impl Job {
        fn new() -> Job {
            Job { track: Track::new(), second: 0, said: None, noise: 7 }
        }

        /// Runs at this utilization for so long; whether it was ever said to be low.
        fn runs(&mut self, seconds: u64, utilization: f64) -> bool {
            self.serves(seconds, utilization, None)
        }

        fn serves(&mut self, seconds: u64, utilization: f64, load: Option<u64>) -> bool {
            let mut low = false;
            for _ in 0..seconds {
                self.second += 1;
                self.noise = self.noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let noise = ((self.noise >> 40) as f64 / (1u64 << 24) as f64 - 0.5) * 0.2;
                let said = self.track.see(self.second * SECOND, utilization + noise, load, &SETTINGS);
                self.said = said.or(self.said);
                low |= matches!(said, Some(Standing::Low { .. }));
            }
            low
        }
    }

    #[test]
    fn a_fall_is_seen_within_a_minute_and_its_end_too() {
        let mut job = Job::new();
        assert!(!job.runs(280, 0.9));
        assert_eq!(job.said, Some(Standing::Learning));
        assert!(!job.runs(320, 0.9));
        assert!(job.runs(50, 0.35), "{:?}", job.said);
        let Some(Standing::Low { now, usual, since }) = job.said else { panic!("{:?}", job.said) };
        assert!((0.3..0.5).contains(&now) && (0.85..0.95).contains(&usual), "{now} {usual}");
        assert!((595..=612).contains(&(since / SECOND)), "{}", since / SECOND);
        job.track.explain();
        job.runs(600, 0.35);
        assert!(matches!(job.said, Some(Standing::Low { .. })), "what is explained is not learned: {:?}", job.said);
        job.runs(60, 0.9);
        assert!(matches!(job.said, Some(Standing::Usual { .. })), "{:?}", job.said);
    }

    #[test]
    fn short_stalls_and_small_falls_are_none() {
        let mut job = Job::new();
        job.runs(900, 0.9);
        for _ in 0..20 {
            assert!(!job.runs(10, 0.0) && !job.runs(50, 0.9), "{:?}", job.said);
        }
        assert!(!job.runs(200, 0.78), "{:?}", job.said);
        let mut idle = Job::new();
        assert!(!idle.runs(900, 0.15) && !idle.runs(100, 0.0));
        assert_eq!(idle.said, Some(Standing::Idle));
    }

    #[test]
    fn phases_of_the_job_itself_are_known_after_the_first() {
        let mut job = Job::new();
        job.runs(1200, 0.9);
        // An evaluation: low, and nobody explains it.
        assert!(job.runs(90, 0.1));
        job.runs(600, 0.9);
        for _ in 0..5 {
            assert!(!job.runs(90, 0.1), "{:?}", job.said);
            assert!(!job.runs(600, 0.9));
        }
        assert!(job.runs(400, 0.1), "longer than ever");
    }

    #[test]
    fn only_a_fall_can_be_explained() {
        let mut job = Job::new();
        job.runs(1200, 0.9);
        // Another GPU of the job fell.
        job.track.explain();
        assert!(job.runs(90, 0.1));
        job.runs(600, 0.9);
        assert!(!job.runs(90, 0.1), "that was learned: {:?}", job.said);
    }

    #[test]
    fn what_is_explained_for_an_hour_is_usual_from_then_on() {
        let mut job = Job::new();
        job.runs(900, 0.9);
        assert!(job.runs(60, 0.4));
        job.track.explain();
        job.runs(3700, 0.4);
        job.runs(400, 0.4);
        assert!(matches!(job.said, Some(Standing::Usual { usual, .. }) if usual < 0.5), "{:?}", job.said);
    }

    #[test]
    fn a_server_with_fewer_requests_does_not_starve() {
        let mut job = Job::new();
        job.serves(900, 0.9, Some(8));
        assert!(!job.serves(300, 0.2, Some(1)), "{:?}", job.said);
        job.serves(900, 0.9, Some(8));
        assert!(job.serves(300, 0.2, Some(8)), "{:?}", job.said);
        let mut job = Job::new();
        job.serves(900, 0.9, Some(8));
        assert!(!job.serves(300, 0.2, None), "it no longer says");
    }

    #[test]
    fn a_gap_or_a_clock_set_back_begins_a_new_window() {
        let mut job = Job::new();
        job.runs(900, 0.9);
        job.runs(25, 0.1);
        job.second += 100;
        assert!(!job.runs(25, 0.1), "{:?}", job.said);
        job.second -= 500;
        assert!(!job.runs(20, 0.1), "{:?}", job.said);
        assert!(job.runs(60, 0.1));
    }
}
