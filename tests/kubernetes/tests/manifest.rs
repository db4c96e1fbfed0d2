//! The manifest of Kubernetes, judged by Kubernetes' own types.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use collector_tests::agent::scratch;
use collector_tests::binary::binary;
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, ServiceAccount};
use serde_json::Value;

/// What Kubernetes would make of a manifest: a key that it does not know is gone, a type that it does not expect an error.
fn understood(manifest: &Value) -> Value {
    fn as_type<T: serde::Serialize + serde::de::DeserializeOwned>(manifest: &Value) -> Value {
        let typed: T = serde_json::from_value(manifest.clone()).unwrap();
        serde_json::to_value(typed).unwrap()
    }
    match manifest["kind"].as_str().unwrap() {
        "Namespace" => as_type::<Namespace>(manifest),
        "ServiceAccount" => as_type::<ServiceAccount>(manifest),
        "ConfigMap" => as_type::<ConfigMap>(manifest),
        "DaemonSet" => as_type::<DaemonSet>(manifest),
        kind => panic!("{kind} is a kind that nobody expects here"),
    }
}

fn manifests() -> Vec<Value> {
    let text =
        fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/kubernetes/daemonset.yaml")).unwrap();
    let documents = serde_norway::Deserializer::from_str(&text);
    documents.map(|document| serde::Deserialize::deserialize(document).unwrap()).collect()
}

#[test]
fn kubernetes_understands_every_word_of_the_manifest() {
    let manifests = manifests();
    let kinds: Vec<&str> = manifests.iter().map(|manifest| manifest["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["Namespace", "ServiceAccount", "ConfigMap", "DaemonSet"]);
    for manifest in &manifests {
        assert_eq!(understood(manifest), *manifest);
    }
    // A slip is seen.
    let mut slip = manifests[3].clone();
    slip["spec"]["template"]["spec"]["hostPid"] = true.into();
    assert_ne!(understood(&slip), slip);
}

#[test]
fn the_manifest_configures_the_agent_that_is_built() {
    let manifests = manifests();
    let folder = scratch();
    let file = folder.join("headroom.toml");
    fs::write(&file, manifests[2]["data"]["headroom.toml"].as_str().unwrap()).unwrap();
    let output = Command::new(binary()).arg("check-config").arg("--config").arg(&file).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let pod = &manifests[3]["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    let names = |list: &Value| -> BTreeSet<String> {
        list.as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&container["volumeMounts"]), names(&pod["volumes"]), "each volume is mounted");
    fs::remove_dir_all(folder).unwrap();
}
