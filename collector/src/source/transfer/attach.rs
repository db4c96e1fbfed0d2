//! Attaches a program to an offset in a file, for every process that has the file mapped now or later. aya attaches by
//! path and name, and only through the object that owns the program; here the file is open already, and the program is
//! borrowed.

use std::ffi::CString;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use aya_obj::generated::{PERF_EVENT_IOC_ENABLE, PERF_EVENT_IOC_SET_BPF, PERF_FLAG_FD_CLOEXEC, perf_event_attr};

/// Where the perf subsystem describes its uprobe PMU.
const UPROBE: &str = "/sys/bus/event_source/devices/uprobe";

/// The kernel's parameters for opening uprobes.
#[derive(Clone, Copy, Debug)]
pub struct Uprobes {
    kind: u32,
    return_bit: u32,
}

impl Uprobes {
    /// Reads them from sysfs; an error if the kernel has no uprobes.
    pub fn find() -> io::Result<Uprobes> {
        let read = |name: &str| fs::read_to_string(format!("{UPROBE}/{name}"));
        let number = |text: &str| text.trim().parse().map_err(|_| io::Error::other(format!("{UPROBE}: {text:?}")));
        let bit = read("format/retprobe")?;
        Ok(Uprobes { kind: number(&read("type")?)?, return_bit: number(bit.trim().trim_start_matches("config:"))? })
    }

    /// Attaches the program to the function at `offset`, or to its return. It stays attached while the descriptor is
    /// open.
    pub fn attach(self, program: BorrowedFd<'_>, file: &File, offset: u64, returns: bool) -> io::Result<OwnedFd> {
        // The file that was opened, whatever its path refers to now.
        let path = CString::new(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
        // SAFETY: a C struct of numbers, for which zero is a value.
        let mut attr: perf_event_attr = unsafe { std::mem::zeroed() };
        attr.size = size_of::<perf_event_attr>() as u32;
        attr.type_ = self.kind;
        attr.config = u64::from(returns) << self.return_bit;
        attr.__bindgen_anon_3.config1 = path.as_ptr() as u64;
        attr.__bindgen_anon_4.config2 = offset;
        // All processes; uprobes ignore the CPU.
        let (pid, cpu, group) = (-1, 0, -1);
        // SAFETY: the attribute and the path in it outlive the call.
        let event =
            unsafe { libc::syscall(libc::SYS_perf_event_open, &raw const attr, pid, cpu, group, PERF_FLAG_FD_CLOEXEC) };
        if event < 0 {
            return Err(match io::Error::last_os_error() {
                // From Linux 6.16 CAP_PERFMON is not enough; the change was backported to older kernels.
                error if error.kind() == io::ErrorKind::PermissionDenied => {
                    io::Error::other(format!("{error}: this kernel needs CAP_SYS_ADMIN"))
                }
                error => error,
            });
        }
        // SAFETY: the kernel just returned this descriptor, and nothing else owns it.
        let event = unsafe { OwnedFd::from_raw_fd(event as i32) };
        for (request, argument) in [(PERF_EVENT_IOC_SET_BPF, program.as_raw_fd()), (PERF_EVENT_IOC_ENABLE, 0)] {
            // SAFETY: both requests take a number.
            if unsafe { libc::ioctl(event.as_raw_fd(), request as _, argument) } < 0 {
                return Err(io::Error::last_os_error());
            }
        }
        Ok(event)
    }
}
