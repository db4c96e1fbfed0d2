//! [`Judge`]: whether one measure of a model is worse than usual. One window may be so by chance: two of three begin it, and two end it.

use super::baseline::{Baseline, Like, Usual};
use super::window::Point;
use crate::latency::{Limits, Measure, State};
use crate::view::model::Line;

/// At most so many windows are judged together. Two are enough if there is little noise.
const RECENT: usize = 8;
/// They are worse by so many standard deviations together.
const TOGETHER: f64 = 5.0;
/// No window counts as more than this: one alone is never enough.
const MOST: f64 = 6.0;
/// The mean of the same durations must have risen by this part of what counts as worse, and by so many standard deviations together,
/// where the buckets are too wide to prove it.
const MEAN_PART: f64 = 0.8;
const MEAN_TOGETHER: f64 = 4.0;
/// A mean is judged by itself if it differs by no more than this by chance.
const STEADY: f64 = 0.08;
/// As many tokens a second are not quite as much to do: more requests at once may be the cause and not the effect. So much more is
/// allowed, as a part of what counts as worse; less for the mean of a histogram, which is exact.
const ALLOWED: f64 = 1.0;
const ALLOWED_MEAN: f64 = 1.0 / 3.0;
/// So many windows that are worse by less than this part of what counts as worse end it.
const CALM: usize = 2;
const CALM_PART: f64 = 0.5;
/// Without a judgement for so many windows nothing is known any more.
pub(super) const FORGET: u64 = 15;

#[derive(Clone, Copy, Debug)]
struct Verdict {
    began: u64,
    /// Since when the requests that it is about may have run.
    since: u64,
    ended: u64,
    own: Apart,
    /// Of the mean of the same durations.
    mean: Apart,
    /// It is worse wherever in their buckets both numbers are.
    proven: bool,
}

/// How far a window is from what is usual.
#[derive(Clone, Copy, Debug, Default)]
struct Apart {
    /// The logarithm of how many times as long.
    log: f64,
    /// In standard deviations.
    score: f64,
}

/// What is remembered of a measure.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Judge {
    /// The newest last.
    recent: [Option<Verdict>; RECENT],
    since: Option<u64>,
    /// When that was found.
    found: Option<u64>,
    line: Option<Line>,
}

impl Judge {
    pub fn line(&self) -> Option<Line> {
        self.line
    }

    /// When it was found to be worse, if it is.
    pub fn found(&self) -> Option<u64> {
        self.found
    }

    /// What is worse now is usual from now on.
    pub fn accept(&mut self) {
        (self.since, self.found, self.recent) = (None, None, [None; RECENT]);
        if let Some(line) = &mut self.line {
            (line.state, line.since, line.usual, line.like) = (State::Learning, None, None, 0);
        }
    }

    /// The server started again: what is worse stays worse until it is seen to be well.
    pub fn interrupted(&mut self) {
        self.recent = [None; RECENT];
    }

    /// Nothing is asked of the model, so nothing is known. Returns whether that changed anything.
    pub fn idle(&mut self, time: u64, limits: &Limits) -> bool {
        let long = FORGET.saturating_mul(limits.window_ns);
        let old = self.line.is_some_and(|line| time.saturating_sub(line.time) > long);
        if old && self.since.is_some() {
            self.accept();
            return true;
        }
        false
    }

    /// Judges a window, and returns whether that could be done. Nothing changes if it says nothing of this measure.
    pub fn judge(&mut self, measure: Measure, point: &Point, baseline: &Baseline, limits: &Limits) -> bool {
        let Some(now) = point.get(measure) else { return false };
        // Beside quantiles a mean only supports these, unless it hardly differs from window to window. What is worse is judged all the same,
        // or it would never be seen to be well.
        let steady = |usual: &Usual| !is_beside(measure, point, now) || usual.noise <= STEADY;
        let found = [Like::Running, Like::Rate].into_iter().find_map(|like| {
            let usual = baseline.usual(point, measure, like, limits.baseline_ns);
            let known = usual.like >= limits.learn.max(2) && (self.since.is_some() || steady(&usual));
            Some((verdict(measure, point, baseline, limits, like, &usual).filter(|_| known)?, usual))
        });
        if let Some((verdict, _)) = found {
            let old = |last: &Verdict| {
                verdict.began.saturating_sub(last.ended) > FORGET.saturating_mul(limits.window_ns)
                    || verdict.began < last.began
            };
            if self.recent[RECENT - 1].as_ref().is_some_and(old) {
                self.recent = [None; RECENT];
            }
            self.recent.rotate_left(1);
            self.recent[RECENT - 1] = Some(verdict);
            match self.since {
                None => {
                    self.since = self.begins(limits);
                    self.found = self.since.map(|_| point.ended);
                }
                Some(_) if self.is_over(limits) => (self.since, self.found) = (None, None),
                Some(_) => {}
            }
        }
        let state = match (self.since, &found) {
            (Some(_), _) => State::Worse,
            (None, Some(_)) => State::Ok,
            (None, None) => State::Learning,
        };
        let known = found.map(|(_, usual)| (usual.seconds, usual.like));
        // What got slower runs more requests at once than ever: it stays worse than what it was last compared with.
        let before = self.line.filter(|_| self.since.is_some()).and_then(|line| Some((line.usual?, line.like)));
        let usual = known.or(before);
        self.line = Some(Line {
            measure,
            state,
            now,
            usual: usual.map(|(seconds, _)| seconds),
            like: usual.map_or(0, |(_, like)| like),
            time: point.ended,
            since: self.since,
            over: found.as_ref().is_some_and(|(verdict, _)| verdict.own.log > limits.worse.ln_1p()),
        });
        found.is_some()
    }

    /// Since when it is worse, if it is.
    fn begins(&self, limits: &Limits) -> Option<u64> {
        (2..=RECENT).find_map(|number| {
            let windows = || self.recent[RECENT - number..].iter().flatten();
            if windows().count() < number {
                return None;
            }
            let over = |window: &&Verdict| window.own.log > limits.worse.ln_1p();
            let last = windows().next_back().is_some_and(|last| over(&last));
            let own = together(windows().map(|window| window.own));
            let mean = together(windows().map(|window| window.mean));
            let sure = windows().filter(|window| window.proven).count() * 2 >= number
                || mean.log > (limits.worse * MEAN_PART).ln_1p() && mean.score >= MEAN_TOGETHER;
            let most = windows().filter(over).count() * 3 >= number * 2;
            let begins = last && most && sure && own.log > limits.worse.ln_1p() && own.score >= TOGETHER;
            begins.then(|| windows().filter(over).map(|window| window.since).min()).flatten()
        })
    }

    fn is_over(&self, limits: &Limits) -> bool {
        let calm = |verdict: &Verdict| verdict.own.log < (limits.worse * CALM_PART).ln_1p();
        self.recent[RECENT - CALM..].iter().all(|window| window.as_ref().is_some_and(calm))
    }
}

/// Several windows as one.
fn together(windows: impl Iterator<Item = Apart>) -> Apart {
    let (mut sum, mut number) = (Apart::default(), 0.0_f64);
    for window in windows {
        sum = Apart { log: sum.log + window.log, score: sum.score + window.score.clamp(-MOST, MOST) };
        number += 1.0;
    }
    Apart { log: sum.log / number.max(1.0), score: sum.score / number.max(1.0).sqrt() }
}

/// Compares a window with what is usual.
fn verdict(
    measure: Measure,
    point: &Point,
    baseline: &Baseline,
    limits: &Limits,
    like: Like,
    usual: &Usual,
) -> Option<Verdict> {
    let now = point.get(measure)?;
    // The sum of all durations is exact, whatever the buckets are.
    let mean = baseline.usual(point, measure.mean(), like, limits.baseline_ns);
    let part = if is_beside(measure, point, now) { ALLOWED_MEAN } else { ALLOWED };
    let allowed = match like {
        Like::Running => 1.0,
        Like::Rate => 1.0 + part * limits.worse,
    };
    let own = apart(now / allowed, usual);
    let mean = point.get(measure.mean()).filter(|_| mean.like >= 2).map(|now| apart(now / allowed, &mean));
    Some(Verdict {
        began: point.began,
        since: point.since,
        ended: point.ended,
        own,
        mean: mean.unwrap_or_default(),
        proven: is_proven(measure, point, limits, now, usual.seconds),
    })
}

/// Whether it is the mean of durations of which there are quantiles.
fn is_beside(measure: Measure, point: &Point, now: f64) -> bool {
    measure.quantile.share().is_none() && point.bucket(measure.timed, now).is_some()
}

fn apart(now: f64, usual: &Usual) -> Apart {
    let log = (now.max(1e-9) / usual.seconds.max(1e-9)).ln();
    // The noise of this window, and of the median that it is compared with.
    let noise = usual.noise * (1.0 + OF_A_MEDIAN / usual.like.max(1) as f64).sqrt();
    Apart { log, score: log / noise }
}

/// The variance of a median, as a multiple of that of a mean.
const OF_A_MEDIAN: f64 = std::f64::consts::FRAC_PI_2;

/// Whether a number is exact, as a mean is, or its bucket lies so far above that of the other that it must be worse wherever both are in theirs.
fn is_proven(measure: Measure, point: &Point, limits: &Limits, now: f64, usual: f64) -> bool {
    let bucket = |seconds| measure.quantile.share().and_then(|_| point.bucket(measure.timed, seconds));
    let (Some((lower, _)), Some((_, upper))) = (bucket(now), bucket(usual)) else { return true };
    lower > upper * (1.0 + limits.worse)
}
