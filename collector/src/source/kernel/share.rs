//! Gives back what users took in the programs' maps, where the collector removed it.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::Ordering;

use anyhow::Result;
use aya::Ebpf;
use collector_common::share::{ALL, USERS, row, word};

use super::mapped::Mapped;

/// The entries that users hold.
pub struct Shares {
    rows: Mapped,
    secret: u32,
}

/// Another at each start.
pub fn secret() -> u32 {
    // The standard library's hashers have random keys.
    RandomState::new().hash_one(0) as u32
}

impl Shares {
    /// Takes the map out of the loaded object; `secret` is what the programs were given.
    pub fn new(ebpf: &mut Ebpf, secret: u32) -> Result<Shares> {
        Ok(Shares { rows: Mapped::whole(ebpf, USERS)?, secret })
    }

    /// An entry of a user was removed from the map `word`.
    pub fn give_back(&self, uid: u32, word: usize) {
        if uid == 0 {
            return;
        }
        for row in [ALL, row(uid, self.secret)] {
            let at = row as usize * word::COUNT + word;
            if let Some([held]) = self.rows.words(at..at + 1) {
                held.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }
}
