//! Names of models, which others chose: a path, a name of Hugging Face, an alias.

use std::sync::Arc;

use crate::statistic::model::NAME;
use crate::text;

/// The last part of a path or a name, escaped, at most [`NAME`] bytes. Of a longer one the beginning, and a number that tells it from others
/// that begin so.
pub fn base(name: &str) -> Arc<str> {
    // Whatever is longer is no name; escaping makes a byte four.
    const LONGEST: usize = 4096;
    let name = name.trim().trim_end_matches('/');
    let last = name.rsplit('/').next().unwrap_or(name);
    let last = &last[..last.floor_char_boundary(LONGEST)];
    let shown = text::escape(last.as_bytes());
    if shown.len() <= NAME {
        return shown.into();
    }
    let mark = format!("~{:08x}", hash(last));
    format!("{}{mark}", &shown[..shown.floor_char_boundary(NAME - mark.len())]).into()
}

/// FNV-1a.
fn hash(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_last_part_is_the_name() {
        for (name, expected) in [
            ("meta-llama/Llama-3.1-8B-Instruct", "Llama-3.1-8B-Instruct"),
            ("/models/tiny.gguf", "tiny.gguf"),
            ("/models/dir/", "dir"),
            ("llama3.2:latest", "llama3.2:latest"),
            ("hf.co/someone/X-GGUF:Q4_K_M", "X-GGUF:Q4_K_M"),
            ("a\n\u{202e}b", "a\\x0a\\xe2\\x80\\xaeb"),
            ("", ""),
            ("///", ""),
        ] {
            assert_eq!(&*base(name), expected);
        }
        let (one, other) = (base(&format!("{}1", "x".repeat(70))), base(&format!("{}2", "x".repeat(70))));
        assert!(one != other && one.len() == NAME && one.starts_with("xxxx"), "{one} {other}");
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn every_name_can_be_shown_and_is_short(name in any::<String>(), times in 1..40usize) {
            let name = base(&name.repeat(times));
            prop_assert!(name.len() <= NAME && name.chars().all(text::is_shown), "{name}");
        }
    }
}
