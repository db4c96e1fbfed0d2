//! Which variables that begin with `HEADROOM_` are settings, and which are somebody else's. Reads no environment.

use super::error::{Error, Place};
use super::setting::{SETTINGS, Setting};
use crate::spelling::closest;

/// The variable that names the file, where no flag does.
pub const FILE_VARIABLE: &str = "HEADROOM_CONFIG";

/// For the project's own tests.
const TEST_VARIABLES: &[&str] = &["HEADROOM_BIN", "HEADROOM_REQUIRE"];

/// Whether this variable begins like ours and is meant for somebody else.
pub fn is_foreign(name: &str, value: &str) -> bool {
    TEST_VARIABLES.contains(&name) || service_link(name, value)
}

/// The error for a variable that no setting has.
pub fn unknown(name: &str) -> Error {
    let known: Vec<_> = SETTINGS.iter().map(Setting::variable).chain([FILE_VARIABLE.to_owned()]).collect();
    let prefix = |name: &str| name.trim_start_matches("HEADROOM_").to_lowercase();
    let bare: Vec<_> = known.iter().map(|name| prefix(name)).collect();
    // Compared without the prefix: nine letters that are always right would make everything look close.
    let hint = closest(&prefix(name), bare.iter().map(String::as_str))
        .map(|name| format!("; did you mean HEADROOM_{}?", name.to_uppercase()))
        .unwrap_or_default();
    Error { place: Place::Variable(name.to_owned()), key: None, text: format!("there is no such variable{hint}") }
}

/// Whether this variable comes from Kubernetes, which puts the address of every Service of the namespace into every
/// container: a Service named `headroom` must not keep the agent from starting.
fn service_link(name: &str, value: &str) -> bool {
    let is_url = ["tcp://", "udp://", "sctp://"].iter().any(|scheme| value.starts_with(scheme));
    let port = ["_TCP", "_UDP", "_SCTP"].iter().any(|protocol| {
        let parts = name.split_once("_PORT_").and_then(|(_, rest)| rest.split_once(protocol));
        parts.is_some_and(|(number, rest)| {
            number.parse::<u16>().is_ok() && ["", "_PROTO", "_PORT", "_ADDR"].contains(&rest)
        })
    });
    name.ends_with("_SERVICE_HOST") || name.contains("_SERVICE_PORT") || (name.ends_with("_PORT") && is_url) || port
}
