//! `headroom run`.

mod run;

pub use run::{Options, access, run, trim};
