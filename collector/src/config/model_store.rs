//! A place where models are kept, as the configuration names it.

use std::path::PathBuf;

use collector_core::statistic::model_file::Layout;

/// A place where models are kept.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelStore {
    pub name: String,
    pub path: PathBuf,
    /// Of [`KINDS`].
    pub kind: String,
}

pub const KINDS: [&str; 3] = [Layout::Ollama.label(), Layout::HuggingFace.label(), Layout::Folder.label()];

impl Default for ModelStore {
    fn default() -> ModelStore {
        ModelStore { name: String::new(), path: PathBuf::new(), kind: Layout::Folder.label().to_owned() }
    }
}

impl ModelStore {
    pub fn layout(&self) -> Layout {
        let is = |layout: &Layout| layout.label() == self.kind;
        Layout::ALL.into_iter().find(is).unwrap_or(Layout::Folder)
    }
}
