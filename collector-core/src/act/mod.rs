//! What the actuator decides: whether a policy allows a request, what is dangerous, what is written, and what follows from what the journal
//! and the kernel say later. Knows no file, no clock and no socket: whoever acts reads for it, and writes what it decides.

mod answer;
mod danger;
mod place;
mod plan;
mod policy;
mod protect;
mod record;
mod request;
mod settle;
mod undo;
mod value;
mod verdict;

pub use answer::{Actions, Answer, Preview};
pub use danger::{Danger, Readings, danger, danger_of_undo};
pub use place::{Caller, Place, Process};
pub use plan::{Files, Planned, plan};
pub use policy::{Allow, KINDS, Policy, Wrong};
pub use protect::protected;
pub use record::{Ending, Record, State, Step, Who};
pub use request::{Malformed, Object, Request, Task, key};
pub use settle::{Settled, settle, settle_ending};
pub use undo::{Undo, beneath, is_undoable, undo};
pub use value::{bytes, canonical, is_frozen, same};
pub use verdict::{Asked, Verdict, judge};
