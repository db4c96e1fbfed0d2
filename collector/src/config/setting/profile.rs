//! `profile`: its row.

use super::row::Setting;
use crate::config::kind::Kind;

pub(super) const PROFILE: Setting = Setting {
    key: "profile",
    flag: Some("profile"),
    kind: Kind::OptionalText(|config| &mut config.profile),
    doc: "Profile that is read beneath the file: the name of one that comes with Headroom (vllm-two-tier, ollama-isolation, musicgen, \
          warmup, ringrift), or a path, with a slash, of a file like this one. What the file, variables or flags set overrides it; \
          an empty name, such as HEADROOM_PROFILE= in the environment, is none. docs/level.md has more.",
};
