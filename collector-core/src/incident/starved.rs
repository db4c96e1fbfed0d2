//! The evidence of a job whose GPUs wait for the host: how much of them it used, and what is usual for it. Why stands in
//! [`super::Slow`].

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A job whose GPUs starve.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Starved {
    /// When utilization fell, in nanoseconds since the Unix epoch.
    pub since: u64,
    /// For how long it was low, in seconds, when last looked at.
    pub seconds: f64,
    /// Whether it is as usual again, or the job is gone.
    pub over: bool,
    /// The GPUs that the job has for itself and that fell, by number.
    pub gpus: Vec<StarvedGpu>,
    /// Numbers of the GPUs that it shares with other workloads: whose utilization these show cannot be told.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub shared: Vec<String>,
}

/// A GPU with less work than usual. Utilization is a share of time, 0 to 1.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct StarvedGpu {
    pub gpu: String,
    pub uuid: String,
    pub model: String,
    /// In the last window (`starved.window`).
    pub utilization: f64,
    /// Median of the windows before.
    pub usual: f64,
}

impl Starved {
    /// Means over its GPUs: now, and usually.
    pub fn means(&self) -> Option<[f64; 2]> {
        let count = self.gpus.len() as f64;
        let mean = |of: fn(&StarvedGpu) -> f64| self.gpus.iter().map(of).sum::<f64>() / count;
        (!self.gpus.is_empty()).then(|| [mean(|gpu| gpu.utilization), mean(|gpu| gpu.usual)])
    }

    /// `GPU 0`, `GPUs 0, 1 and 3`.
    pub fn named(&self) -> String {
        let numbers: Vec<&str> = self.gpus.iter().map(|gpu| gpu.gpu.as_str()).collect();
        match numbers.as_slice() {
            [] => "its GPU".to_owned(),
            [one] => format!("GPU {one}"),
            [first @ .., last] => format!("GPUs {} and {last}", first.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gpus_are_named_and_averaged() {
        let gpu = |gpu: &str, utilization| StarvedGpu {
            gpu: gpu.to_owned(),
            utilization,
            usual: 0.9,
            ..StarvedGpu::default()
        };
        let mut starved = Starved { gpus: vec![gpu("0", 0.2)], ..Starved::default() };
        assert_eq!((starved.named(), starved.means()), ("GPU 0".to_owned(), Some([0.2, 0.9])));
        starved.gpus.extend([gpu("1", 0.4), gpu("3", 0.6)]);
        assert_eq!(starved.named(), "GPUs 0, 1 and 3");
        assert!((starved.means().unwrap()[0] - 0.4).abs() < 1e-9);
        assert_eq!(Starved::default().means(), None);
    }
}
