//! `headroom models`: the model servers of this host, what each says of itself and holds, and the model files.

mod file;
pub mod table;

use anyhow::Context as _;
use collector_core::api::models::Models;
use collector_core::text::shown_json;

use super::settings::Settings;
use super::terminal::{colour, room};
use crate::client::Client;
use crate::config::load::Effective;
use crate::exit::Failure;

/// Path of the model servers as JSON.
pub const MODELS: &str = "/api/v1/models";

/// List model servers: state, requests, KV cache, tokens, latency, memory; and model files and stores
///
/// Asks the running agent, which finds vLLM, SGLang, llama.cpp, Ollama, TGI, TEI, Triton and LMDeploy by their processes and asks each
/// for its numbers every few seconds. It never wakes or loads a model. What cannot be found is named in the configuration with
/// [[model_server]]. What a server does not say is –, not zero.
#[derive(clap::Args, Clone, Debug)]
#[command(after_long_help = "Columns:
  SERVER     its name: the program and its port; a second line for each further model
  STATE      up; loading; asleep; silent: it answers, but without numbers; failed: it does not
             answer; unreachable: it listens only inside its container
  RUN WAIT   requests that it works on, and that wait for a place
  KV         share of the KV cache in use
  TOKENS/S   tokens made a second, in the last minute
  FIRST      95 % of the requests of the last minute got their first token within this time
  TOKEN      the same of the time between two tokens; ~ marks a mean, where there is no histogram;
             > last is above the last bucket of the server's histogram
  END        the same of whole requests
  HOST       host memory of its processes: mapped weights, caches, pinned memory
  GPU        GPU memory of the model, as the server says
  MODEL, WORKLOAD  what it serves, and the workload that it runs in
Below the table: what is not known of a server and what to do about it, and what its host memory is for.

Model files in use:
  CACHED     share of the file in the page cache
  READ AGAIN bytes that were dropped from the page cache and came back, an estimate
  ON         what it lies on: memory, ssd, hdd, network
  USE BY     mapped, open, or named on a command line; by which server, or workload
Stores of model files:
  TWICE      content that is in another file, too, by the SHA-256 that names it
  UNUSED     files that nobody was seen to use
  UNNAMED    files that no manifest and no snapshot names

Examples:
  Show the model servers of this host:
    headroom models
  List servers with requests that wait, for a script:
    headroom models --json | jq -r '.servers[] | select(any(.models[]?; .requests_waiting > 0)) | .server'
  Find out why one got slow:
    headroom incidents; headroom explain
")]
pub struct ModelsArgs {
    /// Print JSON instead of tables: the answer of /api/v1/models, with values in bytes, seconds and ratios
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub settings: Settings,
}

pub fn run(args: &ModelsArgs, effective: &Effective) -> Result<(), Failure> {
    let body = Client::of(effective)?.page(MODELS)?;
    let models: Models = serde_json::from_slice(&body).context("the answer is not from an agent of this version")?;
    super::print(&match args.json {
        true => {
            let json = serde_json::to_string_pretty(&models).context("write JSON")?;
            shown_json(&json).into_owned() + "\n"
        }
        false => table::page(&models, effective.config.models.enabled, room(), colour()),
    })
}
