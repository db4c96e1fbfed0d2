//! Estimates of small headers, where every byte can be counted by hand. Real ones are in tests/replay/need.rs.

use super::estimate::{Files, MIB, estimate};
use super::setting::Settings;
use crate::need::gguf::Header;
use crate::need::{Memory, Need, Resource};

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat()
}

/// Two layers of 256 elements, four heads of which two have keys, 1000 words, in this type of tensors.
fn header(architecture: &str, kind: u32, more: &[(&str, u32)]) -> Header {
    let numbers = [
        ("block_count", 2),
        ("embedding_length", 256),
        ("feed_forward_length", 512),
        ("context_length", 4096),
        ("attention.head_count", 4),
        ("attention.head_count_kv", 2),
        ("vocab_size", 1000),
    ];
    let tensors =
        [("token_embd.weight", [256, 1000]), ("blk.0.ffn_up.weight", [256, 512]), ("blk.1.ffn_up.weight", [256, 512])];
    let keys = numbers.iter().chain(more).map(|(name, number)| {
        [&text(&format!("{architecture}.{name}"))[..], &4u32.to_le_bytes(), &number.to_le_bytes()].concat()
    });
    let tensors = tensors.iter().map(|(name, shape)| {
        let shape = shape.map(u64::to_le_bytes).concat();
        [&text(name)[..], &2u32.to_le_bytes(), &shape, &kind.to_le_bytes(), &0u64.to_le_bytes()].concat()
    });
    let counts = [3, 1 + numbers.len() as u64 + more.len() as u64].map(u64::to_le_bytes).concat();
    let name = [&text("general.architecture")[..], &8u32.to_le_bytes(), &text(architecture)].concat();
    let all =
        [b"GGUF\x03\0\0\0".to_vec(), counts, name].into_iter().chain(keys).chain(tensors).collect::<Vec<_>>().concat();
    Header::read(&*all).unwrap()
}

fn files(model: Header) -> Files {
    Files { model, projector: None, draft: None, adapters: Vec::new() }
}

fn need(model: Header, flags: &str, gpus: u32) -> Need {
    estimate(&files(model), &Settings::of(&flags.split_whitespace().collect::<Vec<_>>()).unwrap(), gpus).unwrap()
}

/// Bytes of a part on a resource.
fn amount(need: &Need, what: &str, resource: &Resource) -> u64 {
    need.parts.iter().filter(|part| part.what == what && part.resource == *resource).map(|part| part.amount).sum()
}

fn host(memory: Memory) -> Resource {
    Resource::Host { memory }
}

const F16: u32 = 1;
const Q4_0: u32 = 2;
/// Of the embedding and of a layer, in f16.
const EMBEDDING: u64 = 512_000;
const LAYER: u64 = 262_144;

#[test]
fn weights_are_mapped_read_or_locked() {
    let of =
        |flags: &str, memory, gpus| amount(&need(header("llama", F16, &[]), flags, gpus), "weights", &host(memory));
    let all = EMBEDDING + 2 * LAYER;
    assert_eq!(
        [of("", Memory::Mapped, 0), of("--no-mmap", Memory::Anonymous, 0), of("--mlock", Memory::Locked, 0)],
        [all; 3]
    );
    assert_eq!(of("--load-mode none", Memory::Pinned, 1), EMBEDDING, "CUDA reads into pinned memory");
    assert_eq!(of("--load-mode none -ngl 2", Memory::Pinned, 1), EMBEDDING + LAYER);
}

#[test]
fn what_a_cpu_repacks_is_hard() {
    let quarter = |bytes: u64| bytes / 2 * 18 / 32;
    let plain = need(header("llama", Q4_0, &[]), "", 0);
    assert_eq!(amount(&plain, "weights", &host(Memory::Mapped)), quarter(EMBEDDING));
    // The embedding is the output too.
    let repacked = quarter(EMBEDDING + 2 * LAYER);
    assert_eq!(amount(&plain, "weights, repacked for the CPU", &host(Memory::Anonymous)), repacked);
    let mapped = need(header("llama", Q4_0, &[]), "--no-repack", 0);
    assert_eq!(amount(&mapped, "weights", &host(Memory::Mapped)), quarter(EMBEDDING + 2 * LAYER));
    let beside_gpu = need(header("llama", Q4_0, &[]), "-ngl 0", 1);
    assert_eq!(amount(&beside_gpu, "weights", &host(Memory::Mapped)), quarter(EMBEDDING + 2 * LAYER));
}

#[test]
fn the_cache_has_room_for_all_sequences() {
    // Keys and values of two heads of 64 in f16, in two layers.
    let token = 2 * 2 * 2 * 64 * 2;
    let of = |flags: &str| amount(&need(header("llama", F16, &[]), flags, 0), "KV cache", &host(Memory::Anonymous));
    assert_eq!(
        [of(""), of("-c 1000"), of("-c 1000 -np 3"), of("-np 4 -c 4096")],
        [4096, 1024, 3 * 512, 4096].map(|cells| cells * token)
    );
    assert_eq!(of("-ctk q8_0 -c 1024"), 1024 * (token / 2 + token / 4 * 34 / 32));
    let windows = |flags: &str| {
        let header = header("gemma2", F16, &[("attention.sliding_window", 256)]);
        amount(&need(header, flags, 0), "KV cache", &host(Memory::Anonymous))
    };
    assert_eq!(windows("-np 1 -c 4096"), (4096 + 768) * token / 2);
    assert_eq!(windows("-c 4096"), (4096 + 1536) * token / 2, "four windows in one cache");
    assert_eq!(windows("--swa-full -c 4096"), 4096 * token);
}

#[test]
fn prompts_are_kept_unless_told_otherwise() {
    let of = |flags: &str| {
        amount(&need(header("llama", F16, &[]), flags, 1), "prompt cache, when full", &host(Memory::Anonymous))
    };
    assert_eq!([of(""), of("--cache-ram 100"), of("-cram 0")], [8192 * MIB, 100 * MIB, 0]);
    let unlimited = need(header("llama", F16, &[]), "--cache-ram -1", 0);
    assert!(unlimited.not_considered[0].starts_with("--cache-ram -1"));
    let encoder = need(header("bert", F16, &[]), "", 0);
    assert_eq!(amount(&encoder, "prompt cache, when full", &host(Memory::Anonymous)), 0);
    assert_eq!(amount(&encoder, "KV cache", &host(Memory::Anonymous)), 0);
}

#[test]
fn gpus_share_layers_by_their_shares() {
    let of = |flags: &str, gpu| amount(&need(header("llama", F16, &[]), flags, 2), "weights", &Resource::Vram { gpu });
    // Two layers and the output, which is the embedding.
    assert_eq!([of("", 0), of("", 1)], [2 * LAYER, EMBEDDING]);
    assert_eq!([of("-ts 1,2", 0), of("-ts 1,2", 1)], [LAYER, LAYER + EMBEDDING]);
    assert_eq!([of("-ts 0,1", 0), of("-ngl 1", 0), of("-ngl 0", 1)], [0, EMBEDDING, 0]);
    let evenly = |flags: &str, gpus| {
        let need = need(header("llama", F16, &[]), flags, gpus);
        need.assumptions.iter().any(|sentence| sentence.starts_with("several GPUs share layers evenly"))
    };
    assert!(evenly("", 2) && evenly("-ts 0,0", 2));
    assert!(!evenly("-ts 1,2", 2) && !evenly("-ngl 0", 2) && !evenly("", 1));
}

#[test]
fn gpus_share_rows_or_one_has_all() {
    let of = |flags: &str, what: &str| {
        let need = need(header("llama", F16, &[]), flags, 2);
        [0, 1].map(|gpu| amount(&need, what, &Resource::Vram { gpu }))
    };
    let all = 2 * LAYER + EMBEDDING;
    assert_eq!(of("-sm row", "weights"), [all / 2, all / 2]);
    assert_eq!(of("-sm row -ts 1,3", "weights"), [all / 4, all / 4 * 3]);
    assert_eq!(of("-sm row", "KV cache"), of("-sm layer", "KV cache"));
    assert_eq!(of("-sm none", "weights"), [all, 0]);
    assert_eq!(of("-sm none -mg 1", "weights"), [0, all]);
    assert_eq!(of("-sm none -mg 1", "CUDA context")[0], 0, "the other is not used");
    let tensors = need(header("llama", F16, &[]), "-sm tensor", 2);
    assert!(tensors.not_considered[0].starts_with("--split-mode tensor"), "{tensors:?}");
    assert!(Settings::of(&["-sm", "columns"]).is_err());
}

#[test]
fn other_files_count_too() {
    let mut files = files(header("llama", F16, &[]));
    files.projector = Some(header("clip", F16, &[]));
    files.draft = Some(header("llama", F16, &[]));
    files.adapters = vec![7 * MIB];
    let need = estimate(&files, &Settings::default(), 1).unwrap();
    let gpu = Resource::Vram { gpu: 0 };
    let of = |what: &str| amount(&need, what, &gpu);
    assert_eq!([of("projector"), of("LoRA adapter")], [EMBEDDING + 2 * LAYER, 7 * MIB]);
    assert_eq!((of("draft weights"), of("draft KV cache")), (of("weights"), of("KV cache")));
    let on_host = Settings { projector_on_host: true, ..Settings::default() };
    assert_eq!(amount(&estimate(&files, &on_host, 1).unwrap(), "projector", &gpu), 0);
}

#[test]
fn a_draft_has_layers_of_its_own_on_gpus() {
    let of = |flags: &str| {
        let mut files = files(header("llama", F16, &[]));
        files.draft = Some(header("llama", F16, &[]));
        estimate(&files, &Settings::of(&flags.split_whitespace().collect::<Vec<_>>()).unwrap(), 1).unwrap()
    };
    let gpu = Resource::Vram { gpu: 0 };
    let draft = of("-ngl 0");
    assert_eq!((amount(&draft, "weights", &gpu), amount(&draft, "draft weights", &gpu)), (0, 2 * LAYER + EMBEDDING));
    assert_eq!(amount(&draft, "draft compute buffers", &host(Memory::Anonymous)), 0, "they are pinned");
    assert!(amount(&draft, "compute buffers", &host(Memory::Anonymous)) > 0);
    assert!(amount(&draft, "draft compute buffers", &host(Memory::Pinned)) > 0);
    let once = |need: &Need, what: &str| need.parts.iter().filter(|part| part.what == what).count();
    for (flags, cuda) in [("-ngl 0", 1), ("-ngld 0", 1), ("", 1), ("-ngl 0 -ngld 0", 0)] {
        let need = of(flags);
        let counts = ["CUDA context", "process, CUDA libraries", "staging of weights"].map(|what| once(&need, what));
        assert_eq!(counts, [cuda; 3], "{flags}");
    }
    let draft = of("-ngld 0");
    assert_eq!(amount(&draft, "draft compute buffers", &gpu), 0);
    assert!(amount(&draft, "draft compute buffers", &host(Memory::Anonymous)) > 0);
}

#[test]
fn an_upper_bound_has_all_weights() {
    let all = EMBEDDING + 2 * LAYER;
    let of = |name: &str, more: &[(&str, u32)], gpus| {
        let need = need(header(name, F16, more), "", gpus);
        let gpu = amount(&need, "weights", &Resource::Vram { gpu: 0 });
        (gpu, amount(&need, "weights", &host(Memory::Mapped)))
    };
    let (predicting, fewer) = ([("nextn_predict_layers", 1)], [("block_count", 1)]);
    assert_eq!([of("llama", &predicting, 0), of("llama", &fewer, 0)], [(0, all - LAYER); 2]);
    assert_eq!([of("of-tomorrow", &predicting, 0), of("of-tomorrow", &fewer, 0)], [(0, all); 2]);
    assert_eq!(of("of-tomorrow", &fewer, 1), (all, EMBEDDING), "with the output");
    let mut unknown = header("llama", F16, &fewer);
    unknown.weights.projector.bytes = 7;
    unknown.weights.unknown_type = Some(99);
    let unknown = need(unknown.taken_for(1 << 30), "", 0);
    assert!(amount(&unknown, "weights", &host(Memory::Mapped)) >= (1 << 30) - 4096);
}

#[test]
fn an_unknown_architecture_gets_a_bound_that_says_so() {
    let window =
        [("attention.sliding_window", 256), ("attention.key_length_mla", 8), ("attention.value_length_mla", 8)];
    let unknown = need(header("of-tomorrow", F16, &window), "-c 4096 -np 1", 0);
    let known = need(header("llama", F16, &[]), "-c 4096 -np 1", 0);
    let cache = |need: &Need| amount(need, "KV cache", &host(Memory::Anonymous));
    assert_eq!(cache(&unknown), cache(&known), "neither window nor compression is believed");
    assert_eq!(amount(&unknown, "compute buffers", &host(Memory::Anonymous)), 512 * MIB);
    assert!(unknown.upper_bound && !known.upper_bound);
    assert!(
        unknown.assumptions.iter().any(|sentence| sentence.contains("of-tomorrow is not modelled")),
        "{:?}",
        unknown.assumptions
    );
}

#[test]
fn dimensions_that_cannot_be_are_refused() {
    for key in ["attention.key_length", "expert_used_count", "ssm.state_size"] {
        let header = header("jamba", F16, &[(key, 1 << 25)]);
        let error = estimate(&files(header), &Settings::default(), 0).unwrap_err().to_string();
        assert!(error.contains(&format!("no jamba.{key}, or")), "{error}");
    }
    let most = [
        ("attention.key_length", 1 << 24),
        ("attention.sliding_window", u32::MAX),
        ("ssm.inner_size", 1 << 24),
        ("ssm.state_size", 1 << 24),
    ];
    for name in ["jamba", "gemma2", "kimi-linear", "minimax-01", "deepseek32"] {
        let need = need(header(name, F16, &most), "-c 4294967295 -np 4294967295 -kvu -ub 4294967295 -b 4294967295", 1);
        assert!(need.total().host_hard > 0, "{name}");
    }
}
