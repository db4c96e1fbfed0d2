//! Lines of a screen: painted text that is cut to a width, bars, and tables whose last columns give way. All text is made safe for a
//! terminal here. Knows nothing of what is shown.

use collector_core::incident::page::text::PLAIN;
pub use collector_core::incident::page::text::Paint;
use collector_core::text::shown;

/// Shown for a missing value.
pub const UNKNOWN: &str = "–";
/// A column of text is cut to this width at least, and left out where there is less room.
const CUT: usize = 12;
/// Spaces between two columns.
const GAP: usize = 2;
/// The first column of a table is at least this wide.
const NAME: usize = 24;

/// One line: parts, each with its paint.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Line(Vec<(Paint, String)>);

impl Line {
    pub fn new(paint: Paint, text: impl AsRef<str>) -> Line {
        Line::default().and(paint, text)
    }

    pub fn and(mut self, paint: Paint, text: impl AsRef<str>) -> Line {
        self.0.push((paint, shown(text.as_ref()).into_owned()));
        self
    }

    /// The same, with this at the right end if there is room.
    pub fn ending(self, width: usize, paint: Paint, text: impl AsRef<str>) -> Line {
        let text = shown(text.as_ref()).into_owned();
        let used = self.width() + count(&text);
        match width.checked_sub(used) {
            Some(room) if room >= GAP => self.and(Paint::Plain, " ".repeat(room)).and(paint, text),
            _ => self,
        }
    }

    pub fn parts(&self) -> &[(Paint, String)] {
        &self.0
    }

    pub fn width(&self) -> usize {
        self.0.iter().map(|(_, text)| count(text)).sum()
    }

    /// The line without its end if it is longer than `width`, and without a line break.
    pub fn render(&self, width: usize, colour: bool) -> String {
        let mut text = String::new();
        let mut room = if self.width() > width { width.saturating_sub(1) } else { width };
        for (paint, part) in &self.0 {
            let cut: String = part.chars().take(room).collect();
            room -= count(&cut);
            let coloured = colour && *paint != Paint::Plain && !cut.trim().is_empty();
            text += if coloured { paint.code() } else { "" };
            text += &cut;
            text += if coloured { PLAIN } else { "" };
        }
        if self.width() > width {
            text.push('…');
        }
        text.trim_end().to_owned()
    }
}

/// A share of 0 to 1 as a bar of this many cells.
pub fn bar(share: f64, cells: usize) -> String {
    // What is not nothing is seen, and what is not all does not look so.
    let most = if share < 1.0 { cells.saturating_sub(1) } else { cells };
    let least = usize::from(share > 0.0).min(most);
    let full = ((share.clamp(0.0, 1.0) * cells as f64).round() as usize).clamp(least, most);
    "█".repeat(full) + &"░".repeat(cells - full)
}

pub fn left(text: &str, width: usize) -> String {
    format!("{text}{}", " ".repeat(width.saturating_sub(count(text))))
}

pub fn right(text: &str, width: usize) -> String {
    format!("{}{text}", " ".repeat(width.saturating_sub(count(text))))
}

/// A text in as many lines of at most `width` as it needs, broken at spaces where there are any, each after so many blanks.
pub fn paragraph(paint: Paint, indent: usize, text: &str, width: usize) -> Vec<Line> {
    let text = shown(text).into_owned();
    let room = width.saturating_sub(indent).max(1);
    let (mut lines, mut line) = (Vec::new(), String::new());
    for word in text.split_whitespace() {
        if !line.is_empty() && count(&line) + 1 + count(word) > room {
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        for c in word.chars() {
            if count(&line) >= room {
                lines.push(std::mem::take(&mut line));
            }
            line.push(c);
        }
    }
    lines.push(line);
    lines.into_iter().map(|line| Line::new(paint, format!("{}{line}", " ".repeat(indent)))).collect()
}

/// A column of a table.
pub struct Column {
    pub head: String,
    /// Numbers are aligned right.
    pub number: bool,
    pub cells: Vec<(Paint, String)>,
}

impl Column {
    pub fn text<T>(head: &str, rows: &[T], cell: impl Fn(&T) -> (Paint, String)) -> Column {
        Column { head: head.to_owned(), number: false, cells: rows.iter().map(cell).collect() }
    }

    pub fn number<T>(head: &str, rows: &[T], cell: impl Fn(&T) -> Option<String>) -> Column {
        let cell = |row| (Paint::Plain, cell(row).unwrap_or_else(|| UNKNOWN.to_owned()));
        Column { head: head.to_owned(), number: true, cells: rows.iter().map(cell).collect() }
    }

    /// The same, in red where it is `bad`.
    pub fn alarming<T>(self, rows: &[T], bad: impl Fn(&T) -> bool) -> Column {
        let cells = self.cells.into_iter().zip(rows);
        let paint = |((paint, cell), row)| (if bad(row) { Paint::Red } else { paint }, cell);
        Column { cells: cells.map(paint).collect(), ..self }
    }

    fn width(&self) -> usize {
        let cells = self.cells.iter().map(|(_, cell)| count(&shown(cell)));
        cells.chain([count(&self.head)]).max().unwrap_or(0)
    }
}

/// A header and a line for each row. The first column is a name, which is shortened to its end; where that is not enough, the last
/// columns are cut, if they are text, or left out.
pub fn table(columns: &[Column], width: usize) -> Vec<Line> {
    let mut widths: Vec<usize> = columns.iter().map(Column::width).collect();
    let rest = |widths: &[usize]| widths.iter().skip(1).map(|width| width + GAP).sum::<usize>();
    while widths.len() > 1 && NAME.min(widths[0]) + rest(&widths) > width {
        let Some(last) = widths.pop() else { break };
        // Text may be cut at its end.
        let room = width.saturating_sub(NAME.min(widths[0]) + rest(&widths) + GAP);
        if room >= CUT && last > room && !columns[widths.len()].number {
            widths.push(room);
        }
    }
    let rest = rest(&widths);
    if let Some(first) = widths.first_mut() {
        *first = (*first).min(width.saturating_sub(rest));
    }
    let rows = columns.iter().map(|column| column.cells.len()).max().unwrap_or(0);
    let line = |cell: &dyn Fn(&Column) -> (Paint, String)| {
        let mut line = Line::default();
        for (index, (column, width)) in columns.iter().zip(&widths).enumerate() {
            let (paint, text) = cell(column);
            let text = if index == 0 { short(&shown(&text), *width) } else { begin(&shown(&text), *width) };
            let text = if column.number { right(&text, *width) } else { left(&text, *width) };
            line = line.and(Paint::Plain, if index == 0 { "" } else { "  " }).and(paint, text);
        }
        line
    };
    let head = line(&|column| (Paint::Dim, column.head.clone()));
    let rows = (0..rows).map(|row| line(&|column| column.cells.get(row).cloned().unwrap_or_default()));
    std::iter::once(head).chain(rows).collect()
}

/// The end of a long text, where names differ.
fn short(text: &str, width: usize) -> String {
    match count(text) {
        count if count <= width => text.to_owned(),
        count => "…".to_owned() + &text.chars().skip(count + 1 - width.max(1)).collect::<String>(),
    }
}

/// The beginning of a long text.
fn begin(text: &str, width: usize) -> String {
    match count(text) {
        count if count <= width => text.to_owned(),
        _ => text.chars().take(width.saturating_sub(1)).chain(['…']).collect(),
    }
}

fn count(text: &str) -> usize {
    text.chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_cut_to_the_width_and_painted_only_with_colour() {
        let line = Line::new(Paint::Red, "critical").and(Paint::Plain, "  all is lost");
        assert_eq!(line.render(21, false), "critical  all is lost");
        assert_eq!(line.render(12, false), "critical  a…");
        assert_eq!(line.render(12, true), "\x1b[31mcritical\x1b[0m  a…");
        assert_eq!(Line::default().and(Paint::Plain, "a").ending(9, Paint::Dim, "now").render(9, false), "a     now");
        assert_eq!(Line::new(Paint::Plain, "a").ending(5, Paint::Dim, "now").render(9, false), "a", "no room");
    }

    #[test]
    fn nothing_that_controls_a_terminal_passes() {
        let name = "a\x1b[2J\r\n\u{202e}b";
        let line = Line::new(Paint::Plain, name).render(80, true);
        assert_eq!(line, r"a\x1b[2J\x0d\x0a\xe2\x80\xaeb");
        let rows = [name];
        let lines = table(&[Column::text("NAME", &rows, |name| (Paint::Plain, (*name).to_owned()))], 80);
        assert_eq!(lines[1].render(80, false), line);
    }

    #[test]
    fn a_paragraph_breaks_at_spaces_and_a_long_word_where_it_must() {
        let lines = |text, width| {
            let lines = paragraph(Paint::Plain, 2, text, width);
            lines.iter().map(|line| line.render(width, false)).collect::<Vec<_>>()
        };
        assert_eq!(lines("one two  three", 9), ["  one two", "  three"]);
        assert_eq!(lines("a 0123456789 b", 7), ["  a", "  01234", "  56789", "  b"]);
        assert_eq!(lines("", 9), [""]);
        assert_eq!(lines("a\u{202e}b", 80), [r"  a\xe2\x80\xaeb"]);
        for width in 0..30 {
            let lines = lines("Raise the memory limit of docker/web-with-a-long-name", width);
            assert!(lines.iter().all(|line| line.chars().count() <= width.max(1)), "{width}: {lines:?}");
        }
    }

    #[test]
    fn a_bar_is_empty_or_full_only_if_the_share_is() {
        let bars = [0.0, 0.001, 0.5, 0.999, 1.0, 7.0, -1.0].map(|share| bar(share, 4));
        assert_eq!(bars, ["░░░░", "█░░░", "██░░", "███░", "████", "████", "░░░░"]);
        assert_eq!([bar(0.5, 1), bar(0.5, 0)], ["░", ""]);
    }

    #[test]
    fn names_are_shortened_first_and_then_the_last_columns_go() {
        let rows = [("system.slice/a-long-name.service", 7), ("b", 12345)];
        let all = || {
            [
                Column::text("NAME", &rows, |row| (Paint::Plain, row.0.to_owned())),
                Column::number("COUNT", &rows, |row| Some(row.1.to_string())),
                Column::number("MORE", &rows, |_| None),
            ]
        };
        let shown = |width| {
            let lines = table(&all(), width);
            lines.iter().map(|line| line.render(width, false)).collect::<Vec<_>>()
        };
        assert_eq!(shown(60)[1], "system.slice/a-long-name.service      7     –");
        assert_eq!(shown(37)[1], "…ice/a-long-name.service      7     –");
        assert_eq!(shown(32)[1], "…lice/a-long-name.service      7");
        assert_eq!(shown(5)[1], "…vice");
        let rows = [("a", "docker/one 5 GiB, docker/two 3 GiB")];
        let columns = [
            Column::text("NAME", &rows, |row| (Paint::Plain, row.0.to_owned())),
            Column::text("HOLDERS", &rows, |row| (Paint::Plain, row.1.to_owned())),
        ];
        assert_eq!(table(&columns, 24)[1].render(24, false), "a     docker/one 5 GiB,…");
        for width in 0..60 {
            assert!(table(&all(), width).iter().all(|line| line.width() <= width.max(1)), "{width}");
        }
    }
}
