//! Puts lines of text on the screen, within its edges. All text has passed `text::shown` in a line of a sheet.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Span;

use crate::cli::sheet::{Line, Paint};

/// Columns that a text takes on a terminal.
pub fn width(text: &str) -> usize {
    Span::raw(text).width()
}

/// The text in exactly this many columns, cut at its end, or at its beginning.
pub fn fit(text: &str, columns: usize, cut_begin: bool) -> String {
    let have = width(text);
    if have <= columns {
        return format!("{text}{}", " ".repeat(columns - have));
    }
    let mut kept: Vec<char> = Vec::new();
    let mut used = 1;
    let mut take = |c: char| {
        used += width(c.encode_utf8(&mut [0; 4]));
        let fits = used <= columns;
        if fits {
            kept.push(c);
        }
        fits
    };
    match cut_begin {
        true => text.chars().rev().all(&mut take),
        false => text.chars().all(&mut take),
    };
    let text: String = match cut_begin {
        true => std::iter::once('…').chain(kept.into_iter().rev()).collect(),
        false => kept.into_iter().chain(['…']).collect(),
    };
    let text = if columns == 0 { String::new() } else { text };
    let have = width(&text);
    text + &" ".repeat(columns.saturating_sub(have))
}

/// The text in lines of at most this many columns, broken at spaces where there are any.
pub fn wrap(text: &str, columns: usize) -> Vec<String> {
    let columns = columns.max(1);
    let mut lines = vec![String::new()];
    let mut used = 0;
    for word in text.split_inclusive(' ') {
        if used > 0 && used + width(word.trim_end()) > columns {
            lines.push(String::new());
            used = 0;
        }
        for c in word.chars() {
            let wide = width(c.encode_utf8(&mut [0; 4]));
            // A space at the end of a line is not seen.
            if used > 0 && used + wide > columns && c != ' ' {
                lines.push(String::new());
                used = 0;
            }
            if let Some(line) = lines.last_mut() {
                line.push(c);
            }
            used += wide;
        }
    }
    lines
}

/// Draws a line at the top of the area.
pub fn put(buffer: &mut Buffer, area: Rect, line: &Line, colour: bool, over: Style) {
    let area = area.intersection(buffer.area);
    if area.is_empty() {
        return;
    }
    let mut x = area.x;
    for (paint, text) in line.parts() {
        let room = usize::from(area.right().saturating_sub(x));
        if room == 0 {
            break;
        }
        (x, _) = buffer.set_stringn(x, area.y, text, room, style(*paint, colour).patch(over));
    }
    if over != Style::default() {
        buffer.set_style(Rect { height: 1, ..area }, over);
    }
}

/// Draws lines from the top of the area, as many as there is room for.
pub fn lines<'a>(buffer: &mut Buffer, area: Rect, lines: impl IntoIterator<Item = &'a Line>, colour: bool) {
    for (row, line) in (area.y..area.bottom()).zip(lines) {
        put(buffer, Rect { y: row, height: 1, ..area }, line, colour, Style::default());
    }
}

pub fn style(paint: Paint, colour: bool) -> Style {
    let plain = Style::default();
    match paint {
        Paint::Plain => plain,
        Paint::Bold => plain.add_modifier(Modifier::BOLD),
        Paint::Dim => plain.add_modifier(Modifier::DIM),
        // Without colours, what is bad is bold.
        Paint::Red if !colour => plain.add_modifier(Modifier::BOLD),
        _ if !colour => plain,
        Paint::Green => plain.fg(Color::Green),
        Paint::Yellow => plain.fg(Color::Yellow),
        Paint::Red => plain.fg(Color::Red),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_broken_at_spaces_and_a_long_word_anywhere() {
        assert_eq!(wrap("raise its limit", 10), ["raise its ", "limit"]);
        assert_eq!(wrap("a /very/long/name b", 6), ["a ", "/very/", "long/n", "ame b"]);
        assert_eq!((wrap("", 5), wrap("ab", 0)), (vec![String::new()], vec!["a".to_owned(), "b".to_owned()]));
    }

    #[test]
    fn a_text_has_exactly_its_columns() {
        assert_eq!(fit("ollama", 8, false), "ollama  ");
        assert_eq!(fit("ollama.service", 8, false), "ollama.…");
        assert_eq!(fit("ollama.service", 8, true), "…service");
        assert_eq!([fit("ab", 1, true), fit("ab", 0, false), fit("", 0, true)], ["…", "", ""]);
        // Each of these takes two columns.
        for (columns, begin) in (0..12).flat_map(|columns| [(columns, true), (columns, false)]) {
            assert_eq!(width(&fit("模型服务器", columns, begin)), columns, "{columns}");
        }
    }
}
