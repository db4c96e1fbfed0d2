//! How much headroom the host had in each hour of the week of a period, and what was nearest its limit then. Knows only the history's
//! quarters of an hour; a resource whose limit is not known is not among them.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Material;
use super::block::{Block, Table};
use super::words::UNKNOWN;
use crate::amount::percent;
use crate::past::{HOURS, hour_of_week};
use crate::series::Series;
use crate::tier::{Extent, Figure, Rare, kept};
use crate::zone::{DAY_NAMES, Zone};

/// With fewer hours of the week known a table says nothing.
const LEAST: usize = 24;

/// What can be nearest its limit, in the order in which ties are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Resource {
    Memory,
    Vram,
    Pcie,
    Disk,
    Cpu,
}

impl Resource {
    fn word(self) -> &'static str {
        match self {
            Resource::Memory => "RAM",
            Resource::Vram => "VRAM",
            Resource::Pcie => "PCIe",
            Resource::Disk => "disk",
            Resource::Cpu => "CPU",
        }
    }
}

/// An hour of the week in UTC: 0 is Monday at midnight.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Hour {
    pub hour_of_week: usize,
    /// The least that was free of what binds first, as a share of its limit; of CPUs and links by the mean of a quarter of an hour, which
    /// is what is shared.
    pub free_ratio: f64,
    pub binds: Resource,
}

/// All hours of the week of which anything is known.
pub(super) fn hours(material: &Material) -> Vec<Hour> {
    let mut least: [Option<(f64, Resource)>; HOURS] = [None; HOURS];
    let mut see = |time: u64, resource: Resource, used: Option<f32>, limit: Option<f32>| {
        let (Some(used), Some(limit)) = (used, limit.filter(|limit| *limit > 0.0)) else { return };
        let free = (1.0 - f64::from(used) / f64::from(limit)).clamp(0.0, 1.0);
        let slot = &mut least[hour_of_week(time)];
        if slot.is_none_or(|known| (free, resource) < known) {
            *slot = Some((free, resource));
        }
    };
    let cpus = Rare::last(&material.counts, |rare| matches!(rare, Rare::Cpus)).map(|count| count as f32);
    for known in &material.host {
        let of = |series: Series| kept(series).map_or([None; 3], |at| known.values[at]) as Extent;
        see(known.time, Resource::Memory, of(Series::Memory)[2], of(Series::MemoryLimit)[2]);
        see(known.time, Resource::Cpu, of(Series::Cpu)[1], cpus);
    }
    for known in material.cards.iter().flat_map(|card| &card.quarters) {
        let of = |figure: Figure| known.values[figure as usize];
        see(known.time, Resource::Vram, of(Figure::MemoryUsed)[2], of(Figure::MemoryUsable)[2]);
        for direction in [Figure::ToGpu, Figure::FromGpu] {
            see(known.time, Resource::Pcie, of(direction)[1], Some(1.0));
        }
    }
    // Sizes seldom change: the last one counts.
    let sizes: BTreeMap<&str, f32> = material
        .counts
        .iter()
        .filter_map(|(_, rare, size)| match rare {
            Rare::DiskSize(mount) => Some((&**mount, *size as f32)),
            _ => None,
        })
        .collect();
    for (time, rare, used) in &material.counts {
        if let Rare::Disk(mount) = rare {
            see(*time, Resource::Disk, Some(*used as f32), sizes.get(&**mount).copied());
        }
    }
    let known = least.into_iter().enumerate();
    known
        .filter_map(|(hour_of_week, least)| least.map(|(free_ratio, binds)| Hour { hour_of_week, free_ratio, binds }))
        .collect()
}

/// A row for each hour of the day, a column for each day of the week, in local time; nothing if less than a day is known.
pub(super) fn capacity(blocks: &mut Vec<Block>, hours: &[Hour], to: u64, zone: &Zone) {
    if hours.len() < LEAST {
        return;
    }
    blocks.push(Block::Head("Headroom by hour of the week".to_owned()));
    let ahead = zone.hours_ahead(to);
    let (ahead, name) = match ahead {
        Some(ahead) => (ahead, zone.name(to, to)),
        None => (0, "UTC".to_owned()),
    };
    let local = |hour: &Hour| (hour.hour_of_week as i64 + ahead).rem_euclid(HOURS as i64) as usize;
    let worst = hours.iter().min_by(|one, other| one.free_ratio.total_cmp(&other.free_ratio));
    let mut counts = [Resource::Memory, Resource::Vram, Resource::Pcie, Resource::Disk, Resource::Cpu]
        .map(|resource| (hours.iter().filter(|hour| hour.binds == resource).count(), resource));
    counts.sort_by(|one, other| other.0.cmp(&one.0).then(one.1.cmp(&other.1)));
    let of = |(count, resource): &(usize, Resource)| format!("{} in {count}", resource.word());
    let binds: Vec<String> = counts.iter().filter(|(count, _)| *count > 0).map(of).collect();
    let mut text = format!(
        "Least free share of the scarcest resource, by hour of the week ({name}). Scarcest in the {} known hours: {}.",
        hours.len(),
        binds.join(", ")
    );
    if let Some(worst) = worst {
        let at = local(worst);
        let (day, hour) = (DAY_NAMES[at / 24], at % 24);
        text += &format!(" Minimum: {} of {} on {day} at {hour:02}:00.", percent(worst.free_ratio), worst.binds.word());
    }
    blocks.push(Block::Paragraph(text));
    let [mon, tue, wed, thu, fri, sat, sun] = DAY_NAMES;
    let mut table = Table::new(["FROM", mon, tue, wed, thu, fri, sat, sun], 1);
    for hour in 0..24 {
        let cell = |day: usize| {
            let found = hours.iter().find(|known| local(known) == day * 24 + hour);
            found.map_or(UNKNOWN.to_owned(), |it| format!("{} {}", percent(it.free_ratio), it.binds.word()))
        };
        let row = std::iter::once(format!("{hour:02}:00")).chain((0..7).map(cell));
        table.rows.push(row.collect());
    }
    blocks.push(Block::Table(table));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::card::{self, Card};
    use crate::tier::{FIGURES, KEPT, Known};

    const HOUR_NS: u64 = 3_600_000_000_000;
    const STEP: u64 = HOUR_NS / 4;
    /// The first Monday.
    const MONDAY: u64 = 4 * 24 * HOUR_NS;

    fn known(place: u64, memory: f32) -> Known {
        let mut values = [[None; 3]; KEPT.len()];
        values[kept(Series::Memory).unwrap()] = [Some(memory); 3];
        values[kept(Series::MemoryLimit).unwrap()] = [Some(100.0); 3];
        values[kept(Series::Cpu).unwrap()] = [Some(1.0), Some(2.0), Some(8.0)];
        Known { time: MONDAY + place * STEP, seconds: 900, values }
    }

    fn card(hour: u64, used: f32) -> Card {
        let mut values = [[None; 3]; FIGURES];
        values[Figure::MemoryUsed as usize] = [Some(used); 3];
        values[Figure::MemoryUsable as usize] = [Some(100.0); 3];
        let quarters = vec![card::Known { time: MONDAY + hour * HOUR_NS, seconds: 900, values }];
        Card { uuid: "GPU-a".into(), gpu: "0".into(), model: "H100".into(), quarters }
    }

    #[test]
    fn an_hour_has_the_least_of_all_weeks_and_what_binds_first() {
        let mut material = Material {
            host: (0..4 * 30).map(|place| known(place, if place == 37 { 90.0 } else { 40.0 })).collect(),
            cards: vec![card(3, 95.0)],
            ..Material::default()
        };
        let hours = super::hours(&material);
        assert_eq!((hours.len(), hours[0].binds), (30, Resource::Memory));
        assert_eq!((hours[3].binds, percent(hours[3].free_ratio)), (Resource::Vram, percent(0.05)));
        assert!((hours[9].free_ratio - 0.1).abs() < 1e-6, "a peak is not averaged away");
        material.counts = vec![(0, Rare::Cpus, 2)];
        assert!(super::hours(&material).iter().all(|hour| hour.binds == Resource::Cpu && hour.free_ratio == 0.0));
        material.counts = vec![(MONDAY, Rare::Disk("/".into()), 99), (MONDAY, Rare::DiskSize("/".into()), 100)];
        assert_eq!(super::hours(&material)[0].binds, Resource::Disk);
    }

    #[test]
    fn the_table_is_in_local_time_and_there_is_none_of_little() {
        let material = Material { host: (0..4 * 24).map(|place| known(place, 40.0)).collect(), ..Material::default() };
        let hours = super::hours(&material);
        let of = |hours: &[Hour], ahead: i64| {
            let mut blocks = Vec::new();
            capacity(&mut blocks, hours, MONDAY, &Zone::new([(0, ahead, "CET".to_owned())]));
            blocks
        };
        assert!(of(&hours[..20], 0).is_empty());
        let [Block::Head(_), Block::Paragraph(text), Block::Table(table)] = &of(&hours, 7200)[..] else { panic!() };
        assert!(text.contains("CET (UTC+2)") && text.contains("RAM in 24"), "{text}");
        assert_eq!((table.rows[1][1].as_str(), table.rows[2][1].contains("RAM")), (UNKNOWN, true), "{table:?}");
        assert!(table.rows[1][2].contains("RAM"), "the last hours are those of the next day");
        let half = &of(&hours, 19_800)[1];
        assert!(matches!(half, Block::Paragraph(text) if text.contains("(UTC)")), "half an hour has no column");
    }
}
