//! The files that a model consists of, opened with the caller's rights.

use std::fs::{self, File, Metadata};
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use collector_core::need::gguf::{self, Header};
use collector_core::need::llama::estimate::Files;
use collector_core::need::llama::setting::Settings;
use collector_core::need::llama::shape::Shape;

/// All headers that the settings name.
pub fn files(model: &Path, settings: &Settings) -> Result<Files> {
    let adapter = |path: &String| Ok(whole(Path::new(path))?.weights.sum());
    Ok(Files {
        model: understood(&in_folder(model)?)?,
        projector: settings.projector.as_ref().map(|path| whole(Path::new(path))).transpose()?,
        draft: settings.draft.as_ref().map(|path| understood(Path::new(path))).transpose()?,
        adapters: settings.adapters.iter().map(adapter).collect::<Result<_>>()?,
    })
}

/// The one model of a folder.
fn in_folder(path: &Path) -> Result<PathBuf> {
    if !path.is_dir() {
        return Ok(path.to_owned());
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(path).with_context(|| format!("list {}", path.display()))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        // A projector is loaded beside a model, and later files of a split model with the first.
        let later = gguf::numbered(&name).is_some_and(|(_, number, _)| number > 1);
        if name.ends_with(".gguf") && !name.starts_with("mmproj") && !later {
            found.push(name);
        }
    }
    found.sort();
    match &found[..] {
        [name] => Ok(path.join(name)),
        [] => bail!("{} has no GGUF file", path.display()),
        more => bail!("{} has more than one model: {}", path.display(), more.join(", ")),
    }
}

/// A model whose dimensions can be told: an error names the file that it is about.
fn understood(path: &Path) -> Result<Header> {
    let header = whole(path)?;
    Shape::of(&header).with_context(|| format!("understand {}", path.display()))?;
    Ok(header)
}

/// A model with all its files.
fn whole(path: &Path) -> Result<Header> {
    let mut header = part(path)?;
    let Some((number, count)) = header.split().with_context(|| format!("read {}", path.display()))? else {
        return Ok(header);
    };
    ensure!(number == 0, "{} is file {} of {count}: name the first", path.display(), number + 1);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let names = gguf::files(&name, count).with_context(|| {
        format!("{} is one of {count} files, but is not named NAME-00001-of-{count:05}.gguf", path.display())
    })?;
    for (number, name) in (0..).zip(&names).skip(1) {
        let next = path.with_file_name(name);
        let more = part(&next)?;
        let split = more.split().with_context(|| format!("read {}", next.display()))?;
        ensure!(split == Some((number, count)), "{} is not file {} of {count}", next.display(), number + 1);
        header.weights.join(&more.weights);
    }
    Ok(header)
}

fn part(path: &Path) -> Result<Header> {
    let (file, length) = regular(path)?;
    let header = Header::read(file).with_context(|| format!("read {}", path.display()))?;
    let end = header.data.saturating_add(header.weights.end);
    // Of an unknown type the bytes are not known either.
    ensure!(
        header.weights.tensors == 0 || end <= length,
        "{} has {length} bytes, but its tensors end at {end}: was it downloaded in full?",
        path.display()
    );
    Ok(match header.weights.unknown_type {
        Some(_) => header.taken_for(length),
        None => header,
    })
}

/// Opening a pipe would wait for its writer, and opening a device can do anything.
pub fn regular(path: &Path) -> Result<(File, u64)> {
    let regular = |metadata: &Metadata| -> Result<()> {
        ensure!(metadata.is_file(), "{} is not a regular file", path.display());
        Ok(())
    };
    regular(&fs::metadata(path).with_context(|| format!("look at {}", path.display()))?)?;
    let mut options = File::options();
    let open = options.read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path);
    let file = open.with_context(|| format!("open {}", path.display()))?;
    // What has come into its place since then does not count.
    let metadata = file.metadata().with_context(|| format!("look at {}", path.display()))?;
    regular(&metadata)?;
    Ok((file, metadata.len()))
}

/// Whether this is a file that can only be meant as a model, or a folder. A bare name may be that of a program: then the folder has to
/// have a model.
pub fn is_model(path: &Path) -> bool {
    let folder = || {
        let bare = path.file_name().is_some_and(|name| name == path.as_os_str());
        let has_model = |name: &str| name.ends_with(".gguf") || name == "config.json";
        let mut entries = fs::read_dir(path).into_iter().flatten().flatten();
        !bare || entries.any(|entry| entry.file_name().to_str().is_some_and(has_model))
    };
    let magic = || {
        let mut four = [0; 4];
        let (mut file, _) = regular(path).ok()?;
        file.read_exact(&mut four).ok()?;
        (four == *b"GGUF").then_some(())
    };
    let named = path.extension().is_some_and(|end| end == "gguf");
    path.is_dir() && folder() || named && path.exists() || magic().is_some()
}

#[cfg(test)]
mod tests;
