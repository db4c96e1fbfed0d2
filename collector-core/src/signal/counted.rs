//! Signals that are only counted, for each cgroup apart: their reading, and the sums of a workload. What is counted is each
//! signal's business.

use serde::{Deserialize, Serialize};

use super::table::signals;
use super::{Context, RowKey, cgroup_of};
use crate::cgroup::Id;

/// The numbers of one such signal.
pub trait Count: Sized {
    /// From the growth of a row; `None` if the row has another shape.
    fn from_row(growth: &[u64], context: &Context) -> Option<Self>;
    /// Adds another's.
    fn add(&mut self, more: &Self);
}

/// What was counted of one cgroup's tasks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counted<T> {
    /// The cgroup; absent for the sum of all that the kernel had no room to count apart.
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
        /// What a workload is charged of all of them.
        #[derive(Clone, Copy, Debug, Default, PartialEq)]
        pub struct Sums {
            $(pub $signal: super::$signal::Counts,)*
        }

        impl Sums {
            /// Adds another's.
            pub fn add(&mut self, more: &Sums) {
                $(self.$signal.add(&more.$signal);)*
            }

            /// What rows full of ones add up to.
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
