//! The last minute before an incident, point by point.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::shape::Point;
use crate::series::Series;

/// Series by name, with a value for each point; `None` where unknown.
pub type Lines = BTreeMap<String, Vec<Option<f64>>>;

/// The last minute, per second, or per tick where ticks are longer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
#[schema(as = LastMinute)]
pub struct History {
    /// Seconds before the incident, for each point. Oldest first.
    pub ago: Vec<f64>,
    /// Series of the affected workload.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = BTreeMap<String, Vec<Option<f64>>>)]
    pub workload: Lines,
    /// Memory of the affected workload in the second before a kill, if it was read between ticks: seconds before the incident, and
    /// bytes. Oldest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub last: Vec<(f64, u64)>,
    /// Series of the workload whose limit was hit, if it is another one.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = BTreeMap<String, Vec<Option<f64>>>)]
    pub limited: Lines,
    /// Series of the host.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = BTreeMap<String, Vec<Option<f64>>>)]
    pub host: Lines,
}

impl History {
    /// The known points of a series, oldest first.
    pub(super) fn points<'a>(&'a self, lines: &'a Lines, series: Series) -> impl DoubleEndedIterator<Item = Point> {
        let line = lines.get(series.name()).map(Vec::as_slice).unwrap_or_default();
        self.ago.iter().zip(line).filter_map(|(ago, value)| Some((*ago, (*value)?)))
    }
}
