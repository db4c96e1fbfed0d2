//! Forecasts of whole hosts and workloads, made of generated days.

use super::*;
use crate::digest::card;
use crate::series::Series;
use crate::tier::{FIGURES, Figure, KEPT, Tier, kept};

pub const GIB: f64 = (1_u64 << 30) as f64;
/// In hours.
pub const DAY: u64 = 24;
const STEP: u64 = Tier::QuarterHour.step();

fn known(place: u64, values: &[(Series, f64)]) -> Known {
    let mut row = [[None; 3]; KEPT.len()];
    for (series, value) in values {
        row[kept(*series).unwrap()] = [Some(*value as f32); 3];
    }
    Known { time: place * STEP, seconds: 900, values: row }
}

/// A host with so many GiB and 16 CPUs, for so many hours from a Monday on; what it uses by the hour, in GiB.
pub fn host(hours: u64, total: f64, used: impl Fn(u64) -> f64) -> Material {
    let first = 4 * 4 * DAY;
    let of = |place: u64| {
        let used = used((place - first) / 4);
        known(place, &[(Series::Memory, used * GIB), (Series::MemoryLimit, total * GIB), (Series::Cpu, 2.0)])
    };
    let quarters: Vec<Known> = (first..first + 4 * hours).map(of).collect();
    let counts = quarters.iter().map(|known| (known.time, Rare::Cpus, 16)).collect();
    Material { quarters, counts, ..Material::default() }
}

/// A workload that takes so many GiB all the time.
pub fn work(name: &str, hours: u64, used: f64) -> Material {
    let mut work = host(hours, 64.0, |_| used);
    (work.workload, work.counts) = (Some(name.to_owned()), Vec::new());
    work
}

pub fn card(gpu: &str, hours: u64, used: f64, total: f64) -> Card {
    let of = |place: u64| {
        let mut values = [[None; 3]; FIGURES];
        values[Figure::MemoryUsed as usize] = [Some((used * GIB) as f32); 3];
        values[Figure::MemoryUsable as usize] = [Some((total * GIB) as f32); 3];
        card::Known { time: (4 * 4 * DAY + place) * STEP, seconds: 900, values }
    };
    let quarters = (0..4 * hours).map(of).collect();
    Card { uuid: format!("GPU-{gpu}").as_str().into(), gpu: gpu.into(), model: "H100".into(), quarters }
}

pub fn cpus(material: &Material) -> Option<f64> {
    Rare::last(&material.counts, |rare| matches!(rare, Rare::Cpus)).map(|count| count as f64)
}

fn forecast(material: &Material, hours: u64) -> Forecast {
    let last = material.quarters.last().map_or(0, |known| known.time + STEP);
    Forecast::of(material, &Facts { now: last, ..Facts::default() }, hours)
}

fn memory(forecast: &Forecast) -> &Outlook {
    forecast.outlooks.iter().find(|it| it.resource == Resource::Memory).unwrap()
}

#[test]
fn what_grows_reaches_its_limit_and_when_is_said() {
    // 1 GiB an hour from 10 GiB on: 64 GiB are reached six hours after two days.
    let found = forecast(&host(2 * DAY, 64.0, |hour| 10.0 + hour as f64), 24);
    let memory = memory(&found);
    assert_eq!((memory.shape, memory.points.len(), memory.limit), (Shape::Grows, 24, Some(64.0 * GIB)));
    assert!((memory.a_day / GIB - 24.0).abs() < 0.5, "{}", memory.a_day / GIB);
    let reach = memory.reaches.unwrap();
    let hours = (reach.time.unwrap() - found.time) as f64 / 3600e9;
    assert!((5.0..=8.0).contains(&hours) && reach.earliest <= reach.time.unwrap(), "{hours}");
    assert!(memory.points.iter().all(|it| it.low <= it.value && it.value <= it.high && it.high <= 64.0 * GIB));
    assert!(memory.sentence.contains("grows by") && memory.sentence.contains("reached in"), "{}", memory.sentence);
}

#[test]
fn too_little_is_not_enough_and_says_how_much_there_is() {
    let found = forecast(&host(5, 64.0, |_| 10.0), 24);
    assert!(found.outlooks.is_empty(), "{found:?}");
    let missing: Vec<&str> = found.not_known.iter().map(|it| &*it.missing).collect();
    assert_eq!(missing, ["6 hours of history: there are 5.0"; 2]);
    assert!(forecast(&Material::default(), 24).not_known.iter().all(|it| it.missing.contains("nothing is known")));
}

#[test]
fn of_what_ended_hours_ago_nothing_is_forecast() {
    let host = host(DAY, 64.0, |_| 10.0);
    let end = host.quarters.last().unwrap().time + STEP;
    let after = |hours: u64| Forecast::of(&host, &Facts { now: end + hours * 4 * STEP, ..Facts::default() }, 12);
    assert_eq!(after(2).outlooks.len(), 2);
    let found = after(3);
    assert!(found.outlooks.is_empty(), "{found:?}");
    assert!(found.not_known.iter().all(|it| it.missing == "no new data for 3 h"), "{found:?}");
}

#[test]
fn a_limit_that_was_taken_away_is_none() {
    let mut work = work("web", DAY, 10.0);
    assert_eq!(memory(&forecast(&work, 12)).limit, Some(64.0 * GIB));
    let limit = kept(Series::MemoryLimit).unwrap();
    work.quarters.iter_mut().skip(80).for_each(|known| known.values[limit] = [None; 3]);
    assert_eq!(memory(&forecast(&work, 12)).limit, None);
}

#[test]
fn a_forecast_reaches_no_further_than_the_history_does_back() {
    let found = forecast(&host(10, 64.0, |_| 10.0), 100);
    assert_eq!(memory(&found).points.len(), 10);
    assert_eq!(memory(&found).points[0].time, found.time);
}

#[test]
fn a_day_has_a_pattern_once_there_is_a_week() {
    let used = |hour: u64| if (8..18).contains(&(hour % 24)) { 40.0 } else { 10.0 };
    let daily = forecast(&host(9 * DAY, 64.0, used), 24);
    let memory_then = memory(&daily);
    assert!(matches!(memory_then.shape, Shape::Daily | Shape::Weekly), "{:?}", memory_then.shape);
    let [night, noon] = [3, 12].map(|hour| memory_then.points[hour].value / GIB);
    assert!(night < 18.0 && noon > 32.0, "{night} {noon}");
    let young = forecast(&host(5 * DAY, 64.0, used), 24);
    assert!(!matches!(memory(&young).shape, Shape::Daily | Shape::Weekly));
}

#[test]
fn a_clean_up_that_was_seen_is_told_and_the_limit_is_not_reached() {
    let found = forecast(&host(5 * DAY, 64.0, |hour| 20.0 + (hour % 13) as f64), 48);
    let memory = memory(&found);
    assert_eq!((memory.shape, memory.reaches), (Shape::Saw, None), "{}", memory.sentence);
    assert!(memory.sentence.contains("a cleanup that was seen"), "{}", memory.sentence);
}

#[test]
fn a_new_level_is_said_with_when_it_began() {
    let found = forecast(&host(4 * DAY, 64.0, |hour| if hour < 2 * DAY { 10.0 } else { 40.0 }), 24);
    let memory = memory(&found);
    assert_eq!(memory.shape, Shape::Step, "{}", memory.sentence);
    let said = "on a new level (up from 10.0 GiB to 40.0 GiB 48 h ago)";
    assert!(
        memory.sentence.contains(said) || memory.sentence.contains(&said.replace("48 h", "2.0 d")),
        "{}",
        memory.sentence
    );
}

#[test]
fn a_disk_that_fills_has_the_kubelet_before_its_end() {
    let mut host = host(4 * DAY, 64.0, |_| 10.0);
    let mount = || "/".into();
    for place in 0..4 * 4 * DAY {
        let time = (4 * 4 * DAY + place) * STEP;
        host.counts.push((time, Rare::Disk(mount()), ((40.0 + place as f64 / 10.0) * GIB) as u64));
        host.counts.push((time, Rare::DiskSize(mount()), (100.0 * GIB) as u64));
    }
    let now = host.quarters.last().unwrap().time + STEP;
    let facts = Facts { now, kubelet: true, kubelet_mounts: vec!["/".into()], ..Facts::default() };
    let found = Forecast::of(&host, &facts, 48);
    let disk = found.outlooks.iter().find(|it| it.resource == Resource::Disk).unwrap();
    // 9.6 GiB a day from 78 on: 85 % within a day, all of it in more than two.
    let [images, pods] = &disk.cleaners[..] else { panic!("{:?}", disk.cleaners) };
    let hours = (images.time.unwrap() - now) as f64 / 3600e9;
    assert!((12.0..24.0).contains(&hours) && images.time < pods.time, "{hours}");
    assert_eq!(disk.reaches.and_then(|reach| reach.time), None, "{}", disk.sentence);
    let alone = Forecast::of(&host, &Facts { now, ..Facts::default() }, 48);
    assert!(alone.outlooks.iter().all(|it| it.cleaners.is_empty()));
}

#[test]
fn a_workload_has_its_own_limit_and_gpu_memory_if_it_holds_any() {
    let mut work = work("web", DAY, 10.0);
    let found = forecast(&work, 12);
    assert!(found.outlooks.iter().all(|it| it.resource != Resource::Vram) && found.workload.as_deref() == Some("web"));
    let vram = kept(Series::Vram).unwrap();
    work.quarters.iter_mut().for_each(|known| known.values[vram] = [Some(GIB as f32); 3]);
    let found = forecast(&work, 12);
    let vram = found.outlooks.iter().find(|it| it.resource == Resource::Vram).unwrap();
    assert_eq!((vram.shape, vram.limit), (Shape::Flat, None), "what the GPU has is not the workload's alone");
}
