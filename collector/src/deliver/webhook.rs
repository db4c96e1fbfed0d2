//! Webhook protocol: alerts in Headroom's own JSON, signed if there is a secret.

use std::collections::BTreeMap;
use std::sync::Arc;

use collector_core::alert::{Severity, State};
use collector_core::incident::Incident;
use collector_core::lease::Notice;
use hmac::{Hmac, KeyInit, Mac};
use serde::Serialize;
use sha2::Sha256;

use super::queue::Message;
use crate::config::secret::Secret;
use crate::sink::rfc3339;

/// Header with the signature: `sha256=` and the HMAC-SHA256 of the body in hexadecimal.
pub const SIGNATURE: &str = "x-headroom-signature";

/// Header with a signature that has a time: `t=`, seconds since the Unix epoch, and `v1=`, the HMAC-SHA256 of that number, a dot
/// and the body. The receiver can refuse what somebody recorded and sends again.
pub const DATED_SIGNATURE: &str = "x-headroom-signature-2";

/// Version of the body's layout; incremented for incompatible changes.
const VERSION: u32 = 1;

#[derive(Serialize)]
struct Body<'a> {
    version: u32,
    host: &'a str,
    agent: &'static str,
    alerts: Vec<Item<'a>>,
    /// Leases that are to be given up, or need not be any more.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    evictions: &'a [&'a Notice],
}

#[derive(Serialize)]
struct Item<'a> {
    /// The same in every delivery of this alert.
    id: String,
    alert: &'a str,
    severity: Severity,
    state: State,
    labels: &'a BTreeMap<String, String>,
    started: String,
    fired: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    resolved: Option<String>,
    /// When it was corrected: the incident has another cause than in the delivery before.
    #[serde(skip_serializing_if = "Option::is_none")]
    updated: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<f64>,
    summary: &'a str,
    action: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    incident: Option<Evidence<'a>>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Evidence<'a> {
    Whole(Box<Incident>),
    Id { id: &'a str },
}

/// The body for these alerts. `incident` finds a full incident; otherwise the body has its id only.
pub fn body(host: &str, messages: &[Arc<Message>], incident: impl Fn(&str) -> Option<Incident>) -> Vec<u8> {
    let alerts = messages.iter().map(|message| item(message, &incident)).collect();
    let body = Body { version: VERSION, host, agent: env!("CARGO_PKG_VERSION"), alerts, evictions: &[] };
    // Strings and numbers only: serialization cannot fail.
    serde_json::to_vec(&body).unwrap_or_default()
}

/// The body for these evictions.
pub fn evictions(host: &str, evictions: &[&Notice]) -> Vec<u8> {
    let body = Body { version: VERSION, host, agent: env!("CARGO_PKG_VERSION"), alerts: Vec::new(), evictions };
    serde_json::to_vec(&body).unwrap_or_default()
}

/// The headers that sign a body at this time, in nanoseconds since the Unix epoch: of this attempt, because a receiver compares it with
/// its own clock. None without a secret.
pub fn signatures(secret: &Secret, now: u64, body: &[u8]) -> Vec<(&'static str, String)> {
    if secret.is_empty() {
        return Vec::new();
    }
    let secret = secret.reveal();
    vec![(SIGNATURE, signature(secret, body)), (DATED_SIGNATURE, dated_signature(secret, now / 1_000_000_000, body))]
}

fn item<'a>(message: &'a Message, incident: impl Fn(&str) -> Option<Incident>) -> Item<'a> {
    let alert = &message.alert;
    Item {
        id: message.id.to_string(),
        alert: &alert.alert,
        severity: alert.severity,
        state: alert.state,
        labels: &alert.labels,
        started: rfc3339(alert.started),
        fired: rfc3339(alert.fired),
        resolved: alert.resolved.map(rfc3339),
        updated: alert.updated.map(rfc3339),
        value: alert.value,
        summary: &alert.summary,
        action: &alert.action,
        incident: alert.incident.as_deref().map(|id| match incident(id) {
            Some(whole) => Evidence::Whole(Box::new(whole)),
            None => Evidence::Id { id },
        }),
    }
}

/// The value of [`SIGNATURE`].
pub fn signature(secret: &str, body: &[u8]) -> String {
    format!("sha256={}", mac(secret, &[body]))
}

/// The value of [`DATED_SIGNATURE`].
pub fn dated_signature(secret: &str, unix_seconds: u64, body: &[u8]) -> String {
    let mac = mac(secret, &[unix_seconds.to_string().as_bytes(), b".", body]);
    format!("t={unix_seconds},v1={mac}")
}

/// HMAC-SHA256 in hexadecimal.
fn mac(secret: &str, parts: &[&[u8]]) -> String {
    // HMAC accepts a key of any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else { return String::new() };
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::test::{alert, incident};
    use serde_json::{Value, json};

    #[test]
    fn the_signature_is_that_of_rfc_4231() {
        // Its test cases 2, and 6 with a key longer than a block.
        let signed = signature("Jefe", b"what do ya want for nothing?");
        assert_eq!(signed, "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
        // Of `openssl dgst -sha256 -hmac Jefe` over "1700000000.what do ya want for nothing?".
        let dated = dated_signature("Jefe", 1_700_000_000, b"what do ya want for nothing?");
        assert_eq!(dated, "t=1700000000,v1=1cdd0650c8be1cb0974b1788d458b1e781206cfef59b85faafc582d2e182c57e");
        let mac = Hmac::<Sha256>::new_from_slice(&[0xaa; 131]).unwrap();
        let mac = mac.chain_update("Test Using Larger Than Block-Size Key - Hash Key First").finalize().into_bytes();
        assert_eq!(mac[..4], [0x60, 0xe4, 0x31, 0x59]);
    }

    #[test]
    fn an_alert_includes_its_incident_if_known() {
        let with = |id: &str| {
            let mut alert = alert("HostOom", 1_700_000_000_123_456_789);
            alert.incident = Some(id.to_owned());
            alert.updated = (id == "known").then_some(1_700_000_001_000_000_000);
            Arc::new(Message { id: 7, alert })
        };
        let whole = |id: &str| (id == "known").then(|| incident(id));
        let body: Value = serde_json::from_slice(&body("node1", &[with("known"), with("gone")], whole)).unwrap();
        assert_eq!((&body["version"], &body["host"]), (&json!(1), &json!("node1")));
        let [first, second] = body["alerts"].as_array().unwrap().as_slice() else { panic!("{body}") };
        assert_eq!(
            (&first["id"], &first["alert"], &first["state"]),
            (&json!("7"), &json!("HostOom"), &json!("firing"))
        );
        assert_eq!(first["fired"], json!("2023-11-14T22:13:20.123456789Z"));
        assert_eq!(first["incident"]["title"], json!("it was killed"));
        assert_eq!(second["incident"], json!({"id": "gone"}));
        assert!(first.get("resolved").is_none());
        assert_eq!((&first["updated"], second.get("updated")), (&json!("2023-11-14T22:13:21.000000000Z"), None));
    }
}
