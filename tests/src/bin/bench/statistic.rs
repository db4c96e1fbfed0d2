//! Statistics that noise affects little: medians, quartiles and minima; and alternation, so that whatever else the machine
//! does affects all measurements alike.

use anyhow::Result;

/// Statistics of repeated measurements.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    pub min: f64,
    pub median: f64,
    /// Half of all measurements lie between these two.
    pub quartiles: (f64, f64),
}

impl Summary {
    /// Needs at least one measurement.
    pub fn of(measurements: impl IntoIterator<Item = f64>) -> Summary {
        let mut sorted: Vec<f64> = measurements.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let place = share * (sorted.len() - 1) as f64;
            let (below, above) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
            below + (above - below) * place.fract()
        };
        Summary { min: sorted[0], median: at(0.5), quartiles: (at(0.25), at(0.75)) }
    }

    /// `median (quartile … quartile)`.
    pub fn spread(&self, decimals: usize) -> String {
        let (low, high) = self.quartiles;
        format!("{:.decimals$} ({low:.decimals$} … {high:.decimals$})", self.median)
    }
}

/// Ratios of the two measurements of each round.
pub fn ratio(of: &[f64], to: &[f64]) -> Summary {
    Summary::of(of.iter().zip(to).map(|(of, to)| of / to))
}

/// Measures `N` things `rounds` times, alternately; each round starts with another one.
pub fn alternate<const N: usize>(
    rounds: usize,
    mut measure: impl FnMut(usize) -> Result<f64>,
) -> Result<[Vec<f64>; N]> {
    let mut all = [const { Vec::new() }; N];
    for round in 0..rounds {
        for turn in 0..N {
            let which = (round + turn) % N;
            all[which].push(measure(which)?);
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quartiles_are_interpolated_between_measurements() {
        let summary = Summary::of([4.0, 1.0, 3.0, 2.0]);
        assert_eq!(summary, Summary { min: 1.0, median: 2.5, quartiles: (1.75, 3.25) });
        assert_eq!(Summary::of([7.0]), Summary { min: 7.0, median: 7.0, quartiles: (7.0, 7.0) });
    }

    #[test]
    fn ratios_are_of_the_same_round() {
        // Everything doubles in the second round: the ratio stays the same.
        assert_eq!(ratio(&[3.0, 6.0], &[2.0, 4.0]).quartiles, (1.5, 1.5));
    }

    #[test]
    fn each_round_starts_with_another() {
        let mut turns = Vec::new();
        let all = alternate::<2>(2, |which| {
            turns.push(which);
            Ok(which as f64)
        });
        assert_eq!(all.unwrap(), [[0.0, 0.0], [1.0, 1.0]]);
        assert_eq!(turns, [0, 1, 1, 0]);
    }
}
