//! What memory, GPUs, disks and CPUs will be used in the next hours and days, with an interval that holds four times in five, when a limit is
//! reached, and who cleans up before that. Pure: from the history's quarters of an hour, which others read.

mod judge;
mod model;
pub mod more;
mod saw;
mod sentence;
mod step;
mod steps;
mod subject;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::advice::Unit;
use crate::digest::card::Card;
use crate::tier::{Known, Rare};
use judge::Judged;
pub use more::OneMore;
pub use sentence::amount_of;
pub use steps::{Quarter, Steps};
use subject::Subject;

/// With fewer hours there is not enough data.
pub const LEAST_HOURS: f64 = 6.0;
/// With so many days a day has a pattern.
const PATTERN_HOURS: f64 = 7.0 * 24.0;
/// The furthest that anything is forecast, in hours.
pub const LONGEST_HOURS: u64 = 7 * 24;
/// Unless somebody asks for more.
pub const USUAL_HOURS: u64 = 24;
/// Of what ended so long ago nothing is forecast, in nanoseconds.
const ENDED_NS: u64 = 2 * 3_600_000_000_000;
/// A line that makes less than this share of the level in a week is flat.
const FLAT: f64 = 0.03;
/// A pattern that swings by less than this share of the level is none worth a word.
const SWING: f64 = 0.1;

/// What is known of a host or a workload.
#[derive(Clone, Debug, Default)]
pub struct Material {
    /// Absent: the host.
    pub workload: Option<String>,
    /// Oldest first.
    pub quarters: Vec<Known>,
    /// Of the host alone.
    pub cards: Vec<Card>,
    pub counts: Vec<(u64, Rare, u64)>,
}

/// What the history does not say.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// In nanoseconds since the Unix epoch.
    pub now: u64,
    /// Whether a kubelet has its pods here, and where each filesystem that it cleans is mounted.
    pub kubelet: bool,
    pub kubelet_mounts: Vec<String>,
    /// The share of the host's memory that is to be used at most.
    pub memory_share: f64,
}

/// A forecast of the host or of a workload.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Forecast {
    /// When it was made, in nanoseconds since the Unix epoch.
    pub time: u64,
    /// Absent: the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload: Option<String>,
    /// How many hours ahead were asked for.
    pub hours: u64,
    pub outlooks: Vec<Outlook>,
    /// What could not be forecast, and why.
    pub not_known: Vec<NotKnown>,
    /// Whether the host would carry one more of a workload, if that was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub one_more: Option<OneMore>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = ForecastResource)]
pub enum Resource {
    Memory,
    Vram,
    Disk,
    Cpu,
    /// Of the PCIe link of a GPU, or bytes a second of a workload.
    HostToDevice,
}

/// One number in the hours to come.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Outlook {
    pub resource: Resource,
    /// The number of a GPU, or where a filesystem is mounted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<String>,
    pub unit: Unit,
    /// The mean of the last step that is known: a quarter of an hour, or an hour.
    pub now: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<f64>,
    pub shape: Shape,
    /// By how much it grows.
    pub a_day: f64,
    /// Of how many hours of the past anything is known.
    pub known_hours: f64,
    /// The share of what came in the past that the interval of this forecast would have held, 0 to 1.
    pub held_ratio: f64,
    /// The mean of each hour to come. As far ahead as the history reaches back, at most as far as was asked.
    pub points: Vec<Point>,
    /// When the limit is reached, if it is within these hours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reaches: Option<Reach>,
    /// Who cleans up before that.
    pub cleaners: Vec<Cleaner>,
    /// All of it in a sentence or two.
    pub sentence: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = ForecastShape)]
pub enum Shape {
    Flat,
    Grows,
    Shrinks,
    Daily,
    Weekly,
    /// It rises slowly and falls at once, again and again.
    Saw,
    /// It went up or down once, and stayed there.
    Step,
}

/// An hour to come.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = ForecastPoint)]
pub struct Point {
    /// When it begins, in nanoseconds since the Unix epoch.
    pub time: u64,
    /// Four times in five it is between these two.
    pub low: f64,
    pub high: f64,
    pub value: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = ForecastReach)]
pub struct Reach {
    /// When what is expected reaches it, in nanoseconds since the Unix epoch; absent if only the upper end of the interval does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<u64>,
    /// When the upper end of the interval does: one time in ten it is sooner.
    pub earliest: u64,
}

/// Who makes room before the limit is reached.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Cleaner {
    pub who: String,
    /// From which use on, in the unit of the outlook.
    pub from: f64,
    /// When that is expected; absent: not within these hours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = NotForecast)]
pub struct NotKnown {
    pub resource: Resource,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<String>,
    /// What is missing, as a phrase.
    pub missing: String,
}

impl Forecast {
    /// So many hours ahead.
    pub fn of(material: &Material, facts: &Facts, hours: u64) -> Forecast {
        let hours = hours.clamp(1, LONGEST_HOURS);
        let mut forecast = Forecast {
            time: facts.now,
            workload: material.workload.clone(),
            hours,
            outlooks: Vec::new(),
            not_known: Vec::new(),
            one_more: None,
        };
        for subject in subject::all(material, facts) {
            match outlook(&subject, facts.now, hours) {
                Ok(outlook) => forecast.outlooks.push(outlook),
                Err(missing) => {
                    forecast.not_known.push(NotKnown { resource: subject.resource, of: subject.of.clone(), missing })
                }
            }
        }
        forecast
    }
}

/// # Errors
/// With what is missing.
fn outlook(subject: &Subject, now: u64, hours: u64) -> Result<Outlook, String> {
    let steps = Steps::new(&subject.quarters, now).ok_or("nothing is known of it")?;
    let silent = now.saturating_sub(steps.end());
    if silent > ENDED_NS {
        return Err(format!("no new data for {} h", silent / 3_600_000_000_000));
    }
    let known = steps.known_hours();
    let lacks = || format!("{LEAST_HOURS} hours of history: there are {known:.1}");
    if known < LEAST_HOURS {
        return Err(lacks());
    }
    let a_day = 24 * steps.an_hour();
    let judged = Judged::of(&steps.means, a_day, known >= PATTERN_HOURS).ok_or_else(lacks)?;
    let now_value = steps.means.iter().rev().flatten().next().copied().ok_or_else(lacks)?;
    // Nobody can say of next week what was never seen for a week.
    let reach = hours.min(steps.span_hours() as u64).max(1);
    // The history may end before now.
    let late = now.saturating_sub(steps.end()) / steps.step;
    let points: Vec<Point> = (0..reach).map(|hour| point(&judged, &steps, hour, late as usize, subject.most)).collect();
    let values = steps.known();
    let saw = saw::saw(&values);
    let plain = shape(&judged, judged.way.pattern, now_value, a_day);
    // What comes again every day or week is no move to a new level.
    let is_pattern = matches!(plain, Shape::Daily | Shape::Weekly);
    let step = if saw.is_none() && !is_pattern { step::step(&values) } else { None };
    let shape = match (saw, step) {
        (Some(_), _) => Shape::Saw,
        (None, Some(_)) => Shape::Step,
        (None, None) => plain,
    };
    let reaches = subject.limit.and_then(|limit| {
        // What always fell before the limit is not expected to pass it.
        let falls = saw.is_some_and(|saw| saw.top + saw.top - saw.floor < limit);
        reach_of(&points, limit).filter(|_| !falls)
    });
    let mut outlook = Outlook {
        resource: subject.resource,
        of: subject.of.clone(),
        unit: subject.unit,
        now: now_value,
        limit: subject.limit,
        shape,
        a_day: judged.fit.slope * a_day as f64,
        known_hours: known,
        held_ratio: judged.held,
        reaches,
        cleaners: cleaners(subject, saw, &steps, &points),
        points,
        sentence: String::new(),
    };
    let since = |step: step::Step| (steps.from + step.at as u64 * steps.step, step);
    outlook.sentence = sentence::of(&outlook, step.map(since), now);
    Ok(outlook)
}

/// An hour to come, as the mean of its steps.
fn point(judged: &Judged, steps: &Steps, hour: u64, late: usize, most: Option<f64>) -> Point {
    let an_hour = steps.an_hour();
    let first = late + hour as usize * an_hour + 1;
    let mut sums = [0.0; 3];
    for step in first..first + an_hour {
        for (sum, value) in sums.iter_mut().zip(judged.ahead(step)) {
            *sum += value / an_hour as f64;
        }
    }
    let [low, value, high] = sums.map(|value| value.clamp(0.0, most.unwrap_or(f64::INFINITY)));
    Point { time: steps.end() + (first as u64 - 1) * steps.step, low, high, value }
}

fn shape(judged: &Judged, pattern: model::Pattern, now: f64, a_day: usize) -> Shape {
    let level = judged.fit.level.abs().max(now.abs()).max(f64::MIN_POSITIVE);
    let week = judged.fit.slope * 7.0 * a_day as f64;
    match pattern {
        model::Pattern::Weekly if judged.fit.swing() >= SWING * level => Shape::Weekly,
        model::Pattern::Daily if judged.fit.swing() >= SWING * level => Shape::Daily,
        _ if week >= FLAT * level => Shape::Grows,
        _ if week <= -FLAT * level => Shape::Shrinks,
        _ => Shape::Flat,
    }
}

/// When a limit is reached.
fn reach_of(points: &[Point], limit: f64) -> Option<Reach> {
    let earliest = points.iter().find(|point| point.high >= limit)?.time;
    Some(Reach { time: points.iter().find(|point| point.value >= limit).map(|point| point.time), earliest })
}

/// Who cleans up: what was seen to, and what is known to.
fn cleaners(subject: &Subject, saw: Option<saw::Saw>, steps: &Steps, points: &[Point]) -> Vec<Cleaner> {
    let when = |from: f64| points.iter().find(|point| point.value >= from).map(|point| point.time);
    let seen = saw.map(|saw| {
        let hours = saw.every / steps.an_hour() as f64;
        let who = format!("a cleanup that was seen {} times, every {hours:.0} h", saw.falls);
        Cleaner { who, from: saw.top, time: when(saw.top) }
    });
    let known =
        subject.cleaners.iter().map(|(who, from)| Cleaner { who: (*who).to_owned(), from: *from, time: when(*from) });
    seen.into_iter().chain(known).collect()
}

#[cfg(test)]
mod tests;
