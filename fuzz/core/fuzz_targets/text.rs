//! Bytes that somebody unprivileged wrote → text. It can be shown, leads back to the bytes, and is never escaped again; the same
//! for the path of a cgroup, and for its workload's name with names of the host.

#![no_main]

use collector_core::cgroup::{LONGEST_PATH, path, whole};
use collector_core::identity::{Identity, Kind, LONGEST, Names};
use collector_core::text::{escape, is_shown, shown, shown_json, shown_lines, unescape};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let text = escape(bytes);
    assert!(text.chars().all(is_shown), "{text:?}");
    assert_eq!(&*unescape(&text), bytes, "{text:?}");
    assert_eq!(shown(&text), text);

    let any = String::from_utf8_lossy(bytes);
    assert!(shown(&any).chars().all(is_shown));
    assert!(shown_lines(&any).chars().all(|c| is_shown(c) || c == '\n'));
    let json = serde_json::to_string(&any).expect("text can be written");
    let json = shown_json(&json);
    assert!(json.chars().all(is_shown));
    assert_eq!(serde_json::from_str::<String>(&json).expect("JSON stays JSON"), any);

    let told = path(bytes);
    assert!(whole(bytes).len() <= LONGEST_PATH && told.len() <= 4 * LONGEST_PATH + 4);
    let identity = Identity::of(&told);
    let name = Some(any.as_ref().into());
    let names = Names { namespace: name.clone(), pod: name.clone(), container: name.clone(), name }.fit();
    let named = identity.named(&names);
    assert!(named.len() <= LONGEST && named.chars().all(is_shown), "{named:?}");
    if let Some(owner) = identity.owner.as_deref().filter(|owner| owner.len() < 100) {
        assert!(named.starts_with(owner) || identity.kind == Kind::User, "{identity:?} {named:?}");
    }
});
