//! Reads the JSON of container engines as a stream: whoever writes it may have filled it with names, and none is kept but
//! those that are asked for. Memory is bounded by the longest string, and that by the length of the file.

use std::fmt;
use std::io::{self, BufReader, Read};
use std::marker::PhantomData;

use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, Error as _, IgnoredAny, SeqAccess, Visitor};

/// A value from all of `reader`.
pub(super) fn read<T: DeserializeOwned>(reader: impl Read) -> io::Result<T> {
    Ok(serde_json::from_reader(BufReader::new(reader))?)
}

/// Calls `each` with the elements of an array one after the other, until it returns `false`.
pub(super) fn each<T: DeserializeOwned>(reader: impl Read, each: &mut dyn FnMut(T) -> bool) -> io::Result<()> {
    let mut ended = false;
    let elements = Elements { each, ended: &mut ended, element: PhantomData };
    let mut stream = serde_json::Deserializer::from_reader(BufReader::new(reader));
    let result = elements.deserialize(&mut stream);
    if ended { Ok(()) } else { Ok(result.and_then(|()| stream.end())?) }
}

struct Elements<'a, T> {
    each: &'a mut dyn FnMut(T) -> bool,
    ended: &'a mut bool,
    element: PhantomData<T>,
}

impl<'de, T: DeserializeOwned> DeserializeSeed<'de> for Elements<'_, T> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, T: DeserializeOwned> Visitor<'de> for Elements<'_, T> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of containers")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        while let Some(element) = elements.next_element()? {
            if !(self.each)(element) {
                *self.ended = true;
                // The rest is not read.
                return Err(A::Error::custom("enough"));
            }
        }
        Ok(())
    }
}

/// The first string of a list; the others are not kept.
#[derive(Debug, Default, PartialEq)]
pub(super) struct First(pub Option<String>);

impl<'de> serde::Deserialize<'de> for First {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<First, D::Error> {
        struct Names;
        impl<'de> Visitor<'de> for Names {
            type Value = First;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of names")
            }

            fn visit_unit<E>(self) -> Result<First, E> {
                Ok(First(None))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut names: A) -> Result<First, A::Error> {
                let first = names.next_element()?;
                while names.next_element::<IgnoredAny>()?.is_some() {}
                Ok(First(first))
            }
        }
        deserializer.deserialize_any(Names)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_come_one_by_one_and_what_follows_the_last_is_not_read() {
        let numbers = |text: &str, until: u32| {
            let mut seen = Vec::new();
            let result = each(text.as_bytes(), &mut |number: u32| {
                seen.push(number);
                number != until
            });
            result.map(|()| seen).map_err(|error| error.kind())
        };
        assert_eq!(numbers("[1, 2, 3]", 9).unwrap(), [1, 2, 3]);
        assert_eq!(numbers("[1, 2, {broken", 2).unwrap(), [1, 2]);
        assert_eq!(numbers("[1, 2", 9), Err(io::ErrorKind::UnexpectedEof));
        assert_eq!(numbers("[] 7", 9), Err(io::ErrorKind::InvalidData));
        assert_eq!(numbers("{}", 9), Err(io::ErrorKind::InvalidData));
    }

    #[test]
    fn only_the_first_of_many_names_is_kept() {
        let first = |text: &str| read::<First>(text.as_bytes()).map(|First(name)| name).ok();
        assert_eq!(first(r#"["a", "b", 7]"#), Some(Some("a".into())));
        assert_eq!([first("[]"), first("null")], [Some(None), Some(None)]);
        assert_eq!([first("[7]"), first("7"), first(r#"["a""#)], [None, None, None]);
    }
}
