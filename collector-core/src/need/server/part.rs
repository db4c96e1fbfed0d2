//! What servers of safetensors models need alike: weights, buffers, processes. Figures that were published, each with its error.

use super::spread::Spread;
use crate::amount;
use crate::need::checkpoint::Checkpoint;
use crate::need::remark::Remark;
use crate::need::{Memory, Need, Origin, Part, Resource};

pub const MIB: u64 = 1 << 20;
pub const GIB: u64 = 1 << 30;

/// CUDA context and libraries: 0.16 to 1.79 GiB are published (vLLM pull requests 10511 and 12126).
const CONTEXT: (u64, u64) = (GIB, GIB * 4 / 5);
/// NCCL's buffers on each of several GPUs: 0.5 to 1.8 GiB (vLLM pull request 10511).
const NCCL: (u64, u64) = (GIB * 9 / 5, GIB * 13 / 10);
/// A Python process with torch and CUDA: 3 to 5 GB (vLLM pull request 48436).
const WORKER: (u64, u64) = (4 * GIB, GIB);
/// The one that takes requests, and uses no GPU: our estimate.
const FRONT: (u64, u64) = (GIB, GIB / 2);

/// A need that grows part by part, for GPUs that are all alike.
pub struct Plan<'a> {
    pub need: Need,
    pub model: &'a Checkpoint,
    pub spread: &'a Spread,
    /// GPUs of this host that it takes.
    here: u64,
}

impl<'a> Plan<'a> {
    /// `gpus`: how many there are, and whether there are no more.
    pub fn new(
        model: &'a Checkpoint,
        spread: &'a Spread,
        not_considered: &[String],
        (gpus, certain): (u32, bool),
    ) -> Plan<'a> {
        let mut need = Need { not_considered: not_considered.to_vec(), ..Need::default() };
        if let Some(bound) = &model.config.bound {
            need.upper_bound = true;
            need.assume(bound.clone());
        }
        // Without a configuration nothing is known of the model; of one that is here, something of its cache.
        let absent = model.config.layers.is_empty();
        let remark = |sentence: &String| if absent { Remark::both(sentence) } else { Remark::vram(sentence) };
        need.not_known.extend(model.config.missing.iter().map(remark));
        if model.by_length {
            need.upper_bound = true;
            need.assume("the weights are not safetensors: their files' length is counted");
        }
        let mut plan = Plan { need, model, spread, here: spread.here() };
        plan.compare(gpus, certain);
        plan
    }

    /// GPUs of this host that it needs, as numbers.
    pub fn gpus(&self) -> std::ops::Range<u32> {
        0..u32::try_from(self.here).unwrap_or(u32::MAX).min(1024)
    }

    /// Copies of the model on this host, of which one may be on several.
    pub fn copies(&self) -> u64 {
        self.here.div_ceil(self.spread.of_copy().max(1))
    }

    pub fn host(&mut self, what: &str, memory: Memory, (amount, error): (u64, u64), loading: bool) {
        let resource = Resource::Host { memory };
        let origin = Origin::Estimated;
        self.need.add(Part { what: what.to_owned(), resource, amount, error, origin, loading });
    }

    /// The same on each GPU.
    pub fn each(&mut self, what: &str, (amount, error): (u64, u64)) {
        for gpu in self.gpus() {
            let (resource, origin) = (Resource::Vram { gpu }, Origin::Estimated);
            self.need.add(Part { what: what.to_owned(), resource, amount, error, origin, loading: false });
        }
    }

    /// All weights as they are once loaded, and how far that may be from the truth.
    fn loaded(&mut self) -> (u64, u64) {
        let weights = &self.model.weights;
        let other = weights.bytes.saturating_sub(weights.float_bytes);
        if let Some(method) = &self.model.config.quantised {
            if self.spread.quantise.as_ref().is_some_and(|asked| asked != method) {
                self.need.assume(format!("its files are quantised ({method}): they are counted as they are"));
            }
            return (weights.bytes, 0);
        }
        let element = self.spread.computed();
        let sixteenths = match self.spread.quantise.as_deref() {
            None => 16 * element,
            Some(method) if method.contains("fp8") || method.contains("int8") || method == "eetq" => 16,
            // Four bits, and scales.
            Some("bitsandbytes" | "bitsandbytes-nf4" | "bitsandbytes-fp4") => 9,
            Some(method) => {
                self.need.assume(format!(
                    "--quantization {method} is for files that are quantised: these are counted as they are"
                ));
                16 * element
            }
        };
        let kept = weights.embeddings.saturating_mul(element);
        let rest = u128::from(weights.floats.saturating_sub(weights.embeddings)) * u128::from(sixteenths) / 16;
        let all = u64::try_from(rest).unwrap_or(u64::MAX).saturating_add(kept).saturating_add(other);
        if sixteenths == 16 * element {
            return (all, 0);
        }
        self.need
            .assume("weights are quantised while they load: for a time each layer is there as it is in its file, too");
        (all, all / 10)
    }

    /// Weights on GPUs and in host memory, and what passes through while they load.
    pub fn weights(&mut self) -> u64 {
        let (all, error) = self.loaded();
        let parts = self.spread.of_copy().max(1);
        let share = all.div_ceil(parts);
        // What cannot be divided is on each GPU, and layers are not all alike.
        let uneven = match (self.spread.tensor, self.spread.pipeline) {
            (1, 1) => 0,
            (_, 1) => share / 50,
            _ => share / 10,
        };
        let offloaded = self.spread.offload.min(share);
        self.each("weights", (share - offloaded, (error / parts).saturating_add(uneven)));
        if offloaded > 0 {
            // Torch rounds each pinned tensor up to a power of two: 1 to 1.9 times (vLLM issue 56410).
            let pinned = offloaded.saturating_mul(self.here);
            let nearly = pinned / 10 * 9;
            self.host("weights left in host memory", Memory::Pinned, (pinned.saturating_add(nearly), nearly), false);
        }
        self.host("weights, while read", Memory::PageCache, (self.model.weights.bytes, 0), true);
        share - offloaded
    }

    /// A smaller model that guesses tokens, shared by so many GPUs. Some use the embeddings of the other.
    pub fn draft(&mut self, draft: &Checkpoint, tensor: u64) {
        let (weights, element) = (&draft.weights, self.spread.computed());
        let other = weights.bytes.saturating_sub(weights.float_bytes);
        let bytes = weights.floats.saturating_mul(element).saturating_add(other).div_ceil(tensor.max(1));
        let error = weights.embeddings.saturating_mul(element).div_ceil(tensor.max(1));
        self.each("weights of the draft model", (bytes, error.min(bytes)));
        self.host("weights of the draft model, while read", Memory::PageCache, (weights.bytes, 0), true);
        self.need.not_known.extend(draft.config.missing.iter().map(Remark::vram));
        self.need.upper_bound |= draft.by_length || draft.config.bound.is_some();
    }

    /// CUDA and its libraries on each GPU, and the processes in host memory.
    pub fn processes(&mut self) {
        self.each("CUDA context", CONTEXT);
        let workers = self.here;
        if self.spread.of_copy() > 1 {
            self.each("NCCL", NCCL);
        }
        let (amount, error) = WORKER;
        let workers = (amount.saturating_mul(workers), error.saturating_mul(workers));
        self.host("processes with torch", Memory::Anonymous, workers, false);
        self.host("process that takes requests", Memory::Anonymous, FRONT, false);
    }

    /// The most that a batch needs at once. Layers: four times the hidden state, and three times what is within a feed-forward layer;
    /// the sampler: 41 bytes a word of the vocabulary and sequence, which is what 1.26 GiB of Llama-3-8B on one GPU and on two are
    /// (vLLM pull request 10511).
    pub fn activations(&mut self, tokens: u64, sequences: u64) {
        let config = &self.model.config;
        let element = self.spread.computed();
        let wide = config.inner.saturating_mul(3).div_ceil(self.spread.tensor.max(1));
        let layers =
            tokens.saturating_mul(config.hidden.saturating_mul(4).saturating_add(wide)).saturating_mul(element);
        let sampler = sequences.saturating_mul(config.vocabulary).saturating_mul(41);
        let bytes = layers.max(sampler);
        self.each("activations", (bytes, bytes / 2));
        if config.multimodal {
            self.need.not_considered.push("what its encoder of images or sound computes".to_owned());
        }
    }

    /// Fewer GPUs than it needs, as far as that is known; and other hosts.
    fn compare(&mut self, gpus: u32, certain: bool) {
        let (needed, all) = (self.here, self.spread.gpus());
        if self.spread.anywhere && certain && needed > u64::from(gpus) {
            self.here = gpus.into();
            self.need.not_known.push(Remark::both(format!(
                "how many of its {needed} GPUs are on this host: Ray chooses them, and there {} here; as many are counted",
                are(gpus)
            )));
        } else if gpus == 0 && !certain {
            self.need.assume(
                "there is no NVIDIA GPU here: these are the numbers for another host (--gpus COUNT --gpu-memory SIZE)",
            );
        } else if certain && needed > u64::from(gpus) {
            self.need.refused.push(Remark::whatever(format!("it needs {needed} GPUs, and there {}", are(gpus))));
        }
        if needed < all {
            self.need.assume(format!(
                "of its {all} GPUs {needed} are on this host, as its flags say: the need is this host's"
            ));
        }
    }

    /// The whole context, or what the flags say.
    pub fn context(&mut self, said: Option<u64>, flag: &str) -> u64 {
        match (said, self.model.config.context) {
            (Some(tokens), _) => tokens,
            (None, Some(tokens)) => {
                self.need.assume(format!("{flag} is not set: the model's whole context of {tokens} tokens"));
                tokens
            }
            // Nothing of the model is known, and that is said once.
            (None, None) if self.model.config.layers.is_empty() => 0,
            (None, None) => {
                let why = format!("the length of the context: neither {flag} nor config.json says it");
                self.need.not_known.push(Remark::vram(why));
                0
            }
        }
    }
}

fn are(gpus: u32) -> String {
    match gpus {
        0 => "is none".to_owned(),
        1 => "is 1".to_owned(),
        more => format!("are {more}"),
    }
}

/// Bytes as a sentence has them.
pub fn shown(bytes: u64) -> String {
    amount::bytes(bytes)
}
