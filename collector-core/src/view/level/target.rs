//! The share of its memory that this host should use, and whether it uses more. Knows no priorities.

use crate::amount::percent;
use crate::view::View;

impl View {
    /// The target that fits this host. A GPU that nothing can be read of does not count.
    pub fn memory_target(&self) -> Option<f64> {
        let limits = &self.level.limits;
        // Almost no host has one.
        if limits.targets.is_empty() {
            return None;
        }
        limits.target(self.host.memory()?.total, self.gpus.iter().next().is_some())
    }

    /// That the host is above its target with so many bytes beside those in use, in a sentence.
    pub fn above_target(&self, promised: u64) -> Option<String> {
        let (target, memory) = (self.memory_target()?, self.host.memory()?);
        let used = memory.used_ratio() + promised as f64 / memory.total.max(1) as f64;
        let what = if promised > 0 { "used or promised" } else { "used" };
        (used > target).then(|| format!("memory is {} {what}, above the target of {}", percent(used), percent(target)))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::level::{Limits, Target};
    use crate::statistic::host::{Statistic, Values};

    fn view(available: Option<u64>, targets: Vec<Target>) -> View {
        let mut view = View::default();
        let mut values = Values::from_iter([(Statistic::MemoryTotal, 1000)]);
        values.put(Statistic::MemoryAvailable, available);
        view.host.measure(1, &values);
        view.level.limits = Arc::new(Limits { targets, ..Limits::default() });
        view
    }

    #[test]
    fn what_is_promised_counts_and_what_is_not_known_is_above_nothing() {
        let half = || vec![Target { from: 0, gpu: Some(false), memory: 0.5 }];
        let free = view(Some(600), half());
        assert_eq!((free.memory_target(), free.above_target(0)), (Some(0.5), None));
        let said = free.above_target(150);
        assert_eq!(said.as_deref(), Some("memory is 55 % used or promised, above the target of 50 %"));
        let full = view(Some(400), half()).above_target(0);
        assert_eq!(full.as_deref(), Some("memory is 60 % used, above the target of 50 %"));
        assert_eq!(view(None, half()).above_target(0), None);
        let other = vec![Target { from: 0, gpu: Some(true), memory: 0.5 }];
        assert_eq!(view(Some(1), other).above_target(0), None, "it has no GPU");
    }
}
