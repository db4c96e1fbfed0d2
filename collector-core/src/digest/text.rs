//! A report as text for a terminal.

use super::block::{Block, Chart, Line, Weight};
use crate::incident::page::spark::spark;
use crate::incident::page::text::{Paint, Text};

/// Points of a picture beside a row, and of one below a title.
const SMALL: usize = 24;
const WIDE: usize = 96;

/// For `width` columns, which is clamped to 40–120.
pub fn text(blocks: &[Block], width: usize, colour: bool) -> String {
    let mut text = Text::new(width, colour);
    let is_wide = |block: &Block| matches!(block, Block::Table(_) | Block::Chart(_));
    let before = std::iter::once(None).chain(blocks.iter().map(Some));
    for (block, before) in blocks.iter().zip(before) {
        if is_wide(block) && !matches!(before, None | Some(Block::Head(_))) {
            text.raw(Paint::Plain, "");
        }
        match block {
            Block::Title(title) => text.line(Paint::Bold, title),
            Block::Head(head) => text.head(head),
            Block::Paragraph(words) => text.paragraph(Paint::Plain, words),
            Block::Findings(findings) => {
                for finding in findings {
                    let paint = match finding.weight {
                        Weight::Bad | Weight::Worse => Paint::Red,
                        Weight::Note => Paint::Yellow,
                        Weight::Better | Weight::Good => Paint::Green,
                        Weight::Same => Paint::Plain,
                    };
                    text.paragraph(paint, &format!("{}: {}", finding.weight.word(), finding.text));
                }
            }
            Block::Table(table) => {
                let rows: Vec<Vec<String>> = std::iter::once(&table.head).chain(&table.rows).cloned().collect();
                let pictures = table.pictures.iter().flat_map(|(_, pictures)| pictures);
                let lines = pictures.map(|picture| {
                    picture.curves.first().map_or(Vec::new(), |curve| peaks(&curve.line, picture.span, SMALL))
                });
                text.table_of(&rows, table.words, &lines.collect::<Vec<_>>());
            }
            Block::Chart(chart) => drawn(&mut text, chart),
            Block::Events(events) => {
                for event in events {
                    text.paragraph(Paint::Bold, &format!("{}  {}", event.time, event.title));
                    text.paragraph(Paint::Plain, &format!("  {}{}", event.detail, in_brackets(&event.id)));
                }
            }
        }
    }
    text.finish()
}

fn drawn(text: &mut Text, chart: &Chart) {
    let width = WIDE.min(text.width.saturating_sub(2));
    let Some(curve) = chart.picture.curves.first() else { return };
    text.paragraph(Paint::Dim, &format!("{}: at the top {}", chart.title, chart.most));
    text.raw(Paint::Plain, &format!("  {}", spark(&peaks(&curve.line, chart.picture.span, width), width)));
    let [first, last] = &chart.edges;
    text.raw(Paint::Dim, &format!("  {first:<0$}{last:>1$}", width / 2, width - width / 2));
}

/// The id of something that has one.
pub(super) fn in_brackets(id: &str) -> String {
    if id.is_empty() { String::new() } else { format!(" ({id})") }
}

/// As many values as there are columns, evenly over the period: the highest of those that share one.
pub(super) fn peaks(line: &Line, (from, to): (u64, u64), columns: usize) -> Vec<Option<f64>> {
    let span = to.saturating_sub(from).max(1) as f64;
    let mut peaks: Vec<Option<f64>> = vec![None; columns.max(1)];
    let most = peaks.len() - 1;
    for (time, value) in line {
        let column = (time.saturating_sub(from) as f64 / span * columns as f64) as usize;
        let peak = &mut peaks[column.min(most)];
        *peak = [*peak, *value].into_iter().flatten().reduce(f64::max);
    }
    peaks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_even_over_the_period_and_keeps_peaks_and_gaps() {
        let line: Line =
            vec![(0, Some(1.0)), (10, Some(5.0)), (20, None), (80, None), (90, Some(2.0)), (100, Some(3.0))];
        assert_eq!(peaks(&line, (0, 101), 3), [Some(5.0), None, Some(3.0)]);
        assert_eq!(peaks(&line, (0, 404), 4), [Some(5.0), None, None, None], "nothing is known of the rest");
        assert_eq!(peaks(&Vec::new(), (0, 1), 2), [None, None]);
    }
}
