//! How much each model of the model servers here has to do, and how many instances there should be. Decides nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::scaling::Limits;

#[derive(Clone, Debug, Default)]
pub struct Scaling {
    pub limits: Limits,
    /// By name; of what no server tells how busy it is there is none.
    pub models: BTreeMap<Arc<str>, Scaled>,
    /// When they were last looked at.
    pub(crate) looked: u64,
}

/// A model, over all servers here that have it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scaled {
    pub instances: u64,
    /// Mean share of what they can do at once, over the last minute; above 1 while requests wait.
    pub load: f64,
    pub desired: u64,
    /// When that changed, in nanoseconds since the Unix epoch.
    pub changed: u64,
}
