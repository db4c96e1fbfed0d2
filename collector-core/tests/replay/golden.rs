//! Reads the golden expositions, `tests/fixtures/replay/NAME.prom`, as OpenMetrics. Knows neither the encoder nor the
//! catalogue.

use std::collections::BTreeMap;

/// A series: its name and its labels.
pub type Series = (String, BTreeMap<String, String>);

#[derive(Debug, Default)]
pub struct Page {
    /// Metadata by family name.
    pub families: BTreeMap<String, Family>,
    pub series: BTreeMap<Series, f64>,
}

#[derive(Debug, Default, PartialEq)]
pub struct Family {
    pub kind: String,
    pub unit: Option<String>,
    pub help: String,
}

impl Page {
    /// Reads a page; panics at an invalid line.
    pub fn read(text: &str) -> Page {
        let mut page = Page::default();
        for line in text.strip_suffix("# EOF\n").expect("a page has an end").lines() {
            if let Some(rest) = line.strip_prefix("# ") {
                let (what, rest) = rest.split_once(' ').expect(line);
                let (name, text) = rest.split_once(' ').expect(line);
                let family = page.families.entry(name.to_owned()).or_default();
                match what {
                    "HELP" => family.help = text.to_owned(),
                    "TYPE" => family.kind = text.to_owned(),
                    "UNIT" => family.unit = Some(text.to_owned()),
                    _ => panic!("{line}"),
                }
            } else {
                let (series, value) = series(line).unwrap_or_else(|| panic!("{line}"));
                assert!(page.series.insert(series, value).is_none(), "twice: {line}");
            }
        }
        page
    }
}

/// `name{label="value",…} number`
fn series(line: &str) -> Option<(Series, f64)> {
    let end = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at(end);
    let mut labels = BTreeMap::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        while !rest.starts_with('}') {
            let (label, tail) = rest.split_once("=\"")?;
            let (value, tail) = quoted(tail)?;
            labels.insert(label.to_owned(), value);
            rest = tail.strip_prefix(',').unwrap_or(tail);
        }
        rest = &rest[1..];
    }
    Some(((name.to_owned(), labels), rest.strip_prefix(' ')?.parse().ok()?))
}

/// An unescaped value up to its closing quote, and the rest.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    loop {
        match characters.next()? {
            (at, '"') => return Some((value, &text[at + 1..])),
            (_, '\\') => value.push(match characters.next()?.1 {
                'n' => '\n',
                escaped @ ('\\' | '"') => escaped,
                _ => return None,
            }),
            (_, other) => value.push(other),
        }
    }
}

#[test]
fn lines_are_parsed() {
    let labels = |all: &[(&str, &str)]| all.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    for (line, name, expected, value) in [
        ("up 1", "up", labels(&[]), 1.0),
        (r#"a{le="1e-06",b=""} +Inf"#, "a", labels(&[("le", "1e-06"), ("b", "")]), f64::INFINITY),
        (r#"a{b="c\\d\"e\nf{g=,} 7"} 1.5"#, "a", labels(&[("b", "c\\d\"e\nf{g=,} 7")]), 1.5),
    ] {
        assert_eq!(series(line), Some(((name.to_owned(), expected), value)), "{line}");
    }
    for line in ["up", "up one", r#"a{b="c 1"#, r#"a{b="\x"} 1"#, r#"a{b="c"}1"#] {
        assert_eq!(series(line), None, "{line}");
    }
}
