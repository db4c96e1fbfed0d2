//! What work really needed when it ran here: which work is the same, what was measured of it, and what follows for its next start. Knows
//! needs, and neither leases nor the view.

mod book;
mod lesson;
mod list;
mod peak;
mod run;
mod work;

pub use book::{Book, Change, Entry};
pub use lesson::{Lesson, Line, taught};
pub use list::{Learned, LearnedNeed};
pub use peak::{Peak, Peaks};
pub use run::{Measured, Run};
pub use work::{File, Work};
