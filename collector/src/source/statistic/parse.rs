//! Parsers for the formats of the kernel's files, on bytes and without allocating. Values that are not numbers and
//! lines of another format are skipped: newer kernels may add some.

use crate::source::text::{cut, lines, number};

/// A file with one number; `None` for `max`, an empty file, and anything else.
pub fn single(text: &[u8]) -> Option<u64> {
    number(text.trim_ascii())
}

/// Lines of `key value`.
pub fn flat(text: &[u8], mut found: impl FnMut(&[u8], u64)) {
    for line in lines(text) {
        if let Some((key, value)) = cut(line, b' ').and_then(|(key, rest)| Some((key, number(rest.trim_ascii())?))) {
            found(key, value);
        }
    }
}

/// Lines of `8:0 key=value key=value`, one per device.
pub fn nested(text: &[u8], mut found: impl FnMut(&[u8], u64)) {
    for line in lines(text) {
        for pair in line.split(|byte| *byte == b' ').skip(1) {
            if let Some((key, value)) = cut(pair, b'=').and_then(|(key, value)| Some((key, number(value)?))) {
                found(key, value);
            }
        }
    }
}

/// Lines of `8:0 Operation value`, one per device and operation.
pub fn throttle(text: &[u8], mut found: impl FnMut(&[u8], u64)) {
    for line in lines(text) {
        let mut fields = line.split(|byte| *byte == b' ').skip(1);
        if let (Some(operation), Some(value)) = (fields.next(), fields.next().and_then(number)) {
            found(operation, value);
        }
    }
}

/// A weight as `100` or `default 100`, and lines of `8:0 200`: 1 if any is not the kernel's default (`CGROUP_WEIGHT_DFL`), else 0.
pub fn weight(text: &[u8]) -> Option<u64> {
    const DEFAULT: u64 = 100;
    let of = |line: &[u8]| number(line.rsplit(|byte| *byte == b' ').next()?.trim_ascii());
    lines(text).filter_map(of).map(|weight| u64::from(weight != DEFAULT)).max()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Pairs = Vec<(String, u64)>;

    fn all(parse: impl FnOnce(&mut dyn FnMut(&[u8], u64))) -> Pairs {
        let mut pairs = Vec::new();
        parse(&mut |key, value| pairs.push((String::from_utf8(key.to_vec()).unwrap(), value)));
        pairs
    }

    fn pairs(pairs: &[(&str, u64)]) -> Pairs {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), *value)).collect()
    }

    #[test]
    fn a_weight_counts_if_it_is_not_the_default() {
        for (text, expected) in [
            ("100\n", Some(0)),
            ("default 100\n", Some(0)),
            ("500\n", Some(1)),
            ("default 100\n8:0 200\n", Some(1)),
            ("default 50\n8:0 100\n", Some(1)),
            ("", None),
            ("default\n", None),
        ] {
            assert_eq!(weight(text.as_bytes()), expected, "{text:?}");
        }
    }

    #[test]
    fn the_kernels_formats_are_parsed() {
        assert_eq!(single(b"4096\n"), Some(4096));
        assert_eq!(single(b"max\n"), None);
        let stat = b"anon 8192\nfile 0\nworkingset_refault_anon 18446744073709551615\n";
        let expected = [("anon", 8192), ("file", 0), ("workingset_refault_anon", u64::MAX)];
        assert_eq!(all(|found| flat(stat, found)), pairs(&expected));
        let io = b"259:0 rbytes=1 wbytes=2 rios=3\n8:0 rbytes=4\n253:1 \n";
        let expected = [("rbytes", 1), ("wbytes", 2), ("rios", 3), ("rbytes", 4)];
        assert_eq!(all(|found| nested(io, found)), pairs(&expected));
        let blkio = b"8:0 Read 5\n8:0 Write 6\n8:0 Total 11\nTotal 11\n";
        assert_eq!(all(|found| throttle(blkio, found)), pairs(&[("Read", 5), ("Write", 6), ("Total", 11)]));
    }

    #[test]
    fn malformed_parts_are_skipped_and_the_rest_is_parsed() {
        for text in ["", "\n", " ", "-1", "1 2", "0x10", "18446744073709551616", "1e3", "1.5", "١"] {
            assert_eq!(single(text.as_bytes()), None, "{text:?}");
        }
        assert_eq!(single(b"18446744073709551615"), Some(u64::MAX), "no newline at the end");
        assert_eq!(all(|found| flat(b"a\n\nb 1\nc -1\nd 2 3\n e 4\nf  5\n g", found)), pairs(&[("b", 1), ("f", 5)]));
        assert_eq!(all(|found| nested(b"a=1\n8:0 b=2 =3 c= d=x e\n", found)), pairs(&[("b", 2), ("", 3)]));
        assert_eq!(
            all(|found| throttle(b"8:0 Read\n8:0\nRead 1\n8:0 Read x\n8:0 Read 2", found)),
            pairs(&[("Read", 2)])
        );
    }

    fn key() -> impl Strategy<Value = String> {
        "[a-z][a-z_]{0,20}"
    }

    proptest! {
        #[test]
        fn any_bytes_are_accepted(text in prop::collection::vec(any::<u8>(), 0..400)) {
            single(&text);
            flat(&text, |_, _| {});
            nested(&text, |_, _| {});
            throttle(&text, |_, _| {});
        }

        #[test]
        fn any_text_is_accepted(text in "([a-z]{0,4}|[0-9]{0,24}|[ =:\n-])*") {
            let text = text.as_bytes();
            single(text);
            flat(text, |_, _| {});
            nested(text, |_, _| {});
            throttle(text, |_, _| {});
        }

        #[test]
        fn numbers_round_trip(value: u64) {
            prop_assert_eq!(single(format!("{value}\n").as_bytes()), Some(value));
        }

        #[test]
        fn lines_of_keys_round_trip(expected in prop::collection::vec((key(), any::<u64>()), 0..40)) {
            let text: String = expected.iter().map(|(key, value)| format!("{key} {value}\n")).collect();
            prop_assert_eq!(all(|found| flat(text.as_bytes(), found)), expected);
        }

        #[test]
        fn lines_of_devices_round_trip(
            devices in prop::collection::vec(prop::collection::vec((key(), any::<u64>()), 0..8), 0..8)
        ) {
            let line = |pairs: &Pairs| {
                let pairs: String = pairs.iter().map(|(key, value)| format!(" {key}={value}")).collect();
                format!("8:16{pairs}\n")
            };
            let text: String = devices.iter().map(line).collect();
            prop_assert_eq!(all(|found| nested(text.as_bytes(), found)), devices.concat());
            let line = |(key, value): &(String, u64)| format!("8:16 {key} {value}\n");
            let text: String = devices.concat().iter().map(line).collect();
            prop_assert_eq!(all(|found| throttle(text.as_bytes(), found)), devices.concat());
        }
    }
}
