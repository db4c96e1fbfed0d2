//! [`Template`]: the text of an alert with fields for its number and labels, checked when it is parsed. Numbers are formatted
//! as Prometheus' `humanize` functions format them.

use std::fmt::{self, Write as _};

use crate::spelling::closest;
use crate::text::capital;
use crate::xid;

/// A parsed text with fields.
#[derive(Clone, Debug, PartialEq)]
pub struct Template(pub Vec<Piece>);

#[derive(Clone, Debug, PartialEq)]
pub enum Piece {
    /// Literal text.
    Text(String),
    Value(Form),
    /// The value of the named label.
    Label(String, Word),
    /// The title of the incident.
    Title,
}

/// Format of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Plain,
    /// A ratio, as a percentage.
    Percent,
    Bytes,
    /// Seconds.
    Duration,
}

/// Format of a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    Plain,
    /// An XID number with its meaning.
    Xid,
    /// What to do about an XID number.
    XidAction,
}

const FORMS: [(&str, Form); 3] = [("percent", Form::Percent), ("bytes", Form::Bytes), ("duration", Form::Duration)];
const WORDS: [(&str, Word); 2] = [("xid", Word::Xid), ("xid_action", Word::XidAction)];

/// What people call the value of a label that a default rule names.
const NAMES: [(&str, &str); 12] = [
    ("workload", "the workload"),
    ("mountpoint", "the mount point"),
    ("device", "the device"),
    ("operation", "read or write"),
    ("kind", "the kind"),
    ("node", "n"),
    ("gpu", "n"),
    ("reason", "the reason"),
    ("direction", "the direction"),
    ("source", "one of its sources"),
    ("listener", "the listener"),
    ("stage", "the stage"),
];

/// The values that fill a template.
pub trait Filling {
    fn value(&self) -> Option<f64>;
    /// The value of a label; empty without one.
    fn label(&self, name: &str) -> &str;
    /// The title of the incident; empty without one.
    fn title(&self) -> &str;
}

impl Template {
    /// Parses a template. `labels` are the known labels. An `event` has a title, anything else a number.
    ///
    /// # Errors
    /// An unknown field, or an unmatched brace.
    pub fn new(text: &str, labels: &[&str], event: bool) -> Result<Template, String> {
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            plain += &rest[..at];
            let brace = &rest[at..=at];
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix(brace) {
                plain += brace;
                rest = after;
                continue;
            }
            if brace == "}" {
                return Err("} without {; write }} for a brace".into());
            }
            let (field, after) = rest.split_once('}').ok_or("{ without }; write {{ for a brace")?;
            if !plain.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut plain)));
            }
            pieces.push(piece(field, labels, event)?);
            rest = after;
        }
        plain += rest;
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain));
        }
        Ok(Template(pieces))
    }

    /// For people who do not know the notation: what stands for a field is named.
    pub fn in_words(&self) -> String {
        let mut text = String::new();
        for piece in &self.0 {
            text += match piece {
                Piece::Text(plain) => plain,
                Piece::Value(Form::Plain) => "…",
                Piece::Value(Form::Percent) => "… %",
                Piece::Value(Form::Bytes) => "… bytes",
                Piece::Value(Form::Duration) => "… s",
                Piece::Label(name, Word::Plain) => {
                    NAMES.iter().find(|(label, _)| label == name).map_or(name.as_str(), |(_, words)| words)
                }
                Piece::Label(_, Word::Xid) => "… (its meaning)",
                Piece::Label(_, Word::XidAction) => "What to do about this number.",
                Piece::Title => "The title of the incident: what happened, and to whom.",
            };
        }
        // What a file writes in small letters, such as kswapd, stays so.
        if matches!(self.0.first(), Some(Piece::Text(_))) {
            return text;
        }
        capital(&text)
    }

    pub fn fill(&self, filling: &impl Filling) -> String {
        let mut text = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(plain) => text += plain,
                Piece::Value(form) => match filling.value() {
                    Some(number) => form.write(number, &mut text),
                    None => text += "?",
                },
                Piece::Label(name, Word::Plain) => text += filling.label(name),
                Piece::Label(name, Word::Xid) => text += &xid::meaning(filling.label(name)),
                Piece::Label(name, Word::XidAction) => text += xid::action(filling.label(name)),
                Piece::Title => text += filling.title(),
            }
        }
        text
    }
}

/// As it is written in a file.
impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named =
            |names: &[(&'static str, Form)], form| names.iter().find(|(_, it)| *it == form).map(|(name, _)| *name);
        self.0.iter().try_for_each(|piece| match piece {
            Piece::Text(plain) => f.write_str(&plain.replace('{', "{{").replace('}', "}}")),
            Piece::Value(form) => match named(&FORMS, *form) {
                Some(name) => write!(f, "{{value:{name}}}"),
                None => f.write_str("{value}"),
            },
            Piece::Label(name, word) => match WORDS.iter().find(|(_, it)| it == word) {
                Some((form, _)) => write!(f, "{{labels.{name}:{form}}}"),
                None => write!(f, "{{labels.{name}}}"),
            },
            Piece::Title => f.write_str("{title}"),
        })
    }
}

fn piece(field: &str, labels: &[&str], event: bool) -> Result<Piece, String> {
    let (name, form) = field.split_once(':').map_or((field, None), |(name, form)| (name, Some(form)));
    let unknown = |what: &str, word: &str, known: &mut dyn Iterator<Item = &str>| {
        let hint = closest(word, known).map(|hint| format!("; did you mean {hint}?")).unwrap_or_default();
        format!("{{{field}}}: there is no such {what}{hint}")
    };
    if let Some(label) = name.strip_prefix("labels.") {
        if !labels.contains(&label) {
            return Err(unknown("label", label, &mut labels.iter().copied()));
        }
        let word = match form {
            None => Word::Plain,
            Some(form) => match WORDS.iter().find(|(name, _)| *name == form) {
                Some((_, word)) => *word,
                None => return Err(unknown("label format", form, &mut WORDS.iter().map(|(name, _)| *name))),
            },
        };
        return Ok(Piece::Label(label.into(), word));
    }
    match (name, form) {
        ("value", _) if event => Err(format!("{{{field}}}: an event has no value")),
        ("value", None) => Ok(Piece::Value(Form::Plain)),
        ("value", Some(form)) => match FORMS.iter().find(|(name, _)| *name == form) {
            Some((_, form)) => Ok(Piece::Value(*form)),
            None => Err(unknown("number format", form, &mut FORMS.iter().map(|(name, _)| *name))),
        },
        ("title", None) if event => Ok(Piece::Title),
        ("title", _) => Err(format!("{{{field}}}: only an event has a title")),
        _ => {
            let mut known: Vec<String> = labels.iter().map(|label| format!("labels.{label}")).collect();
            known.push("value".into());
            // `{workload}` is what most people write first.
            let meant = labels.iter().find(|label| **label == name).map(|label| format!("labels.{label}"));
            let hint = meant.as_deref().or_else(|| closest(name, known.iter().map(String::as_str)));
            let hint = hint.map(|hint| format!("; did you mean {{{hint}}}?")).unwrap_or_default();
            Err(format!("{{{field}}}: there is no such field{hint}"))
        }
    }
}

impl Form {
    fn write(self, number: f64, text: &mut String) {
        // Writing to a String cannot fail.
        let _ = match self {
            Form::Plain => write!(text, "{}", significant(number)),
            Form::Percent => write!(text, "{}%", significant(number * 100.0)),
            Form::Bytes => {
                let units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
                let mut number = number;
                let mut unit = 0;
                while number.abs() >= 1024.0 && unit + 1 < units.len() {
                    (number, unit) = (number / 1024.0, unit + 1);
                }
                write!(text, "{} {}", significant(number), units[unit])
            }
            Form::Duration => duration(number, text),
        };
    }
}

/// Four significant digits, without trailing zeros.
fn significant(number: f64) -> String {
    if !number.is_finite() {
        return number.to_string();
    }
    let before = if number == 0.0 { 1 } else { number.abs().log10().floor().max(-9.0) as i32 + 1 };
    let decimals = (4 - before).clamp(0, 9) as usize;
    let text = format!("{number:.decimals$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

fn duration(seconds: f64, text: &mut String) -> std::fmt::Result {
    if !seconds.is_finite() || seconds.abs() < 60.0 {
        return match seconds.abs() < 1.0 && seconds != 0.0 {
            true => write!(text, "{}ms", significant(seconds * 1000.0)),
            false => write!(text, "{}s", significant(seconds)),
        };
    }
    if seconds < 0.0 {
        text.push('-');
    }
    let whole = seconds.abs() as u64;
    let parts = [(whole / 86400, "d"), (whole / 3600 % 24, "h"), (whole / 60 % 60, "m"), (whole % 60, "s")];
    let first = parts.iter().position(|(number, _)| *number > 0).unwrap_or(3);
    let shown: Vec<String> = parts[first..].iter().take(2).map(|(number, unit)| format!("{number}{unit}")).collect();
    text.push_str(&shown.join(" "));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Given(Option<f64>);

    impl Filling for Given {
        fn value(&self) -> Option<f64> {
            self.0
        }
        fn label(&self, name: &str) -> &str {
            if name == "xid" { "79" } else { "a" }
        }
        fn title(&self) -> &str {
            "Something"
        }
    }

    fn fill(text: &str, number: f64) -> String {
        Template::new(text, &["device", "xid"], false).unwrap().fill(&Given(Some(number)))
    }

    #[test]
    fn fields_are_filled() {
        assert_eq!(fill("{labels.device}: {value}, {{x}} and }}{{", 1.5), "a: 1.5, {x} and }{");
        assert_eq!(fill("", 1.0), "");
        assert_eq!(fill("{labels.xid:xid}", 1.0), "79 (the GPU has fallen off the bus)");
        let event = Template::new("{title} in {labels.device}", &["device"], true).unwrap();
        assert_eq!(event.fill(&Given(None)), "Something in a");
    }

    #[test]
    fn numbers_are_readable() {
        for (form, number, wanted) in [
            ("", 0.0, "0"),
            ("", 12345.678, "12346"),
            ("", 0.000123456, "0.0001235"),
            ("", 1e20, "100000000000000000000"),
            ("", f64::INFINITY, "inf"),
            ("", -2.5, "-2.5"),
            (":percent", 0.9312, "93.12%"),
            (":percent", 1.0, "100%"),
            (":bytes", 1023.0, "1023 B"),
            (":bytes", 1536.0, "1.5 KiB"),
            (":bytes", 80e9, "74.51 GiB"),
            (":bytes", -1536.0, "-1.5 KiB"),
            (":duration", 0.0, "0s"),
            (":duration", 0.0125, "12.5ms"),
            (":duration", 59.5, "59.5s"),
            (":duration", 90.0, "1m 30s"),
            (":duration", 90061.0, "1d 1h"),
            (":duration", -90.0, "-1m 30s"),
        ] {
            assert_eq!(fill(&format!("{{value{form}}}"), number), wanted);
        }
    }

    #[test]
    fn a_field_that_cannot_be_filled_is_refused() {
        for (text, event, wanted) in [
            ("{valeu}", false, "{valeu}: there is no such field; did you mean {value}?"),
            ("{device}", false, "{device}: there is no such field; did you mean {labels.device}?"),
            ("{labels.devise}", false, "{labels.devise}: there is no such label; did you mean device?"),
            ("{value:percnt}", false, "{value:percnt}: there is no such number format; did you mean percent?"),
            ("{labels.xid:xyd}", false, "no such label format; did you mean xid?"),
            ("{value}", true, "{value}: an event has no value"),
            ("{title}", false, "{title}: only an event has a title"),
            ("{}", false, "{}: there is no such field"),
            ("{value", false, "{ without }"),
            ("100 }", false, "} without {"),
            ("{ value }", false, "{ value }: there is no such field"),
        ] {
            let error = Template::new(text, &["device", "xid"], event).unwrap_err();
            assert!(error.contains(wanted), "{text}: {error}");
        }
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig { failure_persistence: None, ..Default::default() })]

        #[test]
        fn any_text_is_parsed_or_refused_and_any_number_formatted(text in ".{0,40}", number: f64) {
            if let Ok(template) = Template::new(&text, &["device"], false) {
                proptest::prop_assert_eq!(&Template::new(&template.to_string(), &["device"], false).unwrap(), &template);
                template.fill(&Given(Some(number)));
            }
            for form in [Form::Plain, Form::Percent, Form::Bytes, Form::Duration] {
                let mut written = String::new();
                form.write(number, &mut written);
                proptest::prop_assert!(!written.is_empty() && written.len() < 400, "{}", written);
            }
        }
    }
}
