//! What was not staged is staged again.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::interrupt;

/// A scenario whose actors did not do what it says is staged again, with other numbers if it draws any.
const TRIES: u64 = 3;

/// Stages it with the number of the attempt, until it was staged or this is interrupted. What panics, a cgroup that cannot be created for
/// one, is not staged; others are.
///
/// # Errors
/// Why it was not staged when last tried.
pub fn staged<T>(mut once: impl FnMut(u64) -> Result<T, String>) -> Result<T, String> {
    let mut attempt = 0;
    loop {
        let staged = catch_unwind(AssertUnwindSafe(|| once(attempt)));
        match staged.unwrap_or_else(|_| Err("it panicked".to_owned())) {
            Ok(staged) => return Ok(staged),
            Err(why) if attempt + 1 == TRIES || interrupt::noted() => return Err(why),
            Err(_) => attempt += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_or_panics_is_tried_again() {
        let mut attempts = Vec::new();
        let staged = staged(|attempt| {
            attempts.push(attempt);
            match attempt {
                0 => Err("not yet".to_owned()),
                1 => panic!("as some do"),
                _ => Ok(7),
            }
        });
        assert_eq!((staged, attempts), (Ok(7), vec![0, 1, 2]));
        assert_eq!(super::staged(|attempt| Err::<(), _>(attempt.to_string())), Err("2".to_owned()));
    }
}
