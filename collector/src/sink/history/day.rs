//! A day of a workload or a GPU, as a row's body: which quarters of an hour are known, and minimum, mean and maximum of each series in them.
//! Knows neither files nor threads.

use std::io::{Read as _, Write as _};

use anyhow::{Context as _, Result, bail, ensure};
use collector_core::tier::{Code, FIGURES, Figure, KEPT, Round, Scale, Tier};
use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;

/// Quarters in a day.
pub const QUARTERS: usize = 96;

/// What a day is of.
#[derive(Debug)]
pub struct Subject {
    /// The first byte of a body is its version, counted from one: so many series are in it, the first ones.
    versions: &'static [usize],
    scale: fn(usize) -> Scale,
}

/// The host or a workload: [`KEPT`].
pub const TRACK: Subject = Subject { versions: &[8, KEPT.len()], scale: |kept| KEPT[kept].into() };
/// A GPU: [`Figure::ALL`].
pub const GPU: Subject = Subject { versions: &[FIGURES], scale: |figure| Figure::ALL[figure].scale() };

const DAY_NS: u64 = QUARTERS as u64 * Tier::QuarterHour.step();

/// Column by column, a number a quarter: for how long each quarter is known, then each series' minimum, mean and maximum.
#[derive(Clone, Debug)]
pub struct Day {
    subject: &'static Subject,
    numbers: Vec<u16>,
}

/// The day of a moment, and the quarter in it.
pub fn place(time: u64) -> (u64, usize) {
    (time / DAY_NS, (time % DAY_NS / Tier::QuarterHour.step()) as usize)
}

/// When a quarter begins, in nanoseconds since the Unix epoch.
pub fn begin(day: u64, quarter: usize) -> u64 {
    day.saturating_mul(DAY_NS).saturating_add((quarter as u64).saturating_mul(Tier::QuarterHour.step()))
}

impl Subject {
    fn series(&self) -> usize {
        self.versions.last().copied().unwrap_or(0)
    }
}

impl Default for Day {
    fn default() -> Day {
        Day::new(&TRACK)
    }
}

impl Day {
    pub fn new(subject: &'static Subject) -> Day {
        let mut numbers = vec![Code::UNKNOWN.0; columns(subject.series()) * QUARTERS];
        numbers[..QUARTERS].fill(0);
        Day { subject, numbers }
    }

    /// For how many seconds of a quarter anything is known.
    pub fn seconds(&self, quarter: usize) -> u16 {
        self.numbers[quarter]
    }

    /// Minimum, mean and maximum of a series, by its place.
    pub fn values(&self, quarter: usize, series: usize) -> [Option<f32>; 3] {
        self.codes(quarter, series).map(|code| code.value((self.subject.scale)(series)))
    }

    /// Adds what became known of a quarter: for how many seconds, and each series. Several parts of it make it up: the agent was
    /// restarted in it, or wrote the first minute at once.
    pub fn add(&mut self, quarter: usize, more: u16, row: &[Codes]) {
        let before = self.seconds(quarter);
        for (series, codes) in row.iter().enumerate() {
            let merged = merged((self.subject.scale)(series), self.codes(quarter, series), before, *codes, more);
            for (part, code) in merged.into_iter().enumerate() {
                self.numbers[column(series, part) * QUARTERS + quarter] = code.0;
            }
        }
        self.numbers[quarter] = before.saturating_add(more.max(1));
    }

    fn codes(&self, quarter: usize, series: usize) -> Codes {
        [0, 1, 2].map(|part| Code(self.numbers[column(series, part) * QUARTERS + quarter]))
    }

    pub fn pack(&self) -> Result<Vec<u8>> {
        let mut encoder = ZlibEncoder::new(vec![self.subject.versions.len() as u8], Compression::default());
        for column in self.numbers.chunks(QUARTERS) {
            // The high bytes of neighbours are alike, the low ones are not.
            for part in [1, 0] {
                let bytes: Vec<u8> = column.iter().map(|number| number.to_le_bytes()[part]).collect();
                encoder.write_all(&bytes).context("compress a day")?;
            }
        }
        encoder.finish().context("compress a day")
    }

    /// # Errors
    /// If it is broken or of a later version.
    pub fn unpack(subject: &'static Subject, body: &[u8]) -> Result<Day> {
        let Some((version, packed)) = body.split_first() else { bail!("a day is empty") };
        let Some(series) = subject.versions.get(usize::from(*version).wrapping_sub(1)) else {
            bail!("a day has version {version}, but this program reads up to {}", subject.versions.len())
        };
        let expected = columns(*series) * QUARTERS * 2;
        let mut bytes = Vec::with_capacity(expected + 1);
        // One byte more shows that there is more.
        ZlibDecoder::new(packed).take(expected as u64 + 1).read_to_end(&mut bytes).context("decompress a day")?;
        ensure!(bytes.len() == expected, "a day has {} bytes, and not {expected}", bytes.len());
        let numbers = bytes.chunks(QUARTERS * 2).flat_map(|column| {
            let (high, low) = column.split_at(QUARTERS);
            low.iter().zip(high).map(|(low, high)| u16::from_le_bytes([*low, *high]))
        });
        let mut day = Day::new(subject);
        day.numbers.iter_mut().zip(numbers).for_each(|(kept, number)| *kept = number);
        Ok(day)
    }
}

/// Columns of a body with so many series.
fn columns(series: usize) -> usize {
    1 + 3 * series
}

fn column(series: usize, part: usize) -> usize {
    1 + series * 3 + part
}

/// Two parts of a period, each with the seconds for which it is known.
fn merged(scale: Scale, old: Codes, before: u16, new: Codes, more: u16) -> Codes {
    if old == [Code::UNKNOWN; 3] {
        return new;
    }
    if new == [Code::UNKNOWN; 3] {
        return old;
    }
    let known = |codes: [Code; 2]| codes.into_iter().filter(|code| *code != Code::UNKNOWN);
    let least = known([old[0], new[0]]).min().unwrap_or(Code::UNKNOWN);
    let most = known([old[2], new[2]]).max().unwrap_or(Code::UNKNOWN);
    let mean = match (old[1].value(scale), new[1].value(scale)) {
        (Some(one), Some(other)) => {
            let (before, more) = (f32::from(before.max(1)), f32::from(more.max(1)));
            let mean = (one * before + other * more) / (before + more);
            Code::of(scale, mean, Round::Nearest).clamp(least, most)
        }
        (None, _) => new[1],
        (_, None) => old[1],
    };
    [least, mean, most]
}

/// Minimum, mean and maximum.
type Codes = [Code; 3];

#[cfg(test)]
mod tests {
    use collector_core::series::Series;

    use super::*;

    type Row = [Codes; KEPT.len()];

    fn row(memory: [f32; 3]) -> Row {
        let mut row = [[Code::UNKNOWN; 3]; KEPT.len()];
        for ((code, value), round) in row[0].iter_mut().zip(memory).zip(collector_core::tier::ROUNDS) {
            *code = Code::of(KEPT[0], value, round);
        }
        row
    }

    #[test]
    fn a_day_is_read_back_and_parts_of_a_quarter_make_it_up() {
        let mut day = Day::default();
        day.add(7, 600, &row([100.0, 200.0, 1024.0]));
        day.add(7, 300, &row([64.0, 500.0, 512.0]));
        day.add(95, 900, &row([0.0, 0.0, 0.0]));
        assert_eq!((day.seconds(7), day.seconds(8)), (900, 0));
        let [min, mean, max] = day.values(7, 0).map(Option::unwrap);
        assert!(min == 64.0 && max == 1024.0 && (mean - 300.0).abs() < 1.0, "{min} {mean} {max}");
        assert_eq!((day.values(95, 0), day.values(8, 0)), ([Some(0.0); 3], [None; 3]));
        assert_eq!(day.values(7, 1), [None; 3]);
        let packed = day.pack().unwrap();
        assert!(packed.len() < 200, "{}", packed.len());
        assert_eq!(Day::unpack(&TRACK, &packed).unwrap().numbers, day.numbers);
    }

    #[test]
    fn a_day_of_an_older_version_is_read_and_goes_on() {
        let mut day = Day::default();
        day.add(3, 900, &row([1.0, 2.0, 4.0]));
        let mut encoder = ZlibEncoder::new(vec![1], Compression::default());
        for column in day.numbers[..25 * QUARTERS].chunks(QUARTERS) {
            for part in [1, 0] {
                let bytes: Vec<u8> = column.iter().map(|number| number.to_le_bytes()[part]).collect();
                encoder.write_all(&bytes).unwrap();
            }
        }
        let mut old = Day::unpack(&TRACK, &encoder.finish().unwrap()).unwrap();
        assert_eq!((old.values(3, 0), old.values(3, 8)), (day.values(3, 0), [None; 3]), "it had no limits");
        let mut more = row([8.0; 3]);
        more[8] = [Code::of(Series::MemoryLimit, 64.0, Round::Nearest); 3];
        old.add(4, 900, &more);
        let whole = Day::unpack(&TRACK, &old.pack().unwrap()).unwrap();
        assert_eq!((whole.values(3, 0), whole.values(4, 8)), (day.values(3, 0), [Some(64.0); 3]));
    }

    #[test]
    fn a_day_in_which_nothing_changes_is_small() {
        let mut day = Day::default();
        let row = [[Code(12_345), Code(12_346), Code(12_347)]; KEPT.len()];
        (0..QUARTERS).for_each(|quarter| day.add(quarter, 900, &row));
        let bytes = day.pack().unwrap().len();
        assert!(bytes <= 200, "{bytes}");
    }

    #[test]
    fn a_broken_body_is_an_error_and_no_bomb() {
        let good = Day::default().pack().unwrap();
        let bomb = {
            let mut encoder = ZlibEncoder::new(vec![1], Compression::default());
            encoder.write_all(&vec![0; 10 << 20]).unwrap();
            encoder.finish().unwrap()
        };
        for body in [&[][..], &[9, 9], &good[..good.len() / 2], &[1], &bomb] {
            assert!(Day::unpack(&TRACK, body).is_err(), "{body:?}");
        }
    }

    #[test]
    fn days_begin_at_midnight() {
        let time = 20_000 * DAY_NS + 13 * Tier::QuarterHour.step() + 5;
        assert_eq!(place(time), (20_000, 13));
        assert_eq!(begin(20_000, 13), time - 5);
    }
}
