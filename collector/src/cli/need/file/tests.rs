//! Files of models: found by a folder, a part or a name; what is not whole, or no file, is refused.

use std::os::unix::fs::FileExt as _;
use std::process::Command;

use super::*;

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/need");

/// A folder of its own, gone at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let folder = std::env::temp_dir().join(format!("headroom-need-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        Scratch(folder)
    }

    /// A made-up model with a hole for its body.
    fn model(&self, fixture: &str, name: &str) -> PathBuf {
        let path = self.0.join(name);
        let header = fs::read(format!("{FIXTURES}/{fixture}.gguf")).unwrap();
        let read = Header::read(&*header).unwrap();
        fs::write(&path, header).unwrap();
        File::options().write(true).open(&path).unwrap().set_len(read.data + read.weights.end).unwrap();
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn error(path: &Path) -> String {
    format!("{:#}", files(path, &Settings::default()).unwrap_err())
}

#[test]
fn a_model_is_found_in_its_folder() {
    let scratch = Scratch::new("folder");
    assert!(error(&scratch.0).ends_with("has no GGUF file"));
    scratch.model("llama-mha", "best-of-breed.gguf");
    // A later file of a split model.
    scratch.model("llama-mha", "b-00002-of-00002.gguf");
    assert!(files(&scratch.0, &Settings::default()).is_ok());
    fs::remove_file(scratch.0.join("best-of-breed.gguf")).unwrap();
    scratch.model("llama-mha", "a.gguf");
    scratch.model("nomic-embed", "mmproj-a.gguf");
    let found = files(&scratch.0, &Settings::default()).unwrap();
    assert_eq!(found.model.architecture(), Ok("llama"));
    scratch.model("llama-mha", "b.gguf");
    assert!(error(&scratch.0).ends_with("more than one model: a.gguf, b.gguf"));
}

#[test]
fn a_file_that_is_not_whole_says_so() {
    let scratch = Scratch::new("whole");
    let path = scratch.model("llama-mha", "a.gguf");
    let file = File::options().write(true).open(&path).unwrap();
    let length = file.metadata().unwrap().len();
    file.set_len(length - 1).unwrap();
    assert!(error(&path).ends_with("was it downloaded in full?"));
    file.set_len(1000).unwrap();
    assert!(error(&path).contains("within its header"), "{}", error(&path));
    file.write_all_at(b"PK", 0).unwrap();
    assert!(error(&path).contains("is not a GGUF file"));
    let missing = scratch.0.join("none.gguf");
    assert!(error(&missing).starts_with("look at "));
}

#[test]
fn what_is_not_understood_is_named_with_its_file() {
    let scratch = Scratch::new("named");
    let path = scratch.model("llama-mha", "a.gguf");
    let draft = scratch.0.join("draft.gguf");
    fs::write(&draft, [&b"GGUF\x03\0\0\0"[..], &[0; 24]].concat()).unwrap();
    let settings = Settings { draft: Some(draft.display().to_string()), ..Settings::default() };
    let error = format!("{:#}", files(&path, &settings).unwrap_err());
    let expected = format!("understand {}: the header has no general.architecture", draft.display());
    assert!(error.starts_with(&expected), "{error}");
}

#[test]
fn an_adapter_counts_with_its_tensors() {
    let scratch = Scratch::new("adapter");
    let (path, adapter) = (scratch.model("llama-mha", "a.gguf"), scratch.model("nomic-embed", "b.gguf"));
    let settings = Settings { adapters: vec![adapter.display().to_string()], ..Settings::default() };
    let found = files(&path, &settings).unwrap();
    // Its header is no part of them.
    assert_eq!(found.adapters, [Header::read(&*fs::read(&adapter).unwrap()).unwrap().weights.sum()]);
    fs::write(&adapter, b"PK").unwrap();
    assert!(format!("{:#}", files(&path, &settings).unwrap_err()).contains("b.gguf"));
}

#[test]
fn a_pipe_is_not_waited_for() {
    let scratch = Scratch::new("pipe");
    let path = scratch.0.join("pipe.gguf");
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    assert!(error(&path).ends_with("is not a regular file"));
}
