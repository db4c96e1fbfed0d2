//! A report as text for a terminal.

use super::block::{Block, Line};
use crate::incident::page::text::{Paint, Text};

/// Points of a picture beside a row, and of one below a title.
const SMALL: usize = 24;
const WIDE: usize = 96;

/// For `width` columns, which is clamped to 40–120.
pub fn text(blocks: &[Block], width: usize, colour: bool) -> String {
    let mut text = Text::new(width, colour);
    for block in blocks {
        match block {
            Block::Title(title) => text.line(Paint::Bold, title),
            Block::Head(head) => text.head(head),
            Block::Paragraph(words) => text.paragraph(Paint::Plain, words),
            Block::Table { rows, lines } => {
                let lines: Vec<Vec<Option<f64>>> = lines.iter().map(|line| peaks(line, SMALL)).collect();
                text.table(rows, &lines);
            }
            Block::Chart { title, most, line } => {
                text.paragraph(Paint::Dim, &format!("{title}; at the top {most}"));
                let points = peaks(line, WIDE.min(text.width.saturating_sub(2)));
                text.raw(Paint::Plain, &format!("  {}", crate::incident::page::spark::spark(&points, points.len())));
            }
        }
    }
    text.finish()
}

/// As many values as there are columns, evenly over time: the highest of those that share one.
pub(super) fn peaks(line: &Line, columns: usize) -> Vec<Option<f64>> {
    let (Some((first, _)), Some((last, _))) = (line.first(), line.last()) else { return Vec::new() };
    let span = (last - first).max(1) as f64;
    let mut peaks: Vec<Option<f64>> = vec![None; columns.clamp(1, line.len())];
    let most = peaks.len() - 1;
    for (time, value) in line {
        let column = ((time - first) as f64 / span * most as f64).round() as usize;
        let peak = &mut peaks[column.min(most)];
        *peak = [*peak, *value].into_iter().flatten().reduce(f64::max);
    }
    peaks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_even_over_time_and_keeps_peaks_and_gaps() {
        let line: Line =
            vec![(0, Some(1.0)), (10, Some(5.0)), (20, None), (80, None), (90, Some(2.0)), (100, Some(3.0))];
        assert_eq!(peaks(&line, 3), [Some(5.0), None, Some(3.0)]);
        assert_eq!(peaks(&line, 99).len(), 6);
        assert!(peaks(&Vec::new(), 5).is_empty());
        assert_eq!(peaks(&vec![(7, Some(1.0))], 5), [Some(1.0)]);
    }
}
