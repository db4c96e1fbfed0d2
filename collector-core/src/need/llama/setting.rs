//! What llama-server's command line says about memory. Names and defaults of llama.cpp's common/arg.cpp and common/common.h (b11434).

use crate::need::flag::{Error, Flags, MOST, NUMBER, Set, Switch, number, positive};
use crate::need::quantisation::Type;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    pub model: Option<String>,
    /// Tokens; `None`: what the model was trained with.
    pub context: Option<u64>,
    /// Sequences at a time; `None`: four, which share the cache.
    pub parallel: Option<u64>,
    /// All sequences share one cache; without a number of sequences they always do.
    pub unified: bool,
    pub batch: u64,
    pub micro_batch: u64,
    /// Layers on GPUs; `None`: as many as fit.
    pub gpu_layers: Option<u64>,
    pub key: Type,
    pub value: Type,
    pub flash_attention: bool,
    /// The cache stays in host memory.
    pub cache_on_host: bool,
    pub full_window: bool,
    pub load: Load,
    /// The weights that a CPU uses are repacked.
    pub repack: bool,
    /// MiB of prompts that are kept in host memory; `None`: without a limit.
    pub prompt_cache: Option<u64>,
    /// The first layers whose experts stay on the CPU.
    pub cpu_experts: u64,
    /// Shares of the GPUs.
    pub split: Vec<u64>,
    pub split_by: Split,
    /// The GPU that is used alone, if one is.
    pub main_gpu: u32,
    pub projector: Option<String>,
    pub projector_on_host: bool,
    pub draft: Option<String>,
    pub draft_gpu_layers: Option<u64>,
    pub adapters: Vec<String>,
    /// Arguments that could matter, and are not taken into account.
    pub not_considered: Vec<String>,
}

/// How several GPUs share a model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Split {
    #[default]
    Layers,
    /// Each matrix by its rows; caches by layers.
    Rows,
    /// Matrices and caches.
    Tensors,
    /// One GPU has all.
    Alone,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    Mapped,
    /// Read into anonymous memory.
    Read,
    ReadLocked,
    MappedLocked,
    /// Read past the page cache.
    Direct,
}

impl Default for Settings {
    fn default() -> Settings {
        let f16 = Type::F16;
        Settings {
            model: None,
            context: None,
            parallel: None,
            unified: false,
            batch: 2048,
            micro_batch: 512,
            gpu_layers: None,
            key: f16,
            value: f16,
            flash_attention: true,
            cache_on_host: false,
            full_window: false,
            load: Load::Mapped,
            repack: true,
            prompt_cache: Some(8192),
            cpu_experts: 0,
            split: Vec::new(),
            split_by: Split::default(),
            main_gpu: 0,
            projector: None,
            projector_on_host: false,
            draft: None,
            draft_gpu_layers: None,
            adapters: Vec::new(),
            not_considered: Vec::new(),
        }
    }
}

fn kind(value: &str) -> Result<Type, &'static str> {
    Type::cache(value).ok_or("f32, f16, bf16, q8_0, q4_0, q4_1, iq4_nl, q5_0 or q5_1")
}

/// Flags with a value.
#[rustfmt::skip]
const VALUES: &[(&[&str], Set<Settings>)] = &[
    (&["-m", "--model"], |settings, value| { settings.model = Some(value.to_owned()); Ok(()) }),
    (&["-c", "--ctx-size"], |settings, value| { settings.context = number(value)?.filter(|context| *context > 0); Ok(()) }),
    (&["-np", "--parallel"], |settings, value| { settings.parallel = number(value)?.filter(|parallel| *parallel > 0); Ok(()) }),
    (&["-b", "--batch-size"], |settings, value| { settings.batch = positive(value)?; Ok(()) }),
    (&["-ub", "--ubatch-size"], |settings, value| { settings.micro_batch = positive(value)?; Ok(()) }),
    (&["-ngl", "--gpu-layers", "--n-gpu-layers"], |settings, value| { settings.gpu_layers = layers(value)?; Ok(()) }),
    (&["-ctk", "--cache-type-k"], |settings, value| { settings.key = kind(value)?; Ok(()) }),
    (&["-ctv", "--cache-type-v"], |settings, value| { settings.value = kind(value)?; Ok(()) }),
    (&["-fa", "--flash-attn"], |settings, value| match value {
        "on" | "enabled" | "true" | "1" | "auto" | "-1" => { settings.flash_attention = true; Ok(()) }
        "off" | "disabled" | "false" | "0" => { settings.flash_attention = false; Ok(()) }
        _ => Err("on, off or auto"),
    }),
    (&["-cram", "--cache-ram"], |settings, value| { settings.prompt_cache = number(value)?; Ok(()) }),
    (&["-ncmoe", "--n-cpu-moe"], |settings, value| { settings.cpu_experts = number(value)?.ok_or(NUMBER)?; Ok(()) }),
    (&["-ts", "--tensor-split"], |settings, value| { settings.split = shares(value)?; Ok(()) }),
    (&["-sm", "--split-mode"], |settings, value| {
        settings.split_by = match value {
            "layer" => Split::Layers,
            "row" => Split::Rows,
            "tensor" => Split::Tensors,
            "none" => Split::Alone,
            _ => return Err("none, layer, row or tensor"),
        };
        Ok(())
    }),
    (&["-mg", "--main-gpu"], |settings, value| { settings.main_gpu = number(value)?.and_then(|gpu| u32::try_from(gpu).ok()).ok_or(NUMBER)?; Ok(()) }),
    (&["-mm", "--mmproj"], |settings, value| { settings.projector = Some(value.to_owned()); Ok(()) }),
    (&["-md", "--model-draft", "--spec-draft-model"], |settings, value| { settings.draft = Some(value.to_owned()); Ok(()) }),
    (&["-ngld", "--gpu-layers-draft", "--n-gpu-layers-draft", "--spec-draft-ngl"], |settings, value| { settings.draft_gpu_layers = layers(value)?; Ok(()) }),
    (&["--lora"], |settings, value| { settings.adapters.extend(value.split(',').map(str::to_owned)); Ok(()) }),
    (&["-lm", "--load-mode"], |settings, value| {
        settings.load = match value {
            "auto" | "mmap" => Load::Mapped,
            "none" => Load::Read,
            "mlock" => Load::ReadLocked,
            "mmap+mlock" => Load::MappedLocked,
            "dio" => Load::Direct,
            _ => return Err("auto, none, mmap, mlock, mmap+mlock or dio"),
        };
        Ok(())
    }),
];

/// Flags without one.
#[rustfmt::skip]
const SWITCHES: &[(&[&str], Switch<Settings>)] = &[
    (&["-kvu", "--kv-unified"], |settings| settings.unified = true),
    (&["-no-kvu", "--no-kv-unified"], |settings| settings.unified = false),
    (&["-nkvo", "--no-kv-offload"], |settings| settings.cache_on_host = true),
    (&["-kvo", "--kv-offload"], |settings| settings.cache_on_host = false),
    (&["--swa-full"], |settings| settings.full_window = true),
    (&["--no-mmap"], |settings| settings.load = if settings.load == Load::MappedLocked { Load::ReadLocked } else { Load::Read }),
    (&["--mmap"], |settings| settings.load = Load::Mapped),
    (&["--mlock"], |settings| settings.load = if settings.load == Load::Read { Load::ReadLocked } else { Load::MappedLocked }),
    (&["-dio", "--direct-io"], |settings| settings.load = Load::Direct),
    (&["-nr", "--no-repack"], |settings| settings.repack = false),
    (&["--repack"], |settings| settings.repack = true),
    (&["-cmoe", "--cpu-moe"], |settings| settings.cpu_experts = MOST),
    (&["--no-mmproj-offload"], |settings| settings.projector_on_host = true),
];

/// Flags that change nothing about memory, and whether a value follows.
#[rustfmt::skip]
const HARMLESS: &[(&str, bool)] = &[
    ("--host", true), ("--port", true), ("-t", true), ("--threads", true), ("-tb", true), ("--threads-batch", true),
    ("-a", true), ("--alias", true), ("--api-key", true), ("--temp", true), ("--top-k", true), ("--top-p", true),
    ("--min-p", true), ("-n", true), ("--predict", true), ("--n-predict", true), ("-s", true), ("--seed", true), ("-lv", true), ("-to", true),
    ("--timeout", true), ("--threads-http", true), ("--log-file", true), ("--chat-template", true), ("--log-verbosity", true),
    ("--metrics", false), ("--no-webui", false), ("--no-ui", false), ("--offline", false), ("--jinja", false), ("--slots", false), ("--no-slots", false),
    ("--props", false), ("-v", false), ("--verbose", false), ("--no-warmup", false), ("--warmup", false), ("-cb", false), ("--cont-batching", false),
    ("--log-disable", false), ("--log-timestamps", false), ("--log-prefix", false), ("--no-mmproj", false),
];

const FLAGS: Flags<Settings> =
    Flags { values: VALUES, switches: SWITCHES, harmless: HARMLESS, positional: |_, _| false, underscores: false };

fn layers(value: &str) -> Result<Option<u64>, &'static str> {
    match value {
        "auto" => Ok(None),
        // All that there are.
        "all" | "-1" => Ok(Some(MOST)),
        value => number(value).map_err(|_| "a number, auto or all").map(|layers| Some(layers.unwrap_or(MOST))),
    }
}

/// `3,1`. Fractions are kept to thousandths.
fn shares(value: &str) -> Result<Vec<u64>, &'static str> {
    let share = |text: &str| crate::amount::parse_thousandths(text).ok().filter(|share| *share <= MOST * 1000);
    value.split([',', '/']).map(share).collect::<Option<Vec<_>>>().ok_or("numbers, such as 3,1")
}

impl Settings {
    /// Of the arguments after the program's name.
    pub fn of<T: AsRef<str>>(arguments: &[T]) -> Result<Settings, Error> {
        let mut settings = Settings::default();
        settings.not_considered = FLAGS.read(arguments, &mut settings)?;
        Ok(settings)
    }

    /// Sequences, and whether they share one cache. llama-server chooses both where the number is not set.
    pub fn sequences(&self) -> (u64, bool) {
        self.parallel.map_or((4, true), |parallel| (parallel, self.unified))
    }

    /// No share of a GPU differs from another's.
    pub fn splits_evenly(&self) -> bool {
        self.split_by != Split::Alone && self.split.iter().all(|share| *share == 0)
    }

    /// What a GPU has of the whole. Without `--tensor-split` llama.cpp goes by what is free on each; here all count the same.
    pub fn share(&self, gpu: u32) -> u64 {
        match self.split_by {
            Split::Alone => u64::from(gpu == self.main_gpu),
            _ if self.splits_evenly() => 1,
            _ => usize::try_from(gpu).ok().and_then(|gpu| self.split.get(gpu)).copied().unwrap_or(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> Result<Settings, Error> {
        Settings::of(&line.split_whitespace().collect::<Vec<_>>())
    }

    #[test]
    fn a_command_line_is_read() {
        let settings = of("-m x.gguf -c 32768 -ngl 99 -np 2 --ubatch-size=256 -ctk q8_0 -fa off -nkvo --no-mmap -cram 0 -ts 3,1.5 -cmoe").unwrap();
        let expected = Settings {
            model: Some("x.gguf".to_owned()),
            context: Some(32768),
            gpu_layers: Some(99),
            parallel: Some(2),
            micro_batch: 256,
            key: Type::cache("q8_0").unwrap(),
            flash_attention: false,
            cache_on_host: true,
            load: Load::Read,
            prompt_cache: Some(0),
            split: vec![3000, 1500],
            cpu_experts: MOST,
            ..Settings::default()
        };
        assert_eq!(settings, expected);
        assert_eq!(settings.sequences(), (2, false));
        assert_eq!(of("").unwrap().sequences(), (4, true));
        assert_eq!(of("-no-kvu").unwrap().sequences(), (4, true), "llama-server sets both");
        assert_eq!(of("-np 4 -kvu").unwrap().sequences(), (4, true));
        assert_eq!((of("-ngl -1").unwrap().gpu_layers, of("-ngl auto").unwrap().gpu_layers), (Some(MOST), None));
        assert_eq!((of("-c 0").unwrap().context, of("-cram -1").unwrap().prompt_cache), (None, None));
        let locked =
            ["--mlock", "--no-mmap --mlock", "--mlock --no-mmap", "--load-mode dio"].map(|line| of(line).unwrap().load);
        assert_eq!(locked, [Load::MappedLocked, Load::ReadLocked, Load::ReadLocked, Load::Direct]);
    }

    #[test]
    fn what_is_unknown_is_named_and_what_is_harmless_is_not() {
        let settings =
            of("--port 8080 --n-predict 5 -ot exps=CPU --rpc host:1 --metrics --override-kv a=int:1 stray --new")
                .unwrap();
        assert_eq!(
            settings.not_considered,
            ["-ot exps=CPU", "--rpc host:1", "--override-kv a=int:1", "stray", "--new"]
        );
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let error = |line| of(line).unwrap_err().to_string();
        assert_eq!(error("-c"), "-c needs a value");
        assert_eq!(error("-c many"), "-c many: expected a number");
        assert_eq!(error("-c 99999999999"), "-c 99999999999: expected a number of 32 bits");
        assert_eq!(error("-ub 0"), "-ub 0: expected a number above 0");
        assert!(error("-ctk q4_k").starts_with("-ctk q4_k: expected f32,"));
        assert!(error("-ts 1,x").contains("such as 3,1"));
    }
}
