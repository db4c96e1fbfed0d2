//! Trends: what a number does over hours, and when it would reach its limit. Pure functions over points of the history; knows neither
//! where they come from nor what follows from them.
//!
//! A trend is told only where the points show it. What is not shown is [`Shape::NotEnoughData`], with what is missing, or
//! [`Shape::Irregular`].

mod exhaustion;
pub mod fit;
pub mod series;
mod shape;
#[cfg(test)]
mod tests;

pub use exhaustion::{Exhaustion, exhaustion};
pub use series::{Point, WINDOW_NS, Window};
pub use shape::{LEAST, Leak, Missing, Number, SPAN, Shape, WARM_NS, is_work, judge, leak};
