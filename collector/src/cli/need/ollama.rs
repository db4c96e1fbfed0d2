//! Models of Ollama on this host: found by name, read with the caller's rights. Asks no server.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow};
use collector_core::amount;
use collector_core::need::Need;
use collector_core::need::llama::estimate::estimate;
use collector_core::need::llama::setting::Settings;
use collector_core::need::llama::shape::Shape;
use collector_core::need::ollama::{Choice, LONGEST, Manifest, Name, context, settings};
use collector_core::need::remark::Remark;

use super::file;
use super::folder::bounded;
use super::host::Host;

/// Where the service keeps its models.
const SERVICE: &str = "/usr/share/ollama/.ollama/models";

/// The manifest of a model, and the folder that it is in; `None` if there is none of this name.
pub fn find(name: &Name) -> Option<(PathBuf, PathBuf)> {
    let home = env::var_os("HOME").map(|home| Path::new(&home).join(".ollama/models"));
    let folders = match env::var_os("OLLAMA_MODELS") {
        Some(folder) => vec![PathBuf::from(folder)],
        None => home.into_iter().chain([PathBuf::from(SERVICE)]).collect(),
    };
    folders.into_iter().find_map(|folder| {
        let manifest = folder.join(name.manifest());
        manifest.exists().then_some((folder, manifest))
    })
}

/// What the llama-server needs that Ollama starts for this model.
pub fn need((folder, manifest): &(PathBuf, PathBuf), host: &Host<'_>) -> Result<Need> {
    let json = bounded(manifest, LONGEST)?;
    let understand = || format!("understand {}", manifest.display());
    let files = Manifest::read(&json).map_err(|why| anyhow!(why)).with_context(understand)?;
    let blob = |name: &String| folder.join("blobs").join(name);
    let text = |name: &String| blob(name).display().to_string();
    let own = match &files.parameters {
        Some(name) => {
            let path = blob(name);
            let read = Choice::read(&bounded(&path, LONGEST)?).map_err(|why| anyhow!(why));
            read.with_context(|| format!("understand {}", path.display()))?
        }
        None => Choice::default(),
    };
    let choice = own.or_environment(|name| host.environment.get(name).map(str::to_owned));
    let named = Settings {
        projector: files.projector.as_ref().map(text),
        adapters: files.adapters.iter().map(text).collect(),
        ..Settings::default()
    };
    let model = blob(&files.model);
    let files = file::files(&model, &named)?;
    let shape = Shape::of(&files.model).with_context(understand)?;
    // Asked only where it matters.
    let bytes = if choice.context.is_some() || host.count == 0 {
        None
    } else {
        let sizes = host.sizes();
        let own = sizes.range(..host.count).map(|(_, size)| *size);
        (!sizes.is_empty()).then(|| own.fold(0u64, u64::saturating_add))
    };
    let chosen = choice.context.or_else(|| context(host.count, bytes));
    let settings = settings(&choice, chosen.unwrap_or(4096), shape.context, host.count);
    let settings = Settings { projector: named.projector, adapters: named.adapters, ..settings };
    let mut need = estimate(&files, &settings, host.count).with_context(understand)?;
    if chosen.is_none() {
        need.not_known.push(Remark::both(
            "the context that Ollama chooses by the size of the GPUs, which is not known: 4096 tokens are counted, and it may be 262144 (--gpu-memory SIZE)",
        ));
    } else if choice.context.is_none() {
        let of = bytes.map_or("without a GPU".to_owned(), |bytes| format!("with {} of VRAM", amount::bytes(bytes)));
        let tokens = settings.context.unwrap_or(0);
        need.assume(format!("Ollama chooses the context: {tokens} tokens {of} (OLLAMA_CONTEXT_LENGTH, num_ctx)"));
    }
    need.assume("the server's environment is taken for this one: OLLAMA_MODELS, OLLAMA_CONTEXT_LENGTH, OLLAMA_NUM_PARALLEL, OLLAMA_KV_CACHE_TYPE, CUDA_VISIBLE_DEVICES");
    need.assume("a server that runs already may have loaded the model: then it needs nothing more; and it may unload others first");
    if choice.batch.is_none() {
        need.assume("batches of 512 tokens: Ollama makes them larger where there is room (768 MiB to 2 GiB more)");
    }
    Ok(need)
}
