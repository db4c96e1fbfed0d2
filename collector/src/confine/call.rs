//! Which system calls are refused: seccomp. Refused are those that run programs, enter namespaces, mount, look into other
//! processes or change the kernel; what the agent and the libraries that it loads need is too much, and differs too much between
//! systems, to be listed. A refused call fails with EPERM, so a library goes on.

use std::collections::BTreeMap;

use libc::{c_long, c_ulong};
use seccompiler::SeccompCmpArgLen::Dword;
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, TargetArch,
};

/// Refused with any arguments.
const REFUSED: &[c_long] = &[
    // Other programs.
    libc::SYS_execve,
    libc::SYS_execveat,
    // Other processes.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    libc::SYS_process_madvise,
    // Mounts and namespaces.
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_open_tree,
    libc::SYS_move_mount,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_setns,
    libc::SYS_unshare,
    // Files by number, past all folders: CAP_DAC_READ_SEARCH would allow it.
    libc::SYS_open_by_handle_at,
    // Devices and owners.
    libc::SYS_mknodat,
    libc::SYS_setuid,
    libc::SYS_setgid,
    libc::SYS_setreuid,
    libc::SYS_setregid,
    libc::SYS_setresuid,
    libc::SYS_setresgid,
    libc::SYS_setgroups,
    libc::SYS_setfsuid,
    libc::SYS_setfsgid,
    // The kernel and the host.
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_syslog,
    libc::SYS_fanotify_init,
    libc::SYS_personality,
    libc::SYS_vhangup,
    // Ways into the kernel that the agent does not need, with a history of holes.
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_userfaultfd,
    // It does what other calls do, past this filter.
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_iopl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ioperm,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_mknod,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_modify_ldt,
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    libc::SYS_kexec_file_load,
];

/// Commands of bpf(2), from include/uapi/linux/bpf.h, that are never needed once the agent has started: pinning, files that are
/// pinned, what others loaded, and passing rights on. Attaching, links and iterators stay allowed.
const BPF: &[u64] = &[
    6,  // BPF_OBJ_PIN
    7,  // BPF_OBJ_GET
    10, // BPF_PROG_TEST_RUN
    13, // BPF_PROG_GET_FD_BY_ID
    14, // BPF_MAP_GET_FD_BY_ID
    19, // BPF_BTF_GET_FD_BY_ID
    30, // BPF_LINK_GET_FD_BY_ID
    36, // BPF_TOKEN_CREATE
];

/// Commands that load something: needed only where programs are attached to libraries that appear.
const LOAD: &[u64] = &[
    0,  // BPF_MAP_CREATE
    5,  // BPF_PROG_LOAD
    18, // BPF_BTF_LOAD
];

/// Flags of clone(2) that make a namespace. Without such a flag it starts a thread. (CLONE_NEWTIME shares its bit with
/// the signal of the end, so only clone3(2) and unshare(2) know it.)
const NAMESPACE: [u64; 7] = [
    libc::CLONE_NEWNS as u64,
    libc::CLONE_NEWUSER as u64,
    libc::CLONE_NEWPID as u64,
    libc::CLONE_NEWNET as u64,
    libc::CLONE_NEWIPC as u64,
    libc::CLONE_NEWUTS as u64,
    libc::CLONE_NEWCGROUP as u64,
];

/// Marks calls of the x32 interface, which have numbers of their own where a kernel has it.
#[cfg(target_arch = "x86_64")]
const X32: c_long = 0x4000_0000;

/// Refuses the calls in all threads, for good.
pub fn restrict(load: bool) -> Result<(), String> {
    let refuse = program(load, SeccompAction::Errno(libc::EPERM as u32)).map_err(|error| error.to_string())?;
    // clone3(2) has its flags in memory, where a filter cannot see them. The C library then uses clone(2).
    let absent = compile([(libc::SYS_clone3, Vec::new())].into(), SeccompAction::Errno(libc::ENOSYS as u32));
    let absent = absent.map_err(|error| error.to_string())?;
    // What EPERM says counts before what ENOSYS says, so the order does not matter.
    [absent, refuse]
        .iter()
        .try_for_each(|program| seccompiler::apply_filter_all_threads(program).map_err(|error| error.to_string()))
}

/// Whether the kernel has filters (CONFIG_SECCOMP_FILTER).
pub fn supported() -> bool {
    const ACTION_AVAILABLE: usize = 2;
    let action: u32 = libc::SECCOMP_RET_ERRNO;
    // SAFETY: the call reads four bytes at the address, which are there.
    unsafe { libc::syscall(libc::SYS_seccomp, ACTION_AVAILABLE, 0usize, &raw const action) == 0 }
}

fn program(load: bool, action: SeccompAction) -> Result<BpfProgram, BackendError> {
    let mut rules: BTreeMap<c_long, Vec<SeccompRule>> = REFUSED.iter().map(|call| (*call, Vec::new())).collect();
    let commands = BPF.iter().chain(LOAD.iter().filter(|_| !load));
    let command = |number: &u64| rule(0, SeccompCmpOp::Eq, *number);
    rules.insert(libc::SYS_bpf, commands.map(command).collect::<Result<_, _>>()?);
    let flag = |flag: &u64| rule(0, SeccompCmpOp::MaskedEq(*flag), *flag);
    rules.insert(libc::SYS_clone, NAMESPACE.iter().map(flag).collect::<Result<_, _>>()?);
    #[cfg(target_arch = "x86_64")]
    {
        // execve, ptrace, kexec_load, process_vm_readv, process_vm_writev and execveat have other numbers there.
        let others = [520, 521, 528, 539, 540, 545].map(|call| (call | X32, Vec::new()));
        let same: Vec<_> = rules.iter().map(|(call, rules)| (call | X32, rules.clone())).collect();
        rules.extend(same.into_iter().chain(others));
    }
    compile(rules, action)
}

fn compile(rules: BTreeMap<c_long, Vec<SeccompRule>>, action: SeccompAction) -> Result<BpfProgram, BackendError> {
    let architecture = TargetArch::try_from(std::env::consts::ARCH)?;
    SeccompFilter::new(rules, SeccompAction::Allow, action, architecture)?.try_into()
}

fn rule(argument: u8, operator: SeccompCmpOp, value: c_ulong) -> Result<SeccompRule, BackendError> {
    SeccompRule::new(vec![SeccompCondition::new(argument, Dword, operator, value)?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filters_fit_into_the_kernels_limit() {
        // BPF_MAXINSNS.
        for load in [false, true] {
            let program = program(load, SeccompAction::Errno(1)).unwrap();
            assert!((100..4096).contains(&program.len()), "{}", program.len());
        }
    }
}
