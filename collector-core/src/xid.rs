//! Meaning and remedy of NVIDIA's error numbers (XIDs), from its documentation ("XID Errors").

/// An error number, its meaning, and what to do.
pub struct Xid(pub u32, pub &'static str, pub &'static str);

const APPLICATION: &str = "Check the application first: it accessed memory that it should not, or was killed. The GPU \
    needs no reset.";
const RESET: &str = "Drain the GPU and reset it (nvidia-smi --gpu-reset). If the error returns, run the field diagnostics and \
    have the GPU replaced.";
const REBOOT: &str = "Drain the node and reboot it. Check power, seating and temperature. If the error returns, have the \
    GPU replaced.";
const DRIVER: &str = "Restart the workloads on the GPU. If the error returns, update driver and firmware, and keep the \
    output of nvidia-bug-report.sh.";
const LINK: &str =
    "Reset all GPUs of the fabric. If the error returns, check NVLink bridges, NVSwitches and the fabric manager.";
const MEMORY: &str = "Let its work end, then reset the GPU, so that spare rows replace the bad memory. \
    nvidia-smi -q -d ROW_REMAPPER shows whether any are left.";
const NOTHING: &str = "No action is needed. If it is frequent, keep the output of nvidia-bug-report.sh.";

/// Known errors, sorted by number.
pub const XIDS: &[Xid] = &[
    Xid(8, "the GPU stopped processing", RESET),
    Xid(13, "graphics engine exception", APPLICATION),
    Xid(31, "GPU memory page fault", APPLICATION),
    Xid(32, "invalid or corrupted push buffer stream", DRIVER),
    Xid(38, "driver firmware error", DRIVER),
    Xid(43, "the GPU stopped processing because of an application fault", APPLICATION),
    Xid(44, "graphics engine fault during a context switch", RESET),
    Xid(45, "preemptive cleanup after an earlier error or a killed application", APPLICATION),
    Xid(46, "the GPU stopped processing", RESET),
    Xid(48, "double-bit ECC error", MEMORY),
    Xid(54, "auxiliary power is not connected", "Connect the GPU's power cables."),
    Xid(56, "display engine error", NOTHING),
    Xid(57, "error in programming the video memory interface", REBOOT),
    Xid(58, "unstable video memory interface", REBOOT),
    Xid(59, "internal micro-controller error", DRIVER),
    Xid(61, "internal micro-controller breakpoint", RESET),
    Xid(62, "internal micro-controller halt", RESET),
    Xid(63, "a memory row was remapped, or a page retired", MEMORY),
    Xid(64, "a memory row could not be remapped, or a page not retired", MEMORY),
    Xid(65, "video processor exception", DRIVER),
    Xid(68, "NVDEC0 exception", DRIVER),
    Xid(69, "graphics engine class error", APPLICATION),
    Xid(74, "NVLink error", LINK),
    Xid(78, "vGPU start error", DRIVER),
    Xid(79, "the GPU has fallen off the bus", REBOOT),
    Xid(92, "high rate of single-bit ECC errors", MEMORY),
    Xid(94, "contained ECC error", "Restart the affected application. Reset the GPU when the others are done."),
    Xid(95, "uncontained ECC error", MEMORY),
    Xid(109, "context switch timeout", DRIVER),
    Xid(110, "security fault", REBOOT),
    Xid(119, "the GPU's system processor (GSP) does not answer", RESET),
    Xid(120, "error in the GPU's system processor (GSP)", RESET),
    Xid(121, "corrected error on the chip-to-chip link", NOTHING),
    Xid(122, "the GPU's SPI flash does not answer", RESET),
    Xid(123, "the GPU's power management unit does not answer", RESET),
    Xid(136, "NVLink training failed", LINK),
    Xid(137, "NVLink fault during a peer access", APPLICATION),
    Xid(140, "unrecovered ECC error", MEMORY),
    Xid(143, "the GPU could not be initialised", RESET),
    Xid(154, "the GPU reports a recovery action", "Do what nvidia-smi -q shows as GPU Recovery Action."),
];

fn find(code: &str) -> Option<&'static Xid> {
    let code: u32 = code.parse().ok()?;
    XIDS.iter().find(|xid| xid.0 == code)
}

/// The number with its meaning in brackets; only the number if its meaning is not known.
pub fn meaning(code: &str) -> String {
    match find(code) {
        Some(Xid(_, meaning, _)) => format!("{code} ({meaning})"),
        None => code.to_owned(),
    }
}

pub fn action(code: &str) -> &'static str {
    find(code).map_or(
        "Look up the number in NVIDIA's XID documentation, and keep the output of nvidia-bug-report.sh.",
        |it| it.2,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_sorted_and_unique() {
        assert!(XIDS.is_sorted_by(|a, b| a.0 < b.0));
    }

    #[test]
    fn an_unknown_number_is_shown_as_it_is() {
        assert_eq!(meaning("79"), "79 (the GPU has fallen off the bus)");
        assert_eq!((meaning("9999"), meaning("x")), ("9999".into(), "x".into()));
        assert!(action("9999").starts_with("Look up the number"));
    }
}
