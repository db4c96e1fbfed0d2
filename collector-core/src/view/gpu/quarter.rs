//! What a quarter of an hour adds up to for each GPU, and what rare was counted in it. On a host without a GPU it holds nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Gpu, Gpus, MAX_GPUS};
use crate::count::grow;
use crate::statistic::gpu::{POWER_CAPPED, Statistic, THROTTLED, Values};
use crate::tier::{Card, FIGURES, Figure, Rare};
use crate::view::history::Sum;

/// The longest time that one reading stands for, in seconds.
const LONGEST: f32 = 60.0;

/// Most that a quarter counts: names of GPUs come from outside.
const MAX_COUNTS: usize = 8 * MAX_GPUS;

/// The sums of one GPU.
#[derive(Clone, Debug, Default)]
pub(super) struct Sums([Sum; FIGURES]);

/// The last known counts of errors of one GPU, in the order of [`ERRORS`].
pub(super) type Errors = [Option<u64>; ERRORS.len()];

type Of = fn(Arc<str>) -> Rare;
const ERRORS: [(Statistic, Of); 3] = [
    (Statistic::EccCorrected, Rare::EccCorrected),
    (Statistic::EccUncorrected, Rare::EccUncorrected),
    (Statistic::PcieReplays, Rare::PcieReplay),
];

/// What the open quarter has besides the sums of the GPUs that are there.
#[derive(Clone, Debug, Default)]
pub(super) struct Open {
    /// The last tick.
    time: Option<u64>,
    /// GPUs that went in it.
    left: Vec<Card>,
    counts: BTreeMap<Rare, u64>,
}

impl Open {
    pub fn count(&mut self, rare: Rare, more: u64) {
        if self.counts.len() < MAX_COUNTS || self.counts.contains_key(&rare) {
            grow(self.counts.entry(rare).or_default(), more);
        }
    }

    /// What a GPU's counters of errors grow by. One that was not seen before counts from its first reading on.
    pub fn errors(&mut self, uuid: &Arc<str>, errors: &mut Errors, now: &Values) {
        for ((statistic, of), known) in ERRORS.into_iter().zip(errors) {
            let Some(now) = now.get(statistic) else { continue };
            if let Some(more @ 1..) = known.replace(now).map(|before| now.saturating_sub(before)) {
                self.count(of(uuid.clone()), more);
            }
        }
    }

    pub fn leave(&mut self, gpu: &Gpu) {
        self.left.extend(gpu.card().filter(|_| self.left.len() < MAX_GPUS));
    }
}

impl Sums {
    /// Every reading counts as a level that was seen, also between two ticks.
    pub fn see(&mut self, values: &Values) {
        for (sum, value) in self.0.iter_mut().zip(figures(values)) {
            sum.see(value, value);
        }
    }

    fn last(&mut self, values: &Values, seconds: f32) {
        for (sum, value) in self.0.iter_mut().zip(figures(values)) {
            sum.last(value, seconds);
        }
    }
}

impl Gpu {
    /// None if nothing is known for any time.
    fn card(&self) -> Option<Card> {
        let sums = &self.sums.0;
        let seconds = sums.iter().map(Sum::seconds).fold(0.0, f32::max);
        let row = Figure::ALL.map(|figure| sums[figure as usize].codes(figure.scale()));
        (seconds > 0.0).then(|| Card { device: self.device.clone(), seconds: seconds.ceil() as u16, row })
    }
}

impl Gpus {
    /// At every tick. `over`: the quarter is, or all that is known of it is wanted now; `back`: the clock was set back, and what was
    /// added up belongs to no quarter. Returns what goes to the disk.
    pub(crate) fn record(&mut self, time: u64, over: bool, back: bool) -> (Vec<Card>, Vec<(Rare, u64)>) {
        if back {
            self.gpus.values_mut().for_each(|gpu| gpu.sums = Sums::default());
        }
        let mut outgoing = Default::default();
        if over {
            outgoing = self.rest();
            self.open.left.clear();
            self.open.counts.clear();
            self.gpus.values_mut().for_each(|gpu| gpu.sums = Sums::default());
        }
        let before = self.open.time.replace(time).filter(|before| *before <= time);
        let seconds = before.map_or(1.0, |before| ((time - before) as f32 / 1e9).min(LONGEST));
        self.gpus.values_mut().for_each(|gpu| gpu.sums.last(&gpu.values, seconds));
        outgoing
    }

    /// What has not gone to the disk.
    pub(crate) fn rest(&self) -> (Vec<Card>, Vec<(Rare, u64)>) {
        let cards = self.open.left.iter().cloned().chain(self.gpus.values().filter_map(Gpu::card));
        (cards.collect(), self.open.counts.iter().map(|(rare, count)| (rare.clone(), *count)).collect())
    }
}

/// NaN where one is not known.
fn figures(values: &Values) -> [f32; FIGURES] {
    let get = |statistic| values.get(statistic).map(|value| value as f32);
    let share = |rate| {
        let link = get(Statistic::PcieLink).filter(|link| *link > 0.0);
        // The link may have dropped to a lower generation since then.
        get(rate).zip(link).map(|(rate, link)| (rate / link).min(1.0))
    };
    let bits = |mask: u64| values.get(Statistic::Throttle).map(|bits| f32::from(u8::from(bits & mask != 0)));
    let usable = get(Statistic::MemoryUsed).zip(get(Statistic::MemoryFree)).map(|(used, free)| used + free);
    Figure::ALL.map(|figure| {
        let value = match figure {
            Figure::MemoryUsed => get(Statistic::MemoryUsed),
            Figure::MemoryUsable => usable.filter(|usable| *usable > 0.0),
            Figure::Utilization => get(Statistic::Utilization).map(|percent| percent / 100.0),
            Figure::Temperature => get(Statistic::Temperature),
            Figure::Power => get(Statistic::Power).map(|milliwatts| milliwatts / 1000.0),
            Figure::PowerLimit => get(Statistic::PowerLimit).map(|milliwatts| milliwatts / 1000.0),
            Figure::Throttled => bits(THROTTLED),
            Figure::PowerCapped => bits(POWER_CAPPED),
            Figure::ToGpu => share(Statistic::HostToDeviceRate),
            Figure::FromGpu => share(Statistic::DeviceToHostRate),
        };
        value.unwrap_or(f32::NAN)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Engine;
    use crate::engine::test::engine;
    use crate::outcome::Outcome;
    use crate::sample::{self, Sample};
    use crate::statistic::gpu::{Device, Reading};
    use crate::tier::Quarter;

    const SECOND: u64 = 1_000_000_000;
    const QUARTER: u64 = 900;
    const BEGUN: u64 = 1000 * QUARTER;

    fn device() -> Arc<Device> {
        let [model, driver] = ["H100".into(), "555".into()];
        Arc::new(Device { uuid: "GPU-a".into(), gpu: "0".into(), model, driver, parent: None })
    }

    fn apply(engine: &mut Engine, second: u64, reading: sample::Reading) -> Vec<Quarter> {
        let outcomes = engine.apply(&Sample { time: second * SECOND, reading });
        let quarter = |outcome| match outcome {
            Outcome::History(quarter) => Some(*quarter),
            _ => None,
        };
        outcomes.into_iter().filter_map(quarter).collect()
    }

    fn gpu(engine: &mut Engine, second: u64, reading: Reading) {
        apply(engine, second, sample::Reading::Gpu(reading));
    }

    fn report(engine: &mut Engine, second: u64, values: &[(Statistic, u64)]) {
        gpu(engine, second, Reading::Device { device: device(), values: values.iter().copied().collect() });
    }

    fn value(card: &Card, figure: Figure) -> [Option<f32>; 3] {
        card.row[figure as usize].map(|code| code.value(figure.scale()))
    }

    #[test]
    fn a_quarter_has_what_a_gpu_did_in_it_and_what_was_between_two_ticks() {
        let mut engine = engine();
        let mut quarters = Vec::new();
        for second in BEGUN..=BEGUN + QUARTER {
            let busy = second < BEGUN + 450;
            let temperature = if second == BEGUN + 700 { 91 } else { 60 };
            report(&mut engine, second, &[(Statistic::Temperature, temperature)]);
            let used = if busy { 6 } else { 2 };
            report(
                &mut engine,
                second,
                &[
                    (Statistic::Temperature, 60),
                    (Statistic::MemoryUsed, used << 30),
                    (Statistic::MemoryFree, (8 - used) << 30),
                    (Statistic::Throttle, if busy { 0x4 | 0x40 } else { 0x1 }),
                    (Statistic::PcieLink, 64),
                    (Statistic::HostToDeviceRate, if busy { 32 } else { 0 }),
                    (Statistic::EccCorrected, if busy { 5 } else { 7 }),
                ],
            );
            if second == BEGUN + 100 {
                gpu(&mut engine, second, Reading::Xid { uuid: "GPU-a".into(), code: 31 });
            }
            quarters.extend(apply(&mut engine, second, sample::Reading::Tick));
        }
        // The first minute, and the rest of the quarter.
        let [first, rest] = &quarters[..] else { panic!("{quarters:?}") };
        assert_eq!((first.cards[0].seconds, rest.cards[0].seconds), (60, 840));
        // No level is known of a host of which nothing is read.
        assert_eq!(first.counts, [(Rare::Start, 1), (Rare::Level(None), 59)]);
        let of_gpus: Vec<_> = rest.counts.iter().filter(|(rare, _)| !matches!(rare, Rare::Level(_))).cloned().collect();
        assert_eq!(of_gpus, [(Rare::Xid("GPU-a".into(), 31), 1), (Rare::EccCorrected("GPU-a".into()), 2)]);
        let card = &rest.cards[0];
        let [least, mean, most] = value(card, Figure::MemoryUsed).map(Option::unwrap);
        let gib = (1u64 << 30) as f32;
        assert_eq!((least, most), (2.0 * gib, 6.0 * gib));
        assert!((mean / gib - (390.0 * 6.0 + 450.0 * 2.0) / 840.0).abs() < 0.01, "{mean}");
        assert_eq!(value(card, Figure::MemoryUsable)[2], Some(8.0 * gib));
        assert!(value(card, Figure::Temperature)[2].unwrap() >= 91.0);
        for figure in [Figure::Throttled, Figure::PowerCapped] {
            assert!((value(card, figure)[1].unwrap() - 390.0 / 840.0).abs() < 0.001);
        }
        assert_eq!(value(card, Figure::ToGpu)[2], Some(0.5));
        assert_eq!((value(card, Figure::Power), value(card, Figure::FromGpu)), ([None; 3], [None; 3]));
    }

    #[test]
    fn names_of_gpus_without_end_do_not_fill_the_memory() {
        let mut open = Open::default();
        let error = |number: usize| Rare::EccCorrected(format!("GPU-{number}").into());
        (0..MAX_COUNTS + 5).for_each(|number| open.count(error(number), 1));
        open.count(error(0), 1);
        assert_eq!((open.counts.len(), open.counts[&error(0)]), (MAX_COUNTS, 2));
    }

    #[test]
    fn a_gpu_that_is_lost_is_in_its_quarter_and_a_host_without_one_holds_nothing() {
        let mut engine = engine();
        assert!(engine.view().gpus.rest().0.is_empty());
        report(&mut engine, BEGUN, &[(Statistic::Temperature, 80)]);
        (0..100).for_each(|second| drop(apply(&mut engine, BEGUN + second, sample::Reading::Tick)));
        gpu(&mut engine, BEGUN + 100, Reading::Gone { uuid: "GPU-a".into() });
        let quarters: Vec<_> =
            (100..=QUARTER).flat_map(|second| apply(&mut engine, BEGUN + second, sample::Reading::Tick)).collect();
        let [quarter] = &quarters[..] else { panic!("{quarters:?}") };
        assert_eq!((quarter.cards.len(), quarter.cards[0].seconds), (1, 40));
        assert!(engine.view().gpus.rest().0.is_empty());
    }
}
