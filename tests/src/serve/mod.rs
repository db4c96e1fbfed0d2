//! Stand-ins for model servers: they tell numbers that a test moves, as the real ones write them, keep what they were asked, and misbehave
//! when told to; or they really read a model for each token, and tell what that took. [`Server`] is a thread of the test; [`Process`] is a
//! process with the name and the command line of a server.

mod exposition;
mod http;
mod llama;
mod manner;
mod number;
mod process;
mod work;

pub use http::{Asked, Server};
pub use manner::Manner;
pub use number::Numbers;
pub use process::{Process, program, run};
