//! `[[model]]`: what models need that nobody can estimate.

use collector_core::need::known::Model;

use crate::config::entry::{Entry, Key, Table};
use crate::config::error::Error;
use crate::config::kind::Kind;
use crate::config::section::Config;

/// `[[model]]`
pub const MODEL: Table<Config, Model> = Table {
    name: "model",
    doc: "What a model needs, by its name: for headroom need NAME, and for commands whose needs are not known and that name it. \
          The first table with the name counts, then the models that ship: musicgen-small, -medium, -melody and -large.",
    example: EXAMPLE,
    keys: &[
        Key {
            name: "name",
            kind: Kind::Text(|model| &mut model.name),
            required: true,
            doc: "Name of the model; * matches any text. It is compared with a whole name and with what follows its last /.",
        },
        Key {
            name: "memory",
            kind: Kind::Text(|model| &mut model.memory),
            required: false,
            doc: "Host memory, such as 6G (GiB) or 6GB.",
        },
        Key {
            name: "vram",
            kind: Kind::Text(|model| &mut model.vram),
            required: false,
            doc: "VRAM, such as 12G; for two GPUs 12G,12G.",
        },
        Key {
            name: "disk",
            kind: Kind::Text(|model| &mut model.disk),
            required: false,
            doc: "Room on a filesystem, such as 50G:/data.",
        },
        Key { name: "cpu", kind: Kind::Text(|model| &mut model.cpu), required: false, doc: "CPUs, such as 4 or 0.5." },
        Key {
            name: "compute_capability",
            kind: Kind::Text(|model| &mut model.compute_capability),
            required: false,
            doc: "The least compute capability of its GPUs, such as 7.0.",
        },
        Key {
            name: "note",
            kind: Kind::Text(|model| &mut model.note),
            required: false,
            doc: "A sentence that is shown with the need, such as where the numbers come from.",
        },
    ],
    field: |config| &mut config.model,
    check,
};

const EXAMPLE: &str = r#"[[model]]
name = "whisper-large*"
memory = "5G"
vram = "10G"
compute_capability = "7.0"
note = "measured on an A10"
"#;

fn check(entries: &[Entry<Model>]) -> Vec<Error> {
    let wrong = |entry: &Entry<Model>| {
        let error = entry.value.need().err()?;
        let place = entry.place(error.key).clone();
        Some(Error { place, key: Some(format!("model.{}", error.key)), text: error.text })
    };
    entries.iter().filter_map(wrong).collect()
}

/// The models of a configuration.
pub fn models(config: &Config) -> impl Iterator<Item = &Model> {
    config.model.iter().map(|entry| &entry.value)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use collector_core::need::known::shipped;

    use super::*;
    use crate::config::catalogue;
    use crate::config::file::apply;

    fn read(text: &str) -> (Config, Vec<String>) {
        let mut config = Config::default();
        let (_, errors) = apply(Path::new("a.toml"), text, &mut config);
        assert_eq!(errors, [], "{text}");
        let wrong = catalogue::check(&config).err().unwrap_or_default();
        (config, wrong.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn the_example_is_found_by_name() {
        let (config, errors) = read(EXAMPLE);
        assert_eq!(errors, [""; 0]);
        let model = models(&config).find(|model| model.matches("openai/whisper-large-v3")).unwrap();
        assert_eq!(model.need().unwrap().total().vram[&0], 10 << 30);
        assert!(shipped().iter().all(|model| model.need().is_ok()));
    }

    #[test]
    fn a_mistake_is_reported_at_its_key() {
        for (text, wanted) in [
            ("[[model]]\nname = \"a\"\nvram = \"6X\"\n", "a.toml:3:8: model.vram: 6X: unknown unit"),
            (
                "[[model]]\nname = \"a\"\ncpu = \"1\"\ncompute_capability = \"7\"\n",
                "a.toml:4:22: model.compute_capability: expected",
            ),
            ("[[model]]\nname = \"a\"\n", "a.toml:2:8: model.name: nothing is declared"),
        ] {
            let (_, errors) = read(text);
            assert!(errors.len() == 1 && errors[0].starts_with(wanted), "{errors:?}");
        }
    }
}
