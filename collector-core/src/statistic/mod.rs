//! Statistics: numbers that the kernel keeps in files, with one table per subject. A reading of them is [`Values`]. Knows neither
//! the files nor how the numbers are used.

pub mod contention;
pub mod disk;
pub mod filesystem;
pub mod gpu;
pub mod host;
pub mod member;
pub mod model;
pub mod model_file;
pub mod network;
pub mod workload;

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Error as _, MapAccess, Visitor};
use serde::ser::SerializeMap as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The kind of a statistic, and how it is summed over several cgroups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows. Summed over all cgroups, including removed ones.
    Counter,
    /// A current amount. Summed over existing cgroups.
    Gauge,
    /// An allowed amount; absent is unlimited. Summed over existing cgroups if each has one.
    Limit,
}

/// One of the statistics of a subject.
pub trait Statistic: Copy + fmt::Debug + Eq + 'static {
    const ALL: &'static [Self];
    /// Names, in the same order.
    const NAMES: &'static [&'static str];
    /// Kinds, in the same order.
    const KINDS: &'static [Kind];

    /// Its place in [`Statistic::ALL`].
    fn index(self) -> usize;

    fn kind(self) -> Kind {
        Self::KINDS[self.index()]
    }

    fn name(self) -> &'static str {
        Self::NAMES[self.index()]
    }

    fn find(name: &str) -> Option<Self> {
        let index = Self::NAMES.iter().position(|other| *other == name)?;
        Some(Self::ALL[index])
    }
}

/// A reading of the statistics of a subject. In JSON it is an object of the known numbers. Numbers are absolute, as the kernel
/// has them: bytes, nanoseconds or counts.
#[derive(Clone, PartialEq, Eq)]
pub struct Values<S, const N: usize> {
    present: u128,
    /// Zero where unknown.
    values: [u64; N],
    of: PhantomData<S>,
}

impl<S: Statistic, const N: usize> Values<S, N> {
    const FITS: () = assert!(N <= u128::BITS as usize);

    /// No number is known.
    pub const fn new() -> Values<S, N> {
        let () = Self::FITS;
        Values { present: 0, values: [0; N], of: PhantomData }
    }

    /// The number of a statistic, if it is known.
    pub fn get(&self, statistic: S) -> Option<u64> {
        let index = statistic.index();
        (self.present & 1 << index != 0).then(|| self.values[index])
    }

    /// Sets a number, or marks it as unknown.
    pub fn put(&mut self, statistic: S, value: Option<u64>) {
        let index = statistic.index();
        self.values[index] = value.unwrap_or(0);
        self.present = self.present & !(1 << index) | u128::from(value.is_some()) << index;
    }

    pub fn set(&mut self, statistic: S, value: u64) {
        self.put(statistic, Some(value));
    }

    /// Adds to a number; an unknown one starts at zero.
    pub fn add(&mut self, statistic: S, more: u64) {
        self.set(statistic, self.values[statistic.index()].saturating_add(more));
    }

    /// Replaces this by a newer reading of the same subject. Kernel counters that are not read at one moment, or that the kernel
    /// corrects (time waited for IO), may step back: such a counter keeps its value until it is exceeded. One that fell to less
    /// than half was reset.
    pub fn advance(&mut self, newer: &Values<S, N>) {
        for statistic in S::ALL.iter().copied() {
            let (before, now) = (self.get(statistic), newer.get(statistic));
            let back = before.zip(now).is_some_and(|(before, now)| now < before && now >= before / 2);
            if statistic.kind() != Kind::Counter || !back {
                self.put(statistic, now);
            }
        }
    }

    pub fn is_empty(&self) -> bool {
        self.present == 0
    }

    /// The known statistics, in the order of the table.
    pub fn iter(&self) -> impl Iterator<Item = (S, u64)> {
        let mut left = self.present;
        std::iter::from_fn(move || {
            // Skip to the next known one: this runs for every cgroup at every tick.
            let index = left.trailing_zeros() as usize;
            let statistic = *S::ALL.get(index)?;
            left &= left - 1;
            Some((statistic, self.values[index]))
        })
    }
}

impl<S: Statistic, const N: usize> Default for Values<S, N> {
    fn default() -> Values<S, N> {
        Values::new()
    }
}

impl<S: Statistic, const N: usize> fmt::Debug for Values<S, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<S: Statistic, const N: usize> FromIterator<(S, u64)> for Values<S, N> {
    fn from_iter<I: IntoIterator<Item = (S, u64)>>(numbers: I) -> Values<S, N> {
        let mut values = Values::new();
        numbers.into_iter().for_each(|(statistic, value)| values.set(statistic, value));
        values
    }
}

impl<S: Statistic, const N: usize> Serialize for Values<S, N> {
    fn serialize<T: Serializer>(&self, serializer: T) -> Result<T::Ok, T::Error> {
        let mut map = serializer.serialize_map(Some(self.present.count_ones() as usize))?;
        for (statistic, value) in self.iter() {
            map.serialize_entry(statistic.name(), &value)?;
        }
        map.end()
    }
}

impl<'de, S: Statistic, const N: usize> Deserialize<'de> for Values<S, N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Values<S, N>, D::Error> {
        deserializer.deserialize_map(Names(PhantomData))
    }
}

struct Names<S, const N: usize>(PhantomData<S>);

impl<'de, S: Statistic, const N: usize> Visitor<'de> for Names<S, N> {
    type Value = Values<S, N>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("statistics by name")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Values<S, N>, A::Error> {
        let mut values = Values::new();
        while let Some(name) = map.next_key::<std::borrow::Cow<'de, str>>()? {
            let statistic = S::find(&name).ok_or_else(|| A::Error::unknown_field(&name, S::NAMES))?;
            if values.get(statistic).is_some() {
                return Err(A::Error::duplicate_field(statistic.name()));
            }
            values.set(statistic, map.next_value()?);
        }
        Ok(values)
    }
}

/// Declares the statistics of a subject: an enum `Statistic`, and `Values` of it.
///
/// Each row is an optional doc comment and `Variant: Kind = "name"`, with a kind of [`Kind`].
macro_rules! statistics {
    ($(#[$about:meta])* { $($(#[$what:meta])* $variant:ident: $kind:ident = $name:literal,)+ }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Statistic {
            $($(#[$what])* $variant,)+
        }

        impl $crate::statistic::Statistic for Statistic {
            const ALL: &'static [Statistic] = &[$(Statistic::$variant,)+];
            const NAMES: &'static [&'static str] = &[$($name,)+];
            const KINDS: &'static [$crate::statistic::Kind] = &[$($crate::statistic::Kind::$kind,)+];

            fn index(self) -> usize {
                self as usize
            }
        }

        pub const COUNT: usize = <Statistic as $crate::statistic::Statistic>::ALL.len();

        pub type Values = $crate::statistic::Values<Statistic, COUNT>;
    };
}
pub(crate) use statistics;

#[cfg(test)]
mod tests {
    use super::workload::{COUNT, Statistic as Of, Values};
    use super::*;

    /// `MemoryCurrent` as `memory_current`.
    fn snake(variant: &str) -> String {
        let mut name = String::new();
        for letter in variant.chars() {
            if letter.is_uppercase() && !name.is_empty() {
                name.push('_');
            }
            name.extend(letter.to_lowercase());
        }
        name
    }

    #[test]
    fn names_are_the_variants() {
        fn check<S: Statistic>() {
            for (index, statistic) in S::ALL.iter().enumerate() {
                assert_eq!(statistic.name(), snake(&format!("{statistic:?}")));
                assert_eq!((statistic.index(), S::find(statistic.name())), (index, Some(*statistic)));
            }
        }
        check::<Of>();
        check::<super::host::Statistic>();
        check::<super::disk::Statistic>();
        check::<super::filesystem::Statistic>();
        check::<super::gpu::Statistic>();
        check::<super::network::Statistic>();
        check::<super::model::Statistic>();
        check::<super::contention::Statistic>();
        assert_eq!(Of::ALL.len(), COUNT);
        assert_eq!(Of::find("memory"), None);
    }

    #[test]
    fn absent_is_not_zero() {
        let mut values = Values::new();
        assert_eq!((values.get(Of::MemoryCurrent), values.is_empty()), (None, true));
        values.set(Of::MemoryCurrent, 0);
        assert_eq!((values.get(Of::MemoryCurrent), values.is_empty()), (Some(0), false));
        values.put(Of::MemoryCurrent, None);
        assert_eq!(values, Values::new());
        values.add(Of::MemoryCurrent, 7);
        values.add(Of::MemoryCurrent, u64::MAX);
        assert_eq!(values.iter().collect::<Vec<_>>(), [(Of::MemoryCurrent, u64::MAX)]);
    }

    #[test]
    fn counters_keep_their_value_until_it_is_exceeded() {
        let mut values = Values::from_iter([(Of::CpuUsage, 100), (Of::CpuUser, 90), (Of::MemoryCurrent, 50)]);
        let mut then = |usage, current| {
            let newer = [(Of::CpuUsage, usage), (Of::MemoryCurrent, current)];
            values.advance(&Values::from_iter(newer));
            [Of::CpuUsage, Of::CpuUser, Of::MemoryCurrent].map(|statistic| values.get(statistic))
        };
        assert_eq!(
            then(99, 40),
            [Some(100), None, Some(40)],
            "a gauge goes both ways, and an absent number is removed"
        );
        assert_eq!(then(101, 0), [Some(101), None, Some(0)]);
        assert_eq!(then(50, 0), [Some(101), None, Some(0)]);
        assert_eq!(then(49, 0), [Some(49), None, Some(0)], "it was reset");
    }

    #[test]
    fn all_statistics_fit() {
        let all: Values = Of::ALL.iter().map(|statistic| (*statistic, statistic.index() as u64)).collect();
        let found: Vec<_> = all.iter().map(|(statistic, value)| (statistic.index(), value as usize)).collect();
        assert_eq!(found, (0..COUNT).map(|index| (index, index)).collect::<Vec<_>>());
        let text = serde_json::to_string(&all).unwrap();
        assert_eq!(serde_json::from_str::<Values>(&text).unwrap(), all);
    }

    #[test]
    fn json_holds_the_known_numbers_by_name() {
        let values = Values::from_iter([(Of::MemoryCurrent, 4096), (Of::CpuUsage, u64::MAX)]);
        let text = serde_json::to_string(&values).unwrap();
        assert_eq!(text, r#"{"memory_current":4096,"cpu_usage":18446744073709551615}"#);
        assert_eq!(serde_json::from_str::<Values>(&text).unwrap(), values);
        assert_eq!(serde_json::from_str::<Values>("{}").unwrap(), Values::new());
        for (text, why) in [
            (r#"{"memory_currant":1}"#, "unknown field `memory_currant`"),
            (r#"{"memory_current":1,"memory_current":1}"#, "duplicate field `memory_current`"),
            (r#"{"memory_current":-1}"#, "invalid value"),
            (r#"{"memory_current":null}"#, "invalid type"),
            (r#"[1]"#, "statistics by name"),
        ] {
            let error = serde_json::from_str::<Values>(text).unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
