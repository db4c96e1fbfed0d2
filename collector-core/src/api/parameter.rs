//! The parameters of the API's reads: which values each takes, and how they are read from a path and a query. Knows no read.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::problem::Problem;

/// A parameter of a read, in its path or in the query.
#[derive(Debug)]
pub struct Parameter {
    pub name: &'static str,
    pub values: Values,
    /// What it means, in one sentence.
    pub help: &'static str,
}

/// The values of a parameter.
#[derive(Clone, Copy, Debug)]
pub enum Values {
    /// At most this many characters.
    Text(usize),
    /// A whole number, between these two.
    Number {
        least: u64,
        most: u64,
    },
    OneOf(&'static [&'static str]),
}

/// Valid values by the name of the parameter.
#[derive(Debug, Default)]
pub struct Given<'a>(BTreeMap<&'static str, Cow<'a, str>>);

impl Given<'_> {
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|value| &**value)
    }

    /// The value of a parameter that is a number.
    pub fn number(&self, name: &str) -> Option<u64> {
        self.get(name)?.parse().ok()
    }
}

/// Reads the part of a path that is the first parameter, if there is one, and the query.
pub fn read<'a>(
    parameters: &'static [Parameter],
    part: Option<&'a str>,
    query: Option<&'a str>,
) -> Result<Given<'a>, Problem> {
    let mut given = Given::default();
    let (in_path, others) = parameters.split_at(usize::from(part.is_some()));
    for (parameter, part) in in_path.iter().zip(part) {
        given.0.insert(parameter.name, parameter.accept(decoded(part)?)?);
    }
    for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let name = form(name)?;
        let Some(parameter) = others.iter().find(|parameter| parameter.name == name) else {
            return Err(Problem::parameter(unknown(&name, others)));
        };
        let value = parameter.accept(form(value)?)?;
        if given.0.insert(parameter.name, value).is_some() {
            return Err(Problem::parameter(format!("{name} is given twice")));
        }
    }
    Ok(given)
}

fn unknown(name: &str, known: &[Parameter]) -> String {
    let name = clipped(name);
    match known {
        [] => format!("there is no parameter {name:?} here; there is none at all"),
        known => {
            let known: Vec<_> = known.iter().map(|parameter| parameter.name).collect();
            format!("there is no parameter {name:?} here; there are: {}", known.join(", "))
        }
    }
}

impl Parameter {
    fn accept<'a>(&self, value: Cow<'a, str>) -> Result<Cow<'a, str>, Problem> {
        let fits = match self.values {
            Values::Text(most) => !value.is_empty() && value.chars().count() <= most,
            // As it is written, so that one value has one spelling.
            Values::Number { least, most } => value
                .parse::<u64>()
                .is_ok_and(|number| (least..=most).contains(&number) && number.to_string() == *value),
            Values::OneOf(values) => values.contains(&&*value),
        };
        match fits {
            true => Ok(value),
            false => Err(Problem::parameter(format!("{}={:?}: {}", self.name, clipped(&value), self.values.wanted()))),
        }
    }
}

impl Values {
    /// The same as a schema.
    pub fn schema(&self) -> Value {
        match self {
            Values::Text(most) => json!({"type": "string", "minLength": 1, "maxLength": most}),
            Values::Number { least, most } => json!({"type": "integer", "minimum": least, "maximum": most}),
            Values::OneOf(values) => json!({"type": "string", "enum": values}),
        }
    }

    /// What is wanted, in words.
    pub fn wanted(&self) -> String {
        match self {
            Values::Text(most) => format!("1 to {most} characters"),
            Values::Number { least, most } => format!("a whole number from {least} to {most}"),
            Values::OneOf(values) => format!("one of {}", values.join(", ")),
        }
    }
}

/// The beginning of what a client sent, for a message.
fn clipped(text: &str) -> &str {
    &text[..text.floor_char_boundary(100)]
}

/// Part of a query: `+` is a space.
fn form(text: &str) -> Result<Cow<'_, str>, Problem> {
    match text.contains('+') {
        true => decoded(&text.replace('+', " ")).map(|text| Cow::Owned(text.into_owned())),
        false => decoded(text),
    }
}

/// Without percent-encoding (RFC 3986, section 2.1).
fn decoded(text: &str) -> Result<Cow<'_, str>, Problem> {
    if !text.contains('%') {
        return Ok(Cow::Borrowed(text));
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let (byte, tail) = match (first, tail) {
            (b'%', &[high, low, ref tail @ ..]) => match (digit(high), digit(low)) {
                (Some(high), Some(low)) => (16 * high + low, tail),
                _ => return Err(bad_escape(text)),
            },
            (b'%', _) => return Err(bad_escape(text)),
            (byte, tail) => (byte, tail),
        };
        bytes.push(byte);
        rest = tail;
    }
    let text = String::from_utf8(bytes);
    text.map(Cow::Owned).map_err(|_| Problem::parameter("what the percent signs stand for is not UTF-8"))
}

fn bad_escape(text: &str) -> Problem {
    Problem::parameter(format!(
        "{:?}: a percent sign stands before two hexadecimal digits, and is itself written as %25",
        clipped(text)
    ))
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).map(|digit| digit as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARAMETERS: &[Parameter] = &[
        Parameter { name: "name", values: Values::Text(20), help: "" },
        Parameter { name: "seconds", values: Values::Number { least: 1, most: 300 }, help: "" },
        Parameter { name: "kind", values: Values::OneOf(&["a", "b c"]), help: "" },
    ];

    fn query(text: &str) -> Result<Given<'_>, String> {
        read(PARAMETERS, Some("x"), Some(text)).map_err(|problem| {
            assert_eq!(problem.status, 400, "{problem}");
            problem.detail
        })
    }

    #[test]
    fn a_name_may_be_encoded_or_plain() {
        for (part, name) in [
            ("a/b", "a/b"),
            ("a%2Fb", "a/b"),
            ("a%2fb", "a/b"),
            ("%2Fa", "/a"),
            ("100%25", "100%"),
            ("a\\x2db", "a\\x2db"),
            ("a%5Cx2db", "a\\x2db"),
            ("a+b", "a+b"),
            ("a%20b", "a b"),
            ("%E2%80%A6", "…"),
            ("%3Cimg%3E", "<img>"),
            ("%00", "\0"),
        ] {
            assert_eq!(read(PARAMETERS, Some(part), None).unwrap().get("name"), Some(name), "{part}");
        }
        for part in ["%", "%2", "%zz", "%ff", "a%E2%80", "%+1", "", "123456789012345678901"] {
            assert_eq!(read(PARAMETERS, Some(part), None).unwrap_err().status, 400, "{part}");
        }
    }

    #[test]
    fn a_query_has_known_parameters_once_with_values_in_their_bounds() {
        let given = query("seconds=300&kind=b+c").unwrap();
        assert_eq!((given.number("seconds"), given.get("kind")), (Some(300), Some("b c")));
        assert_eq!(query("kind=b%20c&&").unwrap().get("kind"), Some("b c"));
        assert_eq!(query("").unwrap().get("kind"), None);
        for (text, why) in [
            ("seconds=1000000000", "seconds=\"1000000000\": a whole number from 1 to 300"),
            ("seconds=0", "seconds=\"0\": a whole number from 1 to 300"),
            ("seconds=-1", "seconds=\"-1\": a whole number from 1 to 300"),
            ("seconds=1.5", "seconds=\"1.5\": a whole number from 1 to 300"),
            ("seconds=%2B5", "seconds=\"+5\": a whole number from 1 to 300"),
            ("seconds=007", "seconds=\"007\": a whole number from 1 to 300"),
            ("seconds", "seconds=\"\": a whole number from 1 to 300"),
            ("kind=", "kind=\"\": one of a, b c"),
            ("kind=a&kind=a", "kind is given twice"),
            ("knd=a", "there is no parameter \"knd\" here; there are: seconds, kind"),
            ("name=x", "there is no parameter \"name\" here; there are: seconds, kind"),
        ] {
            assert_eq!(query(text).unwrap_err(), why, "{text}");
        }
        let long = format!("kind={}", "…".repeat(1000));
        assert!(query(&long).unwrap_err().len() < 200);
    }
}
