//! Series of an exposition in Prometheus' text format, as others wrote it: what is not a whole and valid line is skipped, and nothing is
//! kept. Knows no metric.
//! <https://prometheus.io/docs/instrumenting/exposition_formats/>

use std::borrow::Cow;

/// Lines beyond are not read: no server has so many.
const LINES: usize = 200_000;
/// Longer lines are skipped.
const LINE: usize = 32 << 10;

/// A series with its value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Series<'a> {
    pub name: &'a str,
    pub labels: Labels<'a>,
    /// May be anything, also not a number.
    pub value: f64,
}

/// Labels as they are written between the braces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Labels<'a>(&'a str);

/// The series of an exposition. A last line without an end is skipped: its number may have been cut.
pub fn series(text: &[u8]) -> impl Iterator<Item = Series<'_>> {
    let lines = text.split_inclusive(|byte| *byte == b'\n').take(LINES);
    lines.filter_map(|line| line.strip_suffix(b"\n")).filter(|line| line.len() <= LINE).filter_map(read)
}

fn read(line: &[u8]) -> Option<Series<'_>> {
    let line = std::str::from_utf8(line).ok()?.trim_matches([' ', '\t', '\r']);
    let length = line.bytes().take_while(|byte| byte.is_ascii_alphanumeric() || b"_:".contains(byte)).count();
    let (name, rest) = line.split_at(length);
    if name.is_empty() || name.starts_with(|first: char| first.is_ascii_digit()) {
        return None;
    }
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(inside) => {
            let end = end(inside)?;
            (&inside[..end], &inside[end + 1..])
        }
        None => ("", rest.starts_with([' ', '\t']).then_some(rest)?),
    };
    // A time or an exemplar may follow.
    let value = rest.split_ascii_whitespace().next()?.parse().ok()?;
    Some(Series { name, labels: Labels(labels), value })
}

/// Where the labels end: at the first brace that is not between quotation marks.
fn end(inside: &str) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    inside.bytes().position(|byte| {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ => {}
        }
        byte == b'}' && !quoted
    })
}

impl<'a> Labels<'a> {
    /// The value of a label as it is written, with its escapes.
    pub fn raw(self, name: &str) -> Option<&'a str> {
        self.pairs().find(|(label, _)| *label == name).map(|(_, value)| value)
    }

    /// The value of a label.
    pub fn get(self, name: &str) -> Option<Cow<'a, str>> {
        let raw = self.raw(name)?;
        if !raw.contains('\\') {
            return Some(Cow::Borrowed(raw));
        }
        let mut text = String::with_capacity(raw.len());
        let mut letters = raw.chars();
        while let Some(letter) = letters.next() {
            match (letter, letter == '\\') {
                (_, true) => match letters.next() {
                    Some('n') => text.push('\n'),
                    Some(other) => text.push(other),
                    None => {}
                },
                (letter, false) => text.push(letter),
            }
        }
        Some(Cow::Owned(text))
    }

    /// Labels and their values as they are written, until the first that is not valid.
    fn pairs(self) -> impl Iterator<Item = (&'a str, &'a str)> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let (name, after) = rest.trim_start_matches([' ', ',', '\t']).split_once('=')?;
            let value = after.trim_start().strip_prefix('"')?;
            let mut escaped = false;
            let end = value.bytes().position(|byte| match byte {
                _ if escaped => {
                    escaped = false;
                    false
                }
                b'\\' => {
                    escaped = true;
                    false
                }
                byte => byte == b'"',
            })?;
            rest = &value[end + 1..];
            Some((name.trim_end(), &value[..end]))
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(text: &str) -> Vec<(String, String, f64)> {
        series(text.as_bytes()).map(|it| (it.name.to_owned(), it.labels.0.to_owned(), it.value)).collect()
    }

    #[test]
    fn lines_are_read_as_servers_write_them() {
        let text = "# HELP vllm:x Text {with} \"marks\"\n# TYPE vllm:x gauge\n\
            vllm:x{engine=\"0\",model_name=\"a}b\"} 7.0\nup 1 1700000000000\r\n\nb_total{le=\"+Inf\",} 3 # {id=\"1\"} 0.5\n\
            n 1e+06\ni +Inf\nm NaN\n  t\t2 \n";
        let names = |text| all(text).into_iter().map(|(name, _, value)| (name, value.to_string())).collect::<Vec<_>>();
        let expected =
            [("vllm:x", "7"), ("up", "1"), ("b_total", "3"), ("n", "1000000"), ("i", "inf"), ("m", "NaN"), ("t", "2")];
        assert_eq!(names(text), expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert_eq!(all(text)[0].1, "engine=\"0\",model_name=\"a}b\"");
    }

    #[test]
    fn what_is_no_whole_line_is_skipped() {
        for text in [
            "a 1",
            "a\n",
            "a{b=\"c} 1\n",
            "1a 1\n",
            "{\"a\"} 1\n",
            "a{} \n",
            "a x\n",
            "a{b=\"c\\\"} 1\n",
            "\u{e9} 1\n",
            "a{}\n",
        ] {
            assert_eq!(all(text), [], "{text:?}");
        }
        assert_eq!(all("a 1\nb 12").len(), 1, "the number of the last line may have been cut");
        assert_eq!(series(&[&b"a{b=\"\xff\"} 1\nb 2\n"[..], &vec![b'x'; LINE + 1], b" 1\nc 3\n"].concat()).count(), 2);
        assert_eq!(series("a 1\n".repeat(LINES + 7).as_bytes()).count(), LINES);
    }

    #[test]
    fn labels_have_escapes() {
        let text = "a{ b = \"1\" , c=\"x\\\\y\\\"z\\nw\",d=\"},e=\\\"\"} 1\n";
        let labels = series(text.as_bytes()).next().unwrap().labels;
        assert_eq!(labels.get("b").as_deref(), Some("1"));
        assert_eq!(labels.get("c").as_deref(), Some("x\\y\"z\nw"));
        assert_eq!((labels.get("d").as_deref(), labels.get("e")), (Some("},e=\""), None));
        assert_eq!(labels.raw("c"), Some("x\\\\y\\\"z\\nw"));
        assert_eq!(Labels("b=1,c=\"2\"").get("c"), None, "nothing is known after what is not valid");
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

        #[test]
        fn any_bytes_can_be_read(bytes in prop::collection::vec(prop_oneof![
            any::<u8>(), prop::sample::select(b"a:{}=\"\\, \n1eN".to_vec())], 0..200)) {
            for it in series(&bytes) {
                prop_assert!(!it.name.is_empty());
                for (name, _) in it.labels.pairs() {
                    prop_assert!(it.labels.get(name).is_some());
                }
            }
        }

        #[test]
        fn every_label_comes_back(value in any::<String>()) {
            let written = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let text = format!("a{{b=\"x\",c=\"{written}\"}} 1\n");
            let read = series(text.as_bytes()).next();
            prop_assert_eq!(read.and_then(|it| it.labels.get("c").map(Cow::into_owned)), Some(value));
        }
    }
}
