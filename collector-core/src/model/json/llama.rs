//! `/props`, `/slots` and `/models` of llama-server (llama.cpp, tools/server/server-context.cpp and server-models.cpp).

use serde::Deserialize;

use super::lenient::{Few, Flag, Number, Text};
use super::read;
use crate::model::gather::whole;
use crate::model::name;
use crate::statistic::model::Statistic::{Asleep, KvTokens, KvUsed, RequestsRunning, Slots, WeightBytes};
use crate::statistic::model::{MODELS, Model, Values, WHOLE};

/// What `/props` says, at most.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Props {
    /// It starts a child for each model.
    pub router: bool,
    /// Its name for its model.
    pub model: Option<String>,
    pub asleep: Option<bool>,
    pub slots: Option<u64>,
    /// Whether `/metrics` and `/slots` answer.
    pub metrics: Option<bool>,
    pub slots_shown: Option<bool>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Raw {
    role: Text,
    model_alias: Text,
    model_path: Text,
    is_sleeping: Flag,
    total_slots: Number,
    endpoint_metrics: Flag,
    endpoint_slots: Flag,
    build_info: Text,
}

/// `None` if no llama-server answers so.
pub fn props(body: &[u8]) -> Option<Props> {
    let raw: Raw = read(body)?;
    let router = raw.role.0.is_some_and(|role| role == "router");
    if !router && raw.build_info.0.is_none() && (raw.total_slots.0.is_none() || raw.model_path.0.is_none()) {
        return None;
    }
    Some(Props {
        router,
        model: raw.model_alias.0.filter(|alias| !alias.is_empty()).or(raw.model_path.0),
        asleep: raw.is_sleeping.0,
        slots: raw.total_slots.0.and_then(whole),
        metrics: raw.endpoint_metrics.0,
        slots_shown: raw.endpoint_slots.0,
    })
}

/// More slots are not looked at.
const SLOTS: usize = 1024;

#[derive(Default, Deserialize)]
#[serde(default)]
struct Slot {
    n_ctx: Number,
    is_processing: Flag,
    id_task: Number,
    n_prompt_tokens: Number,
}

/// Adds what `/slots` says. `shared`: all slots share one cache, so that each shows its whole size; `None`: not known.
pub fn slots(body: &[u8], shared: Option<bool>, values: &mut Values) -> Option<()> {
    let Few(slots): Few<Slot, SLOTS> = read(body)?;
    let sizes: Option<Vec<u64>> = slots.iter().map(|slot| slot.n_ctx.0.and_then(whole)).collect();
    let sizes = sizes.filter(|sizes| !sizes.is_empty())?;
    values.set(Slots, slots.len() as u64);
    let busy: Option<Vec<bool>> = slots.iter().map(|slot| slot.is_processing.0).collect();
    if values.get(RequestsRunning).is_none() {
        values.put(RequestsRunning, busy.map(|busy| busy.into_iter().filter(|busy| *busy).count() as u64));
    }
    // A slot that had no request yet says nothing of tokens; one that had and says nothing is of a version that does not.
    let tokens = |slot: &Slot| match slot.n_prompt_tokens.0 {
        Some(tokens) => whole(tokens),
        None => slot.id_task.0.is_none_or(|task| task < 0.0).then_some(0),
    };
    let used = slots.iter().map(tokens).collect::<Option<Vec<u64>>>().map(|all| crate::count::sum(all.into_iter()));
    let all = crate::count::sum(sizes.iter().copied());
    let size = match (shared, used) {
        _ if sizes.len() == 1 => Some(all),
        (Some(true), _) => sizes.first().copied(),
        (Some(false), _) => Some(all),
        // More than one would have room for.
        (None, Some(used)) if used > sizes[0] => Some(all),
        (None, _) => None,
    };
    let Some(size) = size.filter(|size| *size > 0) else { return Some(()) };
    values.set(KvTokens, size);
    if let Some(used) = used {
        values.put(KvUsed, whole((used as f64 / size as f64).min(1.0) * WHOLE as f64));
    }
    Some(())
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Models {
    data: Few<Listed, 4096>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Listed {
    id: Text,
    meta: Meta,
    status: Status,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Meta {
    size: Number,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Status {
    value: Text,
}

/// Bytes of the weights of a server with one model.
pub fn weights(body: &[u8]) -> Option<u64> {
    let models: Models = read(body)?;
    let [only] = &models.data.0[..] else { return None };
    only.meta.size.0.and_then(whole).filter(|size| *size > 0)
}

/// The models of a router that have a process, and how many those are. One that sleeps says so; those that are not loaded are not told.
pub fn loaded(body: &[u8]) -> Option<(Vec<Model>, usize)> {
    let models: Models = read(body)?;
    let asleep = |listed: &Listed| match listed.status.value.0.as_deref() {
        Some("sleeping") => Some(1),
        Some("loaded" | "loading") => Some(0),
        _ => None,
    };
    let awake = models.data.0.iter().filter_map(|listed| Some((listed, asleep(listed)?)));
    let mut told: Vec<Model> = awake
        .map(|(listed, asleep)| {
            let mut values = Values::from_iter([(Asleep, asleep)]);
            values.put(WeightBytes, listed.meta.size.0.and_then(whole).filter(|size| *size > 0));
            Model { name: name::base(listed.id.0.as_deref().unwrap_or_default()), values, latency: Vec::new() }
        })
        .collect();
    let count = told.len();
    told.truncate(MODELS);
    Some((told, count))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As b11434 and an older one wrote it, shortened.
    const PROPS: &str = r#"{"default_generation_settings":{"params":{"seed":4294967295},"n_ctx":1024},"total_slots":2,"model_alias":"mid",
        "model_ftype":"all F32","model_path":"/models/mid.gguf","modalities":{"vision":false,"audio":false},"endpoint_slots":true,
        "endpoint_props":false,"endpoint_metrics":true,"chat_template":"","build_info":"b11434-abc","is_sleeping":false}"#;

    #[test]
    fn props_tell_the_server() {
        let props = |text: &str| super::props(text.as_bytes());
        let expected = Props {
            router: false,
            model: Some("mid".to_owned()),
            asleep: Some(false),
            slots: Some(2),
            metrics: Some(true),
            slots_shown: Some(true),
        };
        assert_eq!(props(PROPS), Some(expected));
        assert!(props(&PROPS.replace("b11434-abc", "b0-unknown")).is_some());
        assert!(props(r#"{"role":"router","max_instances":2,"models_autoload":true}"#).unwrap().router);
        assert_eq!(props(r#"{"total_slots":4,"model_path":"/a/b.gguf"}"#).unwrap().model.as_deref(), Some("/a/b.gguf"));
        for other in ["{}", "[]", "<html>", "{\"detail\":\"Not Found\"}", "{\"version\":\"0.33.0\"}"] {
            assert_eq!(props(other), None);
        }
    }

    /// What the slots say of the cache: how many tokens, and the millionths in use.
    fn cache(text: &str, shared: Option<bool>) -> (Option<u64>, Option<u64>) {
        let mut values = Values::new();
        slots(text.as_bytes(), shared, &mut values).unwrap();
        (values.get(KvTokens), values.get(KvUsed))
    }

    #[test]
    fn the_cache_is_one_or_each_slots_own() {
        let busy = r#"{"id":0,"n_ctx":1024,"is_processing":true,"id_task":2,"n_prompt_tokens":512,"next_token":[{"n_decoded":98}]}"#;
        let never = r#"{"id":1,"n_ctx":1024,"speculative":false,"is_processing":false}"#;
        let two = format!("[{busy},{never}]");
        assert_eq!(cache(&two, Some(true)), (Some(1024), Some(500_000)));
        assert_eq!(cache(&two, Some(false)), (Some(2048), Some(250_000)));
        assert_eq!(cache(&two, None), (None, None), "not known which");
        assert_eq!(cache(&format!("[{busy}]"), None), (Some(1024), Some(500_000)));
        let more = format!("[{busy},{busy},{busy}]");
        assert_eq!(cache(&more, None), (Some(3072), Some(500_000)), "one cache has no room for these");
        assert_eq!(cache(&more, Some(true)).1, Some(WHOLE));
        let old = r#"[{"id":0,"n_ctx":512,"is_processing":true,"id_task":3}]"#;
        assert_eq!(cache(old, None), (Some(512), None), "its tokens are not told");
        let mut values = Values::new();
        slots(two.as_bytes(), None, &mut values).unwrap();
        assert_eq!((values.get(Slots), values.get(RequestsRunning)), (Some(2), Some(1)));
        assert_eq!(slots(b"{}", None, &mut values), None);
        assert_eq!(slots(b"[]", None, &mut values), None);
    }

    #[test]
    fn a_router_tells_of_models_that_have_a_process() {
        let text = r#"{"object":"list","data":[{"id":"a/x","status":{"value":"loaded","args":["-m","x"]}},
            {"id":"y","status":{"value":"unloaded"}},{"id":"z","status":{"value":"sleeping"},"meta":{"size":7}}]}"#;
        let (models, count) = loaded(text.as_bytes()).unwrap();
        let told: Vec<_> = models.iter().map(|model| (&*model.name, model.values.get(Asleep))).collect();
        assert_eq!((told, count), (vec![("x", Some(0)), ("z", Some(1))], 2));
        assert_eq!(weights(br#"{"data":[{"id":"x","meta":{"n_ctx":512,"size":1234}}]}"#), Some(1234));
        assert_eq!(weights(text.as_bytes()), None);
    }
}
