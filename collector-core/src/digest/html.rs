//! A report as one HTML page without scripts, and with nothing from elsewhere. Pictures are SVG.

use std::fmt::Write as _;

use super::block::{Block, Line};

const STYLE: &str = "
:root { color-scheme: light dark; --line: #0b63ce; --rule: #8885; }
@media (prefers-color-scheme: dark) { :root { --line: #6db3ff; } }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; display: block; overflow-x: auto; }
th, td { border-bottom: 1px solid var(--rule); padding: .3rem .6rem; text-align: right; white-space: nowrap; vertical-align: top; }
th:first-child, td:first-child { text-align: left; }
td.text { text-align: left; white-space: normal; min-width: 16rem; }
svg { display: block; } polyline { fill: none; stroke: var(--line); stroke-width: 1.5; vector-effect: non-scaling-stroke; }
figure { margin: 1rem 0; } figcaption { opacity: .8; } figure svg { width: 100%; height: 9rem; border-bottom: 1px solid var(--rule); }
";
/// Texts longer than this are wrapped.
const LONG: usize = 40;

pub fn html(blocks: &[Block]) -> String {
    let title = blocks.iter().find_map(|block| match block {
        Block::Title(title) => Some(escaped(title)),
        _ => None,
    });
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <title>{}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n",
        title.unwrap_or_default()
    );
    for block in blocks {
        let _ = match block {
            Block::Title(title) => writeln!(page, "<h1>{}</h1>", escaped(title)),
            Block::Head(head) => writeln!(page, "<h2>{}</h2>", escaped(head)),
            Block::Paragraph(text) => writeln!(page, "<p>{}</p>", escaped(text)),
            Block::Table { rows, lines } => {
                table(&mut page, rows, lines);
                Ok(())
            }
            Block::Chart { title, most, line } => writeln!(
                page,
                "<figure><figcaption>{}; at the top {}</figcaption>{}</figure>",
                escaped(title),
                escaped(most),
                picture(line, (960, 144))
            ),
        };
    }
    page + "</body>\n</html>\n"
}

fn table(page: &mut String, rows: &[Vec<String>], lines: &[Line]) {
    page.push_str("<table>\n");
    for (index, row) in rows.iter().enumerate() {
        page.push_str("<tr>");
        for cell in row {
            let text = if cell.chars().count() > LONG { " class=\"text\"" } else { "" };
            let _ = match index {
                0 => write!(page, "<th>{}</th>", escaped(cell)),
                _ => write!(page, "<td{text}>{}</td>", escaped(cell)),
            };
        }
        match lines.get(index.wrapping_sub(1)) {
            Some(line) => _ = write!(page, "<td>{}</td>", picture(line, (120, 24))),
            None if index == 0 && !lines.is_empty() => page.push_str("<th>MEMORY</th>"),
            None => {}
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</table>\n");
}

/// A line over time, scaled from zero to its highest value; a gap where nothing is known.
fn picture(line: &Line, (width, height): (u32, u32)) -> String {
    let (Some((first, _)), Some((last, _))) = (line.first(), line.last()) else { return String::new() };
    let span = (last - first).max(1) as f64;
    let most = line.iter().filter_map(|(_, value)| *value).fold(0.0, f64::max);
    let scale = if most > 0.0 { f64::from(height - 2) / most } else { 0.0 };
    let mut parts = String::new();
    for part in line.split(|(_, value)| value.is_none()).filter(|part| !part.is_empty()) {
        let points: Vec<String> = part
            .iter()
            .map(|(time, value)| {
                let x = (time - first) as f64 / span * f64::from(width);
                format!("{x:.1},{:.1}", f64::from(height - 1) - value.unwrap_or(0.0) * scale)
            })
            .collect();
        let _ = write!(parts, "<polyline points=\"{}\"/>", points.join(" "));
    }
    format!(
        "<svg viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" preserveAspectRatio=\"none\" \
         role=\"img\" aria-hidden=\"true\">{parts}</svg>"
    )
}

/// Names reach the page as text only.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_text_whatever_is_in_it() {
        let name = "<img src=x onerror=\"alert('1')\">&amp;";
        let rows = vec![vec!["WORKLOAD".to_owned()], vec![name.to_owned()]];
        let page = html(&[Block::Title(name.to_owned()), Block::Table { rows, lines: Vec::new() }]);
        assert!(!page.contains("<img"), "{page}");
        assert_eq!(page.matches("&lt;img src=x onerror=&quot;alert(&#39;1&#39;)&quot;&gt;&amp;amp;").count(), 3);
    }

    #[test]
    fn a_picture_has_gaps_where_nothing_is_known() {
        let line: Line = vec![(0, Some(1.0)), (10, Some(2.0)), (20, None), (30, Some(4.0)), (40, Some(0.0))];
        let picture = picture(&line, (40, 10));
        assert!(
            picture.contains("<polyline points=\"0.0,7.0 10.0,5.0\"/><polyline points=\"30.0,1.0 40.0,9.0\"/>"),
            "{picture}"
        );
    }
}
