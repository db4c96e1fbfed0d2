//! The header of a GGUF file: the few numbers that a need depends on, and the bytes of its tensors. Arrays such as a
//! vocabulary are walked, not kept. Layout of ggml/include/gguf.h (llama.cpp b11434).

pub mod pull;
pub mod weight;

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;

use pull::Pull;
use weight::{MOST_LAYERS, Tensor, Weights};

/// Bounds of what a header may have.
const MOST_KEYS: u64 = 1 << 16;
const MOST_TENSORS: u64 = 1 << 20;
/// Keys whose values are kept.
const MOST_KEPT: usize = 1024;
const MOST_FILES: u64 = 1000;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    NotGguf,
    BigEndian,
    Version(u32),
    /// The file ends here, within its header.
    CutOff {
        at: u64,
    },
    TooLong {
        at: u64,
    },
    TooMany {
        what: &'static str,
    },
    Malformed {
        what: &'static str,
        at: u64,
    },
    /// A key that must be there, or has a value that cannot be.
    Key(String),
    Read(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::NotGguf => f.write_str("this is not a GGUF file: it does not begin with GGUF"),
            Error::BigEndian => f.write_str("the GGUF file is big-endian; convert it with gguf-convert-endian"),
            Error::Version(version) => {
                write!(f, "GGUF version {version} is not supported, only 2 and 3; convert the model again")
            }
            Error::CutOff { at } => {
                write!(f, "the file ends after {at} bytes, within its header: was it downloaded in full?")
            }
            Error::TooLong { at } => write!(f, "the header is longer than {} MiB (at byte {at})", pull::LONGEST >> 20),
            Error::TooMany { what } => write!(f, "the header has too many {what}"),
            Error::Malformed { what, at: 0 } => write!(f, "the header is malformed: {what}"),
            Error::Malformed { what, at } => write!(f, "the header is malformed at byte {at}: {what}"),
            Error::Key(key) => write!(f, "the header has no {key}, or its value is out of range"),
            Error::Read(why) => write!(f, "cannot read the file: {why}"),
        }
    }
}

impl std::error::Error for Error {}

/// A value that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Value {
    Number(i128),
    Text(String),
    /// Integers and truth values of an array with no more elements than a model may have layers.
    List(Vec<i128>),
    /// Elements of another array.
    Length(u64),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Header {
    values: BTreeMap<String, Value>,
    pub weights: Weights,
    /// Where tensors begin in the file.
    pub data: u64,
}

impl Header {
    /// Reads as far as the header goes, and not beyond but for a buffer.
    pub fn read(source: impl Read) -> Result<Header, Error> {
        let mut pull = Pull::new(source);
        if pull
            .bytes::<4>()
            .map_err(|error| if matches!(error, Error::CutOff { .. }) { Error::NotGguf } else { error })?
            != *b"GGUF"
        {
            return Err(Error::NotGguf);
        }
        match pull.u32()? {
            2 | 3 => {}
            version if version.swap_bytes() < 0x1_0000 && version > 0xffff => return Err(Error::BigEndian),
            version => return Err(Error::Version(version)),
        }
        let (tensors, keys) = (pull.u64()?, pull.u64()?);
        if tensors > MOST_TENSORS {
            return Err(Error::TooMany { what: "tensors" });
        }
        if keys > MOST_KEYS {
            return Err(Error::TooMany { what: "keys" });
        }
        let mut header = Header::default();
        for _ in 0..keys {
            header.key(&mut pull)?;
        }
        for _ in 0..tensors {
            header.tensor(&mut pull)?;
        }
        let alignment = header.number("general.alignment")?.unwrap_or(32);
        if !alignment.is_power_of_two() {
            return Err(Error::Key("general.alignment".to_owned()));
        }
        header.data = pull.at.next_multiple_of(alignment);
        Ok(header)
    }

    fn key<R: Read>(&mut self, pull: &mut Pull<R>) -> Result<(), Error> {
        let name = pull.text()?;
        let value = match pull.u32()? {
            8 => pull.text()?.map(Value::Text),
            9 => Some(array(pull)?),
            kind => number(pull, kind)?.map(Value::Number),
        };
        if let (Some(name), Some(value)) = (name, value)
            && self.values.len() < MOST_KEPT
        {
            self.values.insert(name, value);
        }
        Ok(())
    }

    fn tensor<R: Read>(&mut self, pull: &mut Pull<R>) -> Result<(), Error> {
        let at = pull.at;
        let malformed = |what| Error::Malformed { what, at };
        let name = pull.text()?.ok_or_else(|| malformed("the name of a tensor"))?;
        let mut shape = [1; 4];
        let dimensions = pull.u32()?;
        if dimensions > 4 {
            return Err(malformed("a tensor has more than four dimensions"));
        }
        for size in shape.iter_mut().zip(0..dimensions).map(|(size, _)| size) {
            *size = pull.u64()?;
        }
        let tensor = Tensor { name: &name, shape, kind: pull.u32()?, offset: pull.u64()? };
        self.weights.add(&tensor).map_err(|error| match error {
            Error::Malformed { what, .. } => Error::Malformed { what, at },
            error => error,
        })
    }

    /// The architecture, such as `llama`.
    pub fn architecture(&self) -> Result<&str, Error> {
        self.text("general.architecture").ok_or_else(|| Error::Key("general.architecture".to_owned()))
    }

    pub fn text(&self, key: &str) -> Option<&str> {
        match self.values.get(key) {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// A number that must fit in 32 bits, as llama.cpp's do. A truth value is 0 or 1.
    pub fn number(&self, key: &str) -> Result<Option<u64>, Error> {
        match self.values.get(key) {
            None => Ok(None),
            Some(Value::Number(number)) => in_range(*number).map(Some).ok_or_else(|| Error::Key(key.to_owned())),
            Some(_) => Err(Error::Key(key.to_owned())),
        }
    }

    /// One number for each layer: from an array, or the same for all.
    pub fn numbers(&self, key: &str, layers: usize) -> Result<Option<Vec<u64>>, Error> {
        let Some(Value::List(list)) = self.values.get(key) else {
            return Ok(self.number(key)?.map(|number| vec![number; layers]));
        };
        let numbers: Option<Vec<u64>> = list.iter().take(layers).map(|number| in_range(*number)).collect();
        numbers.filter(|numbers| numbers.len() == layers).map(Some).ok_or_else(|| Error::Key(key.to_owned()))
    }

    pub fn is_list(&self, key: &str) -> bool {
        matches!(self.values.get(key), Some(Value::List(_)))
    }

    /// Elements of an array.
    pub fn length(&self, key: &str) -> Option<u64> {
        match self.values.get(key)? {
            Value::List(list) => list.len().try_into().ok(),
            Value::Length(length) => Some(*length),
            Value::Number(_) | Value::Text(_) => None,
        }
    }

    /// The same header, where the output also has all bytes of the file that no other tensor has: those of tensors whose
    /// type is not known.
    pub fn taken_for(mut self, length: u64) -> Header {
        let rest = length.saturating_sub(self.data).saturating_sub(self.weights.sum());
        self.weights.output.bytes = self.weights.output.bytes.saturating_add(rest);
        self
    }

    /// How many files this model has, and which of them this is, from 0.
    pub fn split(&self) -> Result<Option<(u64, u64)>, Error> {
        let Some(count) = self.number("split.count")?.filter(|count| *count > 1) else { return Ok(None) };
        let number = self.number("split.no")?.unwrap_or(0);
        if count > MOST_FILES || number >= count {
            return Err(Error::Key("split.no".to_owned()));
        }
        Ok(Some((number, count)))
    }
}

/// The names of all files of a model that is split, if this is one of them.
pub fn files(name: &str, count: u64) -> Option<Vec<String>> {
    let (stem, _, total) = numbered(name).filter(|(_, _, total)| *total == count)?;
    Some((1..=total.min(MOST_FILES)).map(|number| format!("{stem}-{number:05}-of-{total:05}.gguf")).collect())
}

/// The name of a split model, the number of this file of it, from 1, and their count: `NAME-00001-of-00003.gguf`.
pub fn numbered(name: &str) -> Option<(&str, u64, u64)> {
    let digits = |text: &str| {
        let five = text.len() == 5 && text.bytes().all(|digit| digit.is_ascii_digit());
        if five { text.parse().ok() } else { None }
    };
    let (rest, count) = name.strip_suffix(".gguf")?.rsplit_once("-of-")?;
    let (stem, number) = rest.rsplit_once('-')?;
    Some((stem, digits(number)?, digits(count)?))
}

fn in_range(number: i128) -> Option<u64> {
    u32::try_from(number).ok().map(u64::from)
}

/// Bytes of a number of this type.
const fn width(kind: u32) -> Option<u64> {
    match kind {
        0 | 1 | 7 => Some(1),
        2 | 3 => Some(2),
        4..=6 => Some(4),
        10..=12 => Some(8),
        _ => None,
    }
}

/// A number; `None` if it is a float.
fn number<R: Read>(pull: &mut Pull<R>, kind: u32) -> Result<Option<i128>, Error> {
    Ok(Some(match kind {
        0 | 7 => pull.bytes().map(u8::from_le_bytes)?.into(),
        1 => pull.bytes().map(i8::from_le_bytes)?.into(),
        2 => pull.bytes().map(u16::from_le_bytes)?.into(),
        3 => pull.bytes().map(i16::from_le_bytes)?.into(),
        4 => pull.u32()?.into(),
        5 => pull.bytes().map(i32::from_le_bytes)?.into(),
        10 => pull.u64()?.into(),
        11 => pull.bytes().map(i64::from_le_bytes)?.into(),
        6 | 12 => {
            pull.skip(width(kind).unwrap_or(0))?;
            return Ok(None);
        }
        _ => return Err(Error::Malformed { what: "the type of a value", at: pull.at }),
    }))
}

fn array<R: Read>(pull: &mut Pull<R>) -> Result<Value, Error> {
    let (kind, length) = (pull.u32()?, pull.u64()?);
    let whole = !matches!(kind, 6 | 8 | 12);
    if whole && usize::try_from(length).is_ok_and(|length| length <= MOST_LAYERS) {
        let list = (0..length).map(|_| number(pull, kind).map(|number| number.unwrap_or(0)));
        return list.collect::<Result<_, _>>().map(Value::List);
    }
    match (kind, width(kind)) {
        (8, _) => {
            for _ in 0..length {
                let text = pull.u64()?;
                pull.skip(text)?;
            }
        }
        (_, Some(width)) => pull.skip(length.saturating_mul(width))?,
        _ => return Err(Error::Malformed { what: "the type of an array", at: pull.at }),
    }
    Ok(Value::Length(length))
}

#[cfg(test)]
mod tests;
