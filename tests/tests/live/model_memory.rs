//! Host memory of model servers, by what it is for: a real llama.cpp server whose weights are mapped and whose cache of prompts grows by
//! prompts of the test, against the server's cgroup; and shared memory of a process that is called as vLLM is.

use std::fs;
use std::time::Instant;

use collector_core::statistic::model::Kind;
use collector_tests::agent::{Agent, PATIENCE, body};
use collector_tests::cgroup::Cgroup;
use collector_tests::llama::{self, Llama, python};
use collector_tests::process;
use collector_tests::require::is_root;
use collector_tests::scratch::scratch;
use collector_tests::serve::Process;
use collector_tests::{gguf, needs};
use serde_json::Value;

const CONFIG: &str = "tick = \"100ms\"\n[models]\ninterval = \"200ms\"\n[model_file]\ninterval = \"200ms\"\n";
const MIB: u64 = 1 << 20;
/// Keys and values of one layer: 4 heads of 64 numbers each, of 2 bytes.
const KV_OF_A_TOKEN: u64 = 2 * 4 * 64 * 2;

/// What the API says of a server's memory.
fn memory(agent: &Agent, server: &str) -> Value {
    let answer: Value = serde_json::from_str(&body(&agent.address, "/api/v1/models", "")).unwrap();
    let servers = answer["servers"].as_array().unwrap();
    servers.iter().find(|it| it["server"] == server).map(|it| it["memory"].clone()).unwrap_or_default()
}

/// Waits until it is so.
fn until(agent: &Agent, server: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let begun = Instant::now();
    loop {
        let memory = memory(agent, server);
        if wanted(&memory) {
            return memory;
        }
        assert!(begun.elapsed() < PATIENCE, "{what}: {memory}");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

#[test]
fn a_real_servers_weights_and_its_cache_of_prompts_are_what_the_kernel_charges() {
    needs!(is_root(), "cgroups and programs need root");
    needs!(python().is_file(), "llama.cpp's server is not installed: cargo xtask test");
    let folder = scratch();
    let model = folder.join("made-up.gguf");
    let size = gguf::llama(&model, 1);
    let agent = Agent::start(CONFIG);
    let cgroup = Cgroup::new("model-memory");
    let flags = ["-c", "2048", "-np", "1", "-t", "1", "--cache-ram", "512", "--metrics"];
    let server = Llama::start(&cgroup, &model, &flags);
    let name = format!("llama_cpp:{}", server.port());
    // A prompt as long as those that follow: its buffers for work are allocated with it.
    let prompt = |number: usize| -> String {
        (0..200).map(|word| format!("{}{word} ", ["a", "b", "c", "d", "e"][number])).collect()
    };
    llama::prompt(&server.address, &prompt(0));
    let kernel = || process::memory(server.pid(), "RssAnon:");
    // The server reads all of its weights: all of them are mapped and in memory.
    let held = until(&agent, &name, "its weights", |it| it["weights_bytes"].as_u64() == Some(size));
    let file = process::memory(server.pid(), "RssFile:");
    assert!(size <= file, "{size} of {file} that the kernel counts: {held}");
    let cached = |it: &Value| it["prompt_cache_bytes"].as_u64();
    let settled = |what: &str| {
        let now = kernel();
        until(&agent, &name, what, |it| it["anon_bytes"].as_u64().is_some_and(|told| told.abs_diff(now) <= MIB / 4))
    };
    let (before, told) = (kernel(), cached(&settled("its memory")).unwrap());
    // Prompts with nothing in common: each goes to the cache when the next one comes.
    let mut tokens = 0;
    for number in 1..5 {
        tokens += llama::prompt(&server.address, &prompt(number)).0;
    }
    let grown = kernel() - before;
    let told = cached(&settled("the prompts")).unwrap() - told;
    // Four were kept: that before, and all but the last.
    let known = tokens * KV_OF_A_TOKEN;
    eprintln!("weights {size}; prompts {known} by their tokens, {grown} by the kernel, {told} as told");
    let near = |one: u64, other: u64| one.abs_diff(other) <= MIB / 2 + other / 10;
    assert!(near(told, grown), "{told}, but the kernel says {grown}");
    // With each prompt the server keeps a little more than its keys and values.
    let enough = known - MIB / 4..=known + known / 3 + MIB;
    assert!(enough.contains(&told), "{told}, but {tokens} tokens take {known}");
}

#[test]
fn a_cache_in_shared_memory_is_as_large_as_the_kernel_says_it_is() {
    needs!(is_root(), "cgroups and programs need root");
    const CONFIGURED: u64 = 96 * MIB;
    const HELD: u64 = 64 * MIB;
    let folder = scratch();
    let agent = Agent::start(CONFIG);
    let cgroup = Cgroup::new("model-shared");
    let mut server = Process::start(env!("CARGO_BIN_EXE_serve"), &folder, Kind::Vllm, &[], Some(&cgroup));
    let name = format!("vllm:{}", server.port);
    server.change(&[&format!("offload_bytes {CONFIGURED}"), &format!("share {HELD}")]);
    let told = |it: &Value| it["kv_offload_bytes"].as_u64();
    let now = until(&agent, &name, "the shared memory", |it| told(it) >= Some(HELD));
    let kernel = process::memory(server.pid(), "RssShmem:");
    assert_eq!((told(&now), now["shmem_bytes"].as_u64()), (Some(kernel), Some(kernel)), "{now}");
    assert_eq!(kernel, HELD);
    let over = now["kv_offload_over_ratio"].as_f64().unwrap();
    assert!((over - 2.0 / 3.0).abs() < 1e-6, "{over}");
    // Pages that another cgroup is charged with are not its cache, however many processes have them mapped.
    let text = fs::read_to_string(cgroup.memory().join("memory.stat")).unwrap();
    let charged = text.lines().find_map(|line| line.strip_prefix("shmem ")).unwrap();
    assert!(charged.parse::<u64>().unwrap() >= HELD, "the kernel charges its cgroup with them: {charged}");
}
