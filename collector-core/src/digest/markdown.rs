//! A report as Markdown. Pictures are lines of blocks.

use std::fmt::Write as _;

use super::block::{Block, Chart, Entry, Finding, Table};
use super::text::{in_brackets, peaks};
use crate::incident::page::spark::spark;

const SMALL: usize = 16;
const WIDE: usize = 96;

pub fn markdown(blocks: &[Block]) -> String {
    let mut page = String::new();
    for block in blocks {
        page += &match block {
            Block::Title(title) => format!("# {}\n\n", escaped(title)),
            Block::Head(head) => format!("## {}\n\n", escaped(head)),
            Block::Paragraph(text) => format!("{}\n\n", escaped(text)),
            Block::Findings(findings) => {
                let line = |it: &Finding| format!("- **{}:** {}\n", it.weight.word(), escaped(&it.text));
                findings.iter().map(line).collect::<String>() + "\n"
            }
            Block::Chart(chart) => of_chart(chart),
            Block::Table(table) => of_table(table),
            Block::Events(events) => {
                let line = |Entry { time, id, title, detail }: &Entry| {
                    let [time, id, title, detail] = [time, id, title, detail].map(|text| escaped(text));
                    format!("- **{time}: {title}** {detail}{}\n", in_brackets(&id))
                };
                events.iter().map(line).collect::<String>() + "\n"
            }
        };
    }
    page
}

fn of_chart(chart: &Chart) -> String {
    let mut text = format!("{}; at most {}:\n\n", escaped(&chart.title), escaped(&chart.most));
    for curve in chart.picture.curves.iter().take(1) {
        let drawn = spark(&peaks(&curve.line, chart.picture.span, WIDE), WIDE);
        let _ = writeln!(text, "    {drawn}");
    }
    let [first, last] = &chart.edges;
    let _ = writeln!(text, "    {first:<half$}{last:>half$}", half = WIDE / 2);
    text + "\n"
}

fn of_table(table: &Table) -> String {
    let picture = |text: String| if table.pictures.is_some() { format!(" {text} |") } else { String::new() };
    let row = |cells: &[String]| cells.iter().map(|cell| escaped(cell)).collect::<Vec<_>>().join(" | ");
    let head = table.pictures.as_ref().map_or(String::new(), |(head, _)| (*head).to_owned());
    let mut text = format!("| {} |{}\n|", row(&table.head), picture(head));
    for column in 0..table.head.len() {
        text.push_str(if column < table.words { "---|" } else { "---:|" });
    }
    text += &picture("---".to_owned()).replace(' ', "");
    text.push('\n');
    for (index, cells) in table.rows.iter().enumerate() {
        let drawn = table.pictures.as_ref().and_then(|(_, pictures)| pictures.get(index)).map(|picture| {
            let line = picture.curves.first().map(|curve| peaks(&curve.line, picture.span, SMALL));
            line.map_or(String::new(), |line| spark(&line, SMALL))
        });
        let _ = writeln!(text, "| {} |{}", row(cells), picture(drawn.unwrap_or_default()));
    }
    text + "\n"
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
        let mut table = Table::new(["WORKLOAD", "PEAK"], 1);
        table.rows.push(vec!["<img onerror>|[a](b)\n# x `y`".to_owned(), "1".to_owned()]);
        let page = markdown(&[Block::Table(table)]);
        let row = "| \\<img onerror\\>\\|\\[a\\](b) \\# x \\`y\\` | 1 |";
        assert_eq!(page, format!("| WORKLOAD | PEAK |\n|---|---:|\n{row}\n\n"));
    }
}
