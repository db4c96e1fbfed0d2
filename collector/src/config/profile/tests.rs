//! Each shipped profile is valid, contradicts nothing, and has the numbers that its team wrote down; and how profiles combine with a
//! file.

use std::fs;
use std::path::PathBuf;

use collector_core::alert::Severity;
use collector_core::rule::{Change, Condition, Rules};

use super::*;
use crate::config::contradiction::contradictions;
use crate::config::error::Errors;
use crate::config::load::{Effective, Layers, load};
use crate::config::setting;

const GB: u64 = 1_000_000_000;
const GIB: u64 = 1 << 30;
const MB: u64 = 1_000_000;

fn layers(profile: &str, text: &str, environment: &[(&str, &str)]) -> (Layers, PathBuf) {
    static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let file = std::env::temp_dir().join(format!("headroom-profile-{}-{number}.toml", std::process::id()));
    fs::write(&file, text).unwrap();
    let flags = match profile {
        "" => Vec::new(),
        profile => vec![(setting::find("profile").unwrap(), profile.to_owned())],
    };
    let environment = environment.iter().map(|(name, value)| (name.into(), value.into())).collect();
    (Layers { file: Some(file.clone()), environment, flags }, file)
}

fn read(profile: &str, text: &str, environment: &[(&str, &str)]) -> Result<Effective, Errors> {
    let (layers, file) = layers(profile, text, environment);
    let effective = load(&layers);
    fs::remove_file(file).unwrap();
    effective
}

fn profile(name: &str) -> Effective {
    read(name, "", &[]).unwrap()
}

/// Severity, metric and threshold of an enabled rule that fires above it.
fn rule<'a>(rules: &'a Rules, name: &str) -> Option<(Severity, &'a str, f64)> {
    let (_, rule) = rules.find(name).unwrap_or_else(|| panic!("there is no rule {name}"));
    match &rule.condition {
        Condition::Threshold(it) => rule.enabled.then_some((rule.severity, it.metric.name, it.threshold)),
        Condition::Event(_) => panic!("{name}"),
    }
}

const MEMORY: &str = "headroom_host_memory_used_ratio";
const CPU: &str = "headroom_host_cpu_average_busy_seconds_total";
const DISK: &str = "headroom_host_filesystem_used_ratio";
const GPU: &str = "headroom_gpu_memory_used_ratio";
const LEVEL: &str = "headroom_degradation_level";

#[test]
fn every_profile_is_valid_and_contradicts_nothing() {
    for (name, _) in SHIPPED {
        assert_eq!(contradictions(&profile(name), Some(64 * GIB)), [""; 0], "{name}");
    }
}

#[test]
fn ringrift() {
    let Effective { config, rules, notes, .. } = profile("ringrift");
    let level = &config.level;
    assert_eq!((level.cpu_limit, level.memory_limit, level.gpu_limit, level.filesystem_limit), (0.8, 0.8, 0.8, 0.7));
    assert!(config.admission.within_limits);
    assert_eq!((&*level.filesystems, &*level.model_servers), (&["/".to_owned()][..], &[][..]));
    let target = |gigabytes: u64, gpu| level.limits().target(gigabytes * GB, gpu);
    for (gigabytes, gpu, share) in [
        (128, true, Some(0.65)),
        (96, true, Some(0.65)),
        (64, true, Some(0.60)),
        (32, true, Some(0.60)),
        (31, true, Some(0.55)),
        (16, true, Some(0.55)),
        (15, true, None),
        (128, false, Some(0.50)),
        (8, false, Some(0.50)),
    ] {
        assert_eq!(target(gigabytes, gpu), share, "{gigabytes} GB, GPU {gpu}");
    }
    // Its alerts are about the filesystems that it names, and no others.
    for name in ["DiskApproachingLimit", "DiskAtLimit"] {
        let (_, rule) = rules.find(name).unwrap();
        let Condition::Threshold(it) = &rule.condition else { panic!("{name}") };
        let of = it.metric.labels.iter().position(|label| *label == "mountpoint").unwrap();
        let fires = |mountpoint: &str| {
            let labels: Vec<&str> =
                (0..it.metric.labels.len()).map(|at| if at == of { mountpoint } else { "" }).collect();
            it.matches(&labels)
        };
        let named = level.filesystems.iter().all(|mountpoint| fires(mountpoint));
        assert!(named && !fires("/data") && !fires("/boot/efi"), "{name}");
    }
    // The marks at which its limits warn.
    for (name, metric, above) in
        [("HostCpuHigh", CPU, 0.7), ("HostMemoryElevated", MEMORY, 0.7), ("GpuMemoryHigh", GPU, 0.7)]
    {
        assert_eq!(rule(&rules, name).map(|(_, of, at)| (of, at)), Some((metric, above)), "{name}");
    }
    for (name, severity, metric, above) in [
        ("DiskApproachingLimit", Severity::Warning, DISK, 0.65),
        ("DiskAtLimit", Severity::Critical, DISK, 0.70),
        ("MemoryApproachingLimit", Severity::Warning, MEMORY, 0.75),
        ("MemoryAtLimit", Severity::Critical, MEMORY, 0.80),
        // From level 2 and from level 4 on.
        ("GracefulDegradationActive", Severity::Warning, LEVEL, 1.0),
        ("GracefulDegradationCritical", Severity::Critical, LEVEL, 3.0),
    ] {
        assert_eq!(rule(&rules, name), Some((severity, metric, above)), "{name}");
    }
    assert_eq!(notes, [""; 0]);
}

#[test]
fn vllm_two_tier() {
    let Effective { config, rules, notes, .. } = profile("vllm-two-tier");
    let pools: Vec<_> = config.pool.iter().map(|it| (&*it.value.name, it.value.memory.unwrap() / GIB)).collect();
    assert_eq!(pools, [("throughput", 2), ("long-context", 16), ("overhead", 2)]);
    assert_eq!((config.need.memory, config.need.reserved), (Some(24 * GIB), Some(20 * GIB)));
    assert_eq!(rule(&rules, "HostMemoryHigh"), Some((Severity::Warning, MEMORY, 0.9)));
    assert_eq!(rule(&rules, "HostMemoryFull"), Some((Severity::Critical, MEMORY, 0.95)));
    assert_eq!(
        rule(&rules, "GpuPcieBusy"),
        Some((Severity::Warning, "headroom_gpu_pcie_bytes_total", 10.0 * GB as f64))
    );
    assert_eq!(
        rule(&rules, "AgentCpuHigh").map(|(_, metric, above)| (metric, above)),
        Some(("process_cpu_seconds_total", 0.01))
    );
    let Condition::Threshold(busy) = &rules.find("AgentCpuHigh").unwrap().1.condition else { panic!() };
    assert!(matches!(busy.change, Some(Change::Rate(_))));
    assert_eq!(notes, ["[isolation] of profile vllm-two-tier has no effect in this version of Headroom"]);
}

#[test]
fn ollama_isolation() {
    let Effective { rules, notes, .. } = profile("ollama-isolation");
    for (name, above) in [
        ("HostMemoryHigh", 0.85),
        ("HostCpuHigh", 0.90),
        ("HostFilesystemFull", 0.90),
        ("HostSwapHigh", 0.70),
        ("WorkloadMemoryNearLimit", 0.95),
    ] {
        assert_eq!(
            rule(&rules, name).map(|(severity, _, at)| (severity, at)),
            Some((Severity::Warning, above)),
            "{name}"
        );
    }
    assert_eq!(notes.len(), 1);
    // What a later version will set.
    let table: toml::Table = toml::from_str(shipped("ollama-isolation").unwrap()).unwrap();
    let of = |service: &str, key: &str| table["isolation"]["service"][service].get(key).cloned();
    let text = |text: &str| Some(toml::Value::from(text));
    for (service, memory, quota, cores, io, cpus, weight) in [
        ("ollama", "8GB", Some(2.0), Some("0-7"), Some("high"), 2.0, 100),
        ("llama-cpp", "6GB", Some(1.5), Some("8-11"), Some("medium"), 1.5, 80),
        ("proxy", "1GB", Some(0.5), None, Some("low"), 0.5, 50),
        ("monitor", "128MB", None, None, None, 0.1, 50),
    ] {
        assert_eq!(of(service, "memory"), text(memory), "{service}");
        assert_eq!(of(service, "cpu_quota"), quota.map(toml::Value::from), "{service}");
        assert_eq!((of(service, "cores"), of(service, "io")), (cores.and_then(text), io.and_then(text)), "{service}");
        let compose = of(service, "compose").unwrap();
        assert_eq!(
            (compose["cpus"].as_float(), compose["io_weight"].as_integer()),
            (Some(cpus), Some(weight)),
            "{service}"
        );
    }
    let isolation = &table["isolation"];
    assert_eq!((isolation["swap_file"].as_str(), isolation["swappiness"].as_integer()), (Some("16GB"), Some(10)));
    assert_eq!(
        (isolation["zram"]["size"].as_str(), isolation["zram"]["algorithm"].as_str()),
        (Some("8GB"), Some("lz4"))
    );
    assert_eq!(isolation["early_oom"].as_float(), Some(0.1));
}

#[test]
fn musicgen() {
    let Effective { config, rules, .. } = profile("musicgen");
    assert_eq!(config.tick.as_secs(), 1);
    assert_eq!(rule(&rules, "HostMemoryHigh"), Some((Severity::Warning, MEMORY, 0.8)));
    assert_eq!(rule(&rules, "HostMemoryFull"), Some((Severity::Critical, MEMORY, 0.9)));
    assert_eq!(rule(&rules, "GpuMemoryCritical"), Some((Severity::Critical, GPU, 0.9)));
    assert_eq!(rule(&rules, "GpuHot"), Some((Severity::Warning, "headroom_gpu_temperature_celsius", 85.0)));
    // max(2, cached / 3) of the models that may go.
    assert_eq!((config.admission.eviction_least, config.admission.eviction_part), (2, 3));
}

#[test]
fn warmup() {
    let Effective { config, rules, .. } = profile("warmup");
    let pools: Vec<_> = config.pool.iter().map(|it| (&*it.value.name, it.value.memory.unwrap() / MB)).collect();
    assert_eq!(
        pools,
        [("pattern_analysis", 64), ("ml_models", 256), ("prediction_cache", 128), ("temporary_buffers", 32)]
    );
    assert_eq!(config.need.memory, Some(736 * MB));
    for (warning, critical, metric, above) in [
        ("HostMemoryHigh", "HostMemoryFull", MEMORY, (0.75, 0.90)),
        ("HostCpuHigh", "HostCpuFull", CPU, (0.70, 0.85)),
        ("HostFilesystemFull", "HostFilesystemAlmostFull", DISK, (0.80, 0.95)),
        ("NetworkBusy", "NetworkSaturated", "headroom_network_used_ratio", (0.70, 0.90)),
    ] {
        assert_eq!(rule(&rules, warning), Some((Severity::Warning, metric, above.0)));
        assert_eq!(rule(&rules, critical), Some((Severity::Critical, metric, above.1)));
    }
}

#[test]
fn the_file_overrides_a_profile_key_by_key_and_variables_override_both() {
    let text = "profile = \"ringrift\"\nlevel.cpu_limit = 0.5\n[[rule]]\nalert = \"MemoryAtLimit\"\nabove = 0.85\n\
        [[rule]]\nalert = \"DiskAtLimit\"\nenabled = false\n";
    let effective = read("", text, &[("HEADROOM_LEVEL_MEMORY_LIMIT", "0.6")]).unwrap();
    let level = &effective.config.level;
    assert_eq!((level.cpu_limit, level.gpu_limit, level.memory_limit), (0.5, 0.8, 0.6));
    assert_eq!(rule(&effective.rules, "MemoryAtLimit"), Some((Severity::Critical, MEMORY, 0.85)));
    assert_eq!(rule(&effective.rules, "DiskAtLimit"), None);
    let origin = |key: &str| effective.origin(setting::find(key).unwrap()).unwrap().to_string();
    assert!(origin("level.cpu_limit").ends_with(".toml:2:19"), "{}", origin("level.cpu_limit"));
    assert!(origin("level.gpu_limit").starts_with("profile ringrift:"), "{}", origin("level.gpu_limit"));
    assert_eq!(origin("level.memory_limit"), "HEADROOM_LEVEL_MEMORY_LIMIT");
    let entry = effective.config.rule.iter().find(|entry| entry.value.alert == "MemoryAtLimit").unwrap();
    assert!(entry.place("above").to_string().ends_with(".toml:5:9"), "{}", entry.place("above"));
    assert!(entry.place("metric").to_string().starts_with("profile ringrift:"), "{}", entry.place("metric"));
    // A flag names another than the file.
    assert!(!read("musicgen", "profile = \"ringrift\"\n", &[]).unwrap().config.admission.within_limits);
}

#[test]
fn a_variable_sets_the_threshold_of_a_rule_of_a_profile() {
    let set = [("HEADROOM_RULE_MEMORY_AT_LIMIT_ABOVE", "0.9"), ("HEADROOM_RULE_HOST_SWAP_HIGH_ABOVE", "0.3")];
    let effective = read("ringrift", "", &set).unwrap();
    assert_eq!(rule(&effective.rules, "MemoryAtLimit").unwrap().2, 0.9);
    assert_eq!(rule(&effective.rules, "HostSwapHigh").unwrap().2, 0.3);
    let error = read("", "", &set).unwrap_err().to_string();
    assert!(error.starts_with("HEADROOM_RULE_MEMORY_AT_LIMIT_ABOVE: there is no such rule"), "{error}");
}

#[test]
fn a_profile_may_be_a_path_and_a_wrong_one_is_named_where_it_is_chosen() {
    let own = std::env::temp_dir().join(format!("headroom-own-profile-{}.toml", std::process::id()));
    fs::write(&own, "level.cpu_limit = 0.4\n[isolation]\nanything = { goes = [1] }\n").unwrap();
    let effective = read(own.to_str().unwrap(), "", &[]).unwrap();
    assert_eq!((effective.config.level.cpu_limit, effective.notes.len()), (0.4, 1));
    for (text, wanted) in [
        ("profile = \"x\"\n", "profile: a profile cannot name another"),
        ("levle.cpu_limit = 1\n", ":1:1: levle: unknown section; did you mean [level]?"),
    ] {
        fs::write(&own, text).unwrap();
        let error = read(own.to_str().unwrap(), "", &[]).unwrap_err().to_string();
        assert!(error.contains(wanted) && error.contains("own-profile"), "{error}");
    }
    fs::remove_file(&own).unwrap();
    let refusal = |profile: &str, text: &str| read(profile, text, &[]).unwrap_err().to_string();
    assert_eq!(refusal("/nowhere/a.toml", ""), "--profile: profile: /nowhere/a.toml: file not found");
    let error = refusal("", "profile = \"ringrfit\"\n");
    assert!(
        error.contains(".toml:1:11: profile: there is no profile \"ringrfit\"; did you mean \"ringrift\"? "),
        "{error}"
    );
    let error = refusal("", "[isolation]\n");
    assert!(error.contains(":1:2: isolation: only a profile may have it"), "{error}");
}

#[test]
fn an_empty_name_is_no_profile_and_takes_back_what_is_below() {
    let of = |profile: &str, environment: &[(&str, &str)]| {
        let effective = read(profile, "profile = \"ringrift\"\n", environment).unwrap();
        (effective.config.profile, effective.config.level.gpu_limit)
    };
    assert_eq!(of("", &[]), ("ringrift".to_owned(), 0.8));
    assert_eq!(of("", &[("HEADROOM_PROFILE", "")]), (String::new(), 0.97));
    assert_eq!(of("warmup", &[("HEADROOM_PROFILE", "")]), ("warmup".to_owned(), 0.97));
}

#[test]
fn models_and_targets_of_the_file_come_before_those_of_a_profile() {
    let text = "[[level.target]]\nmemory = 0.4\n";
    let effective = read("ringrift", text, &[]).unwrap();
    assert_eq!(effective.config.level.limits().target(128 * GB, false), Some(0.4));
    assert_eq!(effective.config.level.target.len(), 5);
}

#[test]
fn a_rule_twice_in_the_operators_file_stays_a_mistake() {
    let twice = "[[rule]]\nalert = \"MemoryAtLimit\"\nabove = 0.9\n".repeat(2);
    let error = read("ringrift", &twice, &[]).unwrap_err().to_string();
    assert!(error.contains("there is already a rule MemoryAtLimit"), "{error}");
}
