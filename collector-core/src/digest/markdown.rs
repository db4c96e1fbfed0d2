//! A report as Markdown. Pictures are lines of blocks.

use std::fmt::Write as _;

use super::block::Block;
use super::text::peaks;
use crate::incident::page::spark::spark;

const SMALL: usize = 16;
const WIDE: usize = 96;

pub fn markdown(blocks: &[Block]) -> String {
    let mut page = String::new();
    for block in blocks {
        let _ = match block {
            Block::Title(title) => writeln!(page, "# {}\n", escaped(title)),
            Block::Head(head) => writeln!(page, "## {}\n", escaped(head)),
            Block::Paragraph(text) => writeln!(page, "{}\n", escaped(text)),
            Block::Chart { title, most, line } => {
                let points = peaks(line, WIDE);
                writeln!(
                    page,
                    "{}; at the top {}:\n\n    {}\n",
                    escaped(title),
                    escaped(most),
                    spark(&points, points.len())
                )
            }
            Block::Table { rows, lines } => {
                for (index, row) in rows.iter().enumerate() {
                    let cells: Vec<String> = row.iter().map(|cell| escaped(cell)).collect();
                    let picture = match (index, lines.get(index.wrapping_sub(1))) {
                        (0, _) if lines.is_empty() => String::new(),
                        (0, _) => " MEMORY |".to_owned(),
                        (_, Some(line)) => {
                            let points = peaks(line, SMALL);
                            format!(" {} |", spark(&points, points.len()))
                        }
                        _ => String::new(),
                    };
                    let _ = writeln!(page, "| {} |{picture}", cells.join(" | "));
                    if index == 0 {
                        let columns = cells.len() + usize::from(!lines.is_empty());
                        let _ = writeln!(page, "|{}", "---|".repeat(columns));
                    }
                }
                writeln!(page)
            }
        };
    }
    page
}

/// Names reach a page as text only: nothing in them is a link, a heading, a column or HTML.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '\\' | '`' | '*' | '_' | '{' | '}' | '[' | ']' | '<' | '>' | '#' | '|' | '!' | '&' | '~') {
            escaped.push('\\');
        }
        escaped.push(if c == '\n' || c == '\r' { ' ' } else { c });
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_text_whatever_is_in_it() {
        let rows = vec![vec!["WORKLOAD".to_owned()], vec!["<img onerror>|[a](b)\n# x `y`".to_owned()]];
        let page = markdown(&[Block::Table { rows, lines: Vec::new() }]);
        assert_eq!(page, "| WORKLOAD |\n|---|\n| \\<img onerror\\>\\|\\[a\\](b) \\# x \\`y\\` |\n\n");
    }
}
