//! Folders with a model as Hugging Face's libraries save it, named by a path or in their cache; read with the caller's rights.

use std::env;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use collector_core::need::checkpoint::config::Config;
use collector_core::need::checkpoint::{Checkpoint, entry, index};
use collector_core::need::safetensors::Header;
use collector_core::need::safetensors::tensor::Weights;

use super::file::regular;

const CONFIG: &str = "config.json";
/// Most entries of a folder that are looked at.
const MOST_ENTRIES: usize = 10_000;
/// Most files of weights.
const MOST_FILES: usize = 1000;

/// The folder of a model: a path, or a name in the cache of Hugging Face. `None`: it would have to be downloaded.
pub fn locate(model: &str) -> Result<Option<PathBuf>> {
    let path = Path::new(model);
    if path.is_dir() {
        return Ok(Some(path.to_owned()));
    }
    ensure!(!path.exists(), "{model} is not a folder with a model");
    let Some(cache) = cache(|name| env::var_os(name).map(PathBuf::from)) else { return Ok(None) };
    in_cache(&cache, model)
}

/// Where models are kept (`huggingface_hub/constants.py`).
fn cache(get: impl Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
    let within = |name: &str, rest: &str| get(name).map(|folder| folder.join(rest));
    get("HF_HUB_CACHE")
        .or_else(|| get("HUGGINGFACE_HUB_CACHE"))
        .or_else(|| within("HF_HOME", "hub"))
        .or_else(|| within("XDG_CACHE_HOME", "huggingface/hub"))
        .or_else(|| within("HOME", ".cache/huggingface/hub"))
}

fn in_cache(cache: &Path, model: &str) -> Result<Option<PathBuf>> {
    let valid = |part: &str| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        !part.is_empty() && part.len() <= 96 && !part.starts_with('.') && part.bytes().all(plain)
    };
    let parts: Vec<&str> = model.split('/').collect();
    if parts.len() > 2 || !parts.iter().all(|part| valid(part)) {
        return Ok(None);
    }
    let folder = cache.join(format!("models--{}", parts.join("--")));
    let reference = folder.join("refs/main");
    if !reference.exists() {
        return Ok(None);
    }
    let commit = String::from_utf8_lossy(&bounded(&reference, 64)?).trim().to_owned();
    ensure!(valid(&commit), "{} names no commit", reference.display());
    Ok(Some(folder.join("snapshots").join(commit)).filter(|snapshot| snapshot.is_dir()))
}

/// Whether a folder has a model of this kind. One with GGUF files may have a `config.json`, too.
pub fn is_checkpoint(folder: &Path) -> bool {
    folder.join(CONFIG).exists() && files(folder).is_ok()
}

/// What a folder says of its model.
pub fn checkpoint(folder: &Path) -> Result<Checkpoint> {
    let path = folder.join(CONFIG);
    let json = bounded(&path, entry::LONGEST)?;
    let config = Config::read(&json).with_context(|| format!("understand {}", path.display()))?;
    let (files, by_length) = files(folder)?;
    let mut weights = Weights::default();
    for file in &files {
        weights.join(&if by_length { length(file)? } else { header(file)? });
    }
    Ok(Checkpoint { config, weights, by_length })
}

/// The files of weights, and whether only their length tells something.
fn files(folder: &Path) -> Result<(Vec<PathBuf>, bool)> {
    let index = folder.join(index::NAME);
    if index.exists() {
        let json = bounded(&index, index::LONGEST)?;
        let names = index::files(&json).map_err(anyhow::Error::msg);
        let names = names.with_context(|| format!("understand {}", index.display()))?;
        return Ok((names.iter().map(|name| folder.join(name)).collect(), false));
    }
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))?.take(MOST_ENTRIES) {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    // The same weights in another form, and what is added to a model, are not loaded.
    let other = |name: &str| ["consolidated", "adapter_"].iter().any(|prefix| name.starts_with(prefix));
    let of = |end: &str| -> Vec<PathBuf> {
        let of = names.iter().filter(|name| name.ends_with(end) && !other(name));
        of.map(|name| folder.join(name)).collect()
    };
    let whole = folder.join("model.safetensors");
    let files = match of(".safetensors") {
        files if files.contains(&whole) => (vec![whole], false),
        files if files.is_empty() => {
            let pickles = of(".bin").into_iter().filter(|path| {
                path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("pytorch_model"))
            });
            (pickles.collect::<Vec<_>>(), true)
        }
        files => (files, false),
    };
    match files.0.len() {
        0 => bail!("{} has no weights (*.safetensors)", folder.display()),
        1..=MOST_FILES => Ok(files),
        _ => bail!("{} has more than {MOST_FILES} files of weights", folder.display()),
    }
}

fn header(path: &Path) -> Result<Weights> {
    let (file, length) = regular(path)?;
    let header = Header::read(file).with_context(|| format!("read {}", path.display()))?;
    ensure!(
        header.end <= length,
        "{} has {length} bytes, but its tensors end at {}: was it downloaded in full?",
        path.display(),
        header.end
    );
    Ok(header.weights)
}

/// A pickle is a program: it is not read.
fn length(path: &Path) -> Result<Weights> {
    let (_, length) = regular(path)?;
    Ok(Weights { tensors: 1, bytes: length, ..Weights::default() })
}

/// All of a file that is no longer than this.
pub fn bounded(path: &Path, longest: u64) -> Result<Vec<u8>> {
    let (file, _) = regular(path)?;
    let mut bytes = Vec::new();
    file.take(longest + 1).read_to_end(&mut bytes).with_context(|| format!("read {}", path.display()))?;
    let longer = u64::try_from(bytes.len()).is_ok_and(|length| length > longest);
    ensure!(!longer, "{} is longer than {longest} bytes", path.display());
    Ok(bytes)
}

#[cfg(test)]
mod tests;
