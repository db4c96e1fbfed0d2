//! The control files of a cgroup, on v1 and v2.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;

use collector::source::cgroup::Controller;

use super::scenario::Knob;
use super::script::Scale;
use crate::cgroup::Cgroup;

/// Sets a knob. An error if the kernel refuses: a limit below what is used, on v1, for one.
pub fn set(cgroup: &Cgroup, knob: Knob, scale: &Scale) -> io::Result<()> {
    let v2 = cgroup.is_v2();
    let write = |file: &str, value: String| fs::write(cgroup.memory().join(file), value);
    match knob {
        Knob::Limit(percent) => cgroup.try_limit(scale.bytes(percent)),
        Knob::High(percent) => write("memory.high", scale.bytes(percent).to_string()),
        Knob::Write(percent) => {
            let disk = fs::metadata(std::env::temp_dir())?.dev();
            let disk = format!("{}:{}", rustix::fs::major(disk), rustix::fs::minor(disk));
            let rate = scale.bytes(percent);
            match v2 {
                true => fs::write(cgroup.file(Controller::Io, "io.max"), format!("{disk} wbps={rate}")),
                false => {
                    fs::write(cgroup.file(Controller::Io, "blkio.throttle.write_bps_device"), format!("{disk} {rate}"))
                }
            }
        }
        Knob::Min(percent) => write("memory.min", scale.bytes(percent).to_string()),
        Knob::Swap(percent) if v2 => write("memory.swap.max", scale.bytes(percent).to_string()),
        Knob::Swap(percent) => {
            let limit = fs::read_to_string(cgroup.memory().join("memory.limit_in_bytes"))?;
            let limit: u64 = limit.trim().parse().map_err(io::Error::other)?;
            write("memory.memsw.limit_in_bytes", (limit + scale.bytes(percent)).to_string())
        }
        Knob::NoKill => write("memory.oom_control", "1".to_owned()),
        Knob::Together => write("memory.oom.group", "1".to_owned()),
        Knob::Cpu(percent) => cgroup.try_quota(percent),
    }
}
