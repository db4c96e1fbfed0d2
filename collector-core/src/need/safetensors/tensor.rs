//! One tensor of a header: its name's kind, its type, its bytes. Knows no files.

use std::fmt;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, IgnoredAny, SeqAccess, Visitor};

/// PyTorch's own bound.
const MOST_DIMENSIONS: usize = 64;

/// Types of elements, as far as their size matters (`Dtype` in safetensors/src/tensor.rs).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A float of this many bytes, which an engine may convert.
    Float(u64),
    /// Anything else of this many bytes.
    Other(u64),
    /// Elements smaller than a byte, or a newer type: only the offsets say how long it is.
    Unknown,
}

impl Kind {
    fn of(name: &str) -> Kind {
        match name {
            "F64" => Kind::Float(8),
            "F32" => Kind::Float(4),
            "F16" | "BF16" => Kind::Float(2),
            "BOOL" | "U8" | "I8" | "F8_E5M2" | "F8_E4M3" | "F8_E8M0" => Kind::Other(1),
            "I16" | "U16" => Kind::Other(2),
            "I32" | "U32" => Kind::Other(4),
            "I64" | "U64" | "C64" => Kind::Other(8),
            _ => Kind::Unknown,
        }
    }
}

/// Bytes of tensors by what an engine does to them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weights {
    pub tensors: u64,
    pub bytes: u64,
    /// Elements that are floats of 16, 32 or 64 bits, and their bytes.
    pub floats: u64,
    pub float_bytes: u64,
    /// Those of the floats that are embeddings or the output: quantising on the fly leaves them as they are.
    pub embeddings: u64,
    /// Of the largest file.
    pub largest_file: u64,
}

impl Weights {
    pub(super) fn add(&mut self, name: &Name, kind: Kind, bytes: u64) {
        self.tensors += 1;
        self.bytes = self.bytes.saturating_add(bytes);
        if let Kind::Float(size) = kind {
            let elements = bytes / size;
            self.floats = self.floats.saturating_add(elements);
            self.float_bytes = self.float_bytes.saturating_add(bytes);
            if name.embedding {
                self.embeddings = self.embeddings.saturating_add(elements);
            }
        }
    }

    /// Of several files of one model.
    pub fn join(&mut self, more: &Weights) {
        self.tensors = self.tensors.saturating_add(more.tensors);
        self.bytes = self.bytes.saturating_add(more.bytes);
        self.floats = self.floats.saturating_add(more.floats);
        self.float_bytes = self.float_bytes.saturating_add(more.float_bytes);
        self.embeddings = self.embeddings.saturating_add(more.embeddings);
        self.largest_file = self.largest_file.max(more.bytes).max(more.largest_file);
    }
}

/// What of a tensor's name matters.
pub(super) struct Name {
    pub hash: u64,
    pub embedding: bool,
    pub metadata: bool,
}

/// Parts of the names of embeddings and outputs.
const EMBEDDINGS: [&str; 8] =
    ["embed_tokens", "lm_head", "wte", "word_embeddings", "tok_embeddings", "embed_in", "embed_out", "output_layer"];

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Name, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Name;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a tensor")
            }

            fn visit_str<E>(self, text: &str) -> Result<Name, E> {
                let mut hasher = DefaultHasher::new();
                text.hash(&mut hasher);
                let embedding = EMBEDDINGS.iter().any(|part| text.contains(part));
                Ok(Name { hash: hasher.finish(), embedding, metadata: text == "__metadata__" })
            }
        }
        deserializer.deserialize_str(Text)
    }
}

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Kind, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Kind;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a type of tensors")
            }

            fn visit_str<E>(self, text: &str) -> Result<Kind, E> {
                Ok(Kind::of(text))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

/// The product of dimensions: they are not kept.
pub(super) struct Elements(u64);

impl<'de> Deserialize<'de> for Elements {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Elements, D::Error> {
        struct Dimensions;
        impl<'de> Visitor<'de> for Dimensions {
            type Value = Elements;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the dimensions of a tensor")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Elements, A::Error> {
                let mut product = 1u64;
                for _ in 0..MOST_DIMENSIONS {
                    match list.next_element::<u64>()? {
                        Some(size) => {
                            product =
                                product.checked_mul(size).ok_or_else(|| A::Error::custom("a tensor too large"))?;
                        }
                        None => return Ok(Elements(product)),
                    }
                }
                match list.next_element::<IgnoredAny>()? {
                    Some(_) => Err(A::Error::custom("a tensor with more than 64 dimensions")),
                    None => Ok(Elements(product)),
                }
            }
        }
        deserializer.deserialize_seq(Dimensions)
    }
}

#[derive(Deserialize)]
pub(super) struct Tensor {
    #[serde(rename = "dtype")]
    pub kind: Kind,
    shape: Elements,
    data_offsets: (u64, u64),
}

impl Tensor {
    pub fn span(&self) -> (u64, u64) {
        self.data_offsets
    }

    /// Its bytes, if what is said of it agrees.
    pub fn bytes(&self) -> Result<u64, &'static str> {
        let (begin, end) = self.data_offsets;
        let bytes = end.checked_sub(begin).ok_or("a tensor ends before it begins")?;
        let size = match self.kind {
            Kind::Float(size) | Kind::Other(size) => size,
            Kind::Unknown => return Ok(bytes),
        };
        let agrees = self.shape.0.checked_mul(size) == Some(bytes);
        if agrees { Ok(bytes) } else { Err("a tensor's offsets contradict its shape") }
    }
}
