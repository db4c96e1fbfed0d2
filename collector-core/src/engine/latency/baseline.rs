//! [`Baseline`]: windows of the last hours, and those of them in which the model had as much to do as now. Bounded.

use std::collections::VecDeque;

use super::window::Point;
use crate::latency::{MEASURES, Measure, Timed};

/// Windows are kept by load, so that a calm night does not push out the busy day: running requests below 1, 2, 4, … and above.
const BINS: usize = 8;
/// At most this many windows of each.
const KEPT: usize = 60;
/// At most this many windows are compared: those with the most similar load.
const NEAREST: usize = 40;
/// How much more or less a model may have had to do in a window at like load. More is allowed than less: what takes longer than it took
/// with more to do is worse.
const LESS: f64 = 1.03;
const MORE: f64 = 1.5;
/// The least noise of a window, as a share: numbers closer together than this are alike.
const NOISE: f64 = 0.03;
/// Two windows say how a mean depends on the work of a request if that differs by this share; so many pairs are enough.
const APART: f64 = 0.02;
const PAIRS: usize = 30;
/// What a window would have taken with the work of now is at most so many times what it took.
const MOVED: f64 = 1.5;
/// The standard deviation of a normal distribution, from the median of absolute deviations …
const OF_MEDIAN: f64 = 1.4826;
/// … and from the distance of the 90th percentile.
const OF_NINETIETH: f64 = 1.2816;

/// What is kept of a window.
#[derive(Clone, Copy, Debug)]
struct Kept {
    ended: u64,
    /// NaN where unknown.
    running: f32,
    prompt: f32,
    output: f32,
    rate: f32,
    seconds: [f32; MEASURES],
}

/// Windows in which it was as usual.
#[derive(Clone, Debug, Default)]
pub(super) struct Baseline([VecDeque<Kept>; BINS]);

/// What is usual at like load.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Usual {
    /// Windows at like load.
    pub like: usize,
    /// Their median in seconds.
    pub seconds: f64,
    /// How far a window is from that by chance, as a share: a standard deviation.
    pub noise: f64,
}

/// Which load must be alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Like {
    /// The requests that it works on.
    Running,
    /// The tokens that it makes in a second. If it gets slower while as much is asked of it, more requests run at once.
    Rate,
}

impl Baseline {
    /// Number of windows.
    pub fn len(&self) -> usize {
        self.0.iter().map(VecDeque::len).sum()
    }

    pub fn clear(&mut self) {
        *self = Baseline::default();
    }

    /// Adds a window, and drops those that are too old.
    pub fn learn(&mut self, point: &Point, reach: u64) {
        for bin in &mut self.0 {
            while bin.front().is_some_and(|oldest| point.ended.saturating_sub(oldest.ended) > reach) {
                bin.pop_front();
            }
        }
        let bin = &mut self.0[bin(point.seen)];
        if bin.len() == KEPT {
            bin.pop_front();
        }
        let known = |value: Option<f64>| value.map_or(f32::NAN, |value| value as f32);
        bin.push_back(Kept {
            ended: point.ended,
            running: known(point.seen),
            prompt: known(point.load.prompt),
            output: known(point.load.output),
            rate: known(point.load.rate),
            seconds: point.seconds,
        });
    }

    /// Drops the oldest window.
    pub fn drop_oldest(&mut self) {
        let oldest = self.0.iter_mut().filter(|bin| !bin.is_empty());
        if let Some(bin) = oldest.min_by_key(|bin| bin.front().map(|kept| kept.ended)) {
            bin.pop_front();
        }
    }

    /// What is usual for a measure at the load of this window. `like` is 0 if nothing is.
    pub fn usual(&self, point: &Point, measure: Measure, like: Like, reach: u64) -> Usual {
        let load = &point.load;
        // Of how much work of a request a mean is a straight line: that of means is the mean of lines. Of quantiles that is not known.
        let mean = measure.quantile.share().is_none();
        let work_of = |prompt: f64, output: f64| match measure.timed {
            Timed::FirstToken if mean => prompt,
            Timed::EndToEnd if mean => output,
            _ => f64::NAN,
        };
        let near = |kept: &Kept| -> Option<Near> {
            let value = kept.seconds[measure.index()];
            if value.is_nan() || point.ended.saturating_sub(kept.ended) > reach {
                return None;
            }
            let work = match like {
                Like::Running => distance(point.seen, kept.running, 0.5)?,
                Like::Rate => load.rate.and(distance(load.rate, kept.rate, 0.0))?,
            };
            let prompt = match measure.timed {
                // What a prompt costs hardly shows in the time between two tokens.
                Timed::BetweenTokens | Timed::Token => 0.0,
                Timed::FirstToken | Timed::EndToEnd => distance(load.prompt, kept.prompt, 1.0)?,
            };
            let output = match (measure.timed, like) {
                // As many tokens a second of shorter requests are more prompts.
                (Timed::EndToEnd, _) | (_, Like::Rate) => distance(load.output, kept.output, 1.0)?,
                _ => 0.0,
            };
            let of_request = work_of(f64::from(kept.prompt), f64::from(kept.output));
            Some(Near { distance: work + prompt + output, seconds: f64::from(value), of_request })
        };
        let mut like: Vec<Near> = self.0.iter().flatten().filter_map(near).collect();
        if like.len() > NEAREST {
            like.select_nth_unstable_by(NEAREST - 1, |one, two| one.distance.total_cmp(&two.distance));
            like.truncate(NEAREST);
        }
        let now = work_of(load.prompt.unwrap_or(f64::NAN), load.output.unwrap_or(f64::NAN));
        let slope = if now > 0.0 { slope(&like) } else { 0.0 };
        let moved = |near: Near| {
            let by = if slope > 0.0 { slope * (now - near.of_request) } else { 0.0 };
            (near.seconds + by).clamp(near.seconds / MOVED, near.seconds * MOVED)
        };
        let mut values: Vec<f64> = like.into_iter().map(|near| moved(near).max(1e-9).ln()).collect();
        values.sort_unstable_by(f64::total_cmp);
        let Some(median) = at(&values, 0.5) else { return Usual::default() };
        let mut apart: Vec<f64> = values.iter().map(|value| (value - median).abs()).collect();
        apart.sort_unstable_by(f64::total_cmp);
        let spread = at(&apart, 0.5).unwrap_or(0.0) * OF_MEDIAN;
        let tail = (at(&values, 0.9).unwrap_or(median) - median) / OF_NINETIETH;
        Usual { like: values.len(), seconds: median.exp(), noise: spread.max(tail).max(NOISE) }
    }
}

/// A window at like load.
#[derive(Clone, Copy)]
struct Near {
    distance: f64,
    seconds: f64,
    /// Tokens of a request on which its time depends; NaN if that is not known.
    of_request: f64,
}

/// How many seconds longer a mean is for each token of a request more: the median over all pairs (Theil and Sen), which a few odd windows
/// do not move. 0 if too few of them differ.
fn slope(like: &[Near]) -> f64 {
    let pairs = like.iter().enumerate().flat_map(|(place, one)| like[place + 1..].iter().map(move |two| (one, two)));
    let mut slopes: Vec<f64> = pairs
        .filter(|(one, two)| (one.of_request - two.of_request).abs() > APART * one.of_request)
        .map(|(one, two)| (one.seconds - two.seconds) / (one.of_request - two.of_request))
        .collect();
    slopes.sort_unstable_by(f64::total_cmp);
    at(&slopes, 0.5).filter(|_| slopes.len() >= PAIRS).map_or(0.0, |slope| slope.max(0.0))
}

/// The value below which a share of them is, between two if it must be.
fn at(sorted: &[f64], share: f64) -> Option<f64> {
    let place = share * sorted.len().checked_sub(1)? as f64;
    let (below, above) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
    Some(below + (above - below) * place.fract())
}

/// How far apart two amounts of work are; `None` if they are not alike, or only one of them is known. `least`: amounts below are alike.
fn distance(now: Option<f64>, kept: f32, least: f64) -> Option<f64> {
    let kept = f64::from(kept);
    let Some(now) = now else { return kept.is_nan().then_some(0.0) };
    let ratio = ((kept + least) / (now + least)).max(1e-9);
    let alike = (1.0 / LESS..=MORE).contains(&ratio);
    alike.then(|| ratio.ln().abs())
}

fn bin(running: Option<f64>) -> usize {
    let running = running.unwrap_or(0.0).max(0.0) as u64;
    (u64::BITS - running.leading_zeros()).min(BINS as u32 - 1) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_a_mean_depends_on_the_work_of_a_request_is_known_in_spite_of_odd_windows() {
        let near = |of_request: f64, seconds: f64| Near { distance: 0.0, seconds, of_request };
        let mut like: Vec<Near> =
            (0..20).map(|step| near(500.0 + 10.0 * f64::from(step), 0.5 + 0.002 * f64::from(step))).collect();
        assert!((slope(&like) - 0.0002).abs() < 1e-9, "{}", slope(&like));
        like.extend([near(510.0, 9.0), near(690.0, 0.001), near(600.0, f64::from(f32::MAX))]);
        assert!((0.0001..0.0003).contains(&slope(&like)), "{}", slope(&like));
        assert_eq!(slope(&[near(500.0, 0.1); 20]), 0.0, "they do not differ");
        assert_eq!(slope(&[near(f64::NAN, 0.1); 20]), 0.0);
        assert_eq!(slope(&like[..3]), 0.0, "too few");
        assert_eq!(slope(&(0..20).map(|step| near(500.0 + 10.0 * f64::from(step), 0.1)).collect::<Vec<_>>()), 0.0);
    }
}
