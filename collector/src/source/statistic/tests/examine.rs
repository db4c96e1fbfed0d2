//! Tests of the doctor's findings about cgroups.

use super::*;
use crate::config::Config;

fn is(host: &Host, key: &str) -> Option<(bool, String)> {
    let findings = Reader::examine(&Config::default(), &Root::new(&host.at));
    findings.into_iter().find(|finding| finding.key == key).map(|finding| (finding.ok, finding.is))
}

#[test]
fn a_controller_that_does_not_reach_the_containers_is_reported() {
    let host = Host::v2(LIMITS);
    host.write("cgroup.controllers", "cpu io memory pids\n");
    assert_eq!(is(&host, "delegation"), None, "no containers");
    let pods = "kubepods.slice/kubepods-burstable.slice";
    let pod = |digit: char| {
        format!("{pods}/kubepods-burstable-pod{0}.slice/cri-containerd-{0}{0}.scope", digit.to_string().repeat(32))
    };
    for digit in ['a', 'b'] {
        host.write(&format!("{}/cgroup.procs", pod(digit)), "");
    }
    host.write("system.slice/ollama.service/cgroup.procs", "");
    let control = |path: &str, text: &str| host.write(&format!("{path}cgroup.subtree_control"), text);
    control("", "cpu io memory pids\n");
    control("kubepods.slice/", "cpu memory pids\n");
    control(&format!("{pods}/"), "cpu memory pids\n");
    let (ok, text) = is(&host, "delegation").unwrap();
    assert!(!ok, "{text}");
    // Two pods and their containers.
    assert!(text.starts_with("io is not enabled below /kubepods.slice (4 containers or jobs)"), "{text}");
    assert!(text.contains("systemctl set-property kubepods.slice IOAccounting=yes"), "{text}");
    assert!(!text.contains("memory is not"), "{text}");
    control("kubepods.slice/", "cpu io memory pids\n");
    control(&format!("{pods}/"), "cpu io memory pids\n");
    assert_eq!(is(&host, "delegation"), Some((true, "memory and io reach all 4 containers and jobs".into())));
    control("", "cpu io\n");
    let (ok, text) = is(&host, "delegation").unwrap();
    assert!(!ok && text.contains("memory is not enabled below / (4") && text.contains("echo +memory > "), "{text}");
}
