//! From headers and settings to a need: which bytes are where, and what had to be assumed.

use super::cache::{Cells, micro_batch, pad};
use super::compute::{Graph, Part as Piece};
use super::place::Placement;
use super::setting::{Load, Settings, Split};
use super::shape::Shape;
use crate::amount;
use crate::need::gguf::weight::Weight;
use crate::need::gguf::{Error, Header};
use crate::need::remark::Remark;
use crate::need::{Memory, Need, Origin, Part, Resource};

pub const MIB: u64 = 1 << 20;

/// The files of one start.
#[derive(Clone, Debug)]
pub struct Files {
    /// All files of the model joined.
    pub model: Header,
    pub projector: Option<Header>,
    pub draft: Option<Header>,
    /// Bytes of each adapter's tensors.
    pub adapters: Vec<u64>,
}

/// What a CUDA context takes: llama.cpp 250 MiB (gguf-parser), 457 MiB (Ollama's `MinimumMemory`).
const CONTEXT: u64 = 457 * MIB;
/// Code and libraries: 21 MB without a GPU, 150 MiB with CUDA (gguf-parser).
const PROCESS: u64 = 32 * MIB;
const PROCESS_CUDA: u64 = 150 * MIB;
/// A token of the vocabulary and its place in the tables.
const TOKEN: u64 = 96;
/// An image encoder's buffers have hundreds of MiB.
const ENCODER: u64 = 300 * MIB;

/// `gpus`: how many it may use.
pub fn estimate(files: &Files, settings: &Settings, gpus: u32) -> Result<Need, Error> {
    let mut need = Need { not_considered: settings.not_considered.clone(), ..Need::default() };
    let offloads = |settings: &Settings| gpus > 0 && settings.gpu_layers != Some(0);
    let mut either = offloads(settings);
    let mut estimate = Estimate { need: &mut need, settings, gpus, offloads: either };
    let shape = estimate.model("", &files.model)?;
    if let Some(draft) = &files.draft {
        let settings = Settings { gpu_layers: settings.draft_gpu_layers, ..settings.clone() };
        let offloads = offloads(&settings);
        either |= offloads;
        Estimate { need: estimate.need, settings: &settings, gpus, offloads }.model("draft ", draft)?;
    }
    if estimate.offloads && (0..gpus).all(|gpu| settings.share(gpu) == 0) {
        estimate.need.refused.push(Remark::vram("--main-gpu or --tensor-split names no GPU that is there"));
    }
    estimate.projector(files.projector.as_ref());
    for bytes in &files.adapters {
        let resource =
            if estimate.offloads { Resource::Vram { gpu: estimate.first() } } else { host(Memory::Anonymous) };
        estimate.add("LoRA adapter", resource, *bytes, 0);
    }
    estimate.process(&shape, either);
    estimate.prompts(&shape);
    estimate.automatic(&shape);
    if settings.split_by == Split::Tensors {
        need.not_considered.push("--split-mode tensor: layers are counted as whole on their GPUs".to_owned());
    }
    Ok(need)
}

fn host(memory: Memory) -> Resource {
    Resource::Host { memory }
}

struct Estimate<'a> {
    need: &'a mut Need,
    settings: &'a Settings,
    gpus: u32,
    /// Some layers of this model are on GPUs.
    offloads: bool,
}

impl Estimate<'_> {
    fn add(&mut self, what: &str, resource: Resource, amount: u64, error: u64) {
        self.part(what, resource, amount, error, false);
    }

    fn part(&mut self, what: &str, resource: Resource, amount: u64, error: u64, loading: bool) {
        self.need.add(Part { what: what.to_owned(), resource, amount, error, origin: Origin::Estimated, loading });
    }

    /// Weights, cache and buffers of a model.
    fn model(&mut self, which: &str, header: &Header) -> Result<Shape, Error> {
        let shape = Shape::of(header)?;
        let placement = Placement::of(&shape, self.settings, self.gpus);
        self.weights(which, header, &shape, &placement);
        let cells = Cells::of(&shape, self.settings);
        self.cache(which, &shape, &placement, cells);
        self.buffers(which, header, &shape, &placement, cells);
        if shape.architecture.bound {
            self.need.upper_bound = true;
            let name = header.architecture()?;
            self.need.assume(format!("the cache of architecture {name} is not modelled: this is an upper bound, with keys and values of all layers"));
        }
        if let Some(kind) = header.weights.unknown_type {
            self.need.upper_bound = true;
            self.need.assume(format!(
                "tensors of the unknown type {kind} are not counted by their type: all of the file is taken for weights"
            ));
        }
        Ok(shape)
    }

    fn weights(&mut self, which: &str, header: &Header, shape: &Shape, placement: &Placement) {
        let weights = &header.weights;
        let trunk = shape.layers.len() - shape.predicting;
        let mut cpu = weights.input;
        let mut gpu = vec![0u64; usize::try_from(self.gpus).unwrap_or(0)];
        let mut put = |device: Option<u32>, weight: Weight| match device.and_then(|device| gpu.get_mut(device as usize))
        {
            Some(sum) => *sum = sum.saturating_add(weight.bytes),
            None => cpu.add(weight),
        };
        for ((weight, device), layer) in weights.layers.iter().zip(&placement.layers).zip(0u64..).take(trunk) {
            let stay = layer < self.settings.cpu_experts;
            let experts = Weight { bytes: weight.experts, repacked: weight.repacked_experts, ..Weight::default() };
            put(if stay { None } else { *device }, experts);
            let rest = Weight {
                bytes: weight.bytes - weight.experts,
                repacked: weight.repacked - weight.repacked_experts,
                ..Weight::default()
            };
            put(*device, rest);
        }
        put(placement.output, weights.output);
        if shape.architecture.bound || weights.unknown_type.is_some() {
            // An upper bound has all of the file.
            put(placement.output, weights.beyond(trunk));
        }
        let tied = !weights.output_matrix && !matches!(shape.architecture.cache, super::architecture::Cache::Nothing);
        if tied && placement.output.is_some() {
            put(placement.output, weights.tied);
            self.need.assume("the output uses the embedding: it is held twice, on the CPU and on the GPU".to_owned());
        } else if tied && shape.architecture.twice {
            put(None, weights.tied);
        } else if tied && self.repacks() {
            // Rows are gathered from the one, and the other is repacked.
            put(None, Weight { bytes: weights.tied.repacked, ..weights.tied });
        }
        self.host_weights(which, cpu);
        if self.settings.split_by == Split::Rows {
            let all = gpu.iter().fold(0u64, |sum, bytes| sum.saturating_add(*bytes));
            let shares: Vec<u64> = (0..self.gpus).map(|gpu| self.settings.share(gpu)).collect();
            let whole = u128::from(shares.iter().sum::<u64>().max(1));
            let part = |share: &u64| u64::try_from(u128::from(all) * u128::from(*share) / whole).unwrap_or(all);
            gpu = shares.iter().map(part).collect();
        }
        // Rows of a matrix are dealt out in blocks (`get_row_rounding` in ggml-cuda.cu).
        let uneven = |bytes: u64| if self.settings.split_by == Split::Rows { bytes / 50 } else { 0 };
        for (device, bytes) in (0..).zip(gpu) {
            self.add(&format!("{which}weights"), Resource::Vram { gpu: device }, bytes, uneven(bytes));
            if self.settings.load != Load::Direct {
                self.part(&format!("{which}weights, read for GPU {device}"), host(Memory::PageCache), bytes, 0, true);
            }
        }
    }

    /// The GPU that has what is not divided.
    fn first(&self) -> u32 {
        if self.settings.split_by == Split::Alone { self.settings.main_gpu } else { 0 }
    }

    /// Where there is a GPU, weights of the CPU are in its host buffers, or mapped (`make_cpu_buft_list`).
    fn repacks(&self) -> bool {
        self.settings.repack && self.gpus == 0
    }

    fn host_weights(&mut self, which: &str, weight: Weight) {
        let what = &format!("{which}weights");
        let pinned = if self.gpus > 0 { Memory::Pinned } else { Memory::Anonymous };
        let memory = match self.settings.load {
            Load::Mapped => Memory::Mapped,
            Load::Read | Load::Direct => pinned,
            Load::ReadLocked | Load::MappedLocked => Memory::Locked,
        };
        let repacked = if self.repacks() { weight.repacked } else { 0 };
        self.add(what, host(memory), weight.bytes - repacked.min(weight.bytes), 0);
        if repacked > 0 {
            self.add(&format!("{what}, repacked for the CPU"), host(Memory::Anonymous), repacked, 0);
            self.need.assume("a CPU with AVX2 keeps weights of q4_0, q4_k, q2_k, iq4_nl and mxfp4 repacked in anonymous memory (--no-repack: mapped)");
        }
        if self.settings.load != Load::Direct && memory != Memory::Mapped && memory != Memory::Locked {
            self.part(&format!("{what}, while read"), host(Memory::PageCache), weight.bytes, 0, true);
        } else if repacked > 0 && self.settings.load == Load::Mapped {
            self.part(&format!("{what}, mapped until repacked"), host(Memory::PageCache), repacked, 0, true);
        }
    }

    fn cache(&mut self, which: &str, shape: &Shape, placement: &Placement, cells: Cells) {
        let mut on_host = 0u64;
        let mut gpu = vec![0u64; usize::try_from(self.gpus).unwrap_or(0)];
        for (layer, device) in shape.layers.iter().zip(&placement.layers) {
            let device = device.filter(|_| !self.settings.cache_on_host);
            let sum = device.and_then(|device| gpu.get_mut(device as usize)).unwrap_or(&mut on_host);
            *sum = sum.saturating_add(cells.bytes(shape, layer, self.settings));
        }
        let what = &format!("{which}KV cache");
        self.add(what, host(Memory::Anonymous), on_host, 0);
        for (device, bytes) in (0..).zip(gpu) {
            self.add(what, Resource::Vram { gpu: device }, bytes, 0);
        }
    }

    fn buffers(&mut self, which: &str, header: &Header, shape: &Shape, placement: &Placement, cells: Cells) {
        let tokens = micro_batch(self.settings, pad(self.settings.context.unwrap_or(shape.context)));
        let graph = Graph { shape, settings: self.settings, cells, tokens };
        let floor = |bytes: u64| match shape.architecture.bound {
            true => bytes.max(512 * MIB).max(header.weights.sum() / 20),
            false => bytes,
        };
        let error = |bytes: u64| if graph.is_dense() { (bytes / 10).max(16 * MIB) } else { bytes / 2 };
        let what = &format!("{which}compute buffers");
        let on_cpu = placement.layers.iter().filter(|device| device.is_none()).count();
        let experts = self.settings.cpu_experts > 0 && shape.routed > 0;
        if !self.offloads {
            let bytes = floor(graph.bytes(Piece::Whole));
            self.add(what, host(Memory::Anonymous), bytes, error(bytes));
        } else {
            let piece = if on_cpu > 0 {
                Piece::Layers { output: placement.output.is_none() }
            } else {
                Piece::Inputs { experts }
            };
            let bytes = graph.bytes(piece);
            self.add(what, host(Memory::Pinned), bytes, error(bytes));
        }
        let copied = if on_cpu > 0 || experts { header.weights.largest } else { 0 };
        for device in 0..self.gpus {
            let output = placement.output == Some(device);
            if !output && !placement.layers.contains(&Some(device)) {
                continue;
            }
            let piece =
                if on_cpu == 0 && output && self.gpus == 1 { Piece::Offloaded } else { Piece::Layers { output } };
            let bytes = floor(graph.bytes(piece));
            self.add(what, Resource::Vram { gpu: device }, bytes, error(bytes));
            // Batches of prompts are computed on the GPU also where weights stay on the CPU.
            self.add(&format!("{which}copy of the largest CPU weight"), Resource::Vram { gpu: device }, copied, copied);
        }
        if self.gpus > 1 && self.offloads && self.settings.splits_evenly() {
            self.need
                .assume("several GPUs share layers evenly (llama.cpp: by what is free on each, or --tensor-split)");
        }
    }

    fn projector(&mut self, projector: Option<&Header>) {
        let Some(header) = projector else { return };
        let on_gpu = self.offloads && !self.settings.projector_on_host;
        let gpu = self.first();
        let resource = |memory| if on_gpu { Resource::Vram { gpu } } else { host(memory) };
        self.add("projector", resource(Memory::Anonymous), header.weights.sum(), 0);
        self.add("projector's buffers", resource(Memory::Anonymous), ENCODER, ENCODER);
        self.need.assume("an image encoder's buffers are taken for 300 MiB, and can be twice that");
    }

    /// What the process has once; `offloads`: of some model, layers are on GPUs.
    fn process(&mut self, shape: &Shape, offloads: bool) {
        let vocabulary = shape.tokens * TOKEN;
        if offloads {
            let staging = if self.settings.load == Load::Direct { 64 * MIB } else { 4 * MIB };
            self.part("staging of weights", host(Memory::Pinned), staging, 0, true);
            self.add("process, CUDA libraries", host(Memory::Anonymous), PROCESS_CUDA + vocabulary, PROCESS_CUDA);
            let used = |gpu: &u32| self.settings.split_by != Split::Alone || *gpu == self.settings.main_gpu;
            for gpu in (0..self.gpus).filter(used) {
                self.add("CUDA context", Resource::Vram { gpu }, CONTEXT, CONTEXT / 2);
            }
        } else {
            self.add("process", host(Memory::Anonymous), PROCESS + vocabulary, PROCESS / 2);
        }
        // Logits of one token a sequence.
        let (sequences, _) = self.settings.sequences();
        self.add(
            "output logits",
            host(Memory::Anonymous),
            shape.vocabulary.saturating_mul(4).saturating_mul(sequences),
            0,
        );
    }

    fn prompts(&mut self, shape: &Shape) {
        if matches!(shape.architecture.cache, super::architecture::Cache::Nothing) {
            return;
        }
        match self.settings.prompt_cache {
            Some(0) => {}
            Some(limit) => {
                let limit = limit.saturating_mul(MIB);
                self.add("prompt cache, when full", host(Memory::Anonymous), limit, limit);
                self.need.assume(format!(
                    "llama-server keeps up to {} of prompts in host memory (--cache-ram MiB; 0 keeps none)",
                    amount::bytes(limit)
                ));
            }
            None => self
                .need
                .not_considered
                .push("--cache-ram -1: prompts are kept in host memory without a limit".to_owned()),
        }
    }

    /// What llama.cpp chooses by itself.
    fn automatic(&mut self, shape: &Shape) {
        if self.settings.context.is_none() {
            self.need.assume(format!("-c is not set: the model's whole context of {} tokens", shape.context));
        }
        if self.settings.parallel.is_none() {
            let (sequences, _) = self.settings.sequences();
            self.need.assume(format!("-np is not set: {sequences} sequences share the cache"));
        }
        if self.gpus > 0 && self.settings.gpu_layers.is_none() {
            let total = self.need.total();
            let vram = total.vram.values().fold(0u64, |sum, bytes| sum.saturating_add(*bytes));
            self.need.assume(format!(
                "-ngl is not set: all layers are on GPUs; if {} are not free there, llama.cpp moves layers into host memory{}",
                amount::bytes(vram),
                if self.settings.context.is_none() { ", after a shorter context (--fit-ctx, 4096)" } else { "" },
            ));
        }
    }
}
