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
pub use series::Point;
pub use shape::{Leak, Missing, Number, Shape, judge};
