//! Names of files: which of them are models, and how each is shown. Knows no path.

use std::sync::Arc;

use crate::text::escape;

/// The longest label in bytes.
const LABEL: usize = 64;
/// Formats of models alone.
const MODELS: [&str; 2] = [".gguf", ".safetensors"];
/// Formats that other files have, too, unless they are as large as models are.
const OTHERS: [&str; 9] = [".bin", ".pt", ".pth", ".ckpt", ".onnx", ".onnx_data", ".engine", ".plan", ".nemo"];
const LARGE: u64 = 64 << 20;

/// The SHA-256 in the name of a file that is called by its content: `sha256-0123…` of Ollama, 64 digits of Hugging Face.
pub fn digest(name: &[u8]) -> Option<[u8; 32]> {
    let digits = name.strip_prefix(b"sha256-").unwrap_or(name);
    let mut digest = [0; 32];
    if digits.len() != 64 {
        return None;
    }
    for (byte, pair) in digest.iter_mut().zip(digits.chunks_exact(2)) {
        let digit = |digit: u8| char::from(digit).to_digit(16).filter(|_| !digit.is_ascii_uppercase());
        *byte = (digit(pair[0])? << 4 | digit(pair[1])?) as u8;
    }
    Some(digest)
}

/// Whether a file is a model, by its base name and size in bytes.
pub fn is_model(name: &[u8], bytes: u64) -> bool {
    let ends = |ends: &[&str]| ends.iter().any(|end| name.ends_with(end.as_bytes()));
    ends(&MODELS) || (bytes >= LARGE && (ends(&OTHERS) || digest(name).is_some()))
}

/// The label of a file: its name with nothing that cannot be shown. A digest is cut to its first twelve digits, and what is too long
/// still keeps its end, where parts of a model differ.
pub fn label(name: &[u8]) -> Arc<str> {
    if digest(name).is_some() {
        let digits = name.strip_prefix(b"sha256-").unwrap_or(name);
        return format!("sha256-{}", String::from_utf8_lossy(&digits[..12])).into();
    }
    let shown = escape(name);
    if shown.len() <= LABEL {
        return shown.into();
    }
    let cut = |from: usize| (from..shown.len()).find(|at| shown.is_char_boundary(*at)).unwrap_or(shown.len());
    format!("…{}", &shown[cut(shown.len() - (LABEL - '…'.len_utf8()))..]).into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn models_are_told_by_their_names_and_sizes() {
        let hex = "0a".repeat(32);
        for (name, bytes, is) in [
            ("a.gguf", 0, true),
            ("model-00001-of-00002.safetensors", 1, true),
            ("pytorch_model.bin", LARGE, true),
            ("locale.bin", LARGE - 1, false),
            (&format!("sha256-{hex}"), LARGE, true),
            (&hex, LARGE, true),
            // Its licence, or the parameters.
            (&format!("sha256-{hex}"), 11_000, false),
            ("sha256-0a", LARGE, false),
            ("libcuda.so.1", LARGE, false),
            ("gguf", LARGE, false),
        ] {
            assert_eq!(is_model(name.as_bytes(), bytes), is, "{name} {bytes}");
        }
        assert_eq!(digest(hex.to_uppercase().as_bytes()), None);
        assert_eq!(digest(format!("sha256-{hex}").as_bytes()), digest(hex.as_bytes()));
        assert_eq!(digest(hex.as_bytes()), Some([10; 32]));
    }

    #[test]
    fn labels_are_short_and_can_be_shown() {
        assert_eq!(&*label(b"a b.gguf"), "a b.gguf");
        assert_eq!(&*label(format!("sha256-{}", "0a".repeat(32)).as_bytes()), "sha256-0a0a0a0a0a0a");
        assert_eq!(&*label(b"a\n\xff.gguf"), r"a\x0a\xff.gguf");
        let long = format!("{}-00007-of-00009.gguf", "x".repeat(99));
        let short = label(long.as_bytes());
        assert!(short.len() == LABEL && short.starts_with("…x") && short.ends_with("-00007-of-00009.gguf"), "{short}");
    }

    proptest! {
        #[test]
        fn any_name_has_a_label(name: Vec<u8>, more in "\\PC{0,80}") {
            for name in [&name[..], more.as_bytes()] {
                let label = label(name);
                prop_assert!(label.len() <= LABEL && label.chars().all(crate::text::is_shown), "{label:?}");
                is_model(name, LARGE);
            }
        }
    }
}
