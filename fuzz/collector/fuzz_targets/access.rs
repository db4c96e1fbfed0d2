//! A web configuration file → access to the endpoint: every user's hash can be checked in bounded time, and every error names
//! its file.

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
