//! `[scaling]`: when there should be more or fewer instances of a model.

use std::time::Duration;

use collector_core::scaling::Limits;

#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub struct Scaling {
    pub above: f64,
    pub below: f64,
    pub least: usize,
    pub most: usize,
    pub cool_down: Duration,
}

impl Default for Scaling {
    fn default() -> Scaling {
        let Limits { above, below, least, most, cool_down_ns } = Limits::default();
        let cool_down = Duration::from_nanos(cool_down_ns);
        Scaling { above, below, least: least as usize, most: most as usize, cool_down }
    }
}

impl Scaling {
    pub fn limits(&self) -> Limits {
        Limits {
            above: self.above,
            below: self.below,
            least: self.least as u64,
            most: self.most as u64,
            cool_down_ns: u64::try_from(self.cool_down.as_nanos()).unwrap_or(u64::MAX),
        }
    }
}
