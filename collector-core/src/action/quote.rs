//! Names in command lines and files: what somebody unprivileged named never becomes more than a name there. Knows no tool.

use std::borrow::Cow;

use crate::text;

/// The words as a command line for a shell. `None` if one cannot be written so that it is safe to paste.
pub(super) fn line<'a>(words: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let mut line = String::new();
    for word in words {
        // What a terminal takes for a key, and escapes of what cannot be shown, would not arrive as they are.
        if !word.chars().all(text::is_shown)
            || matches!(text::unescape(word), Cow::Owned(bytes) if bytes != word.as_bytes())
        {
            return None;
        }
        if !line.is_empty() {
            line.push(' ');
        }
        match is_plain(word) {
            true => line += word,
            false => line += &shlex::try_quote(word).ok()?,
        }
    }
    Some(line)
}

/// Whether no shell sees more in a word than the word: `MemoryMax=20G` is easier to read without quotes.
fn is_plain(word: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-./:,@%+=".contains(&byte);
    let first = word.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric() || b"_-./".contains(&byte));
    first && word.bytes().all(plain)
}

/// A name as an argument: it begins with no dash, or is refused.
pub(super) fn argument(name: &str) -> Option<&str> {
    Some(name).filter(|name| !name.is_empty() && !name.starts_with('-'))
}

/// A unit of systemd as its cgroup is called: without the underscore before names that clash with files of the kernel. `None` if no unit
/// can have that name (`unit_name_is_valid` of systemd).
pub(super) fn unit(cgroup: &str) -> Option<&str> {
    const SUFFIXES: [&str; 6] = [".service", ".scope", ".slice", ".socket", ".mount", ".swap"];
    let name = cgroup.strip_prefix('_').unwrap_or(cgroup);
    let valid = |byte: u8| byte.is_ascii_alphanumeric() || b":-_.\\@".contains(&byte);
    let stem = SUFFIXES.iter().find_map(|suffix| name.strip_suffix(suffix))?;
    (!stem.is_empty() && name.len() < 256 && !name.starts_with('-') && name.bytes().all(valid)).then_some(name)
}

/// A name or id that Docker and podman accept for a container.
pub(super) fn container(name: &str) -> Option<&str> {
    let valid = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    let first = name.bytes().next()?;
    (first.is_ascii_alphanumeric() && name.len() <= 255 && name.bytes().all(valid)).then_some(name)
}

/// A name that Kubernetes accepts: a DNS subdomain.
pub(super) fn dns(name: &str) -> Option<&str> {
    let end = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let valid = |byte: u8| end(byte) || b"-.".contains(&byte);
    let ends = name.bytes().next().is_some_and(end) && name.bytes().last().is_some_and(end);
    (ends && name.len() <= 253 && name.bytes().all(valid)).then_some(name)
}

/// Text as a string in YAML, JSON or a file of systemd's with quotes; JSON's strings are strings of YAML, too.
pub(super) fn quoted(text: &str) -> String {
    serde_json::Value::from(text::shown(text)).to_string()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What somebody might call a cgroup, a container, a model or a file.
    const HOSTILE: [&str; 14] = [
        "a; rm -rf /",
        "$(reboot)",
        "`id`",
        "a\nb",
        "a'b",
        "a\"b",
        "!!",
        "~root",
        "a b",
        "-rf",
        "--all",
        "*",
        "a&b",
        "\u{1b}[2J",
    ];

    #[test]
    fn a_hostile_name_stays_one_word_or_is_refused() {
        for name in HOSTILE {
            if let Some(line) = line(["rm", "--", name]) {
                assert_eq!(shlex::split(&line).unwrap(), ["rm", "--", name]);
            } else {
                assert!(name.contains(['\n', '\u{1b}']), "{name:?}");
            }
        }
        // Bytes that cannot be shown are escaped in names: pasted, they would be other bytes.
        assert_eq!(line([r"caf\xe9"]), None);
        let unit = r"llama\x2dserver.service";
        assert_eq!(shlex::split(&line([unit]).unwrap()).unwrap(), [unit]);
    }

    #[test]
    fn only_what_a_tool_accepts_is_a_name_for_it() {
        for name in HOSTILE {
            let service = format!("{name}.service");
            assert_eq!([unit(name), unit(&service), container(name), dns(name)], [None; 4], "{name:?}");
        }
        assert_eq!(unit(r"llama\x2dserver.service"), Some(r"llama\x2dserver.service"));
        assert_eq!(unit("_cpu.service"), Some("cpu.service"));
        assert_eq!([unit(".service"), unit("session"), unit("-.slice")], [None; 3]);
        assert_eq!([container("web-1"), dns("web-7d9f")], [Some("web-1"), Some("web-7d9f")]);
        assert_eq!([dns("Web"), dns("-a"), dns("a-"), dns("")], [None; 4]);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

        #[test]
        fn whatever_is_written_reads_as_the_same_words(words in prop::collection::vec(any::<String>(), 1..4)) {
            if let Some(line) = line(words.iter().map(String::as_str)) {
                prop_assert_eq!(shlex::split(&line), Some(words));
                prop_assert!(!line.contains('\n'));
            }
        }

        #[test]
        fn a_quoted_text_is_one_string(text in any::<String>()) {
            let quoted = quoted(&text);
            prop_assert_eq!(serde_json::from_str::<String>(&quoted).unwrap(), text::shown(&text));
            prop_assert!(!quoted.contains('\n'));
        }
    }
}
