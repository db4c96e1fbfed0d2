//! Access control: TLS, client certificates, passwords and headers, from a file that may change while the agent runs. Knows
//! nothing of the contents that are served.

mod certificate;
pub mod file;
mod password;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::header::WWW_AUTHENTICATE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use rustls::ServerConfig;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::config::error::Errors;
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
                drop(turn);
            });
            // A reload that takes longer applies to the next connection.
            let _ = timeout(RELOAD_TIMEOUT, reading).await;
        }
        self.last()
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

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // The value is consistent even after a panic.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
