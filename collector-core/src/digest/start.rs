//! Starts in a period: what was granted after which wait, what was refused for what, how much was reserved at most; and how long the
//! host had each level. Knows only counts: waits are known to a quarter of an octave.

use std::collections::BTreeMap;

use serde::Serialize;

use super::block::{Block, Table};
use super::words::{bytes, duration, plural};
use crate::amount::percent;
use crate::level::Level;
use crate::tier::Rare;
use crate::tier::rare::{PEAKS, wait};

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Starts {
    /// Claims that were granted, and of these those that had waited.
    pub granted: u64,
    pub waited: u64,
    /// Of those that had waited, half waited at most so many seconds, and 99 of 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wait_seconds_p50: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wait_seconds_p99: Option<f64>,
    /// Claims that were refused, by what was short.
    pub refused: BTreeMap<&'static str, u64>,
    /// The most at one time: bytes of host memory and VRAM, and the number of reservations.
    pub reserved_peak: BTreeMap<&'static str, u64>,
    /// Seconds at each level, from 0 to 4, and those in which it was not known.
    pub level_seconds: [u64; 5],
    pub level_unknown_seconds: u64,
}

impl Starts {
    pub fn of(counts: &[(u64, Rare, u64)]) -> Starts {
        let mut starts = Starts::default();
        let mut waits: BTreeMap<u8, u64> = BTreeMap::new();
        let grow = |sum: &mut u64, more: u64| *sum = sum.saturating_add(more);
        for (_, rare, count) in counts {
            match rare {
                Rare::Granted(bucket) => {
                    grow(&mut starts.granted, *count);
                    if *bucket > 0 {
                        grow(&mut starts.waited, *count);
                        grow(waits.entry(*bucket).or_default(), *count);
                    }
                }
                Rare::Refused(what) => grow(starts.refused.entry(what).or_default(), *count),
                Rare::Peak(what) => {
                    let peak = starts.reserved_peak.entry(what).or_default();
                    *peak = (*count).max(*peak);
                }
                Rare::Level(Some(level)) => {
                    if let Some(seconds) = starts.level_seconds.get_mut(usize::from(*level)) {
                        grow(seconds, *count);
                    }
                }
                Rare::Level(None) => grow(&mut starts.level_unknown_seconds, *count),
                _ => {}
            }
        }
        let quantile = |share: f64| {
            let rank = (share * starts.waited as f64).ceil() as u64;
            let mut seen = 0_u64;
            let reached = waits.iter().find(|(_, count)| {
                seen = seen.saturating_add(**count);
                seen >= rank
            });
            reached.map(|(bucket, _)| wait::seconds(*bucket))
        };
        (starts.wait_seconds_p50, starts.wait_seconds_p99) = (quantile(0.5), quantile(0.99));
        starts
    }

    fn refusals(&self) -> u64 {
        self.refused.values().fold(0, |sum, count| sum.saturating_add(*count))
    }

    fn seconds(&self) -> u64 {
        self.level_seconds.iter().fold(self.level_unknown_seconds, |sum, seconds| sum.saturating_add(*seconds))
    }
}

/// What was counted; nothing of a period in which no agent counted it.
pub fn starts(blocks: &mut Vec<Block>, starts: &Starts) {
    let all = starts.seconds();
    if all > 0 {
        blocks.push(Block::Head("Levels".to_owned()));
        let mut table = Table::new(["LEVEL", "share of the time", "in all"], 1);
        let levels = Level::ALL.iter().zip(starts.level_seconds);
        let levels = levels.map(|(level, seconds)| (format!("{} {}", level.number(), level.name()), seconds));
        let unknown = ("not known".to_owned(), starts.level_unknown_seconds);
        for (name, seconds) in levels.chain([unknown]).filter(|(_, seconds)| *seconds > 0) {
            let share = percent(seconds as f64 / all as f64);
            table.rows.push(vec![name, share, duration(seconds as f64)]);
        }
        blocks.push(Block::Table(table));
    }
    let refusals = starts.refusals();
    if starts.granted == 0 && refusals == 0 {
        return;
    }
    blocks.push(Block::Head("Starts".to_owned()));
    let mut text = format!("{} granted", plural(starts.granted, "claim"));
    text += &match (starts.waited, starts.wait_seconds_p50, starts.wait_seconds_p99) {
        (0, ..) => ", none after a wait".to_owned(),
        (waited, Some(half), Some(most)) => {
            let (half, most) = (duration(half), duration(most));
            format!(", {waited} of them after a wait: half within {half}, 99 of 100 within {most}")
        }
        (waited, ..) => format!(", {waited} of them after a wait"),
    };
    text += &format!("; {refusals} refused.");
    if !starts.reserved_peak.is_empty() {
        let peak = |what: &&str| {
            let most = *starts.reserved_peak.get(*what)?;
            Some(match *what {
                "reservations" => plural(most, "reservation"),
                resource => format!("{} of {resource}", bytes(most as f64)),
            })
        };
        let most: Vec<String> = PEAKS.iter().filter_map(peak).collect();
        text += &format!(" Reserved at most: {}.", most.join(", "));
    }
    blocks.push(Block::Paragraph(text));
    if refusals > 0 {
        let mut table = Table::new(["REFUSED FOR", "CLAIMS"], 1);
        let mut refused: Vec<_> = starts.refused.iter().collect();
        refused.sort_by(|(one, few), (other, many)| many.cmp(few).then(one.cmp(other)));
        let name = |what: &str| match what {
            "held back" => "the level, a share or failures: held back although there was room".to_owned(),
            "not known" => "what is not known".to_owned(),
            resource => resource.to_owned(),
        };
        table.rows.extend(refused.into_iter().map(|(what, count)| vec![name(what), count.to_string()]));
        blocks.push(Block::Table(table));
    }
}

#[cfg(test)]
mod tests {
    use super::super::draw::{Listed, Setting};
    use super::super::{Digest, Material, page, text};
    use super::*;
    use crate::zone::Zone;

    const SECOND: u64 = 1_000_000_000;

    fn counts() -> Vec<(u64, Rare, u64)> {
        let granted = |seconds: u64, count| (0, Rare::Granted(wait::bucket(seconds * SECOND)), count);
        vec![
            granted(0, 10),
            granted(4, 60),
            granted(30, 38),
            granted(600, 2),
            (0, Rare::Refused("VRAM"), 3),
            (900, Rare::Refused("VRAM"), 1),
            (0, Rare::Refused("held back"), 2),
            (0, Rare::Peak("VRAM"), 7 << 30),
            (900, Rare::Peak("VRAM"), 5 << 30),
            (900, Rare::Peak("reservations"), 3),
            (0, Rare::Level(Some(0)), 600),
            (0, Rare::Level(Some(2)), 200),
            (0, Rare::Level(None), 200),
            (0, Rare::Start, 1),
        ]
    }

    #[test]
    fn waits_refusals_peaks_and_levels_are_those_that_were_counted() {
        let starts = Starts::of(&counts());
        assert_eq!((starts.granted, starts.waited, starts.refusals()), (110, 100, 6));
        let (half, most) = (starts.wait_seconds_p50.unwrap(), starts.wait_seconds_p99.unwrap());
        assert!((4.0..4.8).contains(&half) && (600.0..720.0).contains(&most), "{half} {most}");
        assert_eq!((starts.refused["VRAM"], starts.reserved_peak["VRAM"]), (4, 7 << 30), "a peak is no sum");
        assert_eq!((starts.level_seconds, starts.level_unknown_seconds), ([600, 0, 200, 0, 0], 200));
        assert_eq!(Starts::of(&[]), Starts::default());
    }

    #[test]
    fn the_page_has_what_is_known_and_nothing_where_nothing_was_counted() {
        let setting = Setting { host: "h".to_owned(), zone: Zone::utc(), listed: Listed::Important };
        let of = |counts| {
            let material = Material { counts, ..Material::default() };
            let digest = Digest { known_seconds: 1, ..Digest::new((0, 2000 * SECOND), &material) };
            text(&page(&digest, &setting), 300, false)
        };
        let page = of(counts());
        for part in [
            "110 claims granted, 100 of them after a wait: half within",
            "6 refused. Reserved at most:",
            "7.00 GiB of VRAM, 3 reservations.",
            "2 moderate",
            "held back although there was room",
        ] {
            assert!(page.contains(part), "{part}\n{page}");
        }
        let line = page.lines().find(|line| line.trim_start().starts_with("2 moderate")).unwrap();
        assert!(line.contains("20 %"), "{line}");
        assert!(!of(Vec::new()).contains("Starts") && !of(Vec::new()).contains("Levels"));
    }
}
