//! The index of a model in several files: which files there are. Names of `model.safetensors.index.json`
//! (huggingface_hub's `SAFETENSORS_INDEX_FILE`). Bytes in.

use std::collections::BTreeSet;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};

pub const NAME: &str = "model.safetensors.index.json";
/// The index of a model with 90 000 tensors has 9 MB.
pub const LONGEST: u64 = 64 << 20;
const MOST_FILES: usize = 1000;

#[derive(Deserialize)]
struct Index {
    weight_map: Files,
}

struct Files(BTreeSet<String>);

impl<'de> Deserialize<'de> for Files {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Files, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Files;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the file of each tensor")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Files, A::Error> {
                let mut files = BTreeSet::new();
                while map.next_key::<IgnoredAny>()?.is_some() {
                    let name: String = map.next_value()?;
                    if files.contains(&name) {
                        continue;
                    }
                    if !is_plain(&name) {
                        return Err(A::Error::custom("a file that is not one of this folder"));
                    }
                    if files.len() == MOST_FILES {
                        return Err(A::Error::custom("more than 1000 files"));
                    }
                    files.insert(name);
                }
                Ok(Files(files))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}

/// The name of a file in the same folder, and of a kind that is read.
fn is_plain(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    name.len() <= 255 && name.ends_with(".safetensors") && !name.starts_with('.') && name.bytes().all(plain)
}

/// The files of a model, in order.
pub fn files(json: &[u8]) -> Result<Vec<String>, String> {
    let index: Index = serde_json::from_slice(json).map_err(|error| error.to_string())?;
    match index.weight_map.0 {
        files if files.is_empty() => Err("it names no file".to_owned()),
        files => Ok(files.into_iter().collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_file_is_named_once() {
        let json = br#"{"metadata":{"total_size":7},"weight_map":{"b":"m-2.safetensors","a":"m-1.safetensors","c":"m-2.safetensors"}}"#;
        assert_eq!(files(json).unwrap(), ["m-1.safetensors", "m-2.safetensors"]);
    }

    #[test]
    fn other_folders_are_not_read() {
        for name in
            ["../m.safetensors", "/m.safetensors", ".m.safetensors", "m.bin", "a/m.safetensors", "m\\u0000.safetensors"]
        {
            let json = format!(r#"{{"weight_map":{{"a":"{name}"}}}}"#);
            assert!(files(json.as_bytes()).unwrap_err().contains("not one of this folder"), "{name}");
        }
        let long = format!(r#"{{"weight_map":{{"a":"{}.safetensors"}}}}"#, "m".repeat(255));
        assert!(files(long.as_bytes()).is_err());
    }

    #[test]
    fn what_is_no_index_is_refused() {
        let many: Vec<_> = (0..=MOST_FILES).map(|number| format!(r#""{number}":"{number}.safetensors""#)).collect();
        let many = format!(r#"{{"weight_map":{{{}}}}}"#, many.join(","));
        let deep = format!(r#"{{"more":{}"#, "[".repeat(1 << 20));
        for json in
            ["", "{}", "[]", r#"{"weight_map":{}}"#, r#"{"weight_map":{"a":1}}"#, r#"{"weight_map":7}"#, &many, &deep]
        {
            assert!(files(json.as_bytes()).is_err(), "{json:.40}");
        }
    }
}
