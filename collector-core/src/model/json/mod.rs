//! What servers tell as JSON. What is of another type than expected is absent, not an error; lists are read to a bound and no further.

mod lenient;
pub mod llama;
pub mod ollama;
pub mod sglang;
pub mod tgi;

use serde::Deserialize;

/// `None` if it is no JSON, or something else than was asked for.
fn read<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Option<T> {
    serde_json::from_slice(body).ok()
}
