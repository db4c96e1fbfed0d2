//! A web configuration file → on which terms the endpoint answers: every user has a hash that takes no age to check, and
//! every error says in which file it is.

#![no_main]

use std::path::Path;

use collector::http::access::file::File;
use libfuzzer_sys::fuzz_target;

const PATH: &str = "/etc/headroom/web.yml";

fuzz_target!(|text: &[u8]| {
    let Ok(text) = std::str::from_utf8(text) else { return };
    match File::parse(Path::new(PATH), text.to_owned()) {
        Ok(file) => {
            assert!(file.users.keys().all(|name| !name.is_empty() && !name.contains(':')));
            // `$2y$10$`: the cost stands between the second and the third.
            let cost = |hash: &String| hash.split('$').nth(2).and_then(|cost| cost.parse().ok());
            assert!(file.users.values().all(|hash| cost(hash).is_some_and(|cost: u32| (4..=16).contains(&cost))));
        }
        Err(errors) => {
            assert!(!errors.0.is_empty());
            let words = errors.to_string();
            assert!(words.contains(PATH), "{words}");
        }
    }
});
