//! The rows of a chunk that are written now, row by row: a point is a few neighbouring bytes, where columns would be as many lines of
//! the processor's cache. Knows neither what the values mean nor which rows they are of.

use super::value::{COLUMNS, MAPS, ROWS, Value, halves};

/// Rows of a chunk.
const COUNT: usize = ROWS as usize;
/// Stands for a column that no row has.
const NOWHERE: u8 = u8::MAX;

/// A column that was known once keeps its room.
#[derive(Clone, Debug)]
pub(super) struct Open<V> {
    places: [u8; COLUMNS],
    /// Number of columns that have a place: the values of a row.
    width: usize,
    values: Vec<V>,
}

impl<V: Value> Open<V> {
    pub fn new() -> Open<V> {
        Open { places: [NOWHERE; COLUMNS], width: 0, values: Vec::new() }
    }

    /// Nothing is known in any row.
    pub fn clear(&mut self) {
        self.values.fill(V::UNKNOWN);
    }

    pub fn write(&mut self, row: usize, values: &[V]) {
        let is_new = |(column, value): (usize, &V)| self.places[column] == NOWHERE && value.is_known();
        if values.iter().enumerate().any(is_new) {
            self.widen(|column| values.get(column).is_some_and(|value| value.is_known()));
        }
        let width = self.width;
        let Some(known) = self.values.get_mut(row * width..(row + 1) * width) else { return };
        for (place, value) in self.places.iter().zip(values).filter(|(place, _)| **place != NOWHERE) {
            known[usize::from(*place)] = *value;
        }
    }

    /// Writes a row as another is.
    pub fn copy(&mut self, from: usize, to: usize) {
        let width = self.width;
        self.values.copy_within(from * width..(from + 1) * width, to * width);
    }

    pub fn set(&mut self, row: usize, column: usize, value: V) {
        if self.places[column] == NOWHERE {
            if !value.is_known() {
                return;
            }
            self.widen(|other| other == column);
        }
        self.values[row * self.width + usize::from(self.places[column])] = value;
    }

    pub fn get(&self, row: usize, column: usize) -> V {
        match self.places[column] {
            NOWHERE => V::UNKNOWN,
            place => self.values[row * self.width + usize::from(place)],
        }
    }

    /// Makes room for more columns.
    fn widen(&mut self, wanted: impl Fn(usize) -> bool) {
        let before = self.width;
        for column in 0..COLUMNS {
            if self.places[column] == NOWHERE && wanted(column) {
                self.places[column] = self.width as u8;
                self.width += 1;
            }
        }
        let old = std::mem::take(&mut self.values);
        self.values.reserve_exact(self.width * COUNT);
        for row in 0..COUNT {
            self.values.extend_from_slice(old.get(row * before..(row + 1) * before).unwrap_or_default());
            self.values.resize((row + 1) * self.width, V::UNKNOWN);
        }
    }

    /// Adds the values of another, row by row: the sum where both are known.
    pub fn absorb(&mut self, newer: &Open<V>, add: &impl Fn(usize, V, V) -> V) {
        for column in (0..COLUMNS).filter(|column| newer.places[*column] != NOWHERE) {
            for row in 0..COUNT {
                let (value, more) = (self.get(row, column), newer.get(row, column));
                if more.is_known() {
                    let sum = if value.is_known() { add(column, value, more) } else { more };
                    self.set(row, column, sum);
                }
            }
        }
    }

    /// Its columns and words; `None` if nothing is known.
    pub fn pack(&self) -> Option<(u32, Vec<u16>)> {
        let (mut columns, mut words) = (0, Vec::with_capacity(COLUMNS * MAPS));
        for column in (0..COLUMNS).filter(|column| self.places[*column] != NOWHERE) {
            let from = words.len();
            words.extend([0; MAPS]);
            let (mut known, mut begins, mut last) = (0u32, 0u32, None::<V>);
            let all: [V; COUNT] = std::array::from_fn(|row| self.get(row, column));
            let mut rows = &all[..];
            // Most of most workloads.
            if rows[0].is_known() && rows.iter().all(|value| value.is_same(rows[0])) {
                rows[0].pack(&mut words);
                (known, begins, rows) = (u32::MAX, 1, &[]);
            }
            for (row, value) in rows.iter().copied().enumerate() {
                if !value.is_known() {
                    continue;
                }
                known |= 1 << row;
                if last.is_none_or(|last| !last.is_same(value)) {
                    begins |= 1 << row;
                    value.pack(&mut words);
                }
                last = Some(value);
            }
            if known == 0 {
                words.truncate(from);
                continue;
            }
            columns |= 1 << column;
            words[from..from + 2].copy_from_slice(&halves(known));
            words[from + 2..from + MAPS].copy_from_slice(&halves(begins));
        }
        (columns != 0).then_some((columns, words))
    }

    /// Bytes on the heap.
    pub fn bytes(&self) -> usize {
        self.values.capacity() * size_of::<V>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_that_comes_later_leaves_what_was_written() {
        let mut open = Open::new();
        open.write(0, &[1.0, f32::NAN, 3.0]);
        open.write(1, &[f32::NAN, 5.0]);
        open.copy(1, 2);
        open.set(2, 7, 9.0);
        open.write(31, &[f32::NAN; COLUMNS]);
        let known =
            |row: usize| (0..COLUMNS).map(|column| open.get(row, column)).filter(|it| !it.is_nan()).collect::<Vec<_>>();
        assert_eq!([0, 1, 2, 3, 31].map(known), [vec![1.0, 3.0], vec![5.0], vec![5.0, 9.0], vec![], vec![]]);
        assert_eq!(open.bytes(), 4 * COUNT * size_of::<f32>());
    }
}
