//! [`Cells`]: the values of one row, apart for each engine and rank that told them.

use std::collections::BTreeMap;

use crate::model::exposition::Labels;

/// More engines and ranks of one model are not believed.
const CELLS: usize = 512;

/// Engine, and replica.
type Engine<'a> = [&'a str; 2];
/// Ranks of tensor, pipeline and expert parallelism.
type Rank<'a> = [&'a str; 3];

#[derive(Default)]
pub(super) struct Cells<'a> {
    /// What one rank of one engine told: the sum over all other labels. Ranks of an engine stand together.
    cells: BTreeMap<(Engine<'a>, Rank<'a>), f64>,
    /// A value could not be, or there were too many.
    broken: bool,
}

impl<'a> Cells<'a> {
    pub(super) fn take(&mut self, labels: Labels<'a>, value: f64) {
        // Minus zero is none.
        if self.broken || !value.is_finite() || value < 0.0 {
            self.broken = true;
            return;
        }
        let of = |label| labels.raw(label).unwrap_or_default();
        let key = (["engine", "dp_rank"].map(of), ["tp_rank", "pp_rank", "moe_ep_rank"].map(of));
        if let Some(sum) = self.cells.get_mut(&key) {
            *sum += value;
        } else if self.cells.len() < CELLS {
            self.cells.insert(key, value);
        } else {
            self.broken = true;
        }
    }

    /// The number of each engine: the largest of its ranks, which tell the same.
    fn engines(&self) -> Option<Vec<f64>> {
        let mut engines: Vec<(Engine<'a>, f64)> = Vec::new();
        for ((engine, _), sum) in &self.cells {
            match engines.last_mut() {
                Some((last, most)) if last == engine => *most = most.max(*sum),
                _ => engines.push((*engine, *sum)),
            }
        }
        (!self.broken).then(|| engines.into_iter().map(|(_, most)| most).collect())
    }

    pub(super) fn sum(&self) -> Option<f64> {
        Some(self.engines()?.into_iter().sum())
    }

    pub(super) fn mean(&self) -> Option<f64> {
        let engines = self.engines()?;
        let count = engines.len() as f64;
        Some(engines.into_iter().sum::<f64>() / count).filter(|mean| mean.is_finite())
    }

    pub(super) fn least(&self) -> Option<f64> {
        self.engines()?.into_iter().reduce(f64::min)
    }
}
