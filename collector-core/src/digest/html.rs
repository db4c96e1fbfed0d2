//! A report as one HTML page without scripts, self-contained. Pictures are SVG.

use std::fmt::Write as _;

use super::block::{Block, Chart, Entry, Finding, Picture, Stroke, Table, Weight};
use super::picture::{across, svg};

const STYLE: &str = include_str!("report.css");
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
         <title>{}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n",
        title.unwrap_or_default()
    );
    for block in blocks {
        page += &match block {
            Block::Title(title) => format!("<h1>{}</h1>\n", escaped(title)),
            Block::Head(head) => format!("<h2>{}</h2>\n", escaped(head)),
            Block::Paragraph(text) => format!("<p>{}</p>\n", escaped(text)),
            Block::Findings(findings) => list(findings),
            Block::Table(table) => of_table(table),
            Block::Chart(chart) => figure(chart),
            Block::Events(events) => of_events(events),
        };
    }
    page + "</main>\n<footer>Written by headroom report. In charts, a peak is the highest value in each quarter of an hour.</footer>\n\
            </body>\n</html>\n"
}

fn list(findings: &[Finding]) -> String {
    let mut list = "<ul class=\"findings\">\n".to_owned();
    for Finding { weight, text } in findings {
        let class = match weight {
            Weight::Bad => "bad",
            Weight::Worse => "worse",
            Weight::Note => "note",
            Weight::Better => "better",
            Weight::Same => "same",
            Weight::Good => "good",
        };
        let _ = writeln!(
            list,
            "<li class=\"{class}\"><strong>{}</strong> <span>{}</span></li>",
            weight.word(),
            escaped(text)
        );
    }
    list + "</ul>\n"
}

fn of_table(table: &Table) -> String {
    let mut text = "<div class=\"scroll\"><table>\n<thead><tr>".to_owned();
    let class = |column: usize| if column < table.words { " class=\"w\"" } else { "" };
    for (column, cell) in table.head.iter().enumerate() {
        let _ = write!(text, "<th scope=\"col\"{}>{}</th>", class(column), escaped(cell));
    }
    if let Some((head, _)) = &table.pictures {
        let _ = write!(text, "<th scope=\"col\">{head}</th>");
    }
    text.push_str("</tr></thead>\n<tbody>\n");
    for (index, row) in table.rows.iter().enumerate() {
        text.push_str("<tr>");
        for (column, cell) in row.iter().enumerate() {
            let class = match class(column) {
                "" if cell.chars().count() > LONG => " class=\"long\"",
                class => class,
            };
            let _ = write!(text, "<td{class}>{}</td>", escaped(cell));
        }
        if let Some(picture) = table.pictures.as_ref().and_then(|(_, pictures)| pictures.get(index)) {
            let _ = write!(text, "<td class=\"picture\">{}</td>", svg(picture, &[], "over time"));
        }
        text.push_str("</tr>\n");
    }
    text + "</tbody>\n</table></div>\n"
}

fn figure(chart: &Chart) -> String {
    let mut text = format!("<figure><figcaption>{}</figcaption>\n<div class=\"legend\">", escaped(&chart.title));
    for curve in &chart.picture.curves {
        let sample = Picture {
            span: (0, 1),
            top: 2.0,
            curves: vec![super::block::Curve { line: vec![(0, Some(1.0)), (1, Some(1.0))], ..curve.clone() }],
        };
        let _ = write!(text, "<span>{}{}</span>", svg(&sample, &[], stroke(curve.stroke)), escaped(&curve.name));
    }
    if !chart.marks.is_empty() {
        text.push_str("<span>\u{25BC} incident</span>");
    }
    text.push_str("</div>\n<div class=\"plot\"><div class=\"heights\">");
    for (value, label) in &chart.heights {
        let bottom = value / chart.picture.top.max(f64::MIN_POSITIVE) * 100.0;
        let _ = write!(text, "<span style=\"bottom:{bottom:.2}%\">{}</span>", escaped(label));
    }
    let heights: Vec<f64> = chart.heights.iter().map(|(value, _)| *value).filter(|value| *value > 0.0).collect();
    let _ = write!(text, "</div><div class=\"area\">{}", svg(&chart.picture, &heights, &escaped(&described(chart))));
    for (time, what) in &chart.marks {
        let left = across(chart.picture.span, *time);
        let _ = write!(text, "<span class=\"mark\" style=\"left:{left:.2}%\" title=\"{}\"></span>", escaped(what));
    }
    text.push_str("</div><div class=\"times\">");
    // The last label would stand beyond the edge.
    for (time, label) in chart.times.iter().filter(|(time, _)| across(chart.picture.span, *time) < 95.0) {
        let _ =
            write!(text, "<span style=\"left:{:.2}%\">{}</span>", across(chart.picture.span, *time), escaped(label));
    }
    text + "</div></div></figure>\n"
}

fn stroke(stroke: Stroke) -> &'static str {
    match stroke {
        Stroke::Solid => "solid line",
        Stroke::Thin => "thin line",
        Stroke::Dashed => "dashed line",
    }
}

fn described(chart: &Chart) -> String {
    let names: Vec<&str> = chart.picture.curves.iter().map(|curve| &*curve.name).collect();
    format!("{}: {}; at most {}", chart.title, names.join(", "), chart.most)
}

fn of_events(events: &[Entry]) -> String {
    let mut list = "<ol class=\"events\">\n".to_owned();
    for Entry { time, id, title, detail } in events {
        let [time, id, title, detail] = [time, id, title, detail].map(|text| escaped(text));
        let _ = writeln!(
            list,
            "<li><div><time>{time}</time><br><code>{id}</code></div><div><strong>{title}</strong><p>{detail}</p></div></li>"
        );
    }
    list + "</ol>\n"
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
    use super::super::block::Curve;
    use super::*;

    const NAME: &str = "<img src=x onerror=\"alert('1')\">&amp;";

    #[test]
    fn a_name_is_text_whatever_is_in_it() {
        let mut table = Table::new(["WORKLOAD"], 1);
        table.rows.push(vec![NAME.to_owned()]);
        let curves = vec![Curve { name: NAME.to_owned(), stroke: Stroke::Solid, line: vec![(0, Some(1.0))] }];
        let picture = Picture { span: (0, 1), top: 1.0, curves };
        let chart = Chart {
            title: NAME.to_owned(),
            picture,
            heights: vec![(1.0, NAME.to_owned())],
            times: vec![(0, NAME.to_owned())],
            marks: vec![(0, NAME.to_owned())],
            most: NAME.to_owned(),
            edges: [String::new(), String::new()],
        };
        let entry = Entry { time: NAME.into(), id: NAME.into(), title: NAME.into(), detail: NAME.into() };
        let page = html(&[
            Block::Title(NAME.to_owned()),
            Block::Findings(vec![Finding { weight: Weight::Bad, text: NAME.to_owned() }]),
            Block::Table(table),
            Block::Chart(chart),
            Block::Events(vec![entry]),
        ]);
        assert!(!page.contains("<img"), "{page}");
        let escaped = "&lt;img src=x onerror=&quot;alert(&#39;1&#39;)&quot;&gt;&amp;amp;";
        assert_eq!(page.matches(escaped).count(), 2 + 1 + 1 + 8 + 4, "{page}");
        assert!(
            page.contains("<li class=\"bad\"><strong>Problem</strong>"),
            "a finding has a word, and not only a colour"
        );
    }
}
