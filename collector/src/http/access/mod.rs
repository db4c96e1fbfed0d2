//! Who is answered, and how: TLS, clients' certificates, passwords and headers, on the terms of a file that may change
//! while the agent runs. Knows nothing of what is answered.

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

/// How long a connection waits for the files to be read anew, before it is answered on the terms that were.
const PATIENCE: Duration = Duration::from_secs(1);

/// The terms as they stand.
pub struct Terms {
    /// What they were made from; none where everybody is answered.
    source: Option<Source>,
    /// How TLS is spoken, if it is.
    pub tls: Option<Arc<ServerConfig>>,
}

/// Everything that is read.
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

    /// What of its protection the other one gives up, or what it cannot take up any more.
    fn withheld(&self, other: &Source) -> Option<&'static str> {
        let clients = |file: &File| file.tls.as_ref().map_or(ClientAuth::NoClientCert, |tls| tls.client_auth_type);
        if self.file.tls.is_some() != other.file.tls.is_some() {
            Some("whether TLS is spoken")
        } else if clients(&self.file) > clients(&other.file) {
            Some("that clients show certificates")
        } else if !self.file.users.is_empty() && other.file.users.is_empty() {
            Some("that there are passwords")
        } else {
            None
        }
    }
}

/// The terms, read anew for every connection.
pub struct Access {
    path: Option<PathBuf>,
    terms: Mutex<Arc<Terms>>,
    passwords: Passwords,
    /// Held by who reads: a disk that hangs keeps one thread, and no more.
    turn: Arc<Semaphore>,
    /// Why what stands in the files now does not hold, if it does not: to say it once.
    refused: Mutex<Option<String>>,
}

impl Access {
    /// On the terms of this file; without one, everybody is answered.
    ///
    /// # Errors
    /// All that is wrong with it.
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

    /// What an URL of this endpoint begins with. It stays what it was at the start.
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
            // What is read too late holds for the next.
            let _ = timeout(PATIENCE, reading).await;
        }
        self.last()
    }

    /// Whether a request is answered; if not, what it is told.
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

    /// Takes over what is in the files now, unless it is wrong: then what was there before holds on. Half of a new
    /// certificate must not keep everybody out, nor an empty file let everybody in.
    fn renew(&self, path: &Path) {
        let last = self.last();
        let news = Source::read(path).map_err(|errors| errors.to_string()).and_then(|source| match &last.source {
            Some(last) if *last == source => Ok(None),
            Some(last) => match last.withheld(&source) {
                Some(what) => Err(format!("{}: {what} takes a restart to change", path.display())),
                None => source.terms().map(Some).map_err(|errors| errors.to_string()),
            },
            None => Ok(None),
        });
        let mut refused = lock(&self.refused);
        match news {
            Ok(None) => *refused = None,
            Ok(Some(terms)) => {
                *lock(&self.terms) = Arc::new(terms);
                *refused = None;
                tracing::info!("{} and its certificates are read anew", path.display());
            }
            Err(why) if refused.as_deref() == Some(&*why) => {}
            Err(why) => {
                tracing::warn!("what was configured before holds on: {why}");
                *refused = Some(why);
            }
        }
    }
}

impl Terms {
    /// The headers of every response.
    pub fn headers(&self) -> HeaderMap {
        self.source.as_ref().map(|source| source.file.headers.clone()).unwrap_or_default()
    }
}

impl Verdict {
    /// What is answered in place of what was asked for.
    pub fn refusal(self) -> Option<Response> {
        const ASK: [(axum::http::HeaderName, &str); 1] =
            [(WWW_AUTHENTICATE, "Basic realm=\"Headroom\", charset=\"UTF-8\"")];
        match self {
            Verdict::Right => None,
            Verdict::Wrong => {
                Some((StatusCode::UNAUTHORIZED, ASK, "a user and a password are needed\n").into_response())
            }
            Verdict::Busy => Some((StatusCode::SERVICE_UNAVAILABLE, "too many passwords at once\n").into_response()),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is in there is whole at any time.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
