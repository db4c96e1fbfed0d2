//! Folders of models: whole, in pieces, in the cache, and not what they should be.

use std::os::unix::fs::symlink;
use std::process::Command;

use super::*;

/// A folder of its own, gone at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let folder = env::temp_dir().join(format!("headroom-folder-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(CONFIG), CONFIGURATION).unwrap();
        Scratch(folder)
    }

    /// Tensors of this many bytes, as a hole.
    fn weights(&self, name: &str, bytes: u64) {
        let json = format!(r#"{{"{name}":{{"dtype":"BF16","shape":[{}],"data_offsets":[0,{bytes}]}}}}"#, bytes / 2);
        let mut header = u64::try_from(json.len()).unwrap().to_le_bytes().to_vec();
        header.extend_from_slice(json.as_bytes());
        let path = self.0.join(name);
        let end = u64::try_from(header.len()).unwrap() + bytes;
        fs::write(&path, header).unwrap();
        fs::File::options().write(true).open(&path).unwrap().set_len(end).unwrap();
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const CONFIGURATION: &str = r#"{"model_type":"llama","hidden_size":64,"num_hidden_layers":2,"num_attention_heads":4}"#;

fn bytes(folder: &Path) -> (u64, bool) {
    let checkpoint = checkpoint(folder).unwrap();
    (checkpoint.weights.bytes, checkpoint.by_length)
}

fn error(folder: &Path) -> String {
    format!("{:#}", checkpoint(folder).unwrap_err())
}

#[test]
fn the_same_weights_are_counted_once() {
    let scratch = Scratch::new("once");
    assert!(error(&scratch.0).ends_with("has no weights (*.safetensors)"));
    fs::write(scratch.0.join("model.gguf"), "GGUF").unwrap();
    assert!(!is_checkpoint(&scratch.0), "a folder of GGUF files may have a config.json");
    fs::write(scratch.0.join("pytorch_model.bin"), [0; 100]).unwrap();
    fs::write(scratch.0.join("training_args.bin"), [0; 7]).unwrap();
    assert_eq!((bytes(&scratch.0), is_checkpoint(&scratch.0)), ((100, true), true));
    scratch.weights("model-00001-of-00002.safetensors", 1 << 30);
    scratch.weights("model-00002-of-00002.safetensors", 1 << 29);
    scratch.weights("consolidated.safetensors", 1 << 31);
    scratch.weights("adapter_model.safetensors", 1 << 20);
    assert_eq!(bytes(&scratch.0), (3 << 29, false));
    let map = r#"{"weight_map":{"a":"model-00001-of-00002.safetensors"}}"#;
    fs::write(scratch.0.join(index::NAME), map).unwrap();
    assert_eq!(bytes(&scratch.0), (1 << 30, false), "the index says which files there are");
    fs::remove_file(scratch.0.join(index::NAME)).unwrap();
    scratch.weights("model.safetensors", 1 << 28);
    assert_eq!(bytes(&scratch.0), (1 << 28, false));
}

#[test]
fn a_file_that_is_missing_or_cut_off_says_so() {
    let scratch = Scratch::new("cut");
    fs::write(scratch.0.join(index::NAME), r#"{"weight_map":{"a":"model-00001-of-00002.safetensors"}}"#).unwrap();
    assert!(error(&scratch.0).contains("model-00001-of-00002.safetensors"), "{}", error(&scratch.0));
    scratch.weights("model-00001-of-00002.safetensors", 1 << 20);
    let path = scratch.0.join("model-00001-of-00002.safetensors");
    let file = fs::File::options().write(true).open(path).unwrap();
    file.set_len(1 << 20).unwrap();
    assert!(error(&scratch.0).ends_with("was it downloaded in full?"), "{}", error(&scratch.0));
    file.set_len(20).unwrap();
    assert!(error(&scratch.0).contains("within its header"), "{}", error(&scratch.0));
}

#[test]
fn neither_pipes_nor_devices_nor_long_files_are_read() {
    let scratch = Scratch::new("pipe");
    let path = scratch.0.join("model.safetensors");
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    assert!(error(&scratch.0).ends_with("is not a regular file"));
    fs::remove_file(&path).unwrap();
    symlink("/dev/zero", &path).unwrap();
    assert!(error(&scratch.0).ends_with("is not a regular file"));
    let config = scratch.0.join(CONFIG);
    fs::File::options().write(true).open(&config).unwrap().set_len(entry::LONGEST + 1).unwrap();
    assert!(error(&scratch.0).contains("is longer than"));
    fs::remove_file(&config).unwrap();
    assert!(Command::new("mkfifo").arg(&config).status().unwrap().success());
    assert!(error(&scratch.0).ends_with("is not a regular file"));
}

#[test]
fn names_are_found_in_the_cache() {
    let scratch = Scratch::new("cache");
    let model = scratch.0.join("models--meta--Llama");
    let snapshot = model.join("snapshots/0123abc");
    fs::create_dir_all(&snapshot).unwrap();
    fs::create_dir_all(model.join("refs")).unwrap();
    let find = |name: &str| in_cache(&scratch.0, name);
    assert_eq!(find("meta/Llama").unwrap(), None, "it was never downloaded in full");
    fs::write(model.join("refs/main"), "0123abc\n").unwrap();
    assert_eq!(find("meta/Llama").unwrap(), Some(snapshot));
    for name in ["", "a/b/c", "../meta/Llama", "meta/..", "/meta", "meta/Other", "~"] {
        assert_eq!(find(name).unwrap(), None, "{name}");
    }
    fs::write(model.join("refs/main"), "../../../etc").unwrap();
    assert!(find("meta/Llama").unwrap_err().to_string().ends_with("names no commit"));
}

#[test]
fn the_cache_is_where_the_environment_says() {
    let of = |set: &[(&str, &str)]| {
        let find = |name: &str| set.iter().find(|(known, _)| *known == name).map(|(_, value)| PathBuf::from(value));
        cache(find).map(|path| path.display().to_string())
    };
    assert_eq!(of(&[("HOME", "/h")]).as_deref(), Some("/h/.cache/huggingface/hub"));
    assert_eq!(of(&[("HOME", "/h"), ("HF_HOME", "/hf")]).as_deref(), Some("/hf/hub"));
    assert_eq!(of(&[("HF_HUB_CACHE", "/c"), ("HF_HOME", "/hf")]).as_deref(), Some("/c"));
    assert_eq!(of(&[]), None);
}
