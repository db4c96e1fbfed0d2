//! Which work a command line is, for what the agent learns of it: the executable that it would start, the models that it names, and
//! everything else that could change what it needs, as digests. Reads files with the caller's rights, and starts nothing.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use collector_core::learn::Work;
use collector_core::need::Need;
use collector_core::need::command::{Command, Program, Unknown, split_environment};
use collector_core::need::ollama::Name;
use collector_core::text::shown;
use sha2::{Digest as _, Sha256};

use crate::cli::need::file::{is_model, regular};
use crate::cli::need::{Own, VISIBLE, Wants, folder, ollama, wanted};
use crate::config::load::Effective;
use crate::exit::Failure;
use crate::source::lease::program::file;

/// The beginning of a file that stands for all of it, together with its length: headers of models have their dimensions there.
const HEAD: u64 = 256 << 10;
/// Files of a folder with a model that are read.
const FILES: usize = 256;
/// Arguments that may name a model.
const ARGUMENTS: usize = 256;
/// Bytes of the first line of a script.
const LINE: u64 = 256;

/// Flags of engines with a value that say where it listens, what it is called and what it logs.
const ELSEWHERE: [&str; 17] = [
    "--host",
    "--port",
    "--api-key",
    "--api-key-file",
    "--alias",
    "--log-file",
    "--log-level",
    "--uvicorn-log-level",
    "--served-model-name",
    "--root-path",
    "--ssl-keyfile",
    "--ssl-certfile",
    "--ssl-key-file",
    "--ssl-cert-file",
    "--hostname",
    "--timeout",
    "--keepalive",
];

/// What of the environment can change how much is needed: variables whose names begin so.
const ENVIRONMENT: [&str; 18] = [
    "LLAMA_ARG_",
    "GGML_",
    "VLLM_",
    "SGLANG_",
    "SGL_",
    "OLLAMA_",
    "PYTORCH_",
    "CUDA_",
    "JAX_",
    "MALLOC_",
    "NCCL_",
    "TF_",
    "XLA_",
    "TORCH_",
    "OMP_NUM_THREADS",
    "PYTHONPATH",
    "VIRTUAL_ENV",
    "LD_PRELOAD",
];

/// The need of a command or a model, and which work it is. What nobody knows of a program may have been learned: then the need is unknown,
/// and the agent says more. For the agent alone: without assumptions.
pub fn need_and_work(
    wants: &Wants,
    line: &[String],
    own: &Own,
    effective: &Effective,
) -> Result<(Need, Option<Box<Work>>), Failure> {
    let work = work(wants, line).map(Box::new);
    let need = match wanted(wants, line, own, effective) {
        Err(failure) if work.is_some() => match failure.error.downcast_ref::<Unknown>() {
            Some(unknown) => Need::unknown(unknown.to_string()),
            None => return Err(failure),
        },
        need => need?,
    };
    Ok((need.for_agent(), work))
}

/// The work of a command line; none if it starts no program that can be found, such as a model that is named alone.
pub fn work(wants: &Wants, line: &[String]) -> Option<Work> {
    let (_, command) = split_environment(line);
    let assignments = &line[..line.len() - command.len()];
    let (program, arguments) = command.split_first()?;
    let path = find(program)?;
    let started = Started::of(&path)?;
    let engine = Command::of(command).ok().map(|command| command.program);
    let mut settings = Sha256::new();
    put(&mut settings, path.as_os_str().as_bytes());
    started.script.iter().for_each(|script| put(&mut settings, script));
    let interprets = Path::new(program).file_name().is_some_and(|name| is_interpreter(&name.to_string_lossy()));
    let (mut models, mut model_name, mut script) = (Vec::new(), None, None);
    if let [flag, module, ..] = arguments
        && interprets
        && flag == "-m"
    {
        script = Some(module.clone());
    }
    let mut rest = arguments.iter().take(ARGUMENTS);
    while let Some(argument) = rest.next() {
        let (flag, value) = match argument.split_once('=') {
            Some((flag, value)) if flag.starts_with('-') => (flag, Some(value)),
            _ => (argument.as_str(), None),
        };
        if engine.is_some() && ELSEWHERE.contains(&flag) {
            _ = value.is_none().then(|| rest.next());
            continue;
        }
        let text = value.unwrap_or(argument);
        if let Some(found) = model(text, engine) {
            put(&mut settings, value.map_or("", |_| flag).as_bytes());
            model_name.get_or_insert_with(|| last(text));
            models.push(found);
            continue;
        }
        put(&mut settings, argument.as_bytes());
        // What an interpreter runs is as much the program as itself. Only a file is one: the value of a flag may be code, which nobody
        // else is to read.
        if interprets
            && script.is_none()
            && !argument.starts_with('-')
            && let Some(head) = head(Path::new(argument))
        {
            put(&mut settings, &head);
            script = Some(last(argument));
        }
    }
    rest.chain(arguments.iter().skip(ARGUMENTS)).for_each(|argument| put(&mut settings, argument.as_bytes()));
    if engine.is_none() {
        // It may find its files by where it is started.
        put(&mut settings, env::current_dir().unwrap_or_default().as_os_str().as_bytes());
    }
    environment(assignments, engine.is_none()).iter().for_each(|variable| put(&mut settings, variable));
    let settings = hexadecimal(settings);
    let model = (!models.is_empty()).then(|| {
        models.sort();
        let mut all = Sha256::new();
        models.iter().for_each(|model| put(&mut all, model));
        hexadecimal(all)
    });
    let own = [Some(last(program)), script, model_name].into_iter().flatten().collect::<Vec<_>>().join(" ");
    let name = format!("{} #{}", cut(&shown(&own), 200), &settings[..6]);
    let names = started.names.iter().map(|name| cut(&shown(name), 100).to_owned()).collect();
    let declared = [(&wants.memory, "host memory"), (&wants.vram, "VRAM")];
    let declared = declared.into_iter().filter(|(said, _)| said.is_some()).map(|(_, kind)| kind.to_owned()).collect();
    let work = Work { executable: started.executable, names, model, settings, name, declared };
    // Names that cannot be shown are not told to anybody.
    work.check().is_ok().then_some(work)
}

/// What is executed in the end.
struct Started {
    executable: collector_core::learn::File,
    names: Vec<String>,
    /// Of a script, which its interpreter reads.
    script: Option<Vec<u8>>,
}

impl Started {
    fn of(path: &Path) -> Option<Started> {
        let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
        let mut names = vec![name(path)?];
        let Some(interpreter) = interpreter(path) else {
            return Some(Started { executable: file(path)?, names, script: None });
        };
        names.extend(name(&interpreter));
        Some(Started { executable: file(&interpreter)?, names, script: head(path) })
    }
}

/// The program that the first line of a script names, as execve(2) and env(1) read it.
fn interpreter(path: &Path) -> Option<PathBuf> {
    let mut first = Vec::new();
    regular(path).ok()?.0.take(LINE).read_to_end(&mut first).ok()?;
    let line = first.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    let line = String::from_utf8_lossy(line).into_owned();
    let mut words = line.split_whitespace();
    let program = words.next()?;
    if last(program) != "env" {
        return Some(program.into());
    }
    let word = words.find(|word| !word.starts_with('-') && !word.contains('='))?;
    find(word)
}

/// Where a shell would find a program.
fn find(program: &str) -> Option<PathBuf> {
    let runs = |path: &Path| path.is_file() && rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok();
    if program.contains('/') {
        return std::path::absolute(program).ok().filter(|path| runs(path));
    }
    let folders = env::var_os("PATH")?;
    let found = env::split_paths(&folders).map(|folder| folder.join(program)).find(|path| runs(path))?;
    std::path::absolute(found).ok()
}

/// Whether it runs what its first argument names.
fn is_interpreter(name: &str) -> bool {
    const NAMES: [&str; 9] = ["python", "sh", "bash", "dash", "zsh", "perl", "ruby", "node", "torchrun"];
    NAMES.contains(&name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.'))
}

/// The headers of a model that an argument names.
fn model(text: &str, engine: Option<Program>) -> Option<Vec<u8>> {
    if text.starts_with('-') || text.is_empty() {
        return None;
    }
    let path = Path::new(text);
    if is_model(path) {
        return if path.is_dir() { all(path) } else { head(path) };
    }
    match engine? {
        Program::Ollama => {
            Name::of(text).and_then(|name| ollama::find(&name)).and_then(|(_, manifest)| head(&manifest))
        }
        Program::Vllm | Program::Sglang | Program::Tgi if text.contains('/') => {
            folder::locate(text).ok()?.and_then(|found| all(&found))
        }
        _ => None,
    }
}

/// Of all files of a folder that say what the model is.
fn all(path: &Path) -> Option<Vec<u8>> {
    let says = |name: &str| name.ends_with(".gguf") || name.ends_with(".safetensors") || name.ends_with("config.json");
    let names = fs::read_dir(path).ok()?.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    let names: BTreeSet<String> = names.filter(|name| says(name)).collect();
    let mut all = Sha256::new();
    for name in names.iter().take(FILES) {
        put(&mut all, name.as_bytes());
        put(&mut all, &head(&path.join(name))?);
    }
    Some(all.finalize().to_vec())
}

/// A digest of the beginning of a file, and of its length.
fn head(path: &Path) -> Option<Vec<u8>> {
    let (file, length) = regular(path).ok()?;
    let mut head = Vec::new();
    file.take(HEAD).read_to_end(&mut head).ok()?;
    Some(Sha256::new().chain_update(length.to_le_bytes()).chain_update(head).finalize().to_vec())
}

/// What of the environment matters, in order. GPUs count by their number alone.
fn environment(assignments: &[String], every: bool) -> BTreeSet<Vec<u8>> {
    let inherited = env::vars_os().map(|(name, value)| [name.as_bytes(), b"=", value.as_bytes()].concat());
    let own = assignments.iter().filter(|text| text.contains('=')).map(|text| text.clone().into_bytes());
    let matters = |(variable, every): (Vec<u8>, bool)| {
        let name = variable.split(|byte| *byte == b'=').next().unwrap_or_default();
        if name == VISIBLE.as_bytes() {
            let count = variable.iter().filter(|byte| **byte == b',').count();
            return Some(format!("{VISIBLE} {count}").into_bytes());
        }
        (every || ENVIRONMENT.iter().any(|begin| name.starts_with(begin.as_bytes()))).then_some(variable)
    };
    inherited
        .map(|variable| (variable, false))
        .chain(own.map(|variable| (variable, every)))
        .filter_map(matters)
        .collect()
}

/// Each with its length, so that no two lists of texts are one.
fn put(digest: &mut Sha256, bytes: &[u8]) {
    digest.update((bytes.len() as u64).to_le_bytes());
    digest.update(bytes);
}

/// Half of it is enough to tell apart what one user runs.
fn hexadecimal(digest: Sha256) -> String {
    digest.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

fn last(path: &str) -> String {
    Path::new(path).file_name().map_or_else(|| path.to_owned(), |name| name.to_string_lossy().into_owned())
}

fn cut(text: &str, most: usize) -> &str {
    text.get(..text.floor_char_boundary(most)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/need/nomic-embed.gguf");

    fn of(line: &[&str]) -> Option<Work> {
        work(&Wants::default(), &line.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
    }

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Folder {
            let path = env::temp_dir().join(format!("headroom-work-{}-{name}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Folder(path)
        }

        fn program(&self, name: &str, text: &str) -> String {
            let path = self.0.join(name);
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
            path.to_str().unwrap().to_owned()
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn settings_that_matter_make_other_work_and_where_an_engine_listens_does_not() {
        let folder = Folder::new("engine");
        let server = folder.program("llama-server", "\x7fELF");
        let copy = folder.0.join("copy.gguf");
        fs::copy(MODEL, &copy).unwrap();
        let of = |arguments: &[&str]| of(&[&[server.as_str()], arguments].concat()).unwrap();
        let work = of(&["-m", MODEL, "-c", "4096", "--port", "1", "--api-key=secret"]);
        assert_eq!(work.executable, file(Path::new(&server)).unwrap());
        assert!(work.name.starts_with("llama-server nomic-embed.gguf #"), "{}", work.name);
        let json = serde_json::to_string(&work).unwrap();
        assert!(!json.contains("secret") && !json.contains("4096") && !json.contains("fixtures"), "{json}");
        let moved = of(&["-m", copy.to_str().unwrap(), "-c", "4096", "--port", "2"]);
        assert!(work.is_same(&moved), "the model is the same wherever it is");
        for other in [&["-m", MODEL, "-c", "8192"][..], &["-m", MODEL, "-c", "4096", "--mlock"], &["-c", "4096"]] {
            assert!(!work.is_same(&of(other)), "{other:?}");
        }
        fs::File::options().append(true).open(&copy).unwrap().set_len(1 << 20).unwrap();
        assert!(!work.is_same(&of(&["-m", copy.to_str().unwrap(), "-c", "4096"])), "it has more weights");
    }

    #[test]
    fn of_a_script_the_interpreter_is_executed_and_its_text_matters() {
        let folder = Folder::new("script");
        let script = folder.program("train.py", "#!/usr/bin/env -S sh -e\ntrue\n");
        let sh = find("sh").unwrap();
        let direct = of(&[&script, "--batch", "8"]).unwrap();
        assert_eq!((direct.executable, &direct.names[..]), (file(&sh).unwrap(), &["train.py".into(), "sh".into()][..]));
        let named = of(&["sh", &script, "--batch", "8"]).unwrap();
        assert_eq!((named.executable, named.names), (direct.executable, vec!["sh".to_owned()]));
        assert!(named.name.starts_with("sh train.py #"), "{}", named.name);
        let code = of(&["sh", "-c", "echo secret"]).unwrap();
        assert!(code.name.starts_with("sh #"), "{}", code.name);
        assert!(of(&["sh", "-m", "a.b", "x"]).unwrap().name.starts_with("sh a.b #"));
        let port = |port: &str| of(&[&script, "--port", port]).unwrap();
        assert!(!port("1").is_same(&port("2")), "of a program that is not known every argument counts");
        fs::write(&script, "#!/usr/bin/env sh\nfalse\n").unwrap();
        assert!(!of(&[&script, "--batch", "8"]).unwrap().is_same(&direct));
        let again = of(&["sh", &script, "--batch", "8"]).unwrap();
        assert_ne!(again.settings, of(&["env", "VLLM_X=1", "sh", &script, "--batch", "8"]).unwrap().settings);
        assert_ne!(again.settings, of(&["env", "TERM=x", "sh", &script, "--batch", "8"]).unwrap().settings);
    }

    #[test]
    fn what_starts_no_program_is_no_work() {
        let text = Folder::new("none");
        let plain = text.0.join("plain");
        fs::write(&plain, "x").unwrap();
        for line in
            [&[][..], &[MODEL], &["no-such-command-of-headroom"], &["/"], &[plain.to_str().unwrap()], &["env", "A=1"]]
        {
            assert_eq!(of(line), None, "{line:?}");
        }
    }

    #[test]
    fn what_a_person_declares_is_told() {
        let wants = Wants { vram: Some("1G".into()), ..Wants::default() };
        assert_eq!(work(&wants, &["true".to_owned()]).unwrap().declared, ["VRAM"]);
    }
}
