//! What the configuration says of model servers, and the bell of the thread that asks them. Shared with whoever reads the configuration
//! again. Reads the files with tokens; connects to nothing.

use std::fs::File;
use std::io::Read as _;
use std::net::IpAddr;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use collector_core::pattern::Patterns;
use collector_core::statistic::model::{Kind, NAME};
use collector_core::text;
use reqwest::Url;

use crate::config::Config;
use crate::config::model_server::ModelServer;
use crate::config::secret::Secret;
use crate::config::table::model_server::name;
use crate::exposure;
use crate::mutex::lock;

/// The longest token in bytes.
const TOKEN: usize = 8 << 10;

/// A server of `[[model_server]]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Configured {
    /// Host and port.
    pub name: Arc<str>,
    pub url: Url,
    pub kind: Option<Kind>,
    /// Empty: none is sent.
    pub token: Secret,
    pub workload: Option<Arc<str>>,
    pub sleep: Option<Duration>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    pub interval: Duration,
    /// Names of servers, and paths of cgroups.
    pub exclude: Patterns,
    pub servers: Vec<Configured>,
}

/// What is wanted now. The thread sleeps on it.
#[derive(Debug, Default)]
pub struct Wanted {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    settings: Arc<Settings>,
    /// There may be new processes.
    rung: bool,
    ended: bool,
}

impl Settings {
    /// # Errors
    /// A file with a token that cannot be used.
    pub fn of(config: &Config) -> Result<Settings> {
        let mut servers = Vec::new();
        for entry in &config.model_server {
            let found = configured(&entry.value);
            servers.push(found.with_context(|| format!("model_server at {}", entry.value.url.masked()))?);
        }
        Ok(Settings { interval: config.models.interval, exclude: Patterns::new(&config.models.exclude), servers })
    }

    /// What should be said of them: each is a sentence.
    pub fn warnings(&self) -> Vec<String> {
        let exposed = self
            .servers
            .iter()
            .filter(|server| server.url.scheme() == "http" && !server.token.is_empty() && !is_loopback(&server.url));
        let text = |server: &Configured| {
            format!("model_server {}: its token crosses the network as plain text: use https", server.name)
        };
        exposed.map(text).collect()
    }
}

impl Wanted {
    pub fn new(settings: Settings) -> Wanted {
        Wanted { state: Mutex::new(State { settings: Arc::new(settings), ..State::default() }), ..Wanted::default() }
    }

    pub fn set(&self, settings: Settings) {
        let mut state = lock(&self.state);
        if *state.settings != settings {
            state.settings = Arc::new(settings);
            state.rung = true;
            self.changed.notify_all();
        }
    }

    pub fn settings(&self) -> Arc<Settings> {
        lock(&self.state).settings.clone()
    }

    /// Wakes the thread.
    pub fn ring(&self) {
        lock(&self.state).rung = true;
        self.changed.notify_all();
    }

    pub fn end(&self) {
        lock(&self.state).ended = true;
        self.changed.notify_all();
    }

    /// Rests for so long, whoever rings. `false`: the thread should end.
    pub fn rest(&self, time: Duration) -> bool {
        let state = lock(&self.state);
        let waited = self.changed.wait_timeout_while(state, time, |state| !state.ended);
        !waited.unwrap_or_else(PoisonError::into_inner).0.ended
    }

    /// Sleeps until somebody rings, or until then. `false`: the thread should end.
    pub fn sleep(&self, until: Option<Instant>) -> bool {
        let state = lock(&self.state);
        let asleep = |state: &mut State| !state.rung && !state.ended;
        let mut state = match until {
            None => self.changed.wait_while(state, asleep).unwrap_or_else(PoisonError::into_inner),
            Some(until) => {
                let time = until.saturating_duration_since(Instant::now());
                self.changed.wait_timeout_while(state, time, asleep).unwrap_or_else(PoisonError::into_inner).0
            }
        };
        state.rung = false;
        !state.ended
    }
}

/// Whether a URL is one of this host's loopback.
pub fn is_loopback(url: &Url) -> bool {
    let Some(host) = url.host_str() else { return false };
    let address = host.trim_start_matches('[').trim_end_matches(']').parse();
    host == "localhost" || address.is_ok_and(|address: IpAddr| address.is_loopback())
}

fn configured(server: &ModelServer) -> Result<Configured> {
    let url = Url::parse(server.url.reveal()).context("url")?;
    let named = name(server.url.reveal()).context("it has no host")?;
    let token = server.token_file.as_deref().map(token).transpose()?.unwrap_or_default();
    let kind = server.kind.as_deref().and_then(|word| Kind::ALL.into_iter().find(|kind| kind.label() == word));
    let workload = Some(&server.workload).filter(|name| !name.is_empty());
    Ok(Configured {
        name: short(&text::shown(&named)),
        url,
        kind,
        token,
        workload: workload.map(|name| text::shown(name).into()),
        sleep: server.sleep,
    })
}

/// The name of a server, cut to what a label may have.
pub fn short(name: &str) -> Arc<str> {
    name[..name.floor_char_boundary(NAME)].into()
}

/// Reads a token that nobody else can read or write.
fn token(path: &Path) -> Result<Secret> {
    let read = || -> Result<Secret> {
        // A pipe would wait for its other end.
        let file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
        let there = file.metadata()?;
        ensure!(there.is_file(), "it is not a regular file");
        let own = rustix::process::geteuid().as_raw();
        ensure!([0, own].contains(&there.uid()), "it belongs to uid {}: chown root it", there.uid());
        ensure!(there.mode() & 0o022 == 0, "others can write it: chmod go-w it");
        ensure!(!exposure::is_exposed(path), "everybody on this host can read it: chmod o= it");
        let mut text = String::new();
        file.take(TOKEN as u64 + 1).read_to_string(&mut text)?;
        let token = text.trim_end_matches(['\n', '\r']);
        match token.len() {
            0 => bail!("it is empty"),
            1..=TOKEN => {}
            _ => bail!("it is longer than a token"),
        }
        ensure!(token.bytes().all(|byte| matches!(byte, b'!'..=b'~')), "it has more in it than one token");
        Ok(token.to_owned().into())
    };
    read().with_context(|| format!("token_file {}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::config::file::apply;
    use crate::source::test::Tree;

    fn read(text: &str) -> Result<Settings> {
        let mut config = Config::default();
        let (_, errors) = apply(Path::new("a.toml"), text, &mut config);
        assert_eq!(errors, []);
        Settings::of(&config)
    }

    #[test]
    fn what_is_configured_is_named_by_host_and_port() {
        let settings = read(
            "[models]\nexclude = [\"ollama:*\"]\n[[model_server]]\nurl = \"http://127.0.0.1:8000\"\nkind = \"vllm\"\n\
             workload = \"vllm.service\"\n[[model_server]]\nurl = \"https://gpu7/a\"\nsleep = \"6s\"\n",
        )
        .unwrap();
        let [local, remote] = &settings.servers[..] else { panic!("{settings:?}") };
        assert_eq!(
            (&*local.name, local.kind, local.workload.as_deref()),
            ("127.0.0.1:8000", Some(Kind::Vllm), Some("vllm.service"))
        );
        assert_eq!((&*remote.name, remote.kind, remote.sleep), ("gpu7:443", None, Some(Duration::from_secs(6))));
        assert!(is_loopback(&local.url) && !is_loopback(&remote.url));
        assert!(settings.exclude.matches("ollama:11434") && settings.warnings().is_empty());
    }

    #[test]
    fn a_token_that_others_can_read_or_write_is_refused() {
        let tree = Tree::new();
        fs::set_permissions(&tree.0, Permissions::from_mode(0o755)).unwrap();
        let path = tree.0.join("token");
        let read = |text: &str, mode: u32| {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            read(&format!("[[model_server]]\nurl = \"http://a.example.com\"\ntoken_file = {path:?}\n"))
        };
        let settings = read("sk-1\n", 0o600).unwrap();
        assert_eq!(settings.servers[0].token.reveal(), "sk-1");
        let [warning] = &settings.warnings()[..] else { panic!() };
        assert!(warning.contains("a.example.com:80") && warning.contains("plain text"), "{warning}");
        for (text, mode, wanted) in [
            ("sk-1", 0o644, "everybody on this host can read it"),
            ("sk-1", 0o620, "others can write it"),
            ("\n", 0o600, "it is empty"),
            ("a b", 0o600, "more in it than one token"),
            (&*"x".repeat(TOKEN + 1), 0o600, "longer than a token"),
        ] {
            let error = format!("{:#}", read(text, mode).err().unwrap());
            assert!(error.contains(wanted) && error.contains("token_file") && !error.contains("sk-1"), "{error}");
        }
        fs::remove_file(&path).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        let text = format!("[[model_server]]\nurl = \"http://a\"\ntoken_file = {path:?}\n");
        let error = format!("{:#}", super::tests::read(&text).err().unwrap());
        assert!(error.contains("not a regular file"), "{error}");
    }

    #[test]
    fn the_bell_wakes_once() {
        let wanted = Wanted::new(Settings::default());
        wanted.ring();
        assert!(wanted.sleep(None), "it was rung before");
        assert!(wanted.sleep(Some(Instant::now())));
        wanted.set(Settings { interval: Duration::from_secs(1), ..Settings::default() });
        assert!(wanted.sleep(None), "the settings changed");
        wanted.end();
        assert!(!wanted.sleep(None));
    }
}
