//! How many entries a user may take in the maps of operations that any user can begin, or can keep from ending. Root's take
//! what is left.

/// Map of the entries that users hold, a row of [`word`]s each. Programs and the collector change it, both by atomic addition.
/// Root's are not counted.
pub const USERS: &str = "USERS";
/// Rows of users. A user has the row that [`row`] says: nobody has to make room for a new one.
pub const ROWS: u32 = 4096;
/// The row of all users together, after theirs.
pub const ALL: u32 = ROWS;

/// Words of a row: the entries held in a map.
pub mod word {
    pub const ALLOCATIONS: usize = 0;
    pub const PROCESSES: usize = 1;
    pub const CALLS: usize = 2;
    pub const COUNT: usize = 3;
}

/// Entries of the maps, by [`word`].
pub const ENTRIES: [u64; word::COUNT] = [65536, 4096, 16384];
/// How many of them one user may take, and how many all users together: the rest is root's.
pub const MAX_OF_USER: [u64; word::COUNT] = [ENTRIES[0] / 4, ENTRIES[1] / 8, ENTRIES[2] / 4];
pub const MAX_OF_USERS: [u64; word::COUNT] = [ENTRIES[0] / 4 * 3, ENTRIES[1] / 4 * 3, ENTRIES[2] / 4 * 3];

/// The row of a user, which another may have, too: then they share what one may take. A user who has many uids cannot choose
/// whose row to fill without knowing the secret. The steps are those of lowbias32 (nullprogram.com, "Prospecting for Hash
/// Functions").
pub const fn row(uid: u32, secret: u32) -> u32 {
    let mut hash = uid ^ secret;
    hash = (hash ^ (hash >> 16)).wrapping_mul(0x7feb_352d);
    hash = (hash ^ (hash >> 15)).wrapping_mul(0x846c_a68b);
    (hash ^ (hash >> 16)) % ROWS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_spread_over_the_rows_and_differently_with_each_secret() {
        let shared = |secret: u32, first: u32| {
            let own = row(first, secret);
            (first + 1..first + 65_536).filter(|uid| row(*uid, secret) == own).count()
        };
        for secret in [0, 1, 0x9e37_79b9, u32::MAX] {
            for first in [1000, 100_000, 1_879_048_192] {
                let shared = shared(secret, first);
                // 65,536 users and 4,096 rows: about 16 in each.
                assert!(shared < 48, "{shared} have the row of {first} with {secret}");
            }
        }
        let same = (0..ROWS).filter(|uid| row(*uid, 7) == row(*uid, 8)).count();
        assert!(same < 64, "{same} rows are the same with another secret");
    }
}
