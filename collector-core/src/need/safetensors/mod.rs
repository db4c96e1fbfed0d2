//! The header of a safetensors file: how many bytes tensors of which type have. Names are not kept. Format and bounds of
//! safetensors/src/tensor.rs (huggingface/safetensors): a length of 64 bits, JSON, and the tensors without holes.

pub mod tensor;

use std::fmt;
use std::io::{BufReader, Read};

use serde::de::{Deserializer as _, MapAccess, Visitor};

use tensor::{Name, Tensor, Weights};

/// The format's own bound (`MAX_HEADER_SIZE`).
pub const LONGEST: u64 = 100_000_000;
/// A model with 256 experts in 61 layers has some 90 000 in all of its files.
const MOST_TENSORS: usize = 1 << 18;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// Too short for a header, or what begins it is none.
    NotSafetensors,
    TooLong(u64),
    /// The file ends within its header.
    CutOff,
    TooManyTensors,
    Malformed(String),
    /// Two tensors have one name.
    Duplicate,
    /// Tensors overlap, or leave a hole, at this byte of the data.
    Layout(u64),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::NotSafetensors => f.write_str("this is not a safetensors file"),
            Error::TooLong(length) => {
                write!(f, "the header would have {length} bytes, and may have {LONGEST}: is this a safetensors file?")
            }
            Error::CutOff => f.write_str("the file ends within its header: was it downloaded in full?"),
            Error::TooManyTensors => write!(f, "the header has more than {MOST_TENSORS} tensors"),
            Error::Malformed(why) => write!(f, "the header is malformed: {why}"),
            Error::Duplicate => f.write_str("the header is malformed: two tensors have the same name"),
            Error::Layout(at) => write!(f, "the header is malformed: tensors overlap or leave a hole at byte {at}"),
        }
    }
}

impl std::error::Error for Error {}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Header {
    pub weights: Weights,
    /// Where tensors begin in the file.
    pub data: u64,
    /// Where they end.
    pub end: u64,
}

impl Header {
    /// Reads as far as the header goes, and not beyond but for a buffer.
    pub fn read(mut source: impl Read) -> Result<Header, Error> {
        let mut length = [0; 8];
        source.read_exact(&mut length).map_err(|_| Error::NotSafetensors)?;
        let length = u64::from_le_bytes(length);
        if length > LONGEST {
            return Err(Error::TooLong(length));
        }
        let mut json = serde_json::Deserializer::from_reader(BufReader::new(source.take(length)));
        let collected = json.deserialize_map(Collect).and_then(|all| json.end().map(|()| all));
        let All { weights, mut names, mut spans, excess } = collected.map_err(|error| match error.classify() {
            serde_json::error::Category::Eof => Error::CutOff,
            _ => Error::Malformed(error.to_string()),
        })?;
        if excess {
            return Err(Error::TooManyTensors);
        }
        names.sort_unstable();
        if names.windows(2).any(|two| two[0] == two[1]) {
            return Err(Error::Duplicate);
        }
        spans.sort_unstable();
        let mut end = 0;
        for (begin, next) in spans {
            if begin != end {
                return Err(Error::Layout(begin.min(end)));
            }
            end = next;
        }
        let data = 8 + length;
        let end = data.checked_add(end).ok_or(Error::Layout(end))?;
        Ok(Header { weights, data, end })
    }
}

/// What the header's JSON says of tensors.
#[derive(Default)]
struct All {
    weights: Weights,
    /// Hashes of names.
    names: Vec<u64>,
    /// Where each tensor begins and ends.
    spans: Vec<(u64, u64)>,
    /// There are more than are counted.
    excess: bool,
}

struct Collect;

impl<'de> Visitor<'de> for Collect {
    type Value = All;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<All, A::Error> {
        let mut all = All::default();
        while let Some(name) = map.next_key::<Name>()? {
            if name.metadata {
                map.next_value::<serde::de::IgnoredAny>()?;
                continue;
            }
            let tensor: Tensor = map.next_value()?;
            let bytes = tensor.bytes().map_err(serde::de::Error::custom)?;
            if all.spans.len() >= MOST_TENSORS {
                all.excess = true;
                continue;
            }
            all.weights.add(&name, tensor.kind, bytes);
            all.names.push(name.hash);
            all.spans.push(tensor.span());
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests;
