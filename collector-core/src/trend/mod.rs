//! Trends: whether memory leaks, and when it reaches its limit. Pure functions over what was held in windows; knows neither where these
//! come from nor what follows from a leak.

mod exhaustion;
mod fit;
mod leak;

pub use exhaustion::{Exhaustion, exhaustion};
pub use fit::{Line, line};
pub use leak::{SPAN, Settings, WINDOW_NS, Window, is_steady, leak, rises};
