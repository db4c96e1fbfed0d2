//! Model files that processes use, against what mincore(2) and the kernel's counts of the cgroup say; and stores of models. Processes that
//! are no servers hold a GPU's memory, as the stand-in for NVML says.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Instant;

use caps::Capability;
use collector_tests::agent::{Agent, PATIENCE, body};
use collector_tests::cached::{cached, forget};
use collector_tests::cgroup::Cgroup;
use collector_tests::llama::{Llama, python};
use collector_tests::nvml::{Nvml, host};
use collector_tests::require::{is_root, kernel};
use collector_tests::scratch::scratch;
use collector_tests::{gguf, needs, user};
use serde_json::{Value, json};

const GPU: &str = "GPU-model-file";
const INSPECT: &str = "[model_file]\ninterval = \"100ms\"\ninspect = true\n";
const LAYERS: u32 = 6;
const MB: u64 = 1_000_000;

/// A process that ends with the test.
struct Holder(Child, Option<ChildStdin>);

impl Drop for Holder {
    fn drop(&mut self) {
        self.1.take();
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Holder {
    /// A shell in this cgroup that has these files open, and these words in its command line.
    fn start(cgroup: &Cgroup, open: &[&Path], words: &[&Path], uid: u32) -> Holder {
        let opened: Vec<String> = open.iter().map(|path| format!("exec {{fd}}<'{}';", path.display())).collect();
        let mut command = Command::new("bash");
        command.arg("-c").arg(format!("{} echo; read _", opened.concat())).arg("x").args(words);
        cgroup.join_before_exec(command.stdin(Stdio::piped()).stdout(Stdio::piped()));
        if uid != 0 {
            user::run_as(&mut command, &[]);
        }
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "\n", "it has opened them");
        let stdin = child.stdin.take();
        Holder(child, stdin)
    }
}

fn holds(pids: &[u32]) -> Nvml {
    let mut nvml = host(&[GPU]);
    nvml.scenario["gpus"][0]["processes"] = pids.iter().map(|pid| json!({"pid": pid, "bytes": 1 << 30})).collect();
    nvml.apply();
    nvml
}

fn supported() -> bool {
    // SAFETY: no descriptor and no addresses: nothing is read or written.
    let result = unsafe { libc::syscall(451, -1, 0usize, 0usize, 0) };
    result != 0 && std::io::Error::last_os_error().raw_os_error() != Some(libc::ENOSYS)
}

/// Bytes of files that the kernel read again in a cgroup.
fn refaulted(cgroup: &Cgroup) -> u64 {
    let text = fs::read_to_string(cgroup.memory().join("memory.stat")).unwrap();
    let names = ["workingset_refault_file ", "workingset_refault "];
    let count = names.iter().find_map(|name| text.lines().find_map(|line| line.strip_prefix(name)));
    count.map_or(0, |count| count.parse::<u64>().unwrap() * 4096)
}

#[test]
fn a_real_servers_model_is_followed_through_the_page_cache() {
    needs!(is_root(), "cgroups and programs need root");
    needs!(python().is_file(), "llama.cpp's server is not installed: cargo xtask test");
    needs!(supported(), "cachestat(2) came with Linux 6.5");
    let folder = scratch();
    needs!(folder.is_on_disk(), "the temporary directory is in memory: set TMPDIR");
    let model = folder.join("made-up.gguf");
    gguf::llama(&model, LAYERS);
    let size = fs::metadata(&model).unwrap().len();
    let cgroup = Cgroup::new("model-file");
    cgroup.limit(900 * MB);
    let server = Llama::start(&cgroup, &model, &["-c", "512", "-np", "1", "-t", "1", "--cache-ram", "0", "--metrics"]);
    server.complete("abc", 2);
    let agent = Agent::start(&format!("tick = \"100ms\"\n[models]\ninterval = \"200ms\"\n{INSPECT}"));
    let name = format!("llama_cpp:{}", server.port());
    let labels = [("workload", cgroup.path.as_str()), ("server", &name), ("file", "made-up.gguf")];
    let now = |name: &str| agent.scrape().values(name, &labels).first().copied().map(|value| value as u64);

    // All of it was read, and nobody took it away.
    let seen = agent.scrape_until("the model", |it| it.has("headroom_model_file_cached_bytes", &labels));
    assert_eq!(seen.values("headroom_model_file_bytes", &labels), [size as f64]);
    let witness = cached(&model).min(size);
    assert!(witness > size / 2, "{witness} of {size}");
    assert_eq!(now("headroom_model_file_cached_bytes"), Some(witness));
    assert_eq!(now("headroom_model_file_read_again_bytes_total"), Some(0));

    // There is room for less: what the kernel drops, the agent sees gone.
    cgroup.limit(200 * MB);
    let witness = cached(&model).min(size);
    assert!(witness < size / 4 * 3, "{witness} of {size} are left");
    let evicted = "headroom_model_file_evicted_bytes_total";
    let least = ((size - witness) / 2) as f64;
    let seen = agent.scrape_until("what was dropped", |it| it.sum(evicted, &labels) >= least);
    let left = seen.sum("headroom_model_file_cached_bytes", &labels) as u64;
    assert!(left <= witness && seen.sum(evicted, &labels) <= size as f64, "{left} are left of {witness}");

    // Every token needs all of it.
    let before = refaulted(&cgroup);
    server.complete("abc", 2);
    let again = "headroom_model_file_read_again_bytes_total";
    let seen = agent.scrape_until("what is read again", |it| it.sum(again, &labels) > 0.0);
    let (told, kernel) = (seen.sum(again, &labels) as u64, refaulted(&cgroup) - before);
    assert!(kernel > size / 4 && told <= kernel, "{told} were read again, the kernel says {kernel}");
    assert!(seen.sum("headroom_model_major_faults_total", &labels[..2]) > 0.0);

    // The same is in the API.
    let answer: Value = serde_json::from_str(&body(&agent.address, "/api/v1/models", "")).unwrap();
    let files = answer["files"].as_array().unwrap();
    let file = files.iter().find(|file| file["server"] == *name).unwrap_or_else(|| panic!("{answer}"));
    assert_eq!((&file["file"], &file["how"], &file["bytes"]), (&json!("made-up.gguf"), &json!("mapped"), &json!(size)));

    drop(server);
    agent.scrape_until("that it is gone", |it| !it.has("headroom_model_file_bytes", &labels));
}

#[test]
fn without_rights_only_command_lines_are_known_and_that_is_said() {
    needs!(is_root(), "cgroups and programs need root");
    let folder = scratch();
    fs::set_permissions(&*folder, fs::Permissions::from_mode(0o755)).unwrap();
    let [open, named, secret] = ["open.gguf", "named.gguf", "secret.gguf"].map(|name| folder.join(name));
    [&open, &named, &secret].iter().for_each(|path| fs::write(path, vec![7; 70_000]).unwrap());
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    let [one, other] = ["model-file-root", "model-file-user"].map(Cgroup::new);
    // Somebody else's process names what it may not read, and links to it.
    let link = folder.join("link.gguf");
    symlink(&secret, &link).unwrap();
    let root = Holder::start(&one, &[&open], &[&named], 0);
    let user = Holder::start(
        &other,
        &[],
        &[&secret, &link, &named, Path::new("/dev/zero"), Path::new("/proc/1/cwd/a.gguf")],
        user::ID,
    );
    let nvml = holds(&[root.0.id(), user.0.id()]);
    let config = format!("{}[model_file]\ninterval = \"100ms\"\n", nvml.config());
    let files = |agent: &Agent, cgroup: &Cgroup, name: &str| {
        let labels = [("workload", cgroup.path.as_str()), ("file", name)];
        let page = agent.scrape();
        (page.has("headroom_model_file_bytes", &labels), page.has("headroom_model_file_cached_bytes", &labels))
    };
    let await_named = |agent: &Agent| {
        for cgroup in [&one, &other] {
            let labels = [("workload", cgroup.path.as_str()), ("file", "named.gguf")];
            agent.scrape_until("the file that it names", |it| it.has("headroom_model_file_bytes", &labels));
        }
    };

    let agent = nvml.agent_of(&config);
    await_named(&agent);
    assert_eq!(files(&agent, &one, "open.gguf"), (false, false), "it was not looked into");
    for name in ["secret.gguf", "link.gguf", "zero", "a.gguf"] {
        assert_eq!(files(&agent, &other, name), (false, false), "{name} is not the user's to read");
    }
    drop(agent);

    // As a user of its own the kernel tells it nothing of others' files, unless it may act as their owner.
    let least = [Capability::CAP_BPF, Capability::CAP_PERFMON, Capability::CAP_DAC_READ_SEARCH];
    let start = |capabilities: &[Capability], config: &str| {
        let (name, value) = nvml.environment();
        // SAFETY: tests run one after the other, and no other thread reads the environment now.
        unsafe { std::env::set_var(name, value) };
        let mut agent = Agent::spawn_as_user(capabilities, config);
        agent.await_ready();
        agent
    };
    let agent = start(&least, &config);
    await_named(&agent);
    let blind = files(&agent, &one, "named.gguf");
    drop(agent);
    let most = [&least[..], &[Capability::CAP_SYS_PTRACE, Capability::CAP_FOWNER]].concat();
    let agent = start(&most, &format!("{config}inspect = true\n"));
    await_named(&agent);
    agent.scrape_until("what it has open", |it| {
        it.has("headroom_model_file_bytes", &[("workload", one.path.as_str()), ("file", "open.gguf")])
    });
    if supported() {
        assert_eq!(files(&agent, &one, "named.gguf"), (true, true));
        // From 6.14 on the kernel says it only to who owns the file or may write it.
        assert!(kernel() < (6, 14) || !blind.1, "{blind:?}");
    }
}

#[test]
fn stores_are_listed_and_what_nobody_uses_is_told_apart() {
    needs!(is_root(), "cgroups and programs need root");
    needs!(supported(), "cachestat(2) came with Linux 6.5");
    let folder = scratch();
    needs!(folder.is_on_disk(), "the temporary directory is in memory: set TMPDIR");
    let [used, idle, cached_one, orphan] = ["0a", "0b", "0c", "0d"].map(|digits| digits.repeat(32));
    let ollama = folder.join("ollama");
    let manifests = ollama.join("manifests/registry.ollama.ai/library/made-up");
    let blobs = ollama.join("blobs");
    [&manifests, &blobs].iter().for_each(|path| fs::create_dir_all(path).unwrap());
    let sizes = [(&used, 100_000), (&idle, 200_000), (&cached_one, 300_000), (&orphan, 400_000)];
    for (digest, bytes) in sizes {
        fs::write(blobs.join(format!("sha256-{digest}")), vec![7; bytes]).unwrap();
    }
    let layers: Vec<_> =
        [&used, &idle, &cached_one].iter().map(|it| json!({"digest": format!("sha256:{it}")})).collect();
    fs::write(manifests.join("latest"), json!({"layers": layers}).to_string()).unwrap();
    let hub = folder.join("hub");
    let repository = hub.join("models--org--name");
    for folder in ["blobs", "snapshots/abc"] {
        fs::create_dir_all(repository.join(folder)).unwrap();
    }
    fs::write(repository.join("blobs").join(&idle), vec![7; 200_000]).unwrap();
    symlink(format!("../../blobs/{idle}"), repository.join("snapshots/abc/model.safetensors")).unwrap();
    // What somebody else put there is not followed.
    symlink("/", blobs.join("sha256-root")).unwrap();
    let all = fs::read_dir(&blobs).unwrap().flatten().map(|entry| entry.path());
    let hugging = repository.join("blobs").join(&idle);
    let files: Vec<PathBuf> = all.filter(|path| path.symlink_metadata().unwrap().is_file()).chain([hugging]).collect();
    let at = |digest: &str| blobs.join(format!("sha256-{digest}"));

    let cgroup = Cgroup::new("model-store");
    let holder = Holder::start(&cgroup, &[&at(&used)], &[], 0);
    let config = format!(
        "{INSPECT}store_interval = \"200ms\"\nunused_after = \"1s\"\n\
         [[model_store]]\nname = \"a\"\nkind = \"ollama\"\npath = {ollama:?}\n\
         [[model_store]]\nname = \"b\"\nkind = \"huggingface\"\npath = {hub:?}\n"
    );
    let nvml = holds(&[holder.0.id()]);
    let agent = nvml.agent_with(&config);
    let value = |name: &str, store: &str| agent.scrape().values(name, &[("store", store)]).first().copied();
    agent.scrape_until("both stores", |it| it.has("headroom_model_store_bytes", &[("store", "b")]));
    let bytes: u64 = files[..4].iter().map(|path| path.metadata().unwrap().size()).sum();
    assert_eq!(value("headroom_model_store_bytes", "a"), Some(bytes as f64));
    assert_eq!(value("headroom_model_store_files", "a"), Some(4.0));
    assert_eq!(value("headroom_model_store_unreferenced_bytes", "a"), Some(400_000.0));
    assert_eq!(value("headroom_model_store_duplicate_bytes", "a"), Some(0.0));
    assert_eq!(value("headroom_model_store_duplicate_bytes", "b"), Some(200_000.0), "Ollama has it, too");

    // All of them were just written: that they are cached counts as use.
    assert!(cached(&at(&idle)) > 0);
    assert_eq!(value("headroom_model_store_unused_bytes", "a"), Some(0.0));
    let deadline = Instant::now() + PATIENCE;
    // One stays in memory, and one is open.
    for path in files.iter().filter(|path| **path != at(&cached_one)) {
        while cached(path) > 0 {
            forget(path);
            assert!(Instant::now() < deadline, "{} stays in memory", path.display());
        }
    }
    let unused = |store: &'static str, bytes: f64| {
        agent.scrape_until("what nobody uses", |it| {
            it.sum("headroom_model_store_unused_bytes", &[("store", store)]) == bytes
        });
    };
    unused("a", 600_000.0);
    unused("b", 200_000.0);
    // Nobody has it open any more.
    drop(holder);
    unused("a", 700_000.0);
}
