//! Values of `config.json` by key: numbers, truth values, texts and lists, each within bounds. Knows no model.

use std::fmt;

use serde_json::Value;

/// A file with the names of thousands of modules that are not quantised has 1 MB.
pub const LONGEST: u64 = 4 << 20;
/// No dimension of a model is larger.
const MOST: u64 = 1 << 32;
/// No list that counts is longer.
const LONGEST_LIST: usize = 4096;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    NotJson(String),
    /// A key that must be there, or has a value that cannot be.
    Key(&'static str),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::NotJson(why) => write!(f, "config.json cannot be read: {why}"),
            Error::Key(key) => write!(f, "config.json has no {key}, or its value is out of range"),
        }
    }
}

impl std::error::Error for Error {}

/// An object of the file.
#[derive(Clone, Copy, Debug)]
pub struct Entries<'a>(pub &'a Value);

impl<'a> Entries<'a> {
    pub fn get(self, key: &str) -> Option<&'a Value> {
        self.0.get(key).filter(|value| !value.is_null())
    }

    pub fn object(self, key: &str) -> Option<Entries<'a>> {
        self.get(key).filter(|value| value.is_object()).map(Entries)
    }

    pub fn text(self, key: &str) -> Option<&'a str> {
        self.get(key)?.as_str()
    }

    pub fn is(self, key: &str) -> Option<bool> {
        self.get(key)?.as_bool()
    }

    /// A whole number from 0 to 2³²; of a list the greatest.
    pub fn number(self, key: &'static str) -> Result<Option<u64>, Error> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Array(_)) => Ok(self.numbers(key)?.into_iter().flatten().max()),
            Some(value) => whole(value).map(Some).ok_or(Error::Key(key)),
        }
    }

    /// The first of the keys that is there.
    pub fn first(self, keys: &[&'static str]) -> Result<Option<u64>, Error> {
        let set = keys.iter().find(|key| self.get(key).is_some());
        set.map_or(Ok(None), |key| self.number(key))
    }

    /// The numbers of a list.
    pub fn numbers(self, key: &'static str) -> Result<Option<Vec<u64>>, Error> {
        let Some(Value::Array(list)) = self.get(key) else { return Ok(None) };
        if list.len() > LONGEST_LIST {
            return Err(Error::Key(key));
        }
        // Layers that have none say null.
        let number = |value: &Value| if value.is_null() { Some(0) } else { whole(value) };
        list.iter().map(number).collect::<Option<Vec<_>>>().map(Some).ok_or(Error::Key(key))
    }

    /// The texts of a list.
    pub fn texts(self, key: &'static str) -> Result<Option<Vec<&'a str>>, Error> {
        let Some(Value::Array(list)) = self.get(key) else { return Ok(None) };
        if list.len() > LONGEST_LIST {
            return Err(Error::Key(key));
        }
        list.iter().map(Value::as_str).collect::<Option<Vec<_>>>().map(Some).ok_or(Error::Key(key))
    }

    /// A number that may have a fraction, above 0.
    pub fn factor(self, key: &str) -> Option<f64> {
        self.get(key)?.as_f64().filter(|factor| *factor > 0.0 && *factor < 1e6)
    }
}

fn whole(value: &Value) -> Option<u64> {
    let float = || value.as_f64().filter(|number| number.fract() == 0.0 && (0.0..=MOST as f64).contains(number));
    value.as_u64().or_else(|| float().map(|number| number as u64)).filter(|number| *number <= MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_within_bounds() {
        let json = serde_json::json!({
            "a": 7, "float": 8.0, "half": 8.5, "negative": -1, "huge": u64::MAX, "null": null, "list": [1, 9, null],
            "text": "7", "mixed": [1, "x"], "long": vec![0; 5000],
        });
        let entries = Entries(&json);
        assert_eq!(
            [entries.number("a"), entries.number("float"), entries.number("null")],
            [Ok(Some(7)), Ok(Some(8)), Ok(None)]
        );
        assert_eq!(entries.first(&["none", "null", "list", "a"]), Ok(Some(9)));
        assert_eq!(entries.numbers("list"), Ok(Some(vec![1, 9, 0])));
        for key in ["half", "negative", "huge", "text", "mixed", "long"] {
            assert_eq!(entries.number(key), Err(Error::Key(key)));
        }
        assert_eq!(Entries(&serde_json::json!([1])).number("a"), Ok(None));
    }
}
