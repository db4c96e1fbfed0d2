//! Whether a host would carry one more of a workload: what that workload took at most, on top of what the host had, quarter of an hour by
//! quarter of an hour of the last days. Knows nothing of what runs now.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::sentence::amount_of;
use super::{Facts, Material, Resource};
use crate::advice::Unit;
use crate::lease::Decision;
use crate::past::hour_of_week;
use crate::series::Series;
use crate::text::capital;
use crate::tier::{Figure, Known, Rare, kept};
use crate::zone::DAY_NAMES;

/// With fewer hours nobody can say.
const LEAST_HOURS: f64 = 24.0;
/// CPUs are shared: this share of its quarters took no more of them than what counts as its need. Of memory what it took at most counts:
/// what needs 20 GB for an hour a night needs 20 GB.
const QUANTILE: f64 = 0.95;
/// It fits if it would have fit in this share of the time; tightly if in that.
const FITS: f64 = 0.999;
const TIGHT: f64 = 0.95;
/// Hours of the week in which it would not have fit that are named.
const NAMED: usize = 6;

/// The answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct OneMore {
    pub workload: String,
    pub verdict: Decision,
    /// Each resource that it needs, that which binds first at the front.
    pub parts: Vec<Part>,
    /// Of how many hours host and workload are known.
    pub known_hours: f64,
    pub not_known: Vec<String>,
    pub sentence: String,
}

/// What it would take of one resource, and what there was.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = OneMorePart)]
pub struct Part {
    pub resource: Resource,
    /// The GPU with most room.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<String>,
    pub unit: Unit,
    /// What one takes at most; of CPU time 95 of 100 quarters of an hour took no more on average.
    pub need: f64,
    /// What was free at least, and in the middle, of what may be used.
    pub free_least: f64,
    pub free_middle: f64,
    pub limit: f64,
    /// The share of quarters in which it would have fit.
    pub fits_ratio: f64,
    /// Hours of the week in UTC, 0 is Monday at midnight, in which it would not always have fit; the worst first.
    pub short_hours: Vec<u16>,
}

/// Would the host carry one more of this workload?
pub fn one_more(host: &Material, workload: &Material, facts: &Facts) -> OneMore {
    let name = workload.workload.clone().unwrap_or_default();
    let mut not_known = Vec::new();
    let known_hours = host.quarters.len().min(workload.quarters.len()) as f64 / 4.0;
    let mut parts = Vec::new();
    let most = |known: &Known, series| kept(series).and_then(|at| known.values[at][2]).map(f64::from);
    let needs = |series| workload.quarters.iter().filter_map(|known| most(known, series)).reduce(f64::max);
    let rows = |series| -> Vec<(u64, f64)> {
        host.quarters.iter().filter_map(|known| Some((known.time, most(known, series)?))).collect()
    };
    match (needs(Series::Memory), rows(Series::MemoryLimit).last().copied()) {
        (Some(need), Some((_, total))) => {
            let limit = total * if facts.memory_share > 0.0 { facts.memory_share } else { 1.0 };
            parts.extend(part(Resource::Memory, None, Unit::Bytes, need, limit, &rows(Series::Memory)));
        }
        (None, _) => not_known.push(format!("how much memory {name} takes")),
        (_, None) => not_known.push("how much memory this host has".to_owned()),
    }
    // CPUs are shared: what counts is the mean of a quarter, not its busiest second.
    let mean = |known: &Known| kept(Series::Cpu).and_then(|at| known.values[at][1]).map(f64::from);
    let need = quantile(workload.quarters.iter().filter_map(mean).collect(), QUANTILE);
    match (need, Rare::last(&host.counts, |rare| matches!(rare, Rare::Cpus)).map(|count| count as f64)) {
        (Some(need), Some(limit)) => {
            let rows: Vec<_> = host.quarters.iter().filter_map(|known| Some((known.time, mean(known)?))).collect();
            parts.extend(part(Resource::Cpu, None, Unit::Cpus, need, limit, &rows));
        }
        (Some(_), None) => not_known.push("how many CPUs this host has: the history does not say it yet".to_owned()),
        (None, _) => {}
    }
    if let Some(need) = needs(Series::Vram).filter(|need| *need > 0.0) {
        let on = host.cards.iter().filter_map(|card| {
            let of = |known: &Known<{ crate::tier::FIGURES }>, figure: Figure| {
                known.values[figure as usize][2].map(f64::from)
            };
            let limit = card.quarters.iter().rev().find_map(|known| of(known, Figure::MemoryUsable))?;
            let used = |known: &Known<{ crate::tier::FIGURES }>| Some((known.time, of(known, Figure::MemoryUsed)?));
            let rows: Vec<(u64, f64)> = card.quarters.iter().filter_map(used).collect();
            part(Resource::Vram, Some(card.gpu.to_string()), Unit::Bytes, need, limit, &rows)
        });
        let best = on.max_by(|one, other| {
            one.fits_ratio.total_cmp(&other.fits_ratio).then(one.free_least.total_cmp(&other.free_least))
        });
        match best {
            Some(part) => parts.push(part),
            None => not_known.push(format!("memory of GPUs, of which {name} takes {}", amount_of(Unit::Bytes, need))),
        }
    }
    parts.sort_by(|one, other| {
        let room = |part: &Part| (part.free_least - part.need) / part.limit.max(f64::MIN_POSITIVE);
        one.fits_ratio.total_cmp(&other.fits_ratio).then(room(one).total_cmp(&room(other)))
    });
    let worst = parts.first().map_or(0.0, |part| part.fits_ratio);
    let verdict = match () {
        () if known_hours < LEAST_HOURS || parts.is_empty() => Decision::Unknown,
        () if worst < TIGHT => Decision::No,
        // What is not known is never a yes.
        () if !not_known.is_empty() => Decision::Unknown,
        () if worst < FITS => Decision::Tight,
        () => Decision::Yes,
    };
    if known_hours < LEAST_HOURS {
        not_known.push(format!("{LEAST_HOURS} hours of both: there are {known_hours:.1}"));
    }
    let sentence = sentence(&name, verdict, &parts, known_hours, &not_known);
    OneMore { workload: name, verdict, parts, known_hours, not_known, sentence }
}

/// `None` where nothing is known of the host.
fn part(
    resource: Resource,
    of: Option<String>,
    unit: Unit,
    need: f64,
    limit: f64,
    used: &[(u64, f64)],
) -> Option<Part> {
    let free = |used: f64| (limit - used).max(0.0);
    let mut short = [0_u32; 7 * 24];
    let mut fits = 0_usize;
    for (time, used) in used {
        if free(*used) >= need {
            fits += 1;
        } else {
            short[hour_of_week(*time)] += 1;
        }
    }
    let mut hours: Vec<u16> = (0..7 * 24).filter(|hour| short[usize::from(*hour)] > 0).collect();
    hours.sort_by_key(|hour| (std::cmp::Reverse(short[usize::from(*hour)]), *hour));
    let all: Vec<f64> = used.iter().map(|(_, used)| free(*used)).collect();
    Some(Part {
        resource,
        of,
        unit,
        need,
        free_least: all.iter().copied().reduce(f64::min)?,
        free_middle: quantile(all, 0.5)?,
        limit,
        fits_ratio: fits as f64 / used.len().max(1) as f64,
        short_hours: hours,
    })
}

/// The least value that no fewer than this share of them reach or stay below.
fn quantile(mut values: Vec<f64>, share: f64) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    let rank = (share * values.len() as f64).ceil().max(1.0) as usize;
    values.get(rank - 1).copied()
}

fn sentence(name: &str, verdict: Decision, parts: &[Part], hours: f64, not_known: &[String]) -> String {
    let days = hours / 24.0;
    let Some(first) = parts.first() else {
        return format!("Not known: {}.", not_known.join("; "));
    };
    let show = |value: f64| amount_of(first.unit, value);
    let what = what(first);
    let numbers = format!(
        "one needs {} of {what}; free were {} at the minimum, {} at the median",
        show(first.need),
        show(first.free_least),
        show(first.free_middle)
    );
    let share = crate::amount::percent(first.fits_ratio);
    let mut text = match verdict {
        Decision::Yes => format!("One more {name} would have fit all the time of the last {days:.1} days: {numbers}."),
        Decision::Unknown => {
            format!("Not known whether one more {name} fits: {}. {}.", not_known.join("; "), capital(&numbers))
        }
        _ => format!(
            "One more {name} would have fit {share} of the time of the last {days:.1} days; {what} binds first: {numbers}."
        ),
    };
    if !first.short_hours.is_empty() {
        let named: Vec<String> = first.short_hours.iter().take(NAMED).map(|hour| hour_name(*hour)).collect();
        let more = first.short_hours.len().saturating_sub(NAMED);
        let more = if more > 0 { format!(" and {more} more hours of the week") } else { String::new() };
        text += &format!(" It was short on {} (UTC){more}.", named.join(", "));
    }
    if first.resource == Resource::Vram {
        text += " Assumes that all its GPU memory is on one GPU.";
    }
    text
}

fn what(part: &Part) -> String {
    match (part.resource, &part.of) {
        (Resource::Vram, Some(gpu)) => format!("memory of GPU {gpu}"),
        (Resource::Vram, None) => "GPU memory".to_owned(),
        (Resource::Memory, _) => "host memory".to_owned(),
        (Resource::Cpu, _) => "CPU time".to_owned(),
        (Resource::Disk, _) => "disk".to_owned(),
        (Resource::HostToDevice, _) => "the link to the GPU".to_owned(),
    }
}

/// `Mon 09:00`.
pub fn hour_name(hour: u16) -> String {
    format!("{} {:02}:00", DAY_NAMES[usize::from(hour / 24 % 7)], hour % 24)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{DAY, GIB, card, cpus, host, work};
    use super::*;

    #[test]
    fn one_more_is_judged_by_what_the_host_had_when_it_had_least() {
        let facts = Facts { memory_share: 1.0, ..Facts::default() };
        // Of 64 GiB the host has 40 by day and 10 by night.
        let by_day = |hour: u64| if (8..18).contains(&(hour % 24)) { 40.0 } else { 10.0 };
        let of = |need: f64| one_more(&host(14 * DAY, 64.0, by_day), &work("web", 14 * DAY, need), &facts);
        let yes = of(20.0);
        assert_eq!(yes.verdict, Decision::Yes, "{}", yes.sentence);
        let no = of(30.0);
        assert_eq!(no.verdict, Decision::No, "{}", no.sentence);
        let part = &no.parts[0];
        assert_eq!((part.resource, part.short_hours.len()), (Resource::Memory, 70), "{no:?}");
        assert!((part.fits_ratio - 14.0 / 24.0).abs() < 0.01 && (part.free_least - 24.0 * GIB).abs() < 0.1 * GIB);
        assert!(
            no.sentence.contains("host memory binds first") && no.sentence.contains("Mon 08:00"),
            "{}",
            no.sentence
        );
    }

    #[test]
    fn what_is_needed_for_an_hour_a_night_is_needed() {
        let facts = Facts { memory_share: 1.0, ..Facts::default() };
        let mut work = work("batch", 7 * DAY, 1.0);
        let memory = kept(Series::Memory).unwrap();
        let nights = work.quarters.iter_mut().step_by(96);
        nights.for_each(|known| known.values[memory] = [Some((20.0 * GIB) as f32); 3]);
        let answer = one_more(&host(7 * DAY, 64.0, |_| 50.0), &work, &facts);
        assert_eq!((answer.verdict, answer.parts[0].need), (Decision::No, 20.0 * GIB), "{}", answer.sentence);
    }

    #[test]
    fn what_is_not_known_is_never_a_yes() {
        let facts = Facts { memory_share: 1.0, ..Facts::default() };
        let mut short = host(12, 64.0, |_| 1.0);
        assert_eq!(one_more(&short, &work("web", 12, 1.0), &facts).verdict, Decision::Unknown);
        short = host(5 * DAY, 64.0, |_| 1.0);
        short.counts.clear();
        let answer = one_more(&short, &work("web", 5 * DAY, 1.0), &facts);
        assert_eq!(answer.verdict, Decision::Unknown);
        assert!(answer.sentence.contains("how many CPUs"), "{}", answer.sentence);
    }

    #[test]
    fn gpu_memory_is_looked_for_on_the_gpu_with_most_room() {
        let facts = Facts { memory_share: 1.0, ..Facts::default() };
        let mut host = host(5 * DAY, 64.0, |_| 1.0);
        let mut model = work("llm", 5 * DAY, 1.0);
        let vram = kept(Series::Vram).unwrap();
        model.quarters.iter_mut().for_each(|known| known.values[vram] = [Some((30.0 * GIB) as f32); 3]);
        assert_eq!(one_more(&host, &model, &facts).verdict, Decision::Unknown, "no GPU is known");
        host.cards = vec![card("0", 5 * DAY, 60.0, 80.0), card("1", 5 * DAY, 40.0, 80.0)];
        let answer = one_more(&host, &model, &facts);
        let part = answer.parts.iter().find(|part| part.resource == Resource::Vram).unwrap();
        assert_eq!((answer.verdict, part.of.as_deref()), (Decision::Yes, Some("1")), "{}", answer.sentence);
        host.cards.pop();
        let answer = one_more(&host, &model, &facts);
        assert_eq!((answer.verdict, answer.parts[0].resource), (Decision::No, Resource::Vram));
        assert_eq!(cpus(&host), Some(16.0));
    }

    #[test]
    fn hours_of_the_week_begin_on_monday() {
        assert_eq!((hour_of_week(0), hour_name(3 * 24)), (72, "Thu 00:00".to_owned()));
        assert_eq!(hour_of_week(4 * 24 * 3_600_000_000_000), 0);
    }
}
