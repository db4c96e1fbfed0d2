//! Passwords (RFC 7617), checked against bcrypt hashes, which are slow on purpose: in the runtime's blocking pool,
//! one at a time, and only when they were not found right before.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

/// How many that were found right are remembered: far more than there are users with good reason.
const REMEMBERED: usize = 256;

/// What became of a request's password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is the user's.
    Right,
    /// It is not, or there is none, or no such user.
    Wrong,
    /// Its turn did not come in time.
    Busy,
}

/// Checks passwords.
pub struct Passwords {
    /// Digests of user, hash and password: what was right once is, for as long as the hash is the same.
    right: Mutex<HashSet<[u8; 32]>>,
    turn: Arc<Semaphore>,
}

impl Default for Passwords {
    fn default() -> Passwords {
        Passwords { right: Mutex::default(), turn: Arc::new(Semaphore::new(1)) }
    }
}

impl Passwords {
    /// Whether a request names one of these users with the right password. Waits for its turn no longer than `patience`.
    pub async fn check(&self, users: &BTreeMap<String, String>, headers: &HeaderMap, patience: Duration) -> Verdict {
        let Some((user, password)) = named(headers) else { return Verdict::Wrong };
        // For a name that does not exist another's hash is computed: how long it takes tells nobody who exists.
        let (known, hash) = match users.get(&user) {
            Some(hash) => (true, hash.clone()),
            None => (false, users.values().next().cloned().unwrap_or_default()),
        };
        let digest = digest(&user, &hash, &password);
        if known && self.is_right(&digest) {
            return Verdict::Right;
        }
        let Ok(Ok(turn)) = timeout(patience, self.turn.clone().acquire_owned()).await else { return Verdict::Busy };
        // Somebody else may have come with the same meanwhile.
        if known && self.is_right(&digest) {
            return Verdict::Right;
        }
        let (tell, told) = oneshot::channel();
        spawn_blocking(move || {
            let begun = Instant::now();
            let right = bcrypt::verify(&password, &hash).unwrap_or(false);
            // Nobody hears it if the client is gone.
            let _ = tell.send(right);
            if !right {
                // A flood of wrong ones gets half a CPU at the most.
                sleep(begun.elapsed());
            }
            drop(turn);
        });
        if !told.await.unwrap_or(false) || !known {
            return Verdict::Wrong;
        }
        let mut right = self.right.lock().unwrap_or_else(PoisonError::into_inner);
        if right.len() >= REMEMBERED {
            right.clear();
        }
        right.insert(digest);
        Verdict::Right
    }

    fn is_right(&self, digest: &[u8; 32]) -> bool {
        self.right.lock().unwrap_or_else(PoisonError::into_inner).contains(digest)
    }
}

/// User and password of a request.
fn named(headers: &HeaderMap) -> Option<(String, Vec<u8>)> {
    let (scheme, credentials) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let decoded = scheme.eq_ignore_ascii_case("basic").then(|| STANDARD.decode(credentials.trim()).ok())??;
    let colon = decoded.iter().position(|byte| *byte == b':')?;
    Some((String::from_utf8(decoded[..colon].to_vec()).ok()?, decoded[colon + 1..].to_vec()))
}

fn digest(user: &str, hash: &str, password: &[u8]) -> [u8; 32] {
    // A user's name has no colon, and all hashes are of one length.
    let parts: [&[u8]; 5] = [user.as_bytes(), b":", hash.as_bytes(), b":", password];
    parts.iter().fold(Sha256::new(), |digest, part| digest.chain_update(part)).finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(value: &str) -> HeaderMap {
        HeaderMap::from_iter([(AUTHORIZATION, value.parse().unwrap())])
    }

    #[test]
    fn user_and_password_are_what_stands_before_and_after_the_first_colon() {
        let named = |text: &str| named(&headers(&format!("Basic {}", STANDARD.encode(text))));
        assert_eq!(named("alice:hunter2"), Some(("alice".into(), b"hunter2".to_vec())));
        assert_eq!(named("alice:a:b"), Some(("alice".into(), b"a:b".to_vec())));
        assert_eq!(named(":"), Some((String::new(), Vec::new())));
        assert_eq!(named("alice"), None);
    }

    #[test]
    fn what_is_no_basic_authentication_names_nobody() {
        for value in ["", "Basic", "Basic !", "Bearer YTpi", "Basic YTpi YTpi", "Basic /zph"] {
            assert_eq!(named(&headers(value)), None, "{value}");
        }
        assert_eq!(named(&headers("bAsIc YTpi")), Some(("a".into(), b"b".to_vec())));
        assert_eq!(named(&HeaderMap::new()), None);
    }
}
