//! Text that somebody unprivileged may have written: names of cgroups, commands, mounts, containers. [`escape`] is applied once,
//! where the bytes enter, and keeps different bytes different; [`unescape`] is its inverse, for opening a file. Whatever is shown
//! passes [`shown`], which changes nothing that was escaped: it is for what older versions recorded.

use std::borrow::Cow;
use std::ops::RangeInclusive;

use serde::{Deserialize, Deserializer};

/// Letters that have no width or no shape: Hangul's conjoining letters and fillers, and a Braille pattern without dots.
const HIDDEN: [RangeInclusive<char>; 6] = [
    '\u{115f}'..='\u{11ff}',
    '\u{2800}'..='\u{2800}',
    '\u{3164}'..='\u{3164}',
    '\u{a960}'..='\u{a97f}',
    '\u{d7b0}'..='\u{d7ff}',
    '\u{ffa0}'..='\u{ffa0}',
];

/// Whether a character looks like itself and moves nothing else on a terminal: no control, format (bidirectional, zero-width),
/// combining or unassigned character, and no space other than the usual one.
pub fn is_shown(c: char) -> bool {
    match c {
        ' '..='~' => true,
        // The standard library has a table of what it prints as it is.
        _ => c.escape_debug().eq([c]) && !HIDDEN.iter().any(|hidden| hidden.contains(&c)),
    }
}

/// The bytes as text: those that cannot be shown as `\xff`. A backslash is `\x5c` where it would read as such an escape, so that
/// different bytes stay different and the escapes of systemd stay as they are.
pub fn escape(bytes: &[u8]) -> Cow<'_, str> {
    let usual = |byte: &u8| matches!(byte, b' '..=b'~') && *byte != b'\\';
    match std::str::from_utf8(bytes) {
        Ok(text) if bytes.iter().all(usual) => Cow::Borrowed(text),
        _ => Cow::Owned(written(bytes, |c, rest| is_shown(c) && escaped(rest).is_none())),
    }
}

/// The bytes of which [`escape`] made this text.
pub fn unescape(text: &str) -> Cow<'_, [u8]> {
    if !text.contains('\\') {
        return Cow::Borrowed(text.as_bytes());
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let (byte, tail) = escaped(rest).unwrap_or((first, tail));
        bytes.push(byte);
        rest = tail;
    }
    Cow::Owned(bytes)
}

/// The text beginning with a capital letter.
pub fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
}

/// The text without characters that must not be shown. Text that was escaped stays as it is.
pub fn shown(text: &str) -> Cow<'_, str> {
    match text.chars().all(is_shown) {
        true => Cow::Borrowed(text),
        false => Cow::Owned(written(text.as_bytes(), |c, _| is_shown(c))),
    }
}

/// The same of several lines, which stay.
pub fn shown_lines(text: &str) -> Cow<'_, str> {
    match text.chars().all(|c| is_shown(c) || c == '\n') {
        true => Cow::Borrowed(text),
        false => Cow::Owned(text.split('\n').map(shown).collect::<Vec<_>>().join("\n")),
    }
}

/// The same of JSON, whose strings have their own escapes.
pub fn shown_json(json: &str) -> Cow<'_, str> {
    let stays = |c: char| is_shown(c) || c == '\n';
    if json.chars().all(stays) {
        return Cow::Borrowed(json);
    }
    let mut text = String::with_capacity(2 * json.len());
    for c in json.chars() {
        match stays(c) {
            true => text.push(c),
            false => c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| text += &format!("\\u{unit:04x}")),
        }
    }
    Cow::Owned(text)
}

/// Reads a text of a recording that an older version may have written, as [`shown`].
pub(crate) fn read<'de, D: Deserializer<'de>, T: From<String>>(from: D) -> Result<T, D::Error> {
    let text = String::deserialize(from)?;
    Ok(match shown(&text) {
        Cow::Owned(shown) => shown.into(),
        Cow::Borrowed(_) => text.into(),
    })
}

/// The characters to `keep`, which is asked with the bytes from each on; the bytes of others as escapes.
fn written(bytes: &[u8], keep: impl Fn(char, &[u8]) -> bool) -> String {
    let mut text = String::with_capacity(bytes.len() + bytes.len() / 2);
    let hex = |text: &mut String, bytes: &[u8]| {
        bytes.iter().for_each(|byte| {
            text.push_str("\\x");
            text.extend([byte >> 4, byte & 15].map(|digit| char::from(b"0123456789abcdef"[usize::from(digit)])));
        });
    };
    for chunk in bytes.utf8_chunks() {
        for (at, c) in chunk.valid().char_indices() {
            let rest = &chunk.valid().as_bytes()[at..];
            match keep(c, rest) {
                true => text.push(c),
                false => hex(&mut text, &rest[..c.len_utf8()]),
            }
        }
        hex(&mut text, chunk.invalid());
    }
    text
}

/// The byte of the escape at the beginning, and what follows it; `None` if there is none that [`escape`] writes.
fn escaped(text: &[u8]) -> Option<(u8, &[u8])> {
    let [b'\\', b'x', high, low, rest @ ..] = text else { return None };
    let digit = |digit: &u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let byte = digit(high)? << 4 | digit(low)?;
    (!matches!(byte, b' '..=b'~') || byte == b'\\').then_some((byte, rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Characters of Unicode's properties Bidi_Control and Default_Ignorable_Code_Point, and others without width or shape.
    const FORBIDDEN: &str = "\0\t\n\r\u{1b}\u{7f}\u{80}\u{85}\u{9b}\u{a0}\u{ad}\u{34f}\u{301}\u{61c}\u{115f}\u{1160}\u{17b4}\u{17b5}\
        \u{180b}\u{180e}\u{180f}\u{200b}\u{200c}\u{200d}\u{200e}\u{200f}\u{2028}\u{2029}\u{202a}\u{202b}\u{202c}\u{202d}\
        \u{202e}\u{2060}\u{2061}\u{2064}\u{2065}\u{2066}\u{2067}\u{2068}\u{2069}\u{206a}\u{206f}\u{2800}\u{3000}\u{3164}\
        \u{e000}\u{fe00}\u{fe0f}\u{feff}\u{ffa0}\u{fff9}\u{fffb}\u{1bca0}\u{1d173}\u{e0001}\u{e007f}\u{e0100}\u{e01ef}";

    #[test]
    fn nothing_that_controls_a_terminal_or_is_invisible_is_shown() {
        for c in FORBIDDEN.chars() {
            assert!(!is_shown(c), "{c:?}");
            let text = format!("a{c}b");
            assert!(shown(&text).is_ascii(), "{text:?}");
            assert_eq!(shown(&text), escape(text.as_bytes()));
        }
        for c in "aZ~ 09\\\"'éüßжщ中文日本語한글\u{fffd}…–".chars() {
            assert!(is_shown(c), "{c:?}");
        }
    }

    #[test]
    fn bytes_are_escaped_and_escapes_of_systemd_are_not() {
        for (bytes, text) in [
            (&b"/system.slice/llama\\x2dserver.service"[..], r"/system.slice/llama\x2dserver.service"),
            (b"/caf\xe9", r"/caf\xe9"),
            (r"/caf\xe9".as_bytes(), r"/caf\x5cxe9"),
            (r"\x5c".as_bytes(), r"\x5cx5c"),
            (b"\\\xff", r"\\xff"),
            (r"\xFF \x5 \xzz \".as_bytes(), r"\xFF \x5 \xzz \"),
            ("café".as_bytes(), "café"),
            ("a\u{202e}b\u{1b}[2J\r\n".as_bytes(), r"a\xe2\x80\xaeb\x1b[2J\x0d\x0a"),
        ] {
            assert_eq!(escape(bytes), text);
            assert_eq!(&*unescape(text), bytes);
        }
    }

    #[test]
    fn lines_and_json_stay_what_they_are() {
        assert_eq!(shown_lines("a\r\n\n\u{202e}b\n"), "a\\x0d\n\n\\xe2\\x80\\xaeb\n");
        let text = "a\u{202e}\u{e0001}\u{7f}\"\\é\n";
        let json = serde_json::to_string_pretty(&[text]).unwrap();
        let shown = shown_json(&json);
        assert_eq!(shown, "[\n  \"a\\u202e\\udb40\\udc01\\u007f\\\"\\\\é\\n\"\n]");
        assert_eq!(serde_json::from_str::<[String; 1]>(&shown).unwrap(), [text]);
    }

    #[test]
    fn a_text_of_an_older_recording_is_read_as_it_can_be_shown() {
        let read = |json: &str| read::<_, String>(&mut serde_json::Deserializer::from_str(json)).unwrap();
        assert_eq!(read(r#""a\u001b[2J\u202e\\x2d""#), r"a\x1b[2J\xe2\x80\xae\x2d");
        assert_eq!(read(r#""\\x1b""#), r"\x1b");
    }

    /// Bytes in which escapes, and what looks like them, are likely.
    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        let part = prop_oneof![
            prop::sample::select(vec![&b"\\"[..], b"\\x", b"x", b"5c", b"f", b"\\x2d", b"\\xff", "é".as_bytes()])
                .prop_map(<[u8]>::to_vec),
            prop::collection::vec(any::<u8>(), 0..4),
            any::<char>().prop_map(|c| c.to_string().into_bytes()),
            prop::sample::select(FORBIDDEN.chars().collect::<Vec<_>>()).prop_map(|c| c.to_string().into_bytes()),
        ];
        prop::collection::vec(part, 0..8).prop_map(|parts| parts.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(4000) })]

        #[test]
        fn different_bytes_stay_different(bytes in bytes()) {
            // What has an inverse is injective.
            let text = escape(&bytes);
            prop_assert_eq!(&*unescape(&text), &*bytes);
        }

        #[test]
        fn what_was_escaped_can_be_shown_and_is_never_escaped_again(bytes in bytes()) {
            let text = escape(&bytes);
            prop_assert!(text.chars().all(|c| is_shown(c) && !c.is_control() && !FORBIDDEN.contains(c)), "{text:?}");
            prop_assert_eq!(shown(&text), &*text);
            // The parts of a path can be escaped one by one.
            let parts: Vec<_> = bytes.split(|byte| *byte == b'/').map(escape).collect();
            prop_assert_eq!(parts.join("/"), &*text);
        }

        #[test]
        fn any_text_can_be_shown(text in any::<String>()) {
            let once = shown(&text).into_owned();
            prop_assert!(once.chars().all(is_shown));
            prop_assert_eq!(shown(&once), &*once);
        }
    }
}
