//! Needs by name: what somebody declared for a model once, in place of an estimate. Those that ship, and what a table says. Reads no
//! configuration.

use std::fmt;

use super::Need;
use super::declared::{Declared, Error as Undeclared};
use crate::pattern::Patterns;

/// A model, or whatever else is started by name. Texts as they stand in a configuration; empty: not set.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Model {
    /// `*` matches any text. Matched against a whole name, and against what follows its last `/`.
    pub name: String,
    pub memory: String,
    pub vram: String,
    pub disk: String,
    pub cpu: String,
    pub compute_capability: String,
    /// Where the numbers come from.
    pub note: String,
}

/// What is wrong with a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    pub key: &'static str,
    pub text: String,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.text)
    }
}

impl std::error::Error for Error {}

impl Model {
    /// # Errors
    /// The first key that cannot be read.
    pub fn need(&self) -> Result<Need, Error> {
        let some = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
        let declared = Declared {
            memory: some(&self.memory),
            vram: some(&self.vram),
            disk: some(&self.disk).into_iter().collect(),
            cpu: some(&self.cpu),
            ..Declared::default()
        };
        let mut need = declared.need().map_err(wrong)?;
        if need.parts.is_empty() {
            return Err(Error { key: "name", text: "nothing is declared: set memory, vram, disk or cpu".to_owned() });
        }
        if !self.compute_capability.is_empty() {
            let text = || "expected a version such as 7.0 or 8.9".to_owned();
            let tenths = capability(&self.compute_capability);
            need.compute_capability = Some(tenths.ok_or_else(|| Error { key: "compute_capability", text: text() })?);
        }
        if !self.note.is_empty() {
            need.assume(self.note.clone());
        }
        Ok(need)
    }

    pub fn matches(&self, name: &str) -> bool {
        let own = Patterns::new(std::slice::from_ref(&self.name));
        own.matches(name) || own.matches(name.rsplit('/').next().unwrap_or(name))
    }
}

fn wrong(error: Undeclared) -> Error {
    Error { key: error.flag.trim_start_matches('-'), text: format!("{}: {}", error.text, error.why()) }
}

/// A compute capability, in tenths: `8.9` is 89.
pub fn capability(text: &str) -> Option<u32> {
    let (major, minor) = text.split_once('.')?;
    let digits =
        |text: &str, most: usize| (1..=most).contains(&text.len()) && text.bytes().all(|digit| digit.is_ascii_digit());
    let whole = digits(major, 2) && digits(minor, 1);
    whole.then(|| Some(major.parse::<u32>().ok()? * 10 + minor.parse::<u32>().ok()?)).flatten()
}

/// Tenths as a compute capability is written.
pub fn version(tenths: u32) -> String {
    format!("{}.{}", tenths / 10, tenths % 10)
}

/// Models that ship, with what a team that runs them declared, and beside it what their dimensions say.
///
/// AudioCraft: `config/model/lm/model_scale/*.yaml` (layers and widths), `audiocraft/models/loaders.py` (16 bits on CUDA; checkpoint and
/// model are there at once while it loads).
pub fn shipped() -> Vec<Model> {
    let model = |name: &str, memory: &str, vram: &str, capability: &str, note: &str| Model {
        name: name.to_owned(),
        memory: memory.to_owned(),
        vram: vram.to_owned(),
        compute_capability: capability.to_owned(),
        note: note.to_owned(),
        ..Model::default()
    };
    const SMALL: &str =
        "declared for a batch of 2; by its dimensions it runs in 2.3 GB of VRAM with 16 bits and 3.5 GB with 32";
    const MEDIUM: &str = "declared for a batch of 1; by its dimensions it runs in 5.8 GB of VRAM with 16 bits and 10.3 GB with 32; its documentation says 16 GB";
    const LARGE: &str =
        "declared for a batch of 1; by its dimensions it runs in 9 GB of VRAM with 16 bits and 16.6 GB with 32";
    vec![
        model("musicgen*-small", "3.0GB", "6GB", "6.0", SMALL),
        model("musicgen*-medium", "6.0GB", "12GB", "7.0", MEDIUM),
        // The same size with another input.
        model("musicgen*-melody", "6.0GB", "12GB", "7.0", MEDIUM),
        model("musicgen*-large", "12.0GB", "24GB", "8.0", LARGE),
    ]
}

/// The first that has this name: own ones go before those that ship.
pub fn find<'a>(own: impl IntoIterator<Item = &'a Model>, name: &str) -> Option<Model> {
    let own = own.into_iter().find(|model| model.matches(name)).cloned();
    own.or_else(|| shipped().into_iter().find(|model| model.matches(name)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn musicgen_is_as_a_team_declared_it() {
        for (name, host, vram, capability) in [
            ("musicgen-small", 3, 6, 60),
            ("facebook/musicgen-medium", 6, 12, 70),
            ("facebook/musicgen-stereo-melody", 6, 12, 70),
            ("musicgen-melody-large", 12, 24, 80),
        ] {
            let need = find([], name).unwrap().need().unwrap();
            let total = need.total();
            let gb = 1_000_000_000;
            assert_eq!((total.host_hard, total.vram), (host * gb, BTreeMap::from([(0, vram * gb)])), "{name}");
            assert_eq!(need.compute_capability, Some(capability));
            assert!(need.assumptions[0].starts_with("declared for a batch of"), "{name}");
        }
        for name in ["musicgen", "musicgen-smaller", "amusicgen-small", "facebook/musicgen-small/x"] {
            assert_eq!(find([], name), None, "{name}");
        }
    }

    #[test]
    fn own_models_go_first() {
        let own = Model { name: "musicgen-*".to_owned(), memory: "1G".to_owned(), ..Model::default() };
        assert_eq!(find([&own], "musicgen-small"), Some(own.clone()));
        assert!(
            Model { name: "a.c".to_owned(), ..own.clone() }.matches("a.c")
                && !Model { name: "a.c".to_owned(), ..own }.matches("abc")
        );
    }

    #[test]
    fn what_cannot_be_is_named_by_its_key() {
        let model = |key: &str, value: &str| {
            let mut model = Model { name: "x".to_owned(), memory: "1G".to_owned(), ..Model::default() };
            *match key {
                "memory" => &mut model.memory,
                "vram" => &mut model.vram,
                "disk" => &mut model.disk,
                "cpu" => &mut model.cpu,
                _ => &mut model.compute_capability,
            } = value.to_owned();
            model.need().unwrap_err()
        };
        for (key, value, text) in [
            ("memory", "-1G", "-1G: an amount cannot be negative"),
            ("vram", "6X", "6X: unknown unit"),
            ("disk", "5G", "5G: expected an amount and an absolute path"),
            ("cpu", "4k", "4k: unknown unit"),
            ("compute_capability", "7", "expected a version such as 7.0"),
            ("compute_capability", "-7.0", "expected a version"),
            ("compute_capability", "999.0", "expected a version"),
        ] {
            let error = model(key, value);
            assert!(error.key == key && error.text.starts_with(text), "{error}");
        }
        assert_eq!(Model { name: "x".to_owned(), ..Model::default() }.need().unwrap_err().key, "name");
        assert_eq!(
            [capability("8.9"), capability("12.1"), capability("8.10"), capability(".5")],
            [Some(89), Some(121), None, None]
        );
        assert_eq!([version(89), version(121)], ["8.9", "12.1"]);
    }
}
