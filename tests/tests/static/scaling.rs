//! The manifests for autoscalers in docs/scaling.md: they are YAML, and read what the agent exports.

use collector_core::metric::METRICS;
use collector_tests::scaling::manifests;
use serde_json::Value;

/// Words of a text that are names of series.
fn series(text: &str) -> Vec<&str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("headroom_")).collect()
}

#[test]
fn the_manifests_for_autoscalers_read_what_is_exported() {
    let texts = manifests();
    let parsed: Vec<Value> = texts.iter().map(|text| serde_norway::from_str(text).unwrap()).collect();
    let [keda, adapter, hpa] = &parsed[..] else { panic!("{} manifests", parsed.len()) };
    let mut names: Vec<&str> = texts.iter().flat_map(|text| series(text)).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names, ["headroom_scaling_desired_instances"]);
    for name in names {
        let metric = METRICS.iter().find(|metric| metric.name == name);
        assert_eq!(metric.unwrap_or_else(|| panic!("{name} is not exported")).labels, ["model"]);
    }

    assert_eq!((&keda["apiVersion"], &keda["kind"]), (&"keda.sh/v1alpha1".into(), &"ScaledObject".into()));
    let trigger = &keda["spec"]["triggers"][0];
    assert_eq!((&trigger["type"], &trigger["metricType"]), (&"prometheus".into(), &"AverageValue".into()));
    // The values of a trigger are strings.
    let metadata = trigger["metadata"].as_object().unwrap();
    assert!(metadata.values().all(Value::is_string) && metadata["threshold"] == "1", "{metadata:?}");

    let rule = &adapter["externalRules"][0];
    assert_eq!(rule["metricsQuery"], metadata["query"], "both ask the same");
    assert_eq!(rule["resources"]["namespaced"], false);
    assert_eq!((&hpa["apiVersion"], &hpa["kind"]), (&"autoscaling/v2".into(), &"HorizontalPodAutoscaler".into()));
    let external = &hpa["spec"]["metrics"][0]["external"];
    assert_eq!(external["metric"]["name"], rule["name"]["as"], "what the rule makes is what is read");
    assert_eq!(external["target"]["averageValue"], "1");
    for (spec, least, most) in
        [(&keda["spec"], "minReplicaCount", "maxReplicaCount"), (&hpa["spec"], "minReplicas", "maxReplicas")]
    {
        assert!(spec[least].as_u64() >= Some(1) && spec[most].as_u64() > spec[least].as_u64(), "{spec}");
        assert_eq!(spec["scaleTargetRef"]["name"], "llama3");
    }
}
