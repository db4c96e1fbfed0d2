//! The need of a command, or of a model with flags: which reader and which plan it takes.

use std::path::Path;

use anyhow::{Context as _, anyhow};
use collector_core::need::Need;
use collector_core::need::checkpoint::Checkpoint;
use collector_core::need::checkpoint::config::Config;
use collector_core::need::command::{Command, Program, Unknown, ollama_model};
use collector_core::need::llama::estimate::estimate as estimate_llama;
use collector_core::need::llama::setting::Settings as Llama;
use collector_core::need::llama::variable;
use collector_core::need::ollama::Name;
use collector_core::need::safetensors::tensor::Weights;
use collector_core::need::server::{sglang, sglang_flag, tgi, vllm, vllm_flag};

use super::host::Host;
use super::{Engine, Own, file, folder, ollama, usage};
use crate::exit::{Exit, Failure};

/// The need of a line; [`Unknown`] if it is neither a command nor a model that is known.
pub fn estimate(
    line: &[String],
    engine: Option<Engine>,
    own: &Own,
    host: &Host<'_>,
) -> Result<Result<Need, Unknown>, Failure> {
    let unknown = match Command::of(line) {
        Ok(command) => return program(command.program, None, command.arguments, host).map(Ok),
        Err(unknown) => unknown,
    };
    let Some((name, flags)) = line.split_first() else { return Ok(Err(unknown)) };
    let path = Path::new(name);
    if file::is_model(path) {
        own.check(name, flags)?;
        let program_of = || match engine {
            Some(engine) => engine.program(),
            None if folder::is_checkpoint(path) => Program::Vllm,
            None => Program::Llama,
        };
        let chosen = program_of();
        let mut need = program(chosen, Some(name), flags, host)?;
        if engine.is_none() && chosen == Program::Vllm {
            need.assume("vLLM is meant (--engine sglang or tgi)");
        }
        return Ok(Ok(need));
    }
    let of_ollama = name.strip_prefix("ollama:");
    if host.known(name).is_some() || of_ollama.is_some() {
        own.check(name, flags)?;
    }
    if let Some(need) = declared(line, host) {
        return need.map(Ok);
    }
    let found = Name::of(of_ollama.unwrap_or(name)).filter(|_| flags.is_empty()).and_then(|name| ollama::find(&name));
    match (found, of_ollama) {
        (Some(found), _) => Ok(Ok(ollama::need(&found, host)?)),
        (None, Some(name)) => Err(usage(not_pulled(name))),
        (None, None) => Ok(Err(unknown)),
    }
}

/// What is declared by name: of a model alone, or of one that an argument names.
fn declared(line: &[String], host: &Host<'_>) -> Option<Result<Need, Failure>> {
    // `--model=NAME` names it, too.
    let names = |argument: &String| {
        let value = argument.split_once('=').map_or(argument.as_str(), |(_, value)| value);
        host.known(argument).or_else(|| host.known(value))
    };
    let model = line.iter().find_map(names)?;
    let need = model.need().map_err(|error| Failure::new(Exit::Config, error)).map(|mut need| {
        need.assume(format!("declared for {}, not estimated ([[model]])", model.name));
        need
    });
    Some(need)
}

fn not_pulled(name: &str) -> anyhow::Error {
    anyhow!("Ollama has no model {name} here: neither in OLLAMA_MODELS nor where it keeps models by default")
}

/// `model`: named apart from the flags.
fn program(program: Program, model: Option<&String>, flags: &[String], host: &Host<'_>) -> Result<Need, Failure> {
    let gpus = (host.count, host.certain);
    match program {
        Program::Llama => llama(model, flags, host),
        Program::Vllm => {
            let settings = vllm_flag::Settings::of(flags).map_err(usage)?;
            let model = checkpoint(model.or(settings.model.as_ref()), "vllm serve MODEL")?;
            // A draft that cannot be read leaves the rest known.
            let unread = |name: &str, why: &Failure| Checkpoint {
                config: Config::absent(format!("what the draft model {name} needs: {:#}", why.error)),
                weights: Weights::default(),
                by_length: false,
            };
            let draft = settings.draft.as_ref().map(|draft| {
                let found = checkpoint(Some(&draft.model), "--speculative-config");
                found.unwrap_or_else(|why| unread(&draft.model, &why))
            });
            Ok(vllm::plan(&model, draft.as_ref(), &settings, gpus, &host.sizes()))
        }
        Program::Sglang => {
            let settings = sglang_flag::Settings::of(flags).map_err(usage)?;
            let model = checkpoint(model.or(settings.model.as_ref()), "--model-path MODEL")?;
            Ok(sglang::plan(&model, &settings, gpus, &host.sizes()))
        }
        Program::Tgi => {
            let settings = tgi::Settings::of(flags).map_err(usage)?;
            let model = checkpoint(model.or(settings.model.as_ref()), "--model-id MODEL")?;
            Ok(tgi::plan(&model, &settings, gpus))
        }
        Program::Ollama => {
            let text = ollama_model(flags).ok_or_else(|| usage(anyhow!("ollama run names no model")))?;
            let name =
                Name::of(text).ok_or_else(|| usage(anyhow!("{text} cannot be the name of a model of Ollama")))?;
            let found = ollama::find(&name).ok_or_else(|| usage(not_pulled(text)))?;
            Ok(ollama::need(&found, host)?)
        }
    }
}

fn llama(model: Option<&String>, flags: &[String], host: &Host<'_>) -> Result<Need, Failure> {
    let variables = variable::read(host.environment.all());
    let line: Vec<&String> = variables.flags.iter().chain(flags).collect();
    let mut settings = Llama::of(&line).map_err(usage)?;
    settings.not_considered.extend(variables.not_considered);
    if model.is_some() {
        settings.model = model.cloned();
    }
    let path = settings.model.clone().ok_or_else(|| usage(anyhow!("the command names no model (-m FILE)")))?;
    let files = file::files(Path::new(&path), &settings)?;
    let mut need = estimate_llama(&files, &settings, host.count).with_context(|| format!("understand {path}"))?;
    if !variables.used.is_empty() {
        need.assume(format!("the environment of this command sets flags: {}", variables.used.join(", ")));
    }
    if !host.said && host.count == 0 && settings.gpu_layers != Some(0) {
        need.assume("there is no NVIDIA GPU here: everything is in host memory (--gpus COUNT for another host)");
    }
    Ok(need)
}

/// The model of a server. One that would have to be downloaded is not known.
fn checkpoint(model: Option<&String>, named: &str) -> Result<Checkpoint, Failure> {
    let model = model.ok_or_else(|| usage(anyhow!("the command names no model ({named})")))?;
    if let Some(folder) = folder::locate(model)? {
        return Ok(folder::checkpoint(&folder)?);
    }
    let missing = format!("what {model} needs: it is neither a folder here nor in the cache of Hugging Face");
    Ok(Checkpoint { config: Config::absent(missing), weights: Weights::default(), by_length: false })
}
