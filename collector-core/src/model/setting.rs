//! What a server's command line says about asking it and of what it may keep in host memory. Knows flags, and no process.

use std::sync::Arc;

use crate::need::flag;
use crate::program::{Flags, Program, is_switch};
use crate::statistic::model::WHOLE;
use crate::text;

/// Settings of a server, as far as its command line says them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// It falls asleep after so many idle nanoseconds, and asking it for numbers counts as work.
    pub sleep: Option<u64>,
    /// All slots share one KV cache.
    pub shared: Option<bool>,
    /// How many requests it works on at once.
    pub slots: Option<u64>,
    /// Bytes that its prompt cache may take.
    pub prompt_cache: Option<PromptCache>,
    /// Bytes of host memory for its KV cache.
    pub offload: Option<u64>,
    /// Bytes of host memory for its weights, for each GPU.
    pub weight_offload: Option<u64>,
    /// Share of a GPU's memory that it may take, in millionths.
    pub gpu_share: Option<u64>,
    /// It was told to tell no numbers, by this flag.
    pub silent: Option<&'static str>,
    /// Those that can be advised.
    pub flags: Arc<Flags>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PromptCache {
    /// The version decides.
    Default,
    Bytes(u64),
    Unlimited,
}

/// The longest value of a flag in bytes: whoever started the server wrote it.
const VALUE: usize = 64;

/// Arguments of a command line. The last of several counts.
#[derive(Debug)]
pub(super) struct Arguments<'a, T>(pub &'a [T]);

impl<T> Clone for Arguments<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Arguments<'_, T> {}

impl<'a, T: AsRef<str>> Arguments<'a, T> {
    /// The value of a flag, `--flag value` or `--flag=value`; `--max_num_seqs` is `--max-num-seqs`.
    pub fn value(self, names: &[&str]) -> Option<&'a str> {
        let mut found = None;
        for (index, argument) in self.0.iter().enumerate() {
            match argument.as_ref().split_once('=') {
                Some((flag, value)) if is(flag, names) => found = Some(value),
                None if is(argument.as_ref(), names) => found = self.0.get(index + 1).map(AsRef::as_ref).or(found),
                _ => {}
            }
        }
        found
    }

    pub fn has(self, names: &[&str]) -> bool {
        self.0.iter().any(|argument| is(argument.as_ref().split('=').next().unwrap_or_default(), names))
    }

    fn number(self, names: &[&str]) -> Option<u64> {
        flag::number(self.value(names)?).ok()?
    }
}

/// A share of 0 to 1, in millionths.
fn share(text: &str) -> Option<u64> {
    let share = text.parse::<f64>().ok().filter(|share| *share > 0.0 && *share <= 1.0)?;
    Some((share * WHOLE as f64).round() as u64)
}

fn is(argument: &str, names: &[&str]) -> bool {
    let same = |name: &str| {
        name.len() == argument.len()
            && name.bytes().zip(argument.bytes()).all(|(one, other)| one == other || (one, other) == (b'-', b'_'))
    };
    names.iter().any(|name| same(name))
}

/// What it says of the flags that can be advised.
fn advisable<T: AsRef<str>>(program: Program, arguments: Arguments<'_, T>) -> Arc<Flags> {
    let each = program.names().iter().filter_map(|name| {
        let spellings: Vec<&str> = program.spellings(name).collect();
        let value = match is_switch(name) {
            true => arguments.has(&spellings).then_some("")?,
            false => arguments.value(&spellings)?,
        };
        let value = text::shown(&value[..value.floor_char_boundary(VALUE)]);
        Some((Arc::from(*name), Arc::from(value)))
    });
    Arc::new(each.collect())
}

const MIB: u64 = 1 << 20;
const SECOND: u64 = 1_000_000_000;

pub(super) fn llama<T: AsRef<str>>(arguments: Arguments<'_, T>) -> Settings {
    let parallel = arguments.number(&["-np", "--parallel"]);
    let sleep = arguments.number(&["--sleep-idle-seconds"]).map(|seconds| seconds.saturating_mul(SECOND));
    Settings {
        sleep,
        // Without a number of slots it chooses four that share one cache (b11434); older ones have one slot.
        shared: Some(match () {
            () if arguments.has(&["-no-kvu", "--no-kv-unified"]) => false,
            () => parallel.is_none() || arguments.has(&["-kvu", "--kv-unified"]),
        }),
        slots: parallel,
        prompt_cache: Some(match arguments.value(&["-cram", "--cache-ram"]).map(flag::number) {
            None | Some(Err(_)) => PromptCache::Default,
            Some(Ok(None)) => PromptCache::Unlimited,
            Some(Ok(Some(mib))) => PromptCache::Bytes(mib.saturating_mul(MIB)),
        }),
        flags: advisable(Program::LlamaCpp, arguments),
        ..Settings::default()
    }
}

pub(super) fn vllm<T: AsRef<str>>(arguments: Arguments<'_, T>) -> Settings {
    let gibibytes =
        |name| arguments.value(&[name]).and_then(|size| flag::gibibytes(size).ok()).filter(|bytes: &u64| *bytes > 0);
    let offload = gibibytes("--kv-offloading-size");
    Settings {
        slots: arguments.number(&["--max-num-seqs"]),
        offload,
        weight_offload: gibibytes("--cpu-offload-gb"),
        gpu_share: arguments.value(&["--gpu-memory-utilization"]).and_then(share),
        silent: arguments.has(&["--disable-log-stats"]).then_some("--disable-log-stats"),
        flags: advisable(Program::Vllm, arguments),
        ..Settings::default()
    }
}

pub(super) fn sglang<T: AsRef<str>>(arguments: Arguments<'_, T>) -> Settings {
    let ranks = arguments.number(&["--tp-size", "--tensor-parallel-size", "--tp"]).unwrap_or(1);
    let gigabytes = arguments.number(&["--hicache-size"]).filter(|size| *size > 0);
    Settings {
        slots: arguments.number(&["--max-running-requests"]),
        gpu_share: arguments.value(&["--mem-fraction-static"]).and_then(share),
        // Of each rank, in powers of ten.
        offload: gigabytes.map(|size| size.saturating_mul(SECOND).saturating_mul(ranks)),
        flags: advisable(Program::Sglang, arguments),
        ..Settings::default()
    }
}

pub(super) fn lmdeploy<T: AsRef<str>>(arguments: Arguments<'_, T>) -> Settings {
    Settings {
        slots: arguments.number(&["--max-batch-size"]),
        silent: arguments.has(&["--disable-metrics"]).then_some("--disable-metrics"),
        ..Settings::default()
    }
}

pub(super) fn triton<T: AsRef<str>>(arguments: Arguments<'_, T>) -> Settings {
    let off = |flag| arguments.value(&[flag]).is_some_and(|value| matches!(value, "false" | "0" | "off"));
    Settings { silent: off("--allow-metrics").then_some("--allow-metrics=false"), ..Settings::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<&str> {
        line.split_whitespace().collect()
    }

    #[test]
    fn flags_are_read_as_servers_do() {
        let line = words("--port 1 --port=2 --max_num_seqs 8 --metrics --bare");
        let arguments = Arguments(&line);
        assert_eq!(arguments.value(&["--port"]), Some("2"));
        assert_eq!((arguments.number(&["--max-num-seqs"]), arguments.value(&["--bare"])), (Some(8), None));
        assert!(arguments.has(&["-x", "--metrics"]) && !arguments.has(&["--metric"]));
    }

    #[test]
    fn llama_server_may_sleep_and_keep_prompts() {
        let of = |line: &str| llama(Arguments(&words(line)));
        let plain = of("-m x.gguf");
        assert_eq!((plain.sleep, plain.shared, plain.prompt_cache), (None, Some(true), Some(PromptCache::Default)));
        let set = of("--sleep-idle-seconds 60 -np 2 --cache-ram 512");
        assert_eq!((set.sleep, set.shared, set.slots), (Some(60 * SECOND), Some(false), Some(2)));
        assert_eq!(set.prompt_cache, Some(PromptCache::Bytes(512 << 20)));
        assert_eq!(of("-np 2 -kvu -cram -1").prompt_cache, Some(PromptCache::Unlimited));
        assert_eq!((of("-np 2 -kvu").shared, of("--no-kv-unified").shared), (Some(true), Some(false)));
        assert_eq!(of("--sleep-idle-seconds -1").sleep, None);
    }

    #[test]
    fn flags_that_can_be_advised_are_kept_by_their_long_names_and_bounded() {
        let of = |program, line: &str| {
            let words = words(line);
            let flags = advisable(program, Arguments(&words));
            flags.iter().map(|(name, value)| format!("{name} {value}")).collect::<Vec<_>>().join(", ")
        };
        let line = "-m x --api-key secret -c 4096 --mlock -np 2 --parallel 4 -cram";
        assert_eq!(of(Program::LlamaCpp, line), "--ctx-size 4096, --mlock , --parallel 4");
        assert_eq!(of(Program::Vllm, "m --max_num_seqs=8 -c 4096"), "--max-num-seqs 8");
        let long = of(Program::Vllm, &format!("--max-num-seqs {}", "é".repeat(100)));
        assert_eq!(long, format!("--max-num-seqs {}", "é".repeat(32)));
        assert_eq!(of(Program::Sglang, "--context-length \u{1b}[31m"), "--context-length \\x1b[31m");
    }

    #[test]
    fn caches_in_host_memory_have_a_size() {
        let line = words("--kv-offloading-size 32 --max-num-seqs=256 --disable-log-stats");
        let expected = Settings {
            slots: Some(256),
            offload: Some(32 << 30),
            silent: Some("--disable-log-stats"),
            ..Settings::default()
        };
        assert_eq!(Settings { flags: Arc::default(), ..vllm(Arguments(&line)) }, expected);
        let shares = vllm(Arguments(&words("--cpu-offload-gb 4 --gpu-memory-utilization=0.85")));
        assert_eq!((shares.weight_offload, shares.gpu_share), (Some(4 << 30), Some(850_000)));
        let none = vllm(Arguments(&words("--cpu-offload-gb 0 --gpu-memory-utilization 92")));
        assert_eq!(Settings { flags: Arc::default(), ..none }, Settings::default());
        assert_eq!(sglang(Arguments(&words("--mem-fraction-static 0.7"))).gpu_share, Some(700_000));
        assert_eq!(sglang(Arguments(&words("--hicache-size 10 --tp 4"))).offload, Some(40_000_000_000));
        assert_eq!(sglang(Arguments(&words("--hicache-size 0"))).offload, None);
        assert_eq!(triton(Arguments(&words("--allow-metrics=false"))).silent, Some("--allow-metrics=false"));
        assert_eq!(triton(Arguments(&words("--allow-metrics true"))).silent, None);
    }
}
