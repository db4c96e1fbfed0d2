//! PSI triggers: one descriptor each, which becomes ready (EPOLLPRI) when tasks stalled for longer than its threshold
//! (Documentation/accounting/psi.rst). Armed before capabilities are dropped: arming needs CAP_SYS_RESOURCE or, from
//! Linux 6.4 on, a window that is a multiple of two seconds.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use collector_core::pressure::{Kind, Refused, Resource, Stall, Trigger};
use rustix::event::epoll;

use crate::config::Pressure;
use crate::source::Finding;
use crate::source::root::Root;

/// A trigger that the kernel accepted.
pub struct Armed {
    pub trigger: Trigger,
    file: File,
}

/// The configured triggers.
pub fn configured(config: &Pressure) -> impl Iterator<Item = Trigger> {
    let Pressure { memory_waiting, memory_stalled, memory_window, io_waiting, io_stalled, io_window, .. } = config;
    let rows = [
        (Resource::Memory, Kind::Waiting, memory_waiting, memory_window),
        (Resource::Memory, Kind::Stalled, memory_stalled, memory_window),
        (Resource::Io, Kind::Waiting, io_waiting, io_window),
        (Resource::Io, Kind::Stalled, io_stalled, io_window),
        (Resource::Cpu, Kind::Waiting, &config.cpu_waiting, &config.cpu_window),
    ];
    let ns = |time: &std::time::Duration| time.as_nanos() as u64;
    let trigger = move |(resource, kind, threshold, window)| Trigger {
        resource,
        kind,
        threshold_ns: ns(threshold),
        window_ns: ns(window),
    };
    rows.map(trigger).into_iter().filter(|trigger| trigger.threshold_ns > 0)
}

/// Arms a trigger through the files below `proc`.
pub fn arm(proc: &Path, trigger: Trigger) -> Result<Armed, Refused> {
    let file = write(proc, &trigger).map_err(|error| Refused { trigger, reason: reason(&error, &trigger) })?;
    match check_watchable(&file) {
        Ok(()) => Ok(Armed { trigger, file }),
        Err(error) => Err(Refused { trigger, reason: format!("its file cannot be watched ({error})") }),
    }
}

/// A plain file in the place of the kernel's takes every write, but never becomes ready.
fn check_watchable(file: &File) -> io::Result<()> {
    let watcher = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    epoll::add(&watcher, file, epoll::EventData::new_u64(0), epoll::EventFlags::PRI)?;
    Ok(())
}

/// Reports whether the kernel accepts every configured trigger.
pub fn examine(config: &Pressure, root: &Root) -> Finding {
    let proc = root.at("/proc");
    let (mut armed, mut refused) = (Vec::new(), Vec::new());
    for trigger in configured(config) {
        let name = format!("{} {}", trigger.resource.label(), trigger.kind.label());
        match arm(&proc, trigger) {
            Ok(_) => armed.push(name),
            Err(refusal) => refused.push(format!("{name}: PSI trigger could not be armed: {}", refusal.reason)),
        }
    }
    let is = match (armed.is_empty(), refused.is_empty()) {
        (true, true) => "no PSI trigger is configured".to_owned(),
        (false, true) => format!("PSI triggers for {}", armed.join(", ")),
        _ => refused.join("; "),
    };
    Finding { key: "pressure", title: "pressure", ok: refused.is_empty(), is }
}

fn write(proc: &Path, trigger: &Trigger) -> io::Result<File> {
    let path = proc.join("pressure").join(trigger.resource.label());
    let mut file = File::options().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    let [threshold, window] = [trigger.threshold_ns, trigger.window_ns].map(|ns| ns / 1000);
    // In one write, because the kernel takes each write for a separate trigger. It expects a terminating zero byte.
    file.write_all(format!("{} {threshold} {window}\0", trigger.kind.word()).as_bytes())?;
    Ok(file)
}

fn reason(error: &io::Error, trigger: &Trigger) -> String {
    let why = match error.raw_os_error() {
        _ if trigger.threshold_ns > trigger.window_ns => "the threshold is longer than the window",
        Some(libc::ENOENT | libc::EOPNOTSUPP) => {
            "PSI is not available in this kernel (it needs CONFIG_PSI, or psi=1 at boot)"
        }
        Some(libc::EPERM | libc::EACCES) => "it needs CAP_SYS_RESOURCE, or Linux 6.4",
        Some(libc::EINVAL) => "without CAP_SYS_RESOURCE, the window must be a multiple of 2s",
        _ => return error.to_string(),
    };
    format!("{why} ({error})")
}

impl Armed {
    /// The stall to report after it fired.
    pub fn stall(&self) -> Stall {
        let mut text = [0; 256];
        let total = self.file.read_at(&mut text, 0).ok().and_then(|length| {
            let [some, full] = crate::source::pressure::parse(&text[..length]);
            if self.trigger.kind == Kind::Waiting { some } else { full }
        });
        Stall { trigger: self.trigger, total_ns: total }
    }
}

impl AsRawFd for Armed {
    fn as_raw_fd(&self) -> RawFd {
        self.file.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::source::test::Tree;

    const TRIGGER: Trigger = Trigger {
        resource: Resource::Memory,
        kind: Kind::Stalled,
        threshold_ns: 150_000_000,
        window_ns: 2_000_000_000,
    };

    #[test]
    fn a_trigger_is_written_in_the_kernels_format() {
        let tree = Tree::new();
        tree.write("pressure/memory", "");
        let armed = Armed { trigger: TRIGGER, file: write(&tree.0, &TRIGGER).unwrap() };
        assert_eq!(std::fs::read(tree.0.join("pressure/memory")).unwrap(), b"full 150000 2000000\0");
        tree.write("pressure/memory", "some total=5\nfull total=7\n");
        assert_eq!(armed.stall(), Stall { trigger: TRIGGER, total_ns: Some(7000) });
        tree.write("pressure/memory", "");
        assert_eq!(armed.stall().total_ns, None);
    }

    #[test]
    fn a_refusal_gives_the_reason() {
        let tree = Tree::new();
        let refusal = arm(&tree.0, TRIGGER).err().unwrap();
        assert!(refusal.reason.contains("CONFIG_PSI"), "{refusal:?}");
        tree.write("pressure/memory", "");
        let refusal = arm(&tree.0, TRIGGER).err().unwrap();
        assert!(refusal.reason.contains("cannot be watched"), "{refusal:?}");
        let all = examine(&Config::default().pressure, &Root::new(&tree.0));
        assert!(!all.ok && all.is.contains("io stalled: PSI trigger could not be armed"), "{all:?}");
        for (code, window_ns, expected) in [
            (libc::EPERM, 2_000_000_000, "CAP_SYS_RESOURCE"),
            (libc::EINVAL, 1_000_000_000, "multiple of 2s"),
            (libc::EINVAL, 1, "longer than the window"),
            (libc::EIO, 2_000_000_000, "Input/output"),
        ] {
            let reason = reason(&io::Error::from_raw_os_error(code), &Trigger { window_ns, ..TRIGGER });
            assert!(reason.contains(expected), "{reason}");
        }
    }

    #[test]
    fn a_zero_threshold_disables_a_trigger() {
        let mut config = Config::default().pressure;
        let kinds = |config: &Pressure| configured(config).map(|it| (it.resource, it.kind)).collect::<Vec<_>>();
        let defaults =
            [(Resource::Memory, Kind::Waiting), (Resource::Memory, Kind::Stalled), (Resource::Io, Kind::Stalled)];
        assert_eq!(kinds(&config), defaults);
        config.memory_waiting = std::time::Duration::ZERO;
        config.cpu_waiting = std::time::Duration::from_secs(1);
        assert_eq!(kinds(&config), [defaults[1], defaults[2], (Resource::Cpu, Kind::Waiting)]);
    }
}
