//! `headroom need`: prints what a model, a command or a declaration needs. Reads files with the caller's rights, and asks no agent.

mod file;
mod page;

use std::path::Path;

use anyhow::{Context as _, anyhow};
use clap::Args as _;
use collector_core::need::Need;
use collector_core::need::command::arguments;
use collector_core::need::declared::Declared;
use collector_core::need::llama::estimate::estimate;
use collector_core::need::llama::setting::Settings;

use super::terminal::{colour, room};
use crate::exit::{Exit, Failure};

/// Show what a model needs before it starts: host memory, VRAM, and each assumption
///
/// Reads the header of a GGUF file (all files of a split one) and the flags of llama-server, and says how many bytes would
/// be where: weights, KV cache, compute buffers, prompt cache. Host memory is hard where the kernel cannot take it back,
/// and soft where it can, at the price of reading it again. A flag that could matter and is not known is named.
///
/// Options of need come before MODEL, flags of llama-server after it.
///
/// Nothing is started, and no agent is asked. docs/need.md compares the numbers with llama.cpp's own.
#[derive(clap::Args, Clone, Debug)]
#[command(after_long_help = "Examples:
  A model with the default settings:
    headroom need model.gguf
  All layers on the GPU, with a context of 32768 tokens:
    headroom need model.gguf -c 32768 -ngl 99
  A whole command:
    headroom need -- llama-server -m model.gguf -c 32768 -ngl 99 --cache-ram 0
  What a script needs to know:
    headroom need --json model.gguf | jq .total
  What you declare yourself:
    headroom need --memory 18G --vram 20G --cpu 4
")]
pub struct NeedArgs {
    /// GPUs that it may use [default: those of this host]
    #[arg(long, value_name = "COUNT")]
    pub gpus: Option<u32>,
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
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// A GGUF file or a folder with one, and flags of llama-server; after `--` a whole command
    #[arg(value_name = "MODEL", trailing_var_arg = true, allow_hyphen_values = true)]
    pub command: Vec<String>,
}

/// Most GPUs that are believed.
const MOST_GPUS: u32 = 64;

pub fn run(args: &NeedArgs) -> Result<(), Failure> {
    let declared = args.declared().need().map_err(usage)?;
    let need = match &args.command[..] {
        [] if declared.parts.is_empty() => {
            return Err(usage(anyhow!(
                "nothing to look at: name a GGUF file, a command after --, or what you declare"
            )));
        }
        [] => declared,
        command => estimated(command, args.gpus)?.with_declared(declared),
    };
    let text = if args.json { page::json(&need)? } else { page::text(&need, room(), colour()) };
    super::print(&text)
}

impl NeedArgs {
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

fn estimated(command: &[String], gpus: Option<u32>) -> Result<Need, Failure> {
    // A program has no file of its own here, or is none that begins like a model.
    let (model, flags) = match command {
        [path, flags @ ..] if arguments(command).is_err() && Path::new(path).exists() => {
            if let Some(flag) = flags.iter().find(|flag| is_own(flag)) {
                let why = anyhow!("{flag} after {path}: options of need come before MODEL");
                return Err(usage(why));
            }
            (Some(path.clone()), flags)
        }
        _ => (
            None,
            arguments(command)
                .map_err(|error| usage(error).hint("name a GGUF file that exists, or a command after --"))?,
        ),
    };
    let mut settings = Settings::of(flags).map_err(usage)?;
    if model.is_some() {
        settings.model = model;
    }
    let path = settings.model.clone().ok_or_else(|| usage(anyhow!("the command names no model (-m FILE)")))?;
    let files = file::files(Path::new(&path), &settings)?;
    let count = gpus.unwrap_or_else(file::gpus);
    if count > MOST_GPUS {
        return Err(usage(anyhow!("--gpus {count}: expected at most {MOST_GPUS}")));
    }
    let mut need = estimate(&files, &settings, count).with_context(|| format!("understand {path}"))?;
    if gpus.is_none() && count == 0 && settings.gpu_layers != Some(0) {
        need.assume("there is no NVIDIA GPU here: everything is in host memory (--gpus COUNT for another host)");
    }
    Ok(need)
}

/// An option of this verb, not of llama-server.
fn is_own(flag: &str) -> bool {
    let name = flag.split_once('=').map_or(flag, |(name, _)| name).strip_prefix("--");
    let verb = NeedArgs::augment_args(clap::Command::new("need"));
    verb.get_arguments().any(|own| own.get_long().is_some() && own.get_long() == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/need/nomic-embed.gguf");

    fn of(arguments: &[&str], gpus: Option<u32>) -> Result<Need, Failure> {
        let command: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        estimated(&command, gpus)
    }

    #[test]
    fn only_a_host_that_was_looked_at_has_no_gpu() {
        let path = std::env::temp_dir().join(format!("headroom-need-gpu-{}.gguf", std::process::id()));
        std::fs::copy(MODEL, &path).unwrap();
        // The body is a hole.
        std::fs::File::options().write(true).open(&path).unwrap().set_len(1 << 30).unwrap();
        let text = path.to_str().unwrap();
        let needs =
            [(Some(0), false), (None, file::gpus() == 0)].map(|(gpus, says)| (of(&[text], gpus).unwrap(), says));
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
            assert!(!is_own(flag), "{flag}");
        }
    }
}
