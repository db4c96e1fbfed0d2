//! Columns of values, row by row. The last rows are open and written in place; earlier ones are complete: packed, never changed, and
//! shared with whoever holds an older state. Knows neither what the values mean nor when a row was written.
//!
//! A packed column has its values only where they change, so what stays the same costs little, and what was never known nothing.

use std::collections::VecDeque;
use std::sync::Arc;

use super::open::Open;
use super::value::{COLUMNS, MAPS, ROWS, Value, whole};

#[derive(Clone, Debug)]
pub(super) struct Columns<V> {
    /// Number of the open chunk.
    number: u64,
    /// The row that was written last.
    last: u64,
    open: Open<V>,
    packed: Arc<VecDeque<Chunk>>,
}

/// Rows that are complete.
#[derive(Clone, Debug)]
struct Chunk {
    number: u64,
    /// A bit for each column that it has.
    columns: u32,
    /// Column by column: [`MAPS`], then the values.
    words: Arc<[u16]>,
}

impl<V: Value> Columns<V> {
    pub fn new(row: u64) -> Columns<V> {
        Columns { number: row / ROWS, last: row, open: Open::new(), packed: Arc::default() }
    }

    /// Goes on to a row. The chunks before its own are complete, and only the last `keep` of them stay.
    pub fn begin(&mut self, row: u64, keep: usize) {
        let number = row / ROWS;
        if number == self.number {
            return;
        }
        let packed = Arc::make_mut(&mut self.packed);
        if let Some((columns, words)) = self.open.pack() {
            let last = packed.back().filter(|last| last.columns == columns && *last.words == *words);
            let words = last.map_or_else(|| words.into(), |last| last.words.clone());
            packed.push_back(Chunk { number: self.number, columns, words });
            self.open.clear();
        }
        self.number = number;
        self.shorten(keep);
    }

    /// Keeps the last complete chunks only.
    pub fn shorten(&mut self, keep: usize) {
        let old = |chunk: &Chunk| chunk.number + (keep as u64) < self.number;
        if self.packed.front().is_some_and(old) {
            let number = self.number;
            Arc::make_mut(&mut self.packed).retain(|chunk| chunk.number + keep as u64 >= number);
        }
    }

    /// Writes a row of the open chunk.
    pub fn write(&mut self, row: u64, values: &[V]) {
        debug_assert_eq!(row / ROWS, self.number);
        self.open.write((row % ROWS) as usize, values);
        self.last = row;
    }

    /// The row that was written last.
    pub fn last(&self) -> u64 {
        self.last
    }

    /// Repeats the row that was written last in those after it, up to this one. They are of its chunk.
    pub fn repeat(&mut self, until: u64) {
        debug_assert!(until <= self.last || until / ROWS == self.last / ROWS);
        for row in self.last + 1..=until {
            self.open.copy((self.last % ROWS) as usize, (row % ROWS) as usize);
        }
        self.last = self.last.max(until);
    }

    pub fn get(&self, row: u64, column: usize) -> Option<V> {
        let (number, row) = (row / ROWS, (row % ROWS) as usize);
        let value = if number == self.number {
            self.open.get(row, column)
        } else {
            let back = usize::try_from(self.number.checked_sub(number)?).ok()?;
            // None is left out, mostly.
            let near = self.packed.len().checked_sub(back).and_then(|place| self.packed.get(place));
            let found = near.filter(|chunk| chunk.number == number);
            found.or_else(|| self.packed.iter().rfind(|chunk| chunk.number == number))?.get(row, column)
        };
        Some(value).filter(|value| value.is_known())
    }

    /// The first row that may be kept.
    pub fn first(&self) -> u64 {
        self.packed.front().map_or(self.number, |chunk| chunk.number) * ROWS
    }

    /// Bytes on the heap, without what the allocator adds.
    pub fn bytes(&self) -> usize {
        let chunks = self.packed.iter();
        let before = std::iter::once(None).chain(self.packed.iter().map(Some));
        let words = chunks.zip(before).map(|(chunk, before)| match before {
            Some(before) if Arc::ptr_eq(&before.words, &chunk.words) => 0,
            _ => size_of_val(&*chunk.words),
        });
        self.open.bytes() + words.sum::<usize>() + self.packed.capacity() * size_of::<Chunk>()
    }

    /// Adds the values of another, row by row: the sum where both are known.
    pub fn absorb(&mut self, mut newer: Columns<V>, add: impl Fn(usize, V, V) -> V) {
        let row = self.number.max(newer.number) * ROWS;
        self.last = self.last.max(newer.last);
        self.begin(row, usize::MAX >> 1);
        newer.begin(row, usize::MAX >> 1);
        self.open.absorb(&newer.open, &add);
        let packed = Arc::make_mut(&mut self.packed);
        for more in newer.packed.iter() {
            let place = packed.partition_point(|chunk| chunk.number < more.number);
            match packed.get_mut(place).filter(|chunk| chunk.number == more.number) {
                None => packed.insert(place, more.clone()),
                Some(chunk) => {
                    let mut open = chunk.unpack();
                    open.absorb(&more.unpack::<V>(), &add);
                    if let Some((columns, words)) = open.pack() {
                        *chunk = Chunk { number: chunk.number, columns, words: words.into() };
                    }
                }
            }
        }
    }
}

impl Chunk {
    fn get<V: Value>(&self, row: usize, column: usize) -> V {
        if self.columns & 1 << column == 0 {
            return V::UNKNOWN;
        }
        let mut words = &*self.words;
        for _ in 0..(self.columns & ((1 << column) - 1)).count_ones() {
            words = &words[MAPS + whole(&words[2..]).count_ones() as usize * V::WORDS..];
        }
        let (known, begins) = (whole(words), whole(&words[2..]));
        if known & 1 << row == 0 {
            return V::UNKNOWN;
        }
        // The value that began at this row or last before it.
        let until = begins & (u32::MAX >> (ROWS as usize - 1 - row));
        let value = (until.count_ones() as usize).saturating_sub(1);
        V::unpack(&words[MAPS + value * V::WORDS..])
    }

    fn unpack<V: Value>(&self) -> Open<V> {
        let mut open = Open::new();
        for column in (0..COLUMNS).filter(|column| self.columns & 1 << column != 0) {
            (0..ROWS as usize).for_each(|row| open.set(row, column, self.get(row, column)));
        }
        open
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Values of which many are the same, and some unknown.
    fn value() -> impl Strategy<Value = f32> {
        prop_oneof![
            Just(f32::NAN),
            Just(0.0),
            Just(7.5),
            (0..4u8).prop_map(f32::from),
            any::<u32>().prop_map(|it| it as f32)
        ]
    }

    fn filled(rows: &[[f32; 3]], first: u64, keep: usize) -> Columns<f32> {
        let mut columns = Columns::new(first);
        for (row, values) in rows.iter().enumerate() {
            columns.begin(first + row as u64, keep);
            let mut spread = [f32::NAN; 21];
            values.iter().enumerate().for_each(|(column, value)| spread[column * 10] = *value);
            columns.write(first + row as u64, &spread);
        }
        columns
    }

    proptest! {
        #[test]
        fn every_kept_value_is_read_back(
            rows in prop::collection::vec(prop::array::uniform3(value()), 1..200),
            first in 0..100u64,
            keep in 1..5usize,
        ) {
            let columns = filled(&rows, first, keep);
            let kept = columns.first().max(first);
            prop_assert!(kept < first + rows.len() as u64);
            for (row, values) in rows.iter().enumerate() {
                let row = row as u64 + first;
                for (column, value) in values.iter().enumerate() {
                    let expected = Some(*value).filter(|value| !value.is_nan() && row >= kept);
                    prop_assert_eq!(columns.get(row, column * 10), expected);
                }
            }
            let open = first + rows.len() as u64 - 1;
            prop_assert!(kept.div_ceil(ROWS) + keep as u64 >= open / ROWS);
        }

        #[test]
        fn two_that_are_merged_are_added(
            one in prop::collection::vec(prop::array::uniform3(value()), 1..100),
            other in prop::collection::vec(prop::array::uniform3(value()), 1..100),
            later in 0..70u64,
        ) {
            let mut sum = filled(&one, 0, 9);
            sum.absorb(filled(&other, later, 9), |_, one, other| one + other);
            for row in 0..200 {
                for column in 0..3 {
                    let of = |rows: &[[f32; 3]], row: Option<u64>| {
                        row.and_then(|row| rows.get(row as usize)).map(|row| row[column]).filter(|value| !value.is_nan())
                    };
                    let expected = match (of(&one, Some(row)), of(&other, row.checked_sub(later))) {
                        (Some(one), Some(other)) => Some(one + other),
                        (one, other) => one.or(other),
                    };
                    prop_assert_eq!(sum.get(row, column * 10), expected);
                }
            }
        }
    }

    #[test]
    fn what_stays_the_same_is_shared_and_what_a_reader_holds_is_not_copied() {
        let rows = [[1.0, f32::NAN, 2.0]; 320];
        let columns = filled(&rows, 0, 20);
        assert_eq!(columns.packed.len(), 9);
        let words = size_of_val(&*columns.packed[0].words);
        assert_eq!(words, 2 * (8 + 4));
        assert_eq!(columns.bytes(), words + columns.packed.capacity() * size_of::<Chunk>() + 2 * 32 * 4);
        let held = columns.clone();
        assert!(Arc::ptr_eq(&held.packed, &columns.packed));
        let mut columns = columns;
        columns.begin(320, 20);
        assert_eq!((held.packed.len(), columns.packed.len()), (9, 10));
        assert!(Arc::ptr_eq(&held.packed[8].words, &columns.packed[8].words));
    }
}
