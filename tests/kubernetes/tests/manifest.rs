//! The Kubernetes manifest, checked with Kubernetes' own types.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use collector_tests::binary::binary;
use collector_tests::scaling;
use collector_tests::scratch::scratch;
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use serde_json::Value;

/// A manifest as Kubernetes reads it: unknown keys are dropped, wrong types are an error.
fn parsed(manifest: &Value) -> Value {
    fn as_type<T: serde::Serialize + serde::de::DeserializeOwned>(manifest: &Value) -> Value {
        let typed: T = serde_json::from_value(manifest.clone()).unwrap();
        serde_json::to_value(typed).unwrap()
    }
    match manifest["kind"].as_str().unwrap() {
        "Namespace" => as_type::<Namespace>(manifest),
        "ServiceAccount" => as_type::<ServiceAccount>(manifest),
        "ConfigMap" => as_type::<ConfigMap>(manifest),
        "NetworkPolicy" => as_type::<NetworkPolicy>(manifest),
        "DaemonSet" => as_type::<DaemonSet>(manifest),
        "HorizontalPodAutoscaler" => as_type::<HorizontalPodAutoscaler>(manifest),
        kind => panic!("unexpected kind {kind}"),
    }
}

fn manifests() -> Vec<Value> {
    let text =
        fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/kubernetes/daemonset.yaml")).unwrap();
    let documents = serde_norway::Deserializer::from_str(&text);
    documents.map(|document| serde::Deserialize::deserialize(document).unwrap()).collect()
}

#[test]
fn kubernetes_knows_every_key_of_the_manifest() {
    let manifests = manifests();
    let kinds: Vec<&str> = manifests.iter().map(|manifest| manifest["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["Namespace", "ServiceAccount", "ConfigMap", "NetworkPolicy", "DaemonSet"]);
    for manifest in &manifests {
        assert_eq!(parsed(manifest), *manifest);
    }
    // A mistake is noticed.
    let mut mistake = manifests[4].clone();
    mistake["spec"]["template"]["spec"]["hostPid"] = true.into();
    assert_ne!(parsed(&mistake), mistake);
}

#[test]
fn kubernetes_knows_every_key_of_the_autoscaler_in_the_documentation() {
    let all = scaling::manifests();
    let all = all.iter().map(|text| serde_norway::from_str::<Value>(text).unwrap());
    let own: Vec<Value> = all.filter(|manifest| manifest["kind"] == "HorizontalPodAutoscaler").collect();
    assert_eq!(own.len(), 1);
    assert_eq!(parsed(&own[0]), own[0]);
}

#[test]
fn the_agent_accepts_the_manifests_configuration() {
    let manifests = manifests();
    let folder = scratch();
    let file = folder.join("headroom.toml");
    fs::write(&file, manifests[2]["data"]["headroom.toml"].as_str().unwrap()).unwrap();
    let output = Command::new(binary()).arg("check-config").arg("--config").arg(&file).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let pod = &manifests[4]["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    let names = |list: &Value| -> BTreeSet<String> {
        list.as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&container["volumeMounts"]), names(&pod["volumes"]), "each volume is mounted");
}

#[test]
fn the_container_has_named_capabilities_and_an_image_of_this_version() {
    let container = manifests()[4]["spec"]["template"]["spec"]["containers"][0].clone();
    assert_eq!(container["image"], format!("headroom:{}", env!("CARGO_PKG_VERSION")));
    let security = &container["securityContext"];
    assert!(security.get("privileged").is_none());
    assert_eq!(security["capabilities"]["drop"], serde_json::json!(["ALL"]));
    let added = security["capabilities"]["add"].as_array().unwrap();
    // By name, as the kernel's list has them.
    assert!(
        added.iter().all(|name| format!("CAP_{}", name.as_str().unwrap()).parse::<caps::Capability>().is_ok()),
        "{added:?}"
    );
}
