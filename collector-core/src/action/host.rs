//! Settings of the host: sysctls, swap, zram, huge pages. Knows nothing of which are wrong.

use super::{Action, Command, Kind, Object, Tool};

/// Sets a sysctl: `vm.swappiness`.
pub fn sysctl(key: &'static str, before: Option<String>, after: String) -> Action {
    let at_once =
        Command::new(Tool::Sysctl, format!("sysctl -w {key}={}", quoted(&after))).note("It lasts until the next boot.");
    let lasting = Command::new(Tool::Sysctl, format!("{key} = {after}\n")).file("/etc/sysctl.d/60-headroom.conf");
    let commands = vec![at_once, lasting.note("Then: sysctl --system. It acts at each boot.")];
    of(Kind::Sysctl, key, before, Some(after), commands)
}

/// Several numbers are one value.
fn quoted(value: &str) -> String {
    if value.contains(' ') { format!("\"{value}\"") } else { value.to_owned() }
}

/// Adds a swap file of so many bytes.
pub fn swap_file(bytes: u64) -> Action {
    let mebibytes = bytes.div_ceil(1 << 20).max(1);
    let text =
        format!("fallocate -l {mebibytes}M /swapfile && chmod 600 /swapfile && mkswap /swapfile && swapon /swapfile");
    let now = Command::new(Tool::Shell, text)
        .note("On ext4 and XFS; on btrfs: btrfs filesystem mkswapfile --size. It lasts until the next boot.");
    let lasting = Command::new(Tool::Shell, "/swapfile none swap sw 0 0\n".to_owned()).file("/etc/fstab");
    let commands = vec![now, lasting.note("A line more: it is there after each boot.")];
    of(Kind::SwapOn, "swap", None, Some((mebibytes << 20).to_string()), commands)
}

/// Adds swap in compressed memory that holds so many bytes before compression.
pub fn zram(bytes: u64) -> Action {
    let mebibytes = bytes.div_ceil(1 << 20).max(1);
    let now = format!(
        "modprobe zram && dev=$(zramctl --find --size {mebibytes}M --algorithm lz4) && mkswap \"$dev\" && swapon --priority 100 \"$dev\""
    );
    let commands = vec![
        Command::new(Tool::Shell, now).note("It lasts until the next boot."),
        generator(mebibytes).note(
            "With systemd-zram-generator, from the next boot on. Debian's zram-tools has /etc/default/zramswap instead.",
        ),
    ];
    of(Kind::ZramOn, "zram", None, Some((mebibytes << 20).to_string()), commands)
}

/// The size from the next boot on of a zram device that is there already. None is added.
pub fn zram_smaller(before: u64, bytes: u64) -> Action {
    let mebibytes = bytes.div_ceil(1 << 20).max(1);
    let command = generator(mebibytes).note(
        "With systemd-zram-generator, in place of what it has for the device, from the next boot on. Debian's zram-tools has \
         /etc/default/zramswap instead. For it to act before: first swapoff the present device, whose content must fit into memory, and \
         zramctl --reset it.",
    );
    let shown = crate::amount::bytes;
    let action = of(Kind::Configure, "zram", Some(shown(before)), Some(shown(mebibytes << 20)), vec![command]);
    Action { undo: "Put back what the file had, and boot.".to_owned(), ..action }
}

fn generator(mebibytes: u64) -> Command {
    let lines = format!("[zram0]\nzram-size = {mebibytes}\ncompression-algorithm = lz4\nswap-priority = 100\n");
    Command::new(Tool::Systemd, lines).file("/etc/systemd/zram-generator.conf")
}

/// The key of [`huge_pages_defrag`].
pub const DEFRAG: &str = "/sys/kernel/mm/transparent_hugepage/defrag";

/// What a process does for a huge page that is not free at once: `always`, `defer`, `defer+madvise`, `madvise` or `never`.
pub fn huge_pages_defrag(before: Option<String>, after: &'static str) -> Action {
    let now = Command::new(Tool::Shell, format!("echo {after} > {DEFRAG}"));
    let now = now.note("For memory that is mapped from now on, until the next boot.");
    let lasting =
        Command::new(Tool::Shell, format!("w {DEFRAG} - - - - {after}\n")).file("/etc/tmpfiles.d/60-headroom.conf");
    let commands = vec![now, lasting.note("It acts at each boot.")];
    of(Kind::Sysctl, DEFRAG, before, Some(after.to_owned()), commands)
}

/// The key of [`io_weights`], and what it sets.
pub const SCHEDULER: &str = "queue/scheduler";
pub const WEIGHING: &str = "bfq or io.cost";

/// Lets weights of IO act on a disk: by BFQ, or by the kernel's cost model, for which the disk's number (`8:0`) must be known and cgroups
/// be v2. `None` if that is no name of a disk.
pub fn io_weights(disk: &str, number: Option<&str>, unified: bool) -> Option<Action> {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    let disk = Some(disk)
        .filter(|disk| !disk.is_empty() && disk.bytes().all(is_name) && disk.starts_with(char::is_alphabetic))?;
    let is_number = |number: &&str| {
        number.split(':').count() == 2 && number.bytes().all(|byte| byte.is_ascii_digit() || byte == b':')
    };
    let cost = number.filter(is_number).filter(|_| unified).map(|number| {
        let text = format!("echo \"{number} enable=1 ctrl=auto\" > /sys/fs/cgroup/io.cost.qos");
        Command::new(Tool::Shell, text).note("Until the next boot. The kernel's own model of the disk is rough: systemd's io-cost tool or resctl-bench measures a better one.")
    });
    let bfq = Command::new(Tool::Shell, format!("modprobe bfq && echo bfq > /sys/block/{disk}/queue/scheduler"));
    let rule = format!("ACTION==\"add|change\", KERNEL==\"{disk}\", ATTR{{queue/scheduler}}=\"bfq\"\n");
    let lasting =
        Command::new(Tool::Shell, rule).file("/etc/udev/rules.d/60-headroom.rules").note("It acts at each boot.");
    let bfq = bfq
        .note("Until the next boot. BFQ costs CPU time for each IO: on a fast NVMe disk fewer IOs a second are left.");
    // BFQ is too slow for NVMe disks.
    let mut commands = vec![bfq, lasting];
    match disk.starts_with("nvme") {
        true => commands.splice(0..0, cost).for_each(drop),
        false => commands.extend(cost),
    }
    let kind = Kind::Sysctl;
    let (risk, undo) =
        (kind.risk(true), "Choose the scheduler that it had (none or mq-deadline), or write enable=0.".to_owned());
    let key = Some(SCHEDULER.to_owned());
    Some(Action {
        kind,
        object: Object::Disk(disk.to_owned()),
        key,
        before: None,
        after: Some(WEIGHING.to_owned()),
        risk,
        undo,
        commands,
    })
}

fn of(kind: Kind, key: &str, before: Option<String>, after: Option<String>, commands: Vec<Command>) -> Action {
    let (risk, undo) = (kind.risk(true), kind.undo(before.as_deref()));
    Action { kind, object: Object::Host, key: Some(key.to_owned()), before, after, risk, undo, commands }
}
