//! The state of a host in colours and words, the same on every screen.

use collector_core::alert::{Alert, Severity};
use collector_core::api::status::{FilesystemLine, Health};

use super::sheet::Paint;

/// The colour of something with alerts of this severity at most.
pub fn alarm(worst: Option<Severity>) -> Paint {
    match worst {
        None => Paint::Plain,
        Some(Severity::Info | Severity::Warning) => Paint::Yellow,
        Some(Severity::Critical) => Paint::Red,
    }
}

/// The colour of what these alerts are about. One for information changes none.
pub fn worst(alerts: &[Alert], about: impl Fn(&Alert) -> bool) -> Paint {
    let severities = alerts.iter().filter(|alert| about(alert)).map(|alert| alert.severity);
    alarm(severities.filter(|severity| *severity > Severity::Info).max())
}

pub fn health(health: Option<Health>) -> (Paint, &'static str) {
    let paint = match health {
        Some(Health::Healthy) => Paint::Green,
        None | Some(Health::Moderate | Health::Warning) => Paint::Yellow,
        Some(Health::Critical) => Paint::Red,
    };
    (paint, health.map_or("not known", |health| health.label()))
}

/// How many alerts fire.
pub fn fires(alerts: &[Alert]) -> String {
    match alerts.len() {
        0 => "no alert fires".to_owned(),
        1 => "1 alert fires".to_owned(),
        more => format!("{more} alerts fire"),
    }
}

/// For sorting by how full a filesystem is. One that does not answer matters most.
pub fn fullness(filesystem: &FilesystemLine) -> f64 {
    if filesystem.up { filesystem.used_ratio.unwrap_or(-1.0) } else { 2.0 }
}
