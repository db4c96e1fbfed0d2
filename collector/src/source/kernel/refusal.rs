//! Why a kernel refuses a kind of program without a word of its verifier: entries of functions (fentry), tracepoints typed by BTF
//! (tp_btf), and any program that reads the kernel's memory.

use std::io;

use rustix::io::Errno;

/// States of the kernel's lockdown, with the one in force in brackets.
const LOCKDOWN: &str = "/sys/kernel/security/lockdown";

/// `ENOTSUPP`: of the kernel alone, so the C libraries do not know it.
const NOT_SUPPORTED: i32 = 524;

/// What to add to the reason for a program that was refused, if only typed ones may read kernel memory.
pub(super) fn of(typed: bool) -> &'static str {
    if typed { "; lockdown allows programs no helper that reads kernel memory" } else { "" }
}

/// The state of the kernel's lockdown; `None` if it has none, or if securityfs is not mounted.
pub(super) fn lockdown() -> Option<String> {
    in_force(&std::fs::read_to_string(LOCKDOWN).ok()?).map(str::to_owned)
}

fn in_force(states: &str) -> Option<&str> {
    states.split_once('[')?.1.split_once(']').map(|(state, _)| state)
}

/// What to add to the error; empty if nothing is known.
pub(super) fn reason(error: &io::Error) -> &'static str {
    explain(error.raw_os_error().unwrap_or(0), lockdown().as_deref())
}

fn explain(code: i32, lockdown: Option<&str>) -> &'static str {
    const EPERM: i32 = Errno::PERM.raw_os_error();
    const EINVAL: i32 = Errno::INVAL.raw_os_error();
    match code {
        EPERM if lockdown == Some("confidentiality") => {
            ": lockdown=confidentiality does not allow this kind of program"
        }
        EPERM => {
            ": not for want of a capability; a security module or this kernel's build does not allow this kind of program"
        }
        EINVAL => {
            ": this kernel does not know this kind of program (tp_btf and fentry need 5.5, CONFIG_DEBUG_INFO_BTF and the BPF JIT)"
        }
        NOT_SUPPORTED => ": this architecture has no BPF trampolines in this kernel (arm64 has them from 6.0 on)",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_follows_from_error_and_lockdown() {
        for (code, lockdown, words) in [
            (1, "none integrity [confidentiality]\n", "lockdown=confidentiality"),
            (1, "none [integrity] confidentiality\n", "security module"),
            (1, "", "security module"),
            (22, "", "CONFIG_DEBUG_INFO_BTF"),
            (524, "", "trampolines"),
        ] {
            assert!(explain(code, in_force(lockdown)).contains(words), "{code} {lockdown}");
        }
        assert_eq!(explain(12, None), "");
    }
}
