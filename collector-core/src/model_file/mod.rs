//! Which files are models, by their names, and what a store of them says: sizes, duplicates, and what nobody uses. Opens nothing.

mod name;
mod reference;
pub mod store;

pub use name::{digest, is_model, label};
pub use reference::{LONGEST, blobs, model, revision};
