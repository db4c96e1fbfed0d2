//! Tells which `HEADROOM_*` variables are settings and which belong to others. Does not read the environment.

use collector_core::spelling::closest;

use super::error::{Error, Place};
use super::setting::{SETTINGS, Setting};

/// The variable that names the configuration file; `--config` overrides it.
pub const FILE_VARIABLE: &str = "HEADROOM_CONFIG";

/// Used by the project's tests.
const TEST_VARIABLES: &[&str] = &["HEADROOM_BIN", "HEADROOM_REQUIRE"];

/// Whether this `HEADROOM_*` variable is not a setting and must be ignored.
pub fn is_foreign(name: &str, value: &str) -> bool {
    TEST_VARIABLES.contains(&name) || service_link(name, value)
}

/// The error for a variable that belongs to no setting.
pub fn unknown(name: &str) -> Error {
    let known: Vec<_> = SETTINGS.iter().map(Setting::variable).chain([FILE_VARIABLE.to_owned()]).collect();
    let prefix = |name: &str| name.trim_start_matches("HEADROOM_").to_lowercase();
    let bare: Vec<_> = known.iter().map(|name| prefix(name)).collect();
    // Compare without the prefix: its nine equal characters would make every name look similar.
    let hint = closest(&prefix(name), bare.iter().map(String::as_str))
        .map(|name| format!("; did you mean HEADROOM_{}?", name.to_uppercase()))
        .unwrap_or_default();
    Error { place: Place::Variable(name.to_owned()), key: None, text: format!("unknown variable{hint}") }
}

/// Whether Kubernetes set this variable. It puts the address of every Service in the namespace into every container's
/// environment, and a Service named `headroom` must not keep the agent from starting.
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
