//! BTF, the kernel's description of its own types: bytes → types by id and by name.
//!
//! Knows the format (`Documentation/bpf/btf.rst`), and nothing about which types are of interest. The bytes may be anything:
//! what is inconsistent is an error at [`Btf::parse`] or an absent answer later, never a panic, a loop, or more memory than
//! a few times the input. References between types are not followed here, so they may be wrong or go in circles.

use std::fmt;
use std::ops::Range;

const MAGIC: u16 = 0xeb9f;
const VERSION: u8 = 1;
/// Header length of the first version. Later ones append to it.
const HEADER: usize = 24;
/// Bytes of a type before what its kind appends.
const TYPE: usize = 12;
/// The kernel's `KSYM_NAME_LEN`: no name is longer.
const MAX_NAME: usize = 512;

/// Why bytes are not BTF.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BtfError {
    Truncated,
    Magic,
    Version,
    Strings,
    /// The type with this id is of a kind that this reader does not know, or reaches beyond the types' end.
    Type(u32),
}

impl fmt::Display for BtfError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BtfError::Truncated => f.write_str("it is shorter than its header says"),
            BtfError::Magic => f.write_str("it does not begin as little-endian BTF does"),
            BtfError::Version => f.write_str("its version or its flags are unknown"),
            BtfError::Strings => f.write_str("its names do not begin and end with a null byte"),
            BtfError::Type(id) => write!(f, "type {id} is of an unknown kind or truncated"),
        }
    }
}

impl std::error::Error for BtfError {}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Void,
    Int,
    Ptr,
    Array,
    Struct,
    Union,
    Enum,
    Fwd,
    Typedef,
    Volatile,
    Const,
    Restrict,
    Func,
    FuncProto,
    Var,
    DataSec,
    Float,
    DeclTag,
    TypeTag,
    Enum64,
}

impl Kind {
    /// By the number that the format gives them.
    const ALL: [Kind; 20] = [
        Kind::Void,
        Kind::Int,
        Kind::Ptr,
        Kind::Array,
        Kind::Struct,
        Kind::Union,
        Kind::Enum,
        Kind::Fwd,
        Kind::Typedef,
        Kind::Volatile,
        Kind::Const,
        Kind::Restrict,
        Kind::Func,
        Kind::FuncProto,
        Kind::Var,
        Kind::DataSec,
        Kind::Float,
        Kind::DeclTag,
        Kind::TypeTag,
        Kind::Enum64,
    ];

    pub fn number(self) -> u32 {
        self as u32
    }

    /// Bytes that follow a type of this kind with `count` parts.
    fn appends(self, count: usize) -> usize {
        match self {
            Kind::Int | Kind::Var | Kind::DeclTag => 4,
            Kind::Array => 12,
            Kind::Struct | Kind::Union | Kind::DataSec | Kind::Enum64 => 12 * count,
            Kind::Enum | Kind::FuncProto => 8 * count,
            _ => 0,
        }
    }
}

/// All types of one kernel.
pub struct Btf {
    bytes: Box<[u8]>,
    strings: Range<usize>,
    /// Where each type begins, from id 1.
    starts: Vec<u32>,
    /// Hash of a name, and the id of a type with that name; sorted.
    names: Vec<(u32, u32)>,
}

impl Btf {
    pub fn parse(bytes: impl Into<Box<[u8]>>) -> Result<Btf, BtfError> {
        let bytes = bytes.into();
        let header = bytes.get(..HEADER).ok_or(BtfError::Truncated)?;
        if header[..2] != MAGIC.to_le_bytes() {
            return Err(BtfError::Magic);
        }
        if header[2] != VERSION || header[3] != 0 {
            return Err(BtfError::Version);
        }
        let section = |offset: usize| {
            let start = (word(&bytes, 4)? as usize).checked_add(word(&bytes, offset)? as usize)?;
            let end = start.checked_add(word(&bytes, offset + 4)? as usize)?;
            (start >= HEADER && end <= bytes.len()).then_some(start..end)
        };
        let types = section(8).ok_or(BtfError::Truncated)?;
        let strings = section(16).ok_or(BtfError::Truncated)?;
        let names = &bytes[strings.clone()];
        if names.first() != Some(&0) || names.last() != Some(&0) {
            return Err(BtfError::Strings);
        }
        let starts = starts(&bytes, types)?;
        let mut btf = Btf { bytes, strings, starts, names: Vec::new() };
        btf.names = (1..=btf.last()).filter_map(|id| Some((hash(btf.get(id)?.name), id))).collect();
        btf.names.sort_unstable();
        Ok(btf)
    }

    /// The id of the last type; the first is 1.
    pub fn last(&self) -> u32 {
        self.starts.len() as u32
    }

    /// The type with that id. 0 is void.
    pub fn get(&self, id: u32) -> Option<Type<'_>> {
        let Some(index) = (id as usize).checked_sub(1) else {
            return Some(Type { btf: self, kind: Kind::Void, name: "", flag: false, word: 0, count: 0, at: 0 });
        };
        let at = *self.starts.get(index)? as usize;
        let info = word(&self.bytes, at + 4)?;
        Some(Type {
            btf: self,
            kind: kind(info)?,
            name: self.name(word(&self.bytes, at)?),
            flag: info >> 31 != 0,
            word: word(&self.bytes, at + 8)?,
            count: info as u16,
            at: at + TYPE,
        })
    }

    /// The ids of the types with that name (`""`: without one), in ascending order.
    pub fn named(&self, name: &str) -> impl Iterator<Item = u32> {
        let hash = hash(name);
        let first = self.names.partition_point(|(other, _)| *other < hash);
        let same = self.names[first..].iter().take_while(move |(other, _)| *other == hash);
        same.map(|(_, id)| *id).filter(move |id| self.get(*id).is_some_and(|found| found.name == name))
    }

    /// Empty where there is no valid name.
    fn name(&self, offset: u32) -> &str {
        let names = &self.bytes[self.strings.clone()];
        let name = names.get(offset as usize..).unwrap_or_default();
        let name = &name[..name.len().min(MAX_NAME)];
        let end = name.iter().position(|byte| *byte == 0).unwrap_or(0);
        str::from_utf8(&name[..end]).unwrap_or_default()
    }
}

/// One type.
#[derive(Clone, Copy)]
pub struct Type<'a> {
    btf: &'a Btf,
    pub kind: Kind,
    /// Empty if it has none.
    pub name: &'a str,
    /// A union's forward declaration, a signed enum, a struct with bit fields, an attribute.
    pub flag: bool,
    word: u32,
    count: u16,
    /// Where that what its kind appends begins.
    at: usize,
}

/// A field, a parameter or an enumerator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part<'a> {
    /// Empty if it has none.
    pub name: &'a str,
    /// The type; 0 for an enumerator.
    pub id: u32,
    /// An enumerator's value.
    pub value: u64,
    /// A field's offset.
    pub bits: u32,
    /// A bit field's width; 0 for any other field.
    pub width: u32,
}

impl<'a> Type<'a> {
    /// The type that this one refers to: what a pointer points to, an array's element, a function's prototype, a prototype's
    /// result.
    pub fn target(&self) -> Option<u32> {
        match self.kind {
            Kind::Array => self.appended(0),
            Kind::Ptr | Kind::Typedef | Kind::Volatile | Kind::Const | Kind::Restrict => Some(self.word),
            Kind::Func | Kind::FuncProto | Kind::Var | Kind::DeclTag | Kind::TypeTag => Some(self.word),
            _ => None,
        }
    }

    /// The size in bytes that the type itself states.
    pub fn size(&self) -> Option<usize> {
        match self.kind {
            Kind::Int | Kind::Struct | Kind::Union | Kind::Enum | Kind::Enum64 | Kind::Float => {
                Some(self.word as usize)
            }
            _ => None,
        }
    }

    /// How many elements an array has.
    pub fn len(&self) -> usize {
        if self.kind == Kind::Array { self.appended(8).unwrap_or(0) as usize } else { 0 }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// An integer's encoding: 1 signed, 2 a character, 4 a boolean.
    pub fn encoding(&self) -> u32 {
        if self.kind == Kind::Int { self.appended(0).unwrap_or(0) >> 24 & 0xf } else { 0 }
    }

    /// A function's linkage; 0 is static.
    pub fn linkage(&self) -> u16 {
        if self.kind == Kind::Func { self.count } else { 0 }
    }

    /// The fields of a struct or union, the parameters of a prototype, the enumerators of an enum.
    pub fn parts(&self) -> impl Iterator<Item = Part<'a>> + use<'a> {
        let this = *self;
        let count = match self.kind {
            Kind::Struct | Kind::Union | Kind::FuncProto | Kind::Enum | Kind::Enum64 => self.count,
            _ => 0,
        };
        (0..usize::from(count)).filter_map(move |index| this.part(index))
    }

    fn part(&self, index: usize) -> Option<Part<'a>> {
        let start = index * self.kind.appends(1);
        let (first, second) = (self.appended(start + 4)?, || self.appended(start + 8));
        let mut part = Part { name: self.btf.name(self.appended(start)?), id: 0, value: 0, bits: 0, width: 0 };
        match self.kind {
            Kind::Enum => part.value = first.into(),
            Kind::Enum64 => part.value = u64::from(first) | u64::from(second()?) << 32,
            Kind::FuncProto => part.id = first,
            // With bit fields the offset has 24 bits, and the width stands above it.
            _ if self.flag => (part.id, part.bits, part.width) = (first, second()? & 0xff_ffff, second()? >> 24),
            _ => (part.id, part.bits) = (first, second()?),
        }
        Some(part)
    }

    fn appended(&self, offset: usize) -> Option<u32> {
        word(&self.btf.bytes, self.at + offset)
    }
}

/// Where each type begins.
fn starts(bytes: &[u8], types: Range<usize>) -> Result<Vec<u32>, BtfError> {
    let mut starts = Vec::new();
    let mut at = types.start;
    while at < types.end {
        let broken = BtfError::Type(starts.len() as u32 + 1);
        let info = word(bytes, at + 4).ok_or(broken)?;
        // Void has no type of its own.
        let kind = kind(info).filter(|kind| *kind != Kind::Void).ok_or(broken)?;
        let end = at + TYPE + kind.appends(usize::from(info as u16));
        if end > types.end {
            return Err(broken);
        }
        starts.push(u32::try_from(at).map_err(|_| broken)?);
        at = end;
    }
    Ok(starts)
}

fn kind(info: u32) -> Option<Kind> {
    Kind::ALL.get((info >> 24 & 0x1f) as usize).copied()
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let word = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes(word.try_into().ok()?))
}

/// FNV-1a.
fn hash(name: &str) -> u32 {
    name.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names at 1 `int`, 5 `s`, 7 `a`, 9 `b`.
    const NAMES: &[u8] = b"\0int\0s\0a\0b\0";

    fn bytes(types: &[u32], strings: &[u8]) -> Vec<u8> {
        let length = types.len() as u32 * 4;
        let mut bytes = vec![0x9f, 0xeb, 1, 0];
        let words = [HEADER as u32, 0, length, length, strings.len() as u32];
        bytes.extend(words.iter().chain(types).flat_map(|word| word.to_le_bytes()));
        bytes.extend(strings);
        bytes
    }

    #[test]
    fn types_are_read_as_the_format_says() {
        let int = [1, 1 << 24, 4, 1 << 24 | 32];
        let bits = [5, 1 << 31 | 4 << 24 | 2, 8, 7, 1, 3 << 24 | 5, 9, 1, 32];
        let array = [0, 3 << 24, 0, 1, 1, 7];
        let wide = [0, 1 << 31 | 19 << 24 | 1, 8, 9, 2, 1];
        let btf = Btf::parse(bytes(&[&int[..], &bits, &array, &wide].concat(), NAMES)).unwrap();
        assert_eq!((btf.last(), btf.named("s").collect::<Vec<_>>()), (4, vec![2]));
        let int = btf.get(1).unwrap();
        assert_eq!((int.kind, int.name, int.size(), int.encoding()), (Kind::Int, "int", Some(4), 1));
        let fields: Vec<_> = btf.get(2).unwrap().parts().collect();
        let field = |name, bits, width| Part { name, id: 1, value: 0, bits, width };
        assert_eq!(fields, [field("a", 5, 3), field("b", 32, 0)]);
        let array = btf.get(3).unwrap();
        assert_eq!((array.target(), array.len(), array.size()), (Some(1), 7, None));
        let wide: Vec<_> = btf.get(4).unwrap().parts().map(|part| (part.name, part.value)).collect();
        assert_eq!(wide, [("b", 1 << 32 | 2)]);
        assert_eq!(btf.named("").collect::<Vec<_>>(), [3, 4]);
        assert!(btf.get(5).is_none() && btf.named("c").next().is_none());
    }

    /// Newer kernels may append to the header.
    #[test]
    fn a_longer_header_is_skipped() {
        let mut longer = bytes(&[1, 1 << 24, 4, 32], NAMES);
        longer.splice(HEADER..HEADER, [0xff; 8]);
        longer[4] += 8;
        assert_eq!(Btf::parse(longer).unwrap().get(1).unwrap().name, "int");
    }

    /// A reader that copied each name, or looked for its end without limit, would need hours and terabytes here.
    #[test]
    fn long_names_cost_nothing() {
        let types: Vec<u32> = (0..100_000u32).flat_map(|_| [1, 7 << 24, 0]).collect();
        let strings = [vec![0], vec![b'x'; 16 << 20], vec![0]].concat();
        let btf = Btf::parse(bytes(&types, &strings)).unwrap();
        assert_eq!((btf.last(), btf.get(1).unwrap().name), (100_000, ""));
    }

    #[test]
    fn what_is_inconsistent_is_an_error() {
        let error = |bytes: Vec<u8>| Btf::parse(bytes).err();
        assert_eq!(error(bytes(&[1, 31 << 24, 4], NAMES)), Some(BtfError::Type(1)));
        assert_eq!(error(bytes(&[1, 4 << 24 | 1, 4, 0, 0], NAMES)), Some(BtfError::Type(1)));
        assert_eq!(error(bytes(&[1], NAMES)), Some(BtfError::Type(1)));
        assert_eq!(error(bytes(&[0, 0, 0], NAMES)), Some(BtfError::Type(1)));
        assert_eq!(error(bytes(&[], b"\0a")), Some(BtfError::Strings));
        assert_eq!(error(bytes(&[], b"")), Some(BtfError::Strings));
        let mut far = bytes(&[], NAMES);
        far[8..16].fill(0xff);
        assert_eq!(error(far), Some(BtfError::Truncated));
    }
}
