//! Signals that are only counted, per cgroup: their reading, and the sums of a workload. Each signal defines what is
//! counted.

use serde::{Deserialize, Serialize};

use super::table::signals;
use super::{Context, RowKey, cgroup_of};
use crate::cgroup::Id;

/// The numbers of a counted signal.
pub trait Count: Sized {
    /// From the growth of a row; `None` if the row has the wrong shape.
    fn from_row(growth: &[u64], context: &Context) -> Option<Self>;
    /// Adds the numbers of `more`.
    fn add(&mut self, more: &Self);
}

/// The counts of one cgroup's tasks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counted<T> {
    /// Absent for the sum of all cgroups that the kernel had no room to count separately.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<Id>,
    pub counts: T,
}

impl<T: Count> Counted<T> {
    pub(crate) fn from_row(key: RowKey, growth: &[u64], context: &Context) -> Option<Counted<T>> {
        Some(Counted { cgroup: cgroup_of(key)?, counts: T::from_row(growth, context)? })
    }
}

macro_rules! sums {
    (
        folded { $($folded:tt)* }
        counted { $($signal:ident: $Reading:ident, $map:literal;)* }
    ) => {
        /// What a workload is charged, for all counted signals.
        #[derive(Clone, Copy, Debug, Default, PartialEq)]
        pub struct Sums {
            $(pub $signal: super::$signal::Counts,)*
        }

        impl Sums {
            /// Adds the numbers of `more`.
            pub fn add(&mut self, more: &Sums) {
                $(self.$signal.add(&more.$signal);)*
            }

            /// The sums of rows of ones.
            #[cfg(test)]
            pub fn ones() -> Sums {
                let words = |name: &str| {
                    let mut maps = collector_common::SIGNALS.iter().flat_map(|signal| signal.counters);
                    maps.find(|map| map.map == name).map(|map| map.words)
                };
                let context = &crate::engine::test::CONTEXT;
                Sums { $($signal: Count::from_row(&vec![1; words($map).unwrap()], context).unwrap(),)* }
            }
        }
    };
}
signals!(sums);
