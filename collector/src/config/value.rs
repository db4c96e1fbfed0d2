//! [`Value`]: an unchecked value from one layer, and its conversions. Each takes `wanted`: a description of a valid value for the
//! message "… is not {wanted}".

use std::collections::BTreeMap;
use std::time::Duration;

use toml::de::DeValue;

use collector_core::amount::parse_bytes;
use collector_core::spelling::closest;

#[derive(Clone, Copy, Debug)]
pub enum Value<'a> {
    /// From the environment or the command line.
    Text(&'a str),
    /// From the file.
    Toml(&'a DeValue<'a>),
}

impl Value<'_> {
    pub fn text(&self, wanted: &str) -> Result<&str, String> {
        match self {
            Value::Text(text) => Ok(text),
            Value::Toml(DeValue::String(text)) => Ok(text),
            Value::Toml(_) => Err(self.mistaken(&format!("{wanted}, in quotes"))),
        }
    }

    /// An integer from `min` to `max`.
    pub fn integer<T: TryFrom<i64> + PartialOrd>(&self, min: T, max: T, wanted: &str) -> Result<T, String> {
        let integer: Option<i64> = match self {
            Value::Text(text) => text.parse().ok(),
            Value::Toml(DeValue::Integer(integer)) => i64::from_str_radix(integer.as_str(), integer.radix()).ok(),
            Value::Toml(_) => None,
        };
        let value = integer.and_then(|integer| T::try_from(integer).ok());
        value.filter(|value| (min..=max).contains(value)).ok_or_else(|| self.mistaken(wanted))
    }

    /// A finite number.
    pub fn number(&self, wanted: &str) -> Result<f64, String> {
        let number: Option<f64> = match self {
            Value::Text(text) => text.parse().ok(),
            Value::Toml(DeValue::Integer(integer)) => {
                i64::from_str_radix(integer.as_str(), integer.radix()).ok().map(|integer| integer as f64)
            }
            Value::Toml(DeValue::Float(float)) => float.as_str().parse().ok(),
            Value::Toml(_) => None,
        };
        number.filter(|number| number.is_finite()).ok_or_else(|| self.mistaken(wanted))
    }

    /// A number from `min` to `max`.
    pub fn share(&self, min: f64, max: f64, wanted: &str) -> Result<f64, String> {
        let number = self.number(wanted)?;
        Some(number).filter(|number| (min..=max).contains(number)).ok_or_else(|| self.mistaken(wanted))
    }

    /// Bytes, as `16G` or as an integer. An empty variable takes back what the file says.
    pub fn size(&self, wanted: &str) -> Result<Option<u64>, String> {
        match self {
            Value::Text("") => Ok(None),
            Value::Toml(DeValue::Integer(_)) => self.integer(0_i64, i64::MAX, wanted).map(|bytes| Some(bytes as u64)),
            _ => match parse_bytes(self.text(wanted)?) {
                Ok(bytes) => Ok(Some(bytes)),
                Err(why) => Err(format!("{}: {why}", self.mistaken(wanted))),
            },
        }
    }

    /// A duration from `min` to `max`.
    pub fn duration(&self, min: Duration, max: Duration, wanted: &str) -> Result<Duration, String> {
        let value = humantime::parse_duration(self.text(wanted)?).ok();
        value.filter(|value| (min..=max).contains(value)).ok_or_else(|| self.mistaken(wanted))
    }

    /// One of `words`.
    pub fn word(&self, words: &'static [&'static str], wanted: &str) -> Result<String, String> {
        let text = self.text(wanted)?;
        let word = words.iter().find(|word| **word == text);
        word.map(|word| (*word).to_owned()).ok_or_else(|| self.unknown(wanted, words.iter().copied()))
    }

    /// Texts by name: a table in the file. Environment and flags cannot set it.
    pub fn texts(&self, wanted: &str) -> Result<BTreeMap<String, String>, String> {
        let Value::Toml(DeValue::Table(table)) = self else { return Err(self.mistaken(wanted)) };
        let texts = table.iter().map(|(name, value)| {
            let name = name.get_ref();
            let text = Value::Toml(value.get_ref()).text("a string").map(str::to_owned);
            Ok((name.to_string(), text.map_err(|error| format!("{name}: {error}"))?))
        });
        texts.collect()
    }

    pub fn switch(&self, wanted: &str) -> Result<bool, String> {
        match self {
            Value::Text("true") | Value::Toml(DeValue::Boolean(true)) => Ok(true),
            Value::Text("false") | Value::Toml(DeValue::Boolean(false)) => Ok(false),
            _ => Err(self.mistaken(wanted)),
        }
    }

    /// Names: an array in the file, separated by commas elsewhere.
    pub fn list(&self, wanted: &str) -> Result<Vec<String>, String> {
        match self {
            // An empty variable overrides the file's list with an empty one.
            Value::Text(text) if text.trim().is_empty() => Ok(Vec::new()),
            Value::Text(text) => Ok(text.split(',').map(|name| name.trim().to_owned()).collect()),
            Value::Toml(DeValue::Array(values)) => values
                .iter()
                .map(|value| Ok(Value::Toml(value.get_ref()).text("a name")?.to_owned()))
                .collect::<Result<_, String>>(),
            Value::Toml(_) => Err(self.mistaken(wanted)),
        }
    }

    /// The error message for an invalid value.
    pub fn mistaken(&self, wanted: &str) -> String {
        let shown = match self {
            Value::Text(text) => excerpt(text),
            Value::Toml(DeValue::String(text)) => excerpt(text),
            Value::Toml(DeValue::Integer(integer)) => integer.to_string(),
            Value::Toml(DeValue::Float(float)) => float.to_string(),
            Value::Toml(DeValue::Boolean(switch)) => switch.to_string(),
            Value::Toml(DeValue::Datetime(time)) => time.to_string(),
            Value::Toml(DeValue::Array(_)) => "a list".into(),
            Value::Toml(DeValue::Table(_)) => "a section".into(),
        };
        format!("{shown} is not {wanted}")
    }

    /// The error message for an unknown word, with the most similar known word as a hint.
    pub fn unknown(&self, wanted: &str, known: impl Iterator<Item = &'static str>) -> String {
        let hint = self.text(wanted).ok().and_then(|text| closest(text, known));
        self.mistaken(wanted) + &hint.map(|name| format!("; did you mean {name:?}?")).unwrap_or_default()
    }
}

/// The text in quotes, cut after 80 characters.
fn excerpt(text: &str) -> String {
    match text.char_indices().nth(80) {
        Some((end, _)) => format!("{:?}…", &text[..end]),
        None => format!("{text:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_value_is_cut_in_the_message() {
        let mistaken = Value::Text(&"ä".repeat(1000)).mistaken("short");
        assert_eq!(mistaken, format!("\"{}\"… is not short", "ä".repeat(80)));
    }
}
