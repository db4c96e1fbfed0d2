//! The actuator: a process of its own that carries out changes of cgroups and processes, and nothing else. What it may do a policy says that
//! root wrote; each change is in its journal before it is made. What is decided stands in the core (`act`); here it is read, written and
//! waited for. The agent shares no thread, no socket and no file with it.

mod carry;
mod cgroup;
mod end;
mod journal;
mod policy;
mod process;
mod route;
mod server;
mod settle;
mod tree;
mod worker;

pub use server::{Options, serve};
pub use tree::Tree;
