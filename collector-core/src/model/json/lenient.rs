//! Parts of JSON that take whatever comes: a number, a text, a list of which no more than its beginning is kept.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// A number; absent if it is something else.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Number(pub Option<f64>);

/// A text; absent if it is something else.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Text(pub Option<String>);

/// The truth, or what is known of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Flag(pub Option<bool>);

/// The first of a list; none if it is something else.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Few<T, const N: usize>(pub Vec<T>);

impl<T, const N: usize> Default for Few<T, N> {
    fn default() -> Few<T, N> {
        Few(Vec::new())
    }
}

/// What a value is, as far as it is of use here.
enum Any {
    Number(f64),
    Text(String),
    Flag(bool),
    Other,
}

/// The longest text that is kept, in bytes.
const TEXT: usize = 4096;

struct AnyVisitor;

impl<'de> Visitor<'de> for AnyVisitor {
    type Value = Any;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Any, E> {
        Ok(Any::Flag(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Any, E> {
        Ok(Any::Number(value as f64))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Any, E> {
        Ok(Any::Number(value as f64))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Any, E> {
        Ok(Any::Number(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Any, E> {
        Ok(Any::Text(value[..value.floor_char_boundary(TEXT)].to_owned()))
    }

    fn visit_unit<E>(self) -> Result<Any, E> {
        Ok(Any::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Any, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Any::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Any, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Any::Other)
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Number, D::Error> {
        Ok(Number(match from.deserialize_any(AnyVisitor)? {
            Any::Number(number) => Some(number),
            _ => None,
        }))
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Text, D::Error> {
        Ok(Text(match from.deserialize_any(AnyVisitor)? {
            Any::Text(text) => Some(text),
            _ => None,
        }))
    }
}

impl<'de> Deserialize<'de> for Flag {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Flag, D::Error> {
        Ok(Flag(match from.deserialize_any(AnyVisitor)? {
            Any::Flag(flag) => Some(flag),
            _ => None,
        }))
    }
}

impl<'de, T: Deserialize<'de>, const N: usize> Deserialize<'de> for Few<T, N> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Few<T, N>, D::Error> {
        from.deserialize_any(FewVisitor(PhantomData))
    }
}

struct FewVisitor<T, const N: usize>(PhantomData<T>);

impl<'de, T: Deserialize<'de>, const N: usize> Visitor<'de> for FewVisitor<T, N> {
    type Value = Few<T, N>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Few<T, N>, A::Error> {
        let mut few = Vec::new();
        while few.len() < N
            && let Some(next) = list.next_element()?
        {
            few.push(next);
        }
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Few(few))
    }

    fn visit_unit<E>(self) -> Result<Few<T, N>, E> {
        Ok(Few(Vec::new()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct All {
        number: Number,
        text: Text,
        flag: Flag,
        few: Few<Number, 2>,
    }

    #[test]
    fn what_is_something_else_is_absent() {
        let read = |text: &str| {
            serde_json::from_str::<All>(text).map(|it| (it.number.0, it.text.0, it.flag.0, it.few.0.len()))
        };
        let good = read(r#"{"number":-1.5,"text":"a\u00e9","flag":true,"few":[1,"x",3],"other":[{}]}"#).unwrap();
        assert_eq!(good, (Some(-1.5), Some("aé".to_owned()), Some(true), 2));
        for other in ["null", "[1,[2]]", r#"{"a":{}}"#] {
            let text = format!(r#"{{"number":{other},"text":{other},"flag":{other}}}"#);
            assert_eq!(read(&text).unwrap(), (None, None, None, 0));
        }
        assert_eq!(read(r#"{"number":"1","text":1,"flag":0,"few":null}"#).unwrap(), (None, None, None, 0));
        assert!(read(r#"{"few":1}"#).is_err() && read("{").is_err() && read(&"[".repeat(10_000)).is_err());
        let long = format!(r#"{{"text":"{}"}}"#, "é".repeat(5000));
        assert_eq!(read(&long).unwrap().1.unwrap().len(), TEXT);
    }
}
