//! How a server spreads a model over GPUs and hosts. vLLM: `ParallelConfig` in vllm/config/parallel.py and `create_engine_config` in
//! vllm/engine/arg_utils.py; SGLang: `_calculate_rank_ranges` in sglang/srt/entrypoints/engine.py. Knows no flags.

/// How a model is spread, and what becomes of its weights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spread {
    /// GPUs that share each layer.
    pub tensor: u64,
    /// Groups of them that share the layers.
    pub pipeline: u64,
    /// Copies of the model.
    pub data: u64,
    /// Of these on this host; `None`: as many as on each other.
    pub local: Option<u64>,
    /// Hosts that it is spread over evenly.
    pub hosts: u64,
    /// A cluster's scheduler chooses the hosts.
    pub anywhere: bool,
    /// Bytes of an element that floats are converted to; `None`: as the engine does by itself.
    pub element: Option<u64>,
    /// Quantised while it loads.
    pub quantise: Option<String>,
    /// Bytes that each GPU leaves in host memory.
    pub offload: u64,
}

impl Default for Spread {
    /// One GPU.
    fn default() -> Spread {
        Spread {
            tensor: 1,
            pipeline: 1,
            data: 1,
            local: None,
            hosts: 1,
            anywhere: false,
            element: None,
            quantise: None,
            offload: 0,
        }
    }
}

impl Spread {
    /// GPUs of one copy.
    pub fn of_copy(&self) -> u64 {
        self.tensor.saturating_mul(self.pipeline)
    }

    /// All GPUs, wherever they are.
    pub fn gpus(&self) -> u64 {
        self.of_copy().saturating_mul(self.data)
    }

    /// GPUs of one host.
    pub fn here(&self) -> u64 {
        let Some(local) = self.local.map(|local| local.min(self.data)) else {
            return self.gpus().div_ceil(self.hosts.max(1));
        };
        // Hosts that share one copy (`nnodes_within_dp`).
        let groups = self.data.checked_div(local).unwrap_or(1).max(1);
        let within = (self.hosts / groups).max(1);
        self.of_copy().saturating_mul(local).div_ceil(within)
    }

    /// Bytes of an element where it computes. A model of 32 bits is halved unless an engine is told otherwise.
    pub fn computed(&self) -> u64 {
        self.element.unwrap_or(2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_its_part_of_the_gpus() {
        let of = |tensor, pipeline, data, local, hosts| {
            Spread { tensor, pipeline, data, local, hosts, ..Spread::default() }.here()
        };
        assert_eq!(of(8, 2, 1, None, 1), 16);
        assert_eq!(of(8, 2, 1, None, 2), 8, "a stage each");
        assert_eq!(of(16, 1, 1, None, 2), 8);
        assert_eq!(of(1, 1, 16, Some(8), 1), 8, "half of the copies, without a number of hosts");
        assert_eq!(of(1, 1, 16, Some(0), 1), 0, "only requests are taken here");
        assert_eq!(of(16, 1, 4, Some(1), 8), 8, "two hosts a copy");
        assert_eq!(of(1, 1, 2, Some(9), 1), 2);
        assert_eq!(of(u64::MAX, 2, 2, None, 0), u64::MAX);
    }
}
