//! Makes names readable: undoes the escapes of systemd, and bounds the length.

use std::sync::Arc;

use crate::text::{self, escape, shown};

/// The longest name, in bytes. A namespace, a pod and a container can have 63, 253 and 63.
pub const LONGEST: usize = 400;

/// Length of the end of a shortened name: `…` and the hash of the whole name.
const TAIL: usize = '…'.len_utf8() + 16;

/// A name that can be shown, of bounded length. Different names stay different, except for hash collisions.
pub fn fit(name: &str) -> Arc<str> {
    let mut clean = shown(name).into_owned();
    if clean.len() > LONGEST {
        let end = (0..=LONGEST - TAIL).rev().find(|&end| clean.is_char_boundary(end)).unwrap_or(0);
        clean.truncate(end);
        clean += &format!("…{:016x}", hash(name));
    }
    clean.into()
}

/// FNV-1a: the same on every run and every host.
fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

/// A unit's name without systemd's escapes: bytes as `\x2d` (systemd.unit(5)), and a leading `_` before names that clash with
/// kernel files.
pub fn unescape(unit: &str) -> String {
    let unit = text::unescape(unit);
    let mut rest = unit.strip_prefix(b"_").unwrap_or(&unit);
    let mut bytes = Vec::with_capacity(rest.len());
    while let Some((&first, tail)) = rest.split_first() {
        let escaped = rest.strip_prefix(b"\\x").and_then(|rest| rest.split_at_checked(2));
        let byte = escaped.and_then(|(digits, tail)| {
            let digits = std::str::from_utf8(digits).ok().filter(|digits| !digits.starts_with('+'))?;
            Some((u8::from_str_radix(digits, 16).ok()?, tail))
        });
        let (byte, tail) = byte.unwrap_or((first, tail));
        bytes.push(byte);
        rest = tail;
    }
    escape(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_of_systemd_are_undone_and_other_text_stays() {
        for (unit, readable) in [
            (r"machine-qemu\x2d1\x2dvm.scope", "machine-qemu-1-vm.scope"),
            ("_cpu.service", "cpu.service"),
            (r"caf\xc3\xa9.service", "café.service"),
            (r"caf\x5cxc3\x5cxa9.service", "café.service"),
            (r"broken\xff.service", r"broken\xff.service"),
            (r"broken\x5cxff.service", r"broken\xff.service"),
            (r"a\x0ab\x5cx0a.service", r"a\x0ab\x0a.service"),
            (r"short\x2", r"short\x2"),
            (r"no\x+1hex\xzz", r"no\x+1hex\xzz"),
        ] {
            assert_eq!(unescape(unit), readable);
        }
    }

    #[test]
    fn shortened_names_still_differ() {
        let long = |end: &str| format!("/{}{end}", "é".repeat(LONGEST));
        let (a, b) = (fit(&long("a")), fit(&long("b")));
        assert!(a.len() <= LONGEST && a.len() > LONGEST - 4, "{}", a.len());
        assert_ne!(a, b);
        let just = "x".repeat(LONGEST);
        assert_eq!(&*fit(&just), just);
    }

    #[test]
    fn what_cannot_be_shown_is_escaped_once() {
        let name = fit("a\nb\u{1b}[31m \u{9b}\u{202e} é\"");
        assert_eq!(&*name, r#"a\x0ab\x1b[31m \xc2\x9b\xe2\x80\xae é""#);
        assert_eq!(fit(&name), name);
    }
}
