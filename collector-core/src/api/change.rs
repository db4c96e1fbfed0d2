//! The requests that are answered on the socket alone: those that change something, and what is for its own user only. As data. What a body says is bounded here; who may what is decided in the
//! engine. Knows no HTTP server.

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::problem::Problem;
use super::schema::{Type, schema};
use crate::learn::Learned;
use crate::lease::{Ask, Circuit, Claim, Ended, Granted, Mark, OwnerName, Reservation, Verdict};

/// The largest body, in bytes.
pub const LARGEST: usize = 64 << 10;

/// What is wanted, and by whom is known elsewhere.
#[derive(Clone, Debug, PartialEq)]
pub enum Wanted {
    Admit(Box<Ask>),
    Claim(Box<Claim>),
    Release(u64),
    Touch(u64),
    Mark(u64, Mark),
    Settled(u64),
    Own(u64, OwnerName),
    Ended(Ended),
    Learned,
    Forget(Option<u64>),
}

/// A request: where it is, and what it takes.
#[derive(Debug)]
pub struct Change {
    pub method: &'static str,
    /// Below [`super::read::ROOT`]. `{id}` is the number of a lease.
    pub path: &'static str,
    /// What it does, in one sentence.
    pub help: &'static str,
    pub body: Option<Type>,
    pub answer: Type,
    /// The status of the answer, and those of problems that are its own.
    pub status: u16,
    pub problems: &'static [(u16, &'static str)],
    read: fn(u64, &[u8]) -> Result<Wanted, Problem>,
}

const NONE: (u16, &str) = (404, "There is no lease with this number.");
const OTHER: (u16, &str) = (403, "It belongs to another user, or asks for more than this user may.");

pub const CHANGES: &[Change] = &[
    Change {
        method: "POST",
        path: "admit",
        help: "May this start here now? A dry lease: it changes nothing.",
        body: Some(schema::<Ask>),
        answer: schema::<Verdict>,
        status: 200,
        problems: &[OTHER],
        read: |_, body| {
            let ask: Ask = parse(body)?;
            ask.check().map_err(Problem::parameter)?;
            Ok(Wanted::Admit(Box::new(ask)))
        },
    },
    Change {
        method: "POST",
        path: "reservations",
        help: "Leases what is needed to an owner. With `wait_seconds` the answer comes when there is room; who disconnects has asked for \
               nothing.",
        body: Some(schema::<Claim>),
        answer: schema::<Granted>,
        status: 201,
        problems: &[
            OTHER,
            (409, "There is no room, or was not in time: `verdict` has the numbers."),
            (429, "This user has as many leases or claims as one may, or keeps as much memory free."),
        ],
        read: |_, body| {
            let claim: Claim = parse(body)?;
            claim.check().map_err(Problem::parameter)?;
            Ok(Wanted::Claim(Box::new(claim)))
        },
    },
    Change {
        method: "DELETE",
        path: "reservations/{id}",
        help: "Gives a lease back.",
        body: None,
        answer: schema::<Reservation>,
        status: 200,
        problems: &[OTHER, NONE],
        read: |id, _| Ok(Wanted::Release(id)),
    },
    Change {
        method: "POST",
        path: "reservations/{id}/touch",
        help: "Says that what a lease holds is in use.",
        body: None,
        answer: schema::<Reservation>,
        status: 200,
        problems: &[OTHER, NONE],
        read: |id, _| Ok(Wanted::Touch(id)),
    },
    Change {
        method: "POST",
        path: "reservations/{id}/evictable",
        help: "Says whether the owner of a lease may be asked to give it up, and for whose claims.",
        body: Some(schema::<Mark>),
        answer: schema::<Reservation>,
        status: 200,
        problems: &[OTHER, NONE],
        read: |id, body| Ok(Wanted::Mark(id, parse(body)?)),
    },
    Change {
        method: "POST",
        path: "reservations/{id}/settled",
        help: "Says that the start is over: what is needed is allocated, and others may start on the same GPU.",
        body: None,
        answer: schema::<Reservation>,
        status: 200,
        problems: &[OTHER, NONE],
        read: |id, _| Ok(Wanted::Settled(id)),
    },
    Change {
        method: "POST",
        path: "reservations/{id}/owner",
        help: "Gives a lease another owner: from now on its use is counted, and the lease ends with it.",
        body: Some(schema::<OwnerName>),
        answer: schema::<Reservation>,
        status: 200,
        problems: &[OTHER, NONE],
        read: |id, body| Ok(Wanted::Own(id, parse(body)?)),
    },
    Change {
        method: "POST",
        path: "circuits",
        help: "Says how something that was started ended. A unit that fails again and again may not start for a while.",
        body: Some(schema::<Ended>),
        answer: schema::<Circuit>,
        status: 200,
        problems: &[OTHER],
        read: |_, body| {
            let ended: Ended = parse(body)?;
            ended.check().map_err(Problem::parameter)?;
            Ok(Wanted::Ended(ended))
        },
    },
    Change {
        method: "GET",
        path: "learned",
        help: "What the caller's own work needed when it ran here; what that of all users needed, for root.",
        body: None,
        answer: schema::<Learned>,
        status: 200,
        problems: &[],
        read: |_, _| Ok(Wanted::Learned),
    },
    Change {
        method: "DELETE",
        path: "learned",
        help: "Forgets what was learned of the caller's own work; that of all users, for root. Answers what it was.",
        body: None,
        answer: schema::<Learned>,
        status: 200,
        problems: &[],
        read: |_, _| Ok(Wanted::Forget(None)),
    },
    Change {
        method: "DELETE",
        path: "learned/{id}",
        help: "Forgets what was learned of one piece of work.",
        body: None,
        answer: schema::<Learned>,
        status: 200,
        problems: &[(404, "Nothing of this user's was learned under this number.")],
        read: |id, _| Ok(Wanted::Forget(Some(id))),
    },
];

impl Change {
    /// The request with this method at this path, and the number in the path.
    pub fn find(method: &str, path: &str) -> Option<(&'static Change, u64)> {
        CHANGES.iter().filter(|change| change.method == method).find_map(|change| Some((change, change.number(path)?)))
    }

    /// Whether a request of any method is at this path.
    pub fn is_at(path: &str) -> bool {
        CHANGES.iter().any(|change| change.number(path).is_some())
    }

    /// The methods of requests at this path, as in the header Allow.
    pub fn methods(path: &str) -> String {
        let here = CHANGES.iter().filter(|change| change.number(path).is_some()).map(|change| change.method);
        let read = super::read::Route::find(path).map(|_| "GET,HEAD");
        read.into_iter().chain(here).collect::<Vec<_>>().join(",")
    }

    /// The number in a path of this kind: 0 where it has none.
    fn number(&self, path: &str) -> Option<u64> {
        let Some((before, after)) = self.path.split_once("{id}") else { return (self.path == path).then_some(0) };
        let digits = path.strip_prefix(before)?.strip_suffix(after)?;
        digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
    }

    /// # Errors
    /// If the body is not what it has to be.
    pub fn read(&self, number: u64, body: &[u8]) -> Result<Wanted, Problem> {
        (self.read)(number, body)
    }
}

/// What stands in a body. Fields that are not known are refused, also in the parts of a need, where serde would not look.
fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    const PART: [&str; 9] = ["what", "resource", "memory", "gpu", "path", "name", "amount", "error", "origin"];
    let wrong = |error: serde_json::Error| Problem::parameter(format!("the body is not what it should be: {error}"));
    let value: Value = serde_json::from_slice(body).map_err(wrong)?;
    let parts = value.pointer("/need/parts").and_then(Value::as_array).into_iter().flatten();
    for name in parts.filter_map(Value::as_object).flat_map(|part| part.keys()) {
        if name != "loading" && !PART.contains(&name.as_str()) {
            return Err(Problem::parameter(format!("a part of a need has no field {name:?}")));
        }
    }
    T::deserialize(value).map_err(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_known_by_its_method_and_its_path() {
        let find = |method: &str, path: &str| Change::find(method, path).map(|(change, id)| (change.path, id));
        assert_eq!(find("POST", "admit"), Some(("admit", 0)));
        assert_eq!(find("GET", "learned"), Some(("learned", 0)));
        assert_eq!(find("DELETE", "learned/7"), Some(("learned/{id}", 7)));
        assert_eq!(find("DELETE", "reservations/7"), Some(("reservations/{id}", 7)));
        assert_eq!(find("POST", "reservations/7/touch"), Some(("reservations/{id}/touch", 7)));
        for (method, path) in [
            ("GET", "admit"),
            ("POST", "reservations/7"),
            ("DELETE", "reservations/"),
            ("DELETE", "reservations/-1"),
            ("DELETE", "reservations/+1"),
            ("DELETE", "reservations/99999999999999999999"),
            ("POST", "reservations/7/8/touch"),
            ("POST", "admit/"),
        ] {
            assert_eq!(find(method, path), None, "{method} {path}");
        }
        assert!(Change::is_at("reservations") && Change::is_at("admit") && !Change::is_at("status"));
    }

    #[test]
    fn a_body_with_an_unknown_field_anywhere_is_refused() {
        let (admit, _) = Change::find("POST", "admit").unwrap();
        let part = r#"{"what":"x","resource":"host","memory":"anonymous","amount":1,"origin":"declared"}"#;
        let body = |part: &str, rest: &str| format!(r#"{{"need":{{"parts":[{part}]}}{rest}}}"#);
        assert!(admit.read(0, body(part, "").as_bytes()).is_ok());
        for (body, says) in [
            (body(part, r#","x":1"#), "unknown field `x`"),
            (body(&part.replace("\"amount\"", "\"much\":1,\"amount\""), ""), "no field \"much\""),
            ("[".repeat(5000), "recursion"),
            (String::new(), "EOF"),
            ("{}".to_owned(), "missing field `need`"),
            (body(part, r#","gpus":["0","0"]"#), "each once"),
        ] {
            let problem = admit.read(0, body.as_bytes()).unwrap_err();
            assert!(problem.status == 400 && problem.detail.contains(says), "{body:.80}: {}", problem.detail);
        }
    }
}
