//! Access control: TLS, client certificates, passwords and headers, from a file that may change while the agent runs. Knows
//! nothing of the contents that are served.

mod certificate;
pub mod file;
mod password;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::http::header::WWW_AUTHENTICATE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use rustls::ServerConfig;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::config::error::Errors;
use crate::mutex::lock;
use certificate::Pem;
use file::{ClientAuth, File};
use password::Passwords;

pub use password::Verdict;

/// How long a connection waits for a reload of the files before it uses the previous terms.
const RELOAD_TIMEOUT: Duration = Duration::from_secs(1);

/// The access rules in force.
pub struct Terms {
    /// None if everybody has access.
    source: Option<Source>,
    pub tls: Option<Arc<ServerConfig>>,
}

/// The files that the terms are made from.
#[derive(PartialEq)]
struct Source {
    file: File,
    pem: Pem,
}

impl Source {
    fn read(path: &Path) -> Result<Source, Errors> {
        let file = File::read(path)?;
        let pem = match &file.tls {
            Some(tls) => Pem::read(&file, tls).map_err(|error| Errors(vec![error]))?,
            None => Pem::default(),
        };
        Ok(Source { file, pem })
    }

    fn terms(self) -> Result<Terms, Errors> {
        let Source { file, pem } = &self;
        let tls =
            file.tls.as_ref().map(|tls| pem.server(file, tls)).transpose().map_err(|error| Errors(vec![error]))?;
        Ok(Terms { source: Some(self), tls })
    }

    /// The protection that a change to `other` would remove, or the change that needs a restart.
    fn forbidden_change(&self, other: &Source) -> Option<&'static str> {
        let clients = |file: &File| file.tls.as_ref().map_or(ClientAuth::NoClientCert, |tls| tls.client_auth_type);
        if self.file.tls.is_some() != other.file.tls.is_some() {
            Some("turning TLS on or off")
        } else if clients(&self.file) > clients(&other.file) {
            Some("weakening client_auth_type")
        } else if !self.file.users.is_empty() && other.file.users.is_empty() {
            Some("removing all passwords")
        } else {
            None
        }
    }
}

/// The terms, reloaded for every connection.
pub struct Access {
    path: Option<PathBuf>,
    terms: Mutex<Arc<Terms>>,
    passwords: Passwords,
    /// Held while reloading, so a disk that hangs blocks one thread at most.
    turn: Arc<Semaphore>,
    /// Why the present files were rejected, to log it once.
    refused: Mutex<Option<String>>,
    /// A reload takes too long, which was logged.
    hangs: AtomicBool,
}

impl Access {
    /// Without a file, everybody has access.
    ///
    /// # Errors
    /// All mistakes in the file and in what it names.
    pub fn open(path: Option<&Path>) -> Result<Arc<Access>, Errors> {
        let terms = match path {
            Some(path) => Source::read(path)?.terms()?,
            None => Terms { source: None, tls: None },
        };
        Ok(Arc::new(Access {
            path: path.map(Path::to_owned),
            terms: Mutex::new(Arc::new(terms)),
            passwords: Passwords::default(),
            turn: Arc::new(Semaphore::new(1)),
            refused: Mutex::default(),
            hangs: AtomicBool::new(false),
        }))
    }

    /// URL scheme of this endpoint. It does not change while the agent runs.
    pub fn scheme(&self) -> &'static str {
        if self.last().tls.is_some() { "https" } else { "http" }
    }

    /// The terms for a new connection.
    pub async fn terms(self: &Arc<Access>) -> Arc<Terms> {
        if let Some(path) = self.path.clone()
            && let Ok(turn) = self.turn.clone().try_acquire_owned()
        {
            let access = self.clone();
            let reading = spawn_blocking(move || {
                access.renew(&path);
                if access.hangs.swap(false, Ordering::Relaxed) {
                    tracing::info!("{} can be read again", path.display());
                }
                drop(turn);
            });
            // A reload that takes longer applies to the next connection, and none begins before it has ended.
            if timeout(RELOAD_TIMEOUT, reading).await.is_err() && !self.hangs.swap(true, Ordering::Relaxed) {
                self.report_hang();
            }
        }
        self.last()
    }

    fn report_hang(&self) {
        let path = self.path.as_deref().unwrap_or(Path::new("")).display();
        tracing::warn!(
            "reading {path} or a file that it names takes longer than {RELOAD_TIMEOUT:?}: connections go by what was read before, \
             and no change of them has an effect"
        );
    }

    /// The files in force that have secrets: the key, and the file itself if it has password hashes.
    pub fn secret_files(&self) -> Vec<PathBuf> {
        let terms = self.last();
        let Some(Source { file, .. }) = &terms.source else { return Vec::new() };
        let key = file.tls.as_ref().map(|tls| tls.key_file.clone());
        key.into_iter().chain(self.path.clone().filter(|_| !file.users.is_empty())).collect()
    }

    /// Checks the password of a request.
    pub async fn admit(&self, terms: &Terms, headers: &HeaderMap, patience: Duration) -> Verdict {
        match &terms.source {
            Some(Source { file, .. }) if !file.users.is_empty() => {
                self.passwords.check(&file.users, headers, patience).await
            }
            _ => Verdict::Right,
        }
    }

    fn last(&self) -> Arc<Terms> {
        lock(&self.terms).clone()
    }

    /// Reloads the files. If they are invalid, the previous terms stay in force: half of a new certificate must not lock
    /// everybody out, nor an empty file let everybody in.
    fn renew(&self, path: &Path) {
        let last = self.last();
        let reloaded = Source::read(path).map_err(|errors| errors.to_string()).and_then(|source| match &last.source {
            Some(last) if *last == source => Ok(None),
            Some(last) => match last.forbidden_change(&source) {
                Some(what) => Err(format!("{}: {what} needs a restart", path.display())),
                None => source.terms().map(Some).map_err(|errors| errors.to_string()),
            },
            None => Ok(None),
        });
        let mut refused = lock(&self.refused);
        match reloaded {
            Ok(None) => *refused = None,
            Ok(Some(terms)) => {
                *lock(&self.terms) = Arc::new(terms);
                *refused = None;
                tracing::info!("reloaded {} and its certificates", path.display());
            }
            Err(why) if refused.as_deref() == Some(&*why) => {}
            Err(why) => {
                tracing::warn!("web configuration not reloaded, the previous one stays in force: {why}");
                *refused = Some(why);
            }
        }
    }
}

impl Terms {
    /// Whether a client without a certificate gets nothing.
    pub fn needs_certificate(&self) -> bool {
        let tls = self.source.as_ref().and_then(|source| source.file.tls.as_ref());
        tls.is_some_and(|tls| tls.client_auth_type == ClientAuth::RequireAndVerifyClientCert)
    }

    pub fn headers(&self) -> HeaderMap {
        self.source.as_ref().map(|source| source.file.headers.clone()).unwrap_or_default()
    }
}

impl Verdict {
    /// The response to a request without access.
    pub fn refusal(self) -> Option<Response> {
        const ASK: [(axum::http::HeaderName, &str); 1] =
            [(WWW_AUTHENTICATE, "Basic realm=\"Headroom\", charset=\"UTF-8\"")];
        match self {
            Verdict::Right => None,
            Verdict::Wrong => {
                Some((StatusCode::UNAUTHORIZED, ASK, "user name and password required\n").into_response())
            }
            Verdict::Busy => {
                Some((StatusCode::SERVICE_UNAVAILABLE, "too many concurrent password checks\n").into_response())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[tokio::test]
    async fn a_read_that_hangs_is_said_once_and_the_terms_stay() {
        let folder = std::env::temp_dir().join(format!("headroom-access-{}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        let (web, pipe) = (folder.join("web.yml"), folder.join("pipe"));
        fs::write(&web, "http_server_config: {headers: {X-Frame-Options: deny}}\n").unwrap();
        let access = Access::open(Some(&web)).unwrap();
        // A pipe without a writer stands for a filesystem that hangs.
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        fs::rename(&pipe, &web).unwrap();
        assert_eq!(access.terms().await.headers().len(), 1);
        assert!(access.hangs.load(Ordering::Relaxed));
        assert_eq!(access.terms().await.headers().len(), 1, "nobody waits again");
        fs::write(&web, "").unwrap();
        // The turn is free once the read has ended.
        drop(access.turn.clone().acquire_owned().await.unwrap());
        assert!(!access.hangs.load(Ordering::Relaxed));
        fs::remove_dir_all(folder).unwrap();
    }
}
