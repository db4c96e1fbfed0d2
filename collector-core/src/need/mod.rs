//! What a unit of work needs before it starts: parts, each with its resource, its amount, its origin and its error. Bytes and
//! arguments in, a [`Need`] out: who opens files is the client, with its caller's rights.

pub mod checkpoint;
pub mod command;
pub mod declared;
pub mod flag;
pub mod gguf;
pub mod known;
pub mod llama;
pub mod ollama;
pub mod quantisation;
pub mod remark;
pub mod safetensors;
pub mod server;
pub mod share;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use remark::Remark;
use share::Share;

/// Everything that is needed, and what was assumed to say so.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Need {
    pub parts: Vec<Part>,
    /// Sentences that a person must read to trust the numbers.
    #[serde(default)]
    pub assumptions: Vec<String>,
    /// What could change the need and was not taken into account, such as an unknown flag.
    #[serde(default)]
    pub not_considered: Vec<String>,
    /// The parts are an upper bound, not an estimate.
    #[serde(default)]
    pub upper_bound: bool,
    /// Shares of GPUs whose size is not known yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shares: Vec<Share>,
    /// Sentences about what else is needed, and how much is not known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_known: Vec<Remark>,
    /// Sentences that say why it would not start, however much is free.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<Remark>,
    /// The least compute capability of its GPUs, in tenths: 80 is 8.0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compute_capability: Option<u32>,
    /// Nobody knows what this program needs: `not_known` says only that. What was learned of it says more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unknown: bool,
}

/// One line of a need.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = NeedPart)]
pub struct Part {
    /// What needs it: `weights`, `KV cache`.
    pub what: String,
    #[serde(flatten)]
    pub resource: Resource,
    /// In the unit of the resource.
    pub amount: u64,
    /// How far the truth may be from the amount, in the same unit.
    #[serde(default)]
    pub error: u64,
    pub origin: Origin,
    /// Needed only while it loads.
    #[serde(default)]
    pub loading: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[schema(as = NeedResource)]
#[serde(tag = "resource", rename_all = "snake_case")]
pub enum Resource {
    /// Bytes of host memory.
    Host { memory: Memory },
    /// Bytes on a GPU, counted among those that this work may use.
    Vram { gpu: u32 },
    /// Bytes on the filesystem of this path.
    Disk { path: String },
    /// Thousandths of a CPU.
    Cpu,
    /// Bits a second.
    Network,
    /// Places of this name.
    Slot { name: String },
}

impl Resource {
    /// What is measured against the same limit.
    pub const fn kind(&self) -> &'static str {
        match self {
            Resource::Host { memory } if memory.hard() => "host memory",
            Resource::Host { .. } => "page cache",
            Resource::Vram { .. } => "VRAM",
            Resource::Disk { .. } => "disk",
            Resource::Cpu => "CPU",
            Resource::Network => "network",
            Resource::Slot { .. } => "slot",
        }
    }
}

/// Kinds of host memory, by what the kernel can do about them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[schema(as = NeedMemory)]
#[serde(rename_all = "snake_case")]
pub enum Memory {
    Anonymous,
    /// By a driver, or `mlock`: not even swap helps.
    Pinned,
    Locked,
    /// A file's pages in the page cache, mapped: the work thrashes without them.
    Mapped,
    /// Read once; the kernel may drop it.
    PageCache,
}

impl Memory {
    /// Cannot be reclaimed without swap.
    pub const fn hard(self) -> bool {
        matches!(self, Memory::Anonymous | Memory::Pinned | Memory::Locked)
    }

    pub const fn name(self) -> &'static str {
        match self {
            Memory::Anonymous => "anonymous",
            Memory::Pinned => "pinned",
            Memory::Locked => "locked",
            Memory::Mapped => "mapped",
            Memory::PageCache => "page cache",
        }
    }
}

/// Where a number comes from. A later one is to be trusted more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[schema(as = NeedOrigin)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// From a model's files and the command line.
    Estimated,
    /// The caller says so.
    Declared,
    /// Measured when the same ran here.
    Learned,
}

/// Sums of a need. All add without overflow, and stop at the largest number.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Total {
    /// Host memory that cannot be reclaimed, once it runs.
    pub host_hard: u64,
    /// Host memory that can be reclaimed, at the price of reading it again.
    pub host_soft: u64,
    /// The most hard host memory at any time: what is needed only while it loads counts too.
    pub host_load_peak: u64,
    /// By GPU, once it runs.
    pub vram: BTreeMap<u32, u64>,
}

impl Need {
    /// The need of a program that nobody knows.
    pub fn unknown(why: impl Into<String>) -> Need {
        Need { not_known: vec![Remark::both(why)], unknown: true, ..Need::default() }
    }

    /// What an agent has to know: without sentences that may quote arguments, which may be secret.
    pub fn for_agent(mut self) -> Need {
        self.assumptions.clear();
        self.not_considered.clear();
        self
    }

    pub fn add(&mut self, part: Part) {
        if part.amount > 0 {
            self.parts.push(part);
        }
    }

    pub fn assume(&mut self, sentence: impl Into<String>) {
        let sentence = sentence.into();
        if !self.assumptions.contains(&sentence) {
            self.assumptions.push(sentence);
        }
    }

    /// The same, where what a caller declares stands in place of what was estimated of the same kind, and of what was said about it.
    pub fn with_declared(mut self, declared: Need) -> Need {
        let said = |part: &Part| declared.parts.iter().any(|said| said.resource.kind() == part.resource.kind());
        self.parts.retain(|part| !said(part));
        self.upper_bound &= self.parts.iter().any(|part| part.origin == Origin::Estimated);
        if declared.parts.iter().any(|part| matches!(part.resource, Resource::Vram { .. })) {
            self.shares.clear();
        }
        remark::retain(&mut self.not_known, &declared);
        remark::retain(&mut self.refused, &declared);
        self.parts.extend(declared.parts);
        self
    }

    pub fn total(&self) -> Total {
        let mut total = Total::default();
        for part in &self.parts {
            let running = if part.loading { 0 } else { part.amount };
            let grow = |sum: &mut u64, amount| *sum = sum.saturating_add(amount);
            match &part.resource {
                Resource::Host { memory } if memory.hard() => {
                    grow(&mut total.host_hard, running);
                    grow(&mut total.host_load_peak, part.amount);
                }
                Resource::Host { .. } => grow(&mut total.host_soft, running),
                Resource::Vram { gpu } => grow(total.vram.entry(*gpu).or_default(), running),
                Resource::Disk { .. } | Resource::Cpu | Resource::Network | Resource::Slot { .. } => {}
            }
        }
        total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(resource: Resource, amount: u64, loading: bool) -> Part {
        Part { what: "x".to_owned(), resource, amount, error: 0, origin: Origin::Estimated, loading }
    }

    #[test]
    fn sums_tell_hard_from_soft_and_running_from_loading() {
        let mut need = Need::default();
        let host = |memory| Resource::Host { memory };
        need.add(part(host(Memory::Anonymous), 1, false));
        need.add(part(host(Memory::Pinned), 2, false));
        need.add(part(host(Memory::Locked), 4, true));
        need.add(part(host(Memory::Mapped), 8, false));
        need.add(part(host(Memory::PageCache), 16, true));
        need.add(part(Resource::Vram { gpu: 1 }, 32, false));
        need.add(part(Resource::Vram { gpu: 1 }, u64::MAX, true));
        need.add(part(Resource::Vram { gpu: 0 }, u64::MAX, false));
        need.add(part(Resource::Vram { gpu: 0 }, 1, false));
        need.add(part(Resource::Cpu, 64, false));
        need.add(part(Resource::Network, 0, false));
        let total = need.total();
        assert_eq!((total.host_hard, total.host_soft, total.host_load_peak), (3, 8, 7));
        assert_eq!((total.vram[&0], total.vram[&1]), (u64::MAX, 32));
        assert_eq!(need.parts.len(), 10, "nothing is no part");
    }

    #[test]
    fn what_is_declared_stands_in_place_of_an_estimate() {
        let mut need = Need::default();
        need.add(part(Resource::Host { memory: Memory::Pinned }, 1, false));
        need.add(part(Resource::Host { memory: Memory::Mapped }, 2, false));
        need.add(part(Resource::Vram { gpu: 0 }, 4, false));
        let mut declared = Need::default();
        declared.add(part(Resource::Host { memory: Memory::Anonymous }, 8, false));
        need.not_known = vec![Remark::host("moot"), Remark::both("not moot: VRAM is not declared")];
        need.refused = vec![Remark::host("moot"), Remark::whatever("not moot: it is about no amount")];
        let need = need.with_declared(declared);
        assert_eq!((need.not_known.len(), need.refused.len()), (1, 1), "{need:?}");
        let total = need.total();
        assert_eq!((total.host_hard, total.host_soft, total.vram[&0]), (8, 2, 4));
    }

    #[test]
    fn a_need_survives_json() {
        let mut need = Need { upper_bound: true, ..Need::default() };
        need.add(part(Resource::Host { memory: Memory::PageCache }, 1, true));
        need.add(part(Resource::Disk { path: "/data".to_owned() }, 2, false));
        need.assume("one");
        need.assume("one");
        let json = serde_json::to_string(&need).unwrap();
        assert!(json.contains(r#""resource":"host","memory":"page_cache""#), "{json}");
        assert_eq!(serde_json::from_str::<Need>(&json).unwrap(), need);
        assert_eq!(need.assumptions.len(), 1);
        let least = r#"{"parts":[{"what":"x","resource":"cpu","amount":1,"origin":"declared"}]}"#;
        assert_eq!(serde_json::from_str::<Need>(least).unwrap().parts[0].resource, Resource::Cpu);
    }
}
