//! `headroom need`: prints what a model, a command or a declaration needs; [`wanted`] says the same to other verbs. Reads files with
//! the caller's rights.

mod environment;
mod estimate;
pub(super) mod file;
pub(super) mod folder;
mod host;
pub(super) mod ollama;
mod page;

use anyhow::anyhow;
use clap::ValueEnum;
use collector_core::need::Need;
use collector_core::need::command::Program;
use collector_core::need::declared::Declared;

pub use self::environment::{Environment, VISIBLE};
use self::estimate::estimate;
use self::host::Host;
use super::settings::{HEADING, Settings};
use super::terminal::{colour, room};
use crate::config::load::Effective;
use crate::exit::{Exit, Failure};

/// Show what a model needs before it starts: host memory, VRAM, and each assumption
///
/// Reads the headers of a model and the flags of its engine, and says how many bytes would be where: weights, KV cache,
/// buffers, prompt cache. Knows GGUF files and llama-server, safetensors models and vLLM, SGLang and
/// text-generation-launcher, models of Ollama, and models that are declared by name ([[model]]). Host memory is hard where
/// the kernel cannot take it back, and soft where it can, at the price of reading it again. A flag that could matter and is
/// not known is named.
///
/// Options of need come before MODEL, flags of its engine after it.
///
/// Nothing is started. The agent, if one runs, is asked only for the size and the compute capability of GPUs. docs/need.md compares the numbers with
/// llama.cpp's own.
#[derive(clap::Args, Clone, Debug)]
#[command(after_long_help = "Examples:
  A model with the default settings:
    headroom need model.gguf
  All layers on the GPU, with a context of 32768 tokens:
    headroom need model.gguf -c 32768 -ngl 99
  A whole command:
    headroom need -- llama-server -m model.gguf -c 32768 -ngl 99 --cache-ram 0
  A folder with safetensors under vLLM, for a GPU of 80 GiB:
    headroom need --gpu-memory 80G -- vllm serve /models/llama --gpu-memory-utilization 0.9
  A model of Ollama, and one that is declared by name:
    headroom need -- ollama run llama3.2
    headroom need musicgen-medium
  What a script needs to know:
    headroom need --json model.gguf | jq .total
  What you declare yourself:
    headroom need --memory 18G --vram 20G --cpu 4
")]
pub struct NeedArgs {
    #[command(flatten)]
    pub wants: Wants,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub settings: Settings,
    /// A GGUF file, a folder with a model, or a name, and flags of its engine; after `--` a whole command
    #[arg(value_name = "MODEL", trailing_var_arg = true, allow_hyphen_values = true)]
    pub command: Vec<String>,
}

/// What a need is for, and what of it is declared: flags of every verb that takes one.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct Wants {
    /// GPUs that it may use [default: those of this host]
    #[arg(long, value_name = "COUNT")]
    pub gpus: Option<u32>,
    /// Memory of each GPU: 80G, or 80G,24G [default: what the running agent says of this host]
    #[arg(long, value_name = "BYTES")]
    pub gpu_memory: Option<String>,
    /// What serves a model that is named alone [default: llama for GGUF, else vllm]
    #[arg(long, value_enum, value_name = "ENGINE")]
    pub engine: Option<Engine>,
    /// Host memory that you know it needs, in place of an estimate, such as 18G
    #[arg(long, value_name = "BYTES")]
    pub memory: Option<String>,
    /// VRAM that you know it needs: 20G, or 20G,20G for two GPUs
    #[arg(long, value_name = "BYTES")]
    pub vram: Option<String>,
    /// Room on a filesystem, such as 50G:/data
    #[arg(long, value_name = "BYTES:PATH")]
    pub disk: Vec<String>,
    /// CPUs
    #[arg(long, value_name = "COUNT")]
    pub cpu: Option<String>,
    /// Bits a second, such as 1G
    #[arg(long, value_name = "BITS")]
    pub network: Option<String>,
    /// A place of this name, or NAME=COUNT
    #[arg(long, value_name = "NAME")]
    pub slot: Vec<String>,
}

pub fn run(args: &NeedArgs, effective: &Effective) -> Result<(), Failure> {
    let need = wanted(&args.wants, &args.command, &Own::of::<NeedArgs>("need"), effective)?;
    let text = if args.json { page::json(&need)? } else { page::text(&need, room(), colour()) };
    super::print(&text)
}

/// The need of a command or a model, which may be empty, with what is declared in place of estimates.
///
/// `own`: the options of the verb that asks.
pub fn wanted(wants: &Wants, command: &[String], own: &Own, effective: &Effective) -> Result<Need, Failure> {
    let declared = wants.declared().need().map_err(usage)?;
    if command.is_empty() && declared.parts.is_empty() {
        let why = anyhow!("nothing to look at: name a model, a command after --, or what you declare");
        return Err(usage(why));
    }
    if command.is_empty() {
        return Ok(declared);
    }
    let environment = Environment::of(command);
    let host = Host::of(wants.gpus, wants.gpu_memory.as_deref(), environment, effective).map_err(usage)?;
    let mut need = match estimate(command, wants.engine, own, &host)? {
        Ok(need) => need,
        // What is declared needs no estimate.
        Err(unknown) if !declared.parts.is_empty() => {
            let mut need = Need::default();
            need.assume(format!("{unknown}: only what is declared counts"));
            need
        }
        Err(unknown) => {
            return Err(usage(unknown).hint("name a model that exists, or declare what it needs: --memory 18G"));
        }
    };
    need = need.with_declared(declared);
    host.resolve(&mut need);
    Ok(need)
}

/// A server of models in a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Engine {
    Llama,
    Vllm,
    Sglang,
    Tgi,
}

impl Engine {
    const fn program(self) -> Program {
        match self {
            Engine::Llama => Program::Llama,
            Engine::Vllm => Program::Vllm,
            Engine::Sglang => Program::Sglang,
            Engine::Tgi => Program::Tgi,
        }
    }
}

impl Wants {
    fn declared(&self) -> Declared {
        Declared {
            memory: self.memory.clone(),
            vram: self.vram.clone(),
            disk: self.disk.clone(),
            cpu: self.cpu.clone(),
            network: self.network.clone(),
            slot: self.slot.clone(),
        }
    }
}

fn usage(error: impl Into<anyhow::Error>) -> Failure {
    Failure::new(Exit::Usage, error)
}

/// The options of a verb, which an engine's line must not have by mistake.
pub struct Own {
    verb: &'static str,
    flags: Vec<String>,
}

impl Own {
    /// Without settings: engines have flags named as these are, such as `--host`.
    pub fn of<A: clap::Args>(verb: &'static str) -> Own {
        let command = A::augment_args(clap::Command::new(verb));
        let own = command.get_arguments().filter(|own| own.get_help_heading() != Some(HEADING));
        Own { verb, flags: own.filter_map(clap::Arg::get_long).map(str::to_owned).collect() }
    }

    /// For what is run as it stands.
    pub fn none() -> Own {
        Own { verb: "", flags: Vec::new() }
    }

    pub fn has(&self, flag: &str) -> bool {
        let name = flag.split_once('=').map_or(flag, |(name, _)| name).strip_prefix("--");
        name.is_some_and(|name| self.flags.iter().any(|own| own == name))
    }

    /// # Errors
    /// If one of them comes after the model.
    fn check(&self, model: &str, flags: &[String]) -> Result<(), Failure> {
        let Some(flag) = flags.iter().find(|flag| self.has(flag)) else { return Ok(()) };
        let verb = self.verb;
        let failure = usage(anyhow!("{flag} after {model}: options of {verb} come before MODEL"));
        Err(failure
            .hint(format!("if the engine has a {flag}, too, write its whole command: headroom {verb} … -- ENGINE …")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{lease, wait};
    use crate::config::load::{Layers, load};

    const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/need/nomic-embed.gguf");

    fn of(arguments: &[&str], gpus: Option<u32>) -> Result<Need, Failure> {
        let command: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let layers = Layers { file: Some("/dev/null".into()), ..Layers::default() };
        let wants = Wants { gpus, ..Wants::default() };
        wanted(&wants, &command, &Own::of::<NeedArgs>("need"), &load(&layers).unwrap())
    }

    #[test]
    fn only_a_host_that_was_looked_at_has_no_gpu() {
        let path = std::env::temp_dir().join(format!("headroom-need-gpu-{}.gguf", std::process::id()));
        std::fs::copy(MODEL, &path).unwrap();
        // The body is a hole.
        std::fs::File::options().write(true).open(&path).unwrap().set_len(1 << 30).unwrap();
        let text = path.to_str().unwrap();
        let needs =
            [(Some(0), false), (None, host::nodes() == 0)].map(|(gpus, says)| (of(&[text], gpus).unwrap(), says));
        std::fs::remove_file(&path).unwrap();
        for (need, says) in needs {
            let said = need.assumptions.iter().any(|sentence| sentence.starts_with("there is no NVIDIA GPU here"));
            assert_eq!(said, says, "{:?}", need.assumptions);
        }
    }

    #[test]
    fn options_after_the_model_are_refused() {
        for flag in ["--json", "--gpus", "--gpus=1", "--memory", "--vram", "--disk", "--cpu", "--network", "--slot"] {
            let failure = of(&[MODEL, "-c", "512", flag], None).unwrap_err();
            assert!(matches!(failure.exit, Exit::Usage), "{flag}");
            let text = format!("{:#}", failure.error);
            assert_eq!(text, format!("{flag} after {MODEL}: options of need come before MODEL"));
        }
        for flag in ["--slots", "--json-schema", "-cmoe", "json"] {
            assert!(!Own::of::<NeedArgs>("need").has(flag), "{flag}");
        }
        // Each verb has some of its own.
        let load = || load(&Layers { file: Some("/dev/null".into()), ..Layers::default() }).unwrap();
        let verbs = [
            (Own::of::<lease::AdmitArgs>("admit"), "--strict"),
            (Own::of::<lease::ReserveArgs>("reserve"), "--for=5m"),
            (Own::of::<wait::WaitArgs>("wait"), "--timeout"),
        ];
        for (own, flag) in verbs {
            let command = [MODEL, flag].map(str::to_owned);
            let failure = wanted(&Wants::default(), &command, &own, &load()).unwrap_err();
            let wanted = format!("{flag} after {MODEL}: options of {} come before MODEL", own.verb);
            assert_eq!(format!("{:#}", failure.error), wanted);
        }
    }
}
