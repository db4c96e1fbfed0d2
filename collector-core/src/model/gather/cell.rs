//! [`Cells`]: the values of one row, apart for each engine and rank that told them.

use crate::model::exposition::Labels;

/// More engines and ranks of one model are not believed.
const CELLS: usize = 512;

#[derive(Default)]
pub(super) struct Cells<'a> {
    cells: Vec<Cell<'a>>,
    /// A value could not be, or there were too many.
    broken: bool,
}

/// What one rank of one engine told.
struct Cell<'a> {
    /// Engine, and replica.
    engine: [&'a str; 2],
    /// Ranks of tensor, pipeline and expert parallelism.
    rank: [&'a str; 3],
    /// Over all other labels.
    sum: f64,
}

impl<'a> Cells<'a> {
    pub(super) fn take(&mut self, labels: Labels<'a>, value: f64) {
        // Minus zero is none.
        if self.broken || !value.is_finite() || value < 0.0 {
            self.broken = true;
            return;
        }
        let of = |label| labels.raw(label).unwrap_or_default();
        let engine = ["engine", "dp_rank"].map(of);
        let rank = ["tp_rank", "pp_rank", "moe_ep_rank"].map(of);
        if let Some(cell) = self.cells.iter_mut().find(|cell| cell.engine == engine && cell.rank == rank) {
            cell.sum += value;
        } else if self.cells.len() < CELLS {
            self.cells.push(Cell { engine, rank, sum: value });
        } else {
            self.broken = true;
        }
    }

    /// The number of each engine: the largest of its ranks, which tell the same.
    fn engines(&self) -> Option<Vec<f64>> {
        let mut engines: Vec<([&str; 2], f64)> = Vec::new();
        for cell in &self.cells {
            match engines.iter_mut().find(|(engine, _)| *engine == cell.engine) {
                Some((_, most)) => *most = most.max(cell.sum),
                None => engines.push((cell.engine, cell.sum)),
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
