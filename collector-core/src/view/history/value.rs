//! What a column of the history holds, and the words that a packed one is made of. Knows no column.

use std::fmt::Debug;

use crate::tier::Code;

/// Rows of a chunk: the bits of a word.
pub(super) const ROWS: u64 = u32::BITS as u64;
/// Most columns: the bits of a word.
pub(super) const COLUMNS: usize = u32::BITS as usize;
/// Words of a column before its values: in which rows it is known, and in which another value begins.
pub(super) const MAPS: usize = 4;

pub(super) trait Value: Copy + Debug {
    const UNKNOWN: Self;
    /// Words that a packed value takes.
    const WORDS: usize;
    fn is_known(self) -> bool;
    /// Bit by bit.
    fn is_same(self, other: Self) -> bool;
    fn pack(self, words: &mut Vec<u16>);
    fn unpack(words: &[u16]) -> Self;
}

impl Value for f32 {
    const UNKNOWN: f32 = f32::NAN;
    const WORDS: usize = 2;

    fn is_known(self) -> bool {
        !self.is_nan()
    }

    fn is_same(self, other: f32) -> bool {
        self.to_bits() == other.to_bits()
    }

    fn pack(self, words: &mut Vec<u16>) {
        words.extend(halves(self.to_bits()));
    }

    fn unpack(words: &[u16]) -> f32 {
        f32::from_bits(whole(words))
    }
}

impl Value for Code {
    const UNKNOWN: Code = Code::UNKNOWN;
    const WORDS: usize = 1;

    fn is_known(self) -> bool {
        self != Code::UNKNOWN
    }

    fn is_same(self, other: Code) -> bool {
        self == other
    }

    fn pack(self, words: &mut Vec<u16>) {
        words.push(self.0);
    }

    fn unpack(words: &[u16]) -> Code {
        Code(words[0])
    }
}

pub(super) fn halves(word: u32) -> [u16; 2] {
    [word as u16, (word >> 16) as u16]
}

pub(super) fn whole(words: &[u16]) -> u32 {
    u32::from(words[0]) | u32::from(words[1]) << 16
}
