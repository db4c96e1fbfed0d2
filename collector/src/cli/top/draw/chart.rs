//! Draws columns of a series as blocks, in one row or in several.

const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// One line of text for each of `rows`, the highest first. A column reaches the top at `most`; what is known is seen, also if it is
/// zero, and what is not known is a gap.
pub fn chart(columns: &[Option<f64>], rows: usize, most: f64) -> Vec<String> {
    let steps = rows * BLOCKS.len();
    let height = |value: f64| {
        let share = if most > 0.0 { value / most } else { 0.0 };
        // Not finite only in an answer that no agent gives.
        ((share * steps as f64).round() as usize).clamp(1, steps.max(1))
    };
    let line = |row: usize| {
        let below = (rows - 1 - row) * BLOCKS.len();
        let cell = |value: &Option<f64>| match value.map(|value| height(value).saturating_sub(below)) {
            None | Some(0) => ' ',
            Some(part) => BLOCKS[part.min(BLOCKS.len()) - 1],
        };
        columns.iter().map(cell).collect()
    };
    (0..rows).map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heights_follow_the_values_and_gaps_stay() {
        let columns = [Some(0.0), Some(2.0), None, Some(8.0), Some(99.0), Some(-1.0), Some(f64::NAN)];
        assert_eq!(chart(&columns, 1, 8.0), ["▁▂ ██▁▁"]);
        assert_eq!(chart(&columns, 2, 8.0), ["   ██  ", "▁▄ ██▁▁"]);
        assert_eq!(chart(&columns, 0, 8.0), Vec::<String>::new());
        assert_eq!(chart(&[Some(0.0), None], 1, 0.0), ["▁ "]);
    }
}
