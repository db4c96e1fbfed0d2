//! Circuit breakers: the answer of `/api/v1/circuits`, which `headroom guard --status` prints.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::circuit::{Cause, State};
use crate::view::View;
use crate::view::circuit::SeenCause;

const SECOND: u64 = 1_000_000_000;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Circuits {
    /// Time in nanoseconds since the Unix epoch.
    pub time: u64,
    /// Those that were started within the last minute, or failed within the last ten; by owner and name, at most 64 of one owner.
    pub units: Vec<UnitLine>,
}

/// What commands are counted by, such as the name of a service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct UnitLine {
    pub unit: String,
    /// The user whose unit it is.
    pub uid: u32,
    /// The worst of its causes.
    pub state: State,
    /// Starts within the last minute.
    pub starts: u32,
    /// Why it failed, if it did.
    pub causes: Vec<CauseLine>,
}

/// Failures for one cause.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CauseLine {
    pub cause: Cause,
    pub state: State,
    /// Seconds since the last failure.
    pub failed_seconds_ago: u64,
    /// Seconds until one may start, if none may now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_seconds: Option<u64>,
    /// How often in a row it opened.
    pub opened: u32,
}

impl Circuits {
    pub fn of(view: &View) -> Circuits {
        // The clock of leases, which never jumps.
        let time = view.leases.now;
        let line = |cause: &SeenCause| CauseLine {
            cause: cause.cause,
            state: cause.state,
            failed_seconds_ago: time.saturating_sub(cause.failed) / SECOND,
            open_seconds: cause
                .until
                .filter(|_| cause.state == State::Open)
                .map(|until| until.saturating_sub(time).div_ceil(SECOND)),
            opened: cause.opened,
        };
        let units = view.circuits.iter(time).map(|seen| UnitLine {
            unit: seen.unit.to_owned(),
            uid: seen.uid,
            state: seen.state,
            starts: seen.starts,
            causes: seen.causes.iter().map(line).collect(),
        });
        Circuits { time: view.time, units: units.collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::breaker::ended;

    #[test]
    fn an_open_circuit_says_for_how_long_and_survives_json() {
        let time = 1_000_000 * SECOND;
        let mut view = View::default();
        view.leases.now = time + 10 * SECOND;
        (0..3).for_each(|_| ended(&mut view.circuits, time, 1000, "a", None, Some(Cause::Exit(1))));
        ended(&mut view.circuits, time, 1000, "a", None, Some(Cause::Oom));
        let circuits = Circuits::of(&view);
        let [unit] = &circuits.units[..] else { panic!("{circuits:?}") };
        assert_eq!((unit.unit.as_str(), unit.uid, unit.state), ("a", 1000, State::Open));
        let of = |cause| unit.causes.iter().find(|line| line.cause == cause).unwrap();
        let (exit, oom) = (of(Cause::Exit(1)), of(Cause::Oom));
        assert_eq!((exit.open_seconds, exit.failed_seconds_ago, exit.opened), (Some(50), 10, 1));
        assert_eq!((oom.open_seconds, oom.state), (None, State::Closed));
        let json = serde_json::to_string(&circuits).unwrap();
        assert!(json.contains(r#""cause":{"exit":1},"state":"open""#) && json.contains(r#""cause":"oom""#), "{json}");
        assert_eq!(serde_json::from_str::<Circuits>(&json).unwrap(), circuits);
    }
}
