//! Which files may be written: Landlock. Reading stays free, since the agent reads all over the host.

use std::path::PathBuf;

use landlock::{
    ABI, AccessFs, BitFlags, CompatLevel, Compatible as _, Ruleset, RulesetAttr as _, RulesetCreatedAttr as _,
    RulesetStatus, make_bitflags, path_beneath_rules,
};

/// Linux 6.2. Later ones add limits on devices' ioctls, which NVML needs, and on sockets.
const VERSION: ABI = ABI::V3;

/// In a folder of the agent's own. Neither devices nor pipes nor links.
fn own() -> BitFlags<AccessFs> {
    make_bitflags!(AccessFs::{
        WriteFile | Truncate | MakeReg | RemoveFile | MakeDir | RemoveDir | MakeSock | Refer
    })
}

/// Allows writing only below these folders, and to existing devices if wanted. Files that are open stay usable.
pub fn restrict(folders: &[PathBuf], devices: bool) -> Result<(), String> {
    let set = || {
        // NVIDIA's may appear later.
        let devices = if devices { &["/dev"][..] } else { &[] };
        Ruleset::default()
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(AccessFs::from_write(VERSION))?
            .create()?
            .add_rules(path_beneath_rules(folders, own()))?
            .add_rules(path_beneath_rules(devices, AccessFs::WriteFile))?
            .restrict_self()
    };
    let status = set().map_err(|error: landlock::RulesetError| error.to_string())?;
    match status.ruleset {
        RulesetStatus::NotEnforced => Err("this kernel has none (Linux 5.13 and `landlock` in its lsm= list)".into()),
        RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced => Ok(()),
    }
}

pub fn supported() -> bool {
    /// `LANDLOCK_CREATE_RULESET_VERSION`: asks for the version, and makes nothing.
    const ASK: usize = 1;
    let nothing = std::ptr::null::<u8>();
    // SAFETY: with this flag the call reads no memory.
    let version = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, nothing, 0usize, ASK) };
    version > 0
}
