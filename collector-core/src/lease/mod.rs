//! Requests for room on this host, and what became of them: an ask is answered with a verdict, a claim with a lease. Data only; what is
//! decided about it stands in `admission/`, and what changes it in the engine.

pub mod answer;
pub mod ask;
pub mod eviction;
pub mod hold;
pub mod limit;
pub mod priority;
pub mod request;
pub mod verdict;
pub mod want;
pub mod words;

pub use answer::{Answer, AskedFor, Body, Change, Circuit, Granted, Reservation, Step, Sum};
pub use ask::{Ask, Claim, Ended, Mark, OwnerName};
pub use eviction::{Eviction, Notice, Wanted};
pub use hold::{Lease, Occasion, Orphan, Owner, Spent, State, Use};
pub use limit::Limits;
pub use priority::Priority;
pub use request::{Asked, Caller, Ceiling, Kept, Request};
pub use verdict::{Decision, Held, HeldKind, Line, Verdict, Way, WayKind, WayOrigin};
pub use want::Want;
