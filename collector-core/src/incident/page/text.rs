//! Text of a given width: paragraphs wrapped at spaces, and tables.

use super::spark::spark;
use crate::text::shown;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Paint {
    #[default]
    Plain,
    Bold,
    Dim,
    Green,
    Yellow,
    Red,
}

impl Paint {
    /// The escape sequence that begins it.
    pub fn code(self) -> &'static str {
        match self {
            Paint::Plain => "",
            Paint::Bold => "\x1b[1m",
            Paint::Dim => "\x1b[2m",
            Paint::Green => "\x1b[32m",
            Paint::Yellow => "\x1b[33m",
            Paint::Red => "\x1b[31m",
        }
    }
}

/// The escape sequence that ends every paint.
pub const PLAIN: &str = "\x1b[0m";
const INDENT: usize = 2;
/// The first column of a table is at least this wide.
const NAME: usize = 12;
/// The narrowest page that can show a table, and the widest that is readable.
const WIDTHS: (usize, usize) = (40, 120);

pub struct Text {
    text: String,
    pub width: usize,
    colour: bool,
}

impl Text {
    pub fn new(width: usize, colour: bool) -> Text {
        Text { text: String::new(), width: width.clamp(WIDTHS.0, WIDTHS.1), colour }
    }

    /// A blank line and the heading of a part.
    pub fn head(&mut self, head: &str) {
        self.text.push('\n');
        self.line(Paint::Bold, head);
    }

    /// A wrapped paragraph without indent.
    pub fn line(&mut self, paint: Paint, text: &str) {
        self.wrapped(paint, text, 0);
    }

    /// A wrapped paragraph with indent.
    pub fn paragraph(&mut self, paint: Paint, text: &str) {
        self.wrapped(paint, text, INDENT);
    }

    /// One line, not wrapped.
    pub fn raw(&mut self, paint: Paint, line: &str) {
        let codes = self.colour && paint != Paint::Plain;
        self.text.push_str(if codes { paint.code() } else { "" });
        self.text.push_str(&shown(line.trim_end()));
        self.text.push_str(if codes { PLAIN } else { "" });
        self.text.push('\n');
    }

    /// Commands and queries, each with what it shows.
    pub fn checks(&mut self, checks: &[[String; 2]]) {
        for [what, shows] in checks {
            self.raw(Paint::Plain, &format!("  {what}"));
            self.paragraph(Paint::Dim, &format!("  {shows}"));
        }
    }

    fn wrapped(&mut self, paint: Paint, text: &str, indent: usize) {
        // An older version may have written the name of a process as it was.
        let text = shown(text);
        let mut line = " ".repeat(indent);
        let mut empty = true;
        for word in text.split(' ') {
            if !empty && line.chars().count() + 1 + word.chars().count() > self.width {
                self.raw(paint, &line);
                line = " ".repeat(if indent == 0 { 0 } else { indent + INDENT });
                empty = true;
            }
            if !empty {
                line.push(' ');
            }
            line.push_str(word);
            empty = false;
        }
        self.raw(paint, &line);
    }

    /// A table whose first row is the header. The first column is aligned left, the others right. `lines` are drawn behind the
    /// rows if there is room.
    pub fn table(&mut self, rows: &[Vec<String>], lines: &[Vec<Option<f64>>]) {
        self.table_of(rows, 1, lines);
    }

    /// The same with so many columns aligned left.
    pub fn table_of(&mut self, rows: &[Vec<String>], words: usize, lines: &[Vec<Option<f64>>]) {
        let rows: Vec<Vec<_>> = rows.iter().map(|row| row.iter().map(|cell| shown(cell)).collect()).collect();
        let columns = rows.first().map_or(0, Vec::len);
        let widest = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let mut widths: Vec<usize> = (0..columns).map(widest).collect();
        // Columns that do not fit are dropped from the right: the first columns matter most.
        let rest = |widths: &[usize]| widths.iter().skip(1).map(|width| width + 2).sum::<usize>();
        while INDENT + NAME + rest(&widths) > self.width && widths.len() > 2 {
            widths.pop();
        }
        let rest = rest(&widths);
        if let Some(first) = widths.first_mut() {
            *first = (*first).min(self.width.saturating_sub(rest + INDENT).max(NAME));
        }
        let room = self.width.saturating_sub(widths.iter().map(|width| width + 2).sum::<usize>() + INDENT);
        for (number, row) in rows.iter().enumerate() {
            let mut text = " ".repeat(INDENT);
            for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
                let cell = short(cell, *width);
                let padding = " ".repeat(width.saturating_sub(cell.chars().count()));
                let gap = if column == 0 { "" } else { "  " };
                text += &if column < words { format!("{gap}{cell}{padding}") } else { format!("{gap}{padding}{cell}") };
            }
            let drawn = number.checked_sub(1).and_then(|line| lines.get(line));
            if let Some(line) = drawn.filter(|line| room >= 8 && line.iter().any(Option::is_some)) {
                text += &format!("  {}", spark(line, room.min(line.len())));
            }
            self.raw(if number == 0 { Paint::Dim } else { Paint::Plain }, &text);
        }
    }

    pub fn finish(self) -> String {
        self.text
    }
}

/// Shortens a long text to its end, where names differ.
pub(super) fn short(text: &str, width: usize) -> String {
    let count = text.chars().count();
    if count <= width {
        return text.to_owned();
    }
    let end: String = text.chars().skip(count - width.saturating_sub(1)).collect();
    format!("…{end}")
}
