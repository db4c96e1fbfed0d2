//! Staged slowness of servers that are played: a process with the name of vLLM or SGLang in a cgroup tells, in their own words, of requests
//! that take longer, and a GPU is played beside it. What the agent tells is compared with what was made up.

mod play;
mod table;

pub use play::run;
pub use table::{QUICK, all};

use collector_core::statistic::model::Kind;
use serde_json::Value;

use super::slow::Truth;

/// What is staged.
#[derive(Clone)]
pub struct Served {
    pub truth: Truth,
    pub kind: Kind,
    /// It uses the names of an older version.
    pub old: bool,
    /// What it does once it is known what is usual.
    pub then: Doing,
    /// What becomes of its GPU then.
    pub gpu: fn(&mut Value),
    /// Whether another process then takes memory of that GPU, and uses it.
    pub shared: bool,
    /// The code of an error that the GPU then reports.
    pub xid: Option<u64>,
}

/// What a server does in a tenth of a second.
#[derive(Clone, Copy, Debug)]
pub struct Doing {
    /// Requests that end, and tokens of the prompt and of the answer of each.
    pub requests: u64,
    pub prompt: u64,
    pub output: u64,
    /// Seconds to the first token, between two tokens, and in the queue.
    pub first: f64,
    pub between: f64,
    pub queue: f64,
    pub running: u64,
    pub waiting: u64,
    /// Share of the KV cache.
    pub kv: f64,
    /// Requests preempted; of SGLang tokens retracted.
    pub preempted: u64,
    /// Bytes of KV cache to host memory, and as many back.
    pub offloaded: u64,
}
