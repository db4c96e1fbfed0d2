//! What to do about a model server of which not all is known, in one sentence. Knows neither how it was asked nor who shows the sentence.

use crate::statistic::model::Kind::{self, LlamaCpp, LlamaRouter, Lmdeploy, Ollama, Sglang, Tei, Tgi, Triton, Vllm};
use crate::statistic::model::State;

/// `None` if all is as it should be, or if `why`, what is missing, says itself what to do.
pub(super) fn next(kind: Option<Kind>, state: State, why: Option<&str>) -> Option<&'static str> {
    let says = |words: &str| why.is_some_and(|why| why.contains(words));
    match (state, kind) {
        (State::Silent, _) if says("wants a key") => None,
        (State::Unreachable, Some(Ollama)) => Some(
            "Start it with OLLAMA_HOST=0.0.0.0 in its container, or publish its port and give that URL in a [[model_server]].",
        ),
        (State::Unreachable, _) => Some(
            "Let it listen on the container's own address (--host 0.0.0.0), or publish its port and give that URL in a [[model_server]].",
        ),
        (State::Up | State::Silent, Some(LlamaCpp | LlamaRouter)) if says("without --metrics") => {
            Some("Start llama-server with --metrics; without --no-slots it tells the use of its KV cache, too.")
        }
        (State::Up | State::Silent, Some(Sglang)) if says("without --enable-metrics") => {
            Some("Start SGLang with --enable-metrics.")
        }
        (State::Silent, Some(Vllm)) => Some("Start vLLM without --disable-log-stats."),
        (State::Silent, Some(Lmdeploy)) => Some("Start LMDeploy without --disable-metrics."),
        (State::Silent, Some(Triton)) => {
            Some("Start Triton with --allow-metrics=true, and let it listen at --metrics-port.")
        }
        (State::Silent, Some(Tgi | Tei | Ollama | LlamaCpp | LlamaRouter | Sglang) | None) => None,
        (State::Failed, _) => {
            Some("Check that it runs and answers at this URL. If it is no model server, leave it out: models.exclude.")
        }
        (State::Up | State::Loading | State::Asleep, _) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_serves_and_tells_all_needs_nothing_and_the_rest_is_told_what_to_set() {
        for kind in Kind::ALL {
            for state in [State::Up, State::Loading, State::Asleep] {
                assert_eq!(next(Some(kind), state, Some("it may fall asleep")), None, "{kind:?}");
            }
            for state in [State::Unreachable, State::Failed] {
                assert!(next(Some(kind), state, None).is_some(), "{kind:?}");
            }
            assert_eq!(next(Some(kind), State::Silent, Some("it wants a key: set token_file")), None, "{kind:?}");
        }
        assert!(next(Some(Ollama), State::Unreachable, None).is_some_and(|text| text.contains("OLLAMA_HOST")));
        assert!(next(None, State::Unreachable, None).is_some_and(|text| text.contains("--host")));
        for (kind, flag) in [(LlamaCpp, "--metrics"), (Sglang, "--enable-metrics"), (Vllm, "--disable-log-stats")] {
            let why = Some("it was started without --metrics, or without --enable-metrics");
            assert!(next(Some(kind), State::Silent, why).is_some_and(|text| text.contains(flag)), "{kind:?}");
        }
    }
}
