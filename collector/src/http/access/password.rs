//! Basic authentication (RFC 7617) with bcrypt hashes. bcrypt is slow on purpose, so checks run in the runtime's blocking
//! pool, one at a time, and only for passwords that were not verified before.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::mutex::lock;
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

/// Verified passwords that are remembered: far more than there are users.
const MAX_VERIFIED: usize = 256;

/// Result of checking a request's password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Right,
    /// Wrong or missing password, or unknown user.
    Wrong,
    /// Too many concurrent checks.
    Busy,
}

pub struct Passwords {
    /// Digests of user, hash and verified password. A changed hash changes the digest.
    right: Mutex<HashSet<[u8; 32]>>,
    turn: Arc<Semaphore>,
}

impl Default for Passwords {
    fn default() -> Passwords {
        Passwords { right: Mutex::default(), turn: Arc::new(Semaphore::new(1)) }
    }
}

impl Passwords {
    /// Checks user and password of a request. Waits at most `patience` for its turn.
    pub async fn check(&self, users: &BTreeMap<String, String>, headers: &HeaderMap, patience: Duration) -> Verdict {
        let Some((user, password)) = credentials(headers) else { return Verdict::Wrong };
        // For an unknown user, compute another user's hash, so that the time does not reveal which users exist.
        let (known, hash) = match users.get(&user) {
            Some(hash) => (true, hash.clone()),
            None => (false, users.values().next().cloned().unwrap_or_default()),
        };
        let digest = digest(&user, &hash, &password);
        if known && self.is_right(&digest) {
            return Verdict::Right;
        }
        let Ok(Ok(turn)) = timeout(patience, self.turn.clone().acquire_owned()).await else { return Verdict::Busy };
        // Another request may have verified the same password meanwhile.
        if known && self.is_right(&digest) {
            return Verdict::Right;
        }
        let (send, verified) = oneshot::channel();
        spawn_blocking(move || {
            let begun = Instant::now();
            let right = bcrypt::verify(&password, &hash).unwrap_or(false);
            // The client may have disconnected.
            let _ = send.send(right);
            if !right {
                // Limits a flood of wrong passwords to half a CPU.
                sleep(begun.elapsed());
            }
            drop(turn);
        });
        if !verified.await.unwrap_or(false) || !known {
            return Verdict::Wrong;
        }
        let mut right = lock(&self.right);
        if right.len() >= MAX_VERIFIED {
            right.clear();
        }
        right.insert(digest);
        Verdict::Right
    }

    fn is_right(&self, digest: &[u8; 32]) -> bool {
        lock(&self.right).contains(digest)
    }
}

/// User and password of a request.
fn credentials(headers: &HeaderMap) -> Option<(String, Vec<u8>)> {
    let (scheme, encoded) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let decoded = scheme.eq_ignore_ascii_case("basic").then(|| STANDARD.decode(encoded.trim()).ok())??;
    let colon = decoded.iter().position(|byte| *byte == b':')?;
    Some((String::from_utf8(decoded[..colon].to_vec()).ok()?, decoded[colon + 1..].to_vec()))
}

fn digest(user: &str, hash: &str, password: &[u8]) -> [u8; 32] {
    // Unambiguous: user names contain no colon, and all hashes have the same length.
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
    fn the_first_colon_separates_user_and_password() {
        let parse = |text: &str| credentials(&headers(&format!("Basic {}", STANDARD.encode(text))));
        assert_eq!(parse("alice:hunter2"), Some(("alice".into(), b"hunter2".to_vec())));
        assert_eq!(parse("alice:a:b"), Some(("alice".into(), b"a:b".to_vec())));
        assert_eq!(parse(":"), Some((String::new(), Vec::new())));
        assert_eq!(parse("alice"), None);
    }

    #[test]
    fn other_authentication_is_ignored() {
        for value in ["", "Basic", "Basic !", "Bearer YTpi", "Basic YTpi YTpi", "Basic /zph"] {
            assert_eq!(credentials(&headers(value)), None, "{value}");
        }
        assert_eq!(credentials(&headers("bAsIc YTpi")), Some(("a".into(), b"b".to_vec())));
        assert_eq!(credentials(&HeaderMap::new()), None);
    }
}
