//! `[[model_store]]`: its keys, and which are right together.

use std::collections::BTreeSet;

use crate::config::entry::{Entry, Key, Table};
use crate::config::error::Error;
use crate::config::kind::Kind;
use crate::config::model_store::{KINDS, ModelStore};
use crate::config::section::Config;

/// `[[model_store]]`
pub const STORE: Table<Config, ModelStore> = Table {
    name: "model_store",
    doc: "Where models are kept, other than where Ollama and Hugging Face keep them usually.",
    example: "\
[[model_store]]
name = \"models\"
path = \"/srv/models\"

[[model_store]]
name = \"ollama\"
path = \"/data/ollama/models\"
kind = \"ollama\"
",
    keys: &[
        Key {
            name: "name",
            kind: Kind::Text(|store| &mut store.name),
            required: true,
            doc: "Name of the store in metrics, at most 64 bytes.",
        },
        Key {
            name: "path",
            kind: Kind::Path(|store| &mut store.path),
            required: true,
            doc: "Its folder: of Ollama the one with blobs and manifests, of Hugging Face the one named hub.",
        },
        Key {
            name: "kind",
            kind: Kind::Choice(|store| &mut store.kind, &KINDS),
            required: false,
            doc: "How it names its files. A folder says nothing of duplicates.",
        },
    ],
    field: |config| &mut config.model_store,
    check,
};

fn check(entries: &[Entry<ModelStore>]) -> Vec<Error> {
    let mut names = BTreeSet::new();
    let wrong = |entry: &Entry<ModelStore>| {
        let ModelStore { name, path, .. } = &entry.value;
        let (key, text) = match () {
            () if name.len() > 64 => ("name", format!("{name:?} has more than 64 bytes")),
            () if !names.insert(name.clone()) => {
                ("name", format!("{name:?} is used twice: give each store its own `name`"))
            }
            () if !path.is_absolute() => ("path", format!("{} is not an absolute path", path.display())),
            () => return None,
        };
        let place = entry.place(key).clone();
        Some(Error { place, key: Some(format!("model_store.{key}")), text })
    };
    entries.iter().filter_map(wrong).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use collector_core::statistic::model_file::Layout;

    use super::*;
    use crate::config::catalogue;
    use crate::config::file::apply;

    fn read(text: &str) -> (Config, Vec<String>) {
        let mut config = Config::default();
        let (_, errors) = apply(Path::new("a.toml"), text, &mut config);
        let wrong = catalogue::check(&config).err().unwrap_or_default();
        (config, errors.iter().map(ToString::to_string).chain(wrong.iter().map(ToString::to_string)).collect())
    }

    #[test]
    fn the_example_is_read() {
        let (config, errors) = read(STORE.example);
        assert_eq!(errors, [""; 0]);
        let kinds: Vec<_> = config.model_store.iter().map(|entry| entry.value.layout()).collect();
        assert_eq!(kinds, [Layout::Folder, Layout::Ollama]);
    }

    #[test]
    fn a_mistake_is_reported_at_its_key() {
        let two = "[[model_store]]\nname = \"a\"\npath = \"/a\"\n[[model_store]]\nname = \"a\"\npath = \"/b\"\n";
        for (text, wanted) in [
            (
                "[[model_store]]\nname = \"a\"\npath = \"b\"\n",
                "a.toml:3:8: model_store.path: b is not an absolute path",
            ),
            (two, "a.toml:5:8: model_store.name: \"a\" is used twice"),
            (
                "[[model_store]]\nname = \"a\"\npath = \"/\"\nkind = \"x\"\n",
                "model_store.kind: \"x\" is not ollama, huggingface or folder",
            ),
        ] {
            let (_, errors) = read(text);
            assert!(errors.len() == 1 && errors[0].contains(wanted), "{errors:?}");
        }
    }
}
