//! Everything that a model server is ever asked: each is a GET. Two of them would wake llama-server or keep it awake: `rest.rs` says when
//! these are left out. What is not in this list cannot be asked.

/// A GET.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Get {
    /// llama.cpp: which model, and whether it sleeps. Answers from what it keeps, also asleep.
    Props,
    /// An exposition. llama.cpp takes it for work: who is awake stays awake.
    Metrics,
    /// llama.cpp: what each slot does. Wakes who sleeps.
    Slots,
    /// llama.cpp: its model, or the models of a router.
    Models,
    /// SGLang: requests and tokens, without metrics.
    Loads,
    /// Ollama: models that are loaded.
    Running,
    /// TGI and TEI: the name of the model.
    Info,
}

impl Get {
    pub const ALL: [Get; 7] = [Get::Props, Get::Metrics, Get::Slots, Get::Models, Get::Loads, Get::Running, Get::Info];

    pub fn path(self) -> &'static str {
        ["/props", "/metrics", "/slots", "/models", "/v1/loads?include=core,memory,queues", "/api/ps", "/info"]
            [self as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What loads, wakes, generates, empties or ends something, and what names a model that a router would then load.
    const FORBIDDEN: [&str; 26] = [
        "model=",
        "autoload",
        "generate",
        "completion",
        "chat",
        "embed",
        "rerank",
        "infill",
        "tokenize",
        "load_",
        "/load",
        "unload",
        "sleep",
        "wake",
        "flush",
        "reset",
        "release",
        "resume",
        "abort",
        "terminate",
        "action=",
        "reload",
        "pull",
        "show",
        "repository",
        "profile",
    ];

    #[test]
    fn no_request_changes_the_server() {
        for get in Get::ALL {
            let path = get.path();
            let harmful: Vec<_> = FORBIDDEN.into_iter().filter(|word| path.contains(word)).collect();
            // `/v1/loads` tells loads.
            let allowed: &[&str] = if get == Get::Loads { &["/load"] } else { &[] };
            assert_eq!(harmful, allowed, "{path}");
            assert!(path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic()), "{path}");
        }
    }
}
