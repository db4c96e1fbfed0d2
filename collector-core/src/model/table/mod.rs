//! What each server's metrics mean: a table of rows per server, and what follows from several of them. Names change with versions: rows
//! have new and old ones, and what is not there is absent.

mod llama;
mod lmdeploy;
mod sglang;
mod tei;
mod tgi;
mod triton;
mod vllm;

use super::gather::{All, Gathered, Row, gather};
use crate::statistic::model::{Kind, Model, Values};

/// What an exposition says of the models of a server of this kind. A number of the whole server is put to its model if there is one, else to
/// one without a name.
pub struct Told {
    pub models: Vec<Model>,
    /// How many models it tells of.
    pub told: usize,
}

pub fn read(kind: Kind, text: &[u8]) -> Told {
    let All { models, told } = gather(text, rows(kind));
    let mut models = merged(models);
    for Gathered { model, parts } in &mut models {
        match kind {
            Kind::LlamaCpp => llama::finish(&mut model.values),
            Kind::Tgi => tgi::finish(&mut model.values, *parts),
            Kind::Sglang => sglang::finish(&mut model.values, *parts),
            Kind::Triton => triton::finish(model, *parts),
            Kind::Vllm => vllm::finish(&mut model.values, *parts),
            _ => {}
        }
    }
    let said = |model: &Model| !model.values.is_empty() || !model.latency.is_empty();
    Told { models: models.into_iter().map(|gathered| gathered.model).filter(said).collect(), told }
}

/// Servers that have metrics, with the beginning that all their names share.
const PREFIXES: [(&str, Kind); 7] = [
    ("vllm:", Kind::Vllm),
    ("sglang:", Kind::Sglang),
    ("llamacpp:", Kind::LlamaCpp),
    ("lmdeploy:", Kind::Lmdeploy),
    ("tgi_", Kind::Tgi),
    ("te_", Kind::Tei),
    ("nv_inference_", Kind::Triton),
];

/// Which server wrote an exposition. Triton's has those of its backends beside its own.
pub fn recognise(text: &[u8]) -> Option<Kind> {
    let of = |name: &str| PREFIXES.iter().find(|(prefix, _)| name.starts_with(prefix)).map(|(_, kind)| *kind);
    let mut first = None;
    for kind in super::exposition::series(text).filter_map(|series| of(series.name)) {
        if kind == Kind::Triton {
            return Some(kind);
        }
        first = first.or(Some(kind));
    }
    first
}

pub(super) fn rows(kind: Kind) -> &'static [Row] {
    match kind {
        Kind::Vllm => vllm::ROWS,
        Kind::Sglang => sglang::ROWS,
        Kind::LlamaCpp => llama::ROWS,
        Kind::Tgi => tgi::ROWS,
        Kind::Tei => tei::ROWS,
        Kind::Triton => triton::ROWS,
        Kind::Lmdeploy => lmdeploy::ROWS,
        Kind::LlamaRouter | Kind::Ollama => &[],
    }
}

/// Numbers of the whole server are those of its model if there is but one.
fn merged(mut models: Vec<Gathered>) -> Vec<Gathered> {
    let [one, other] = &mut models[..] else { return models };
    let (named, whole) = if one.model.name.is_empty() { (other, one) } else { (one, other) };
    if !whole.model.name.is_empty() {
        return models;
    }
    let absent = |values: &Values, statistic| values.get(statistic).is_none();
    for (statistic, value) in
        whole.model.values.iter().filter(|(it, _)| absent(&named.model.values, *it)).collect::<Vec<_>>()
    {
        named.model.values.set(statistic, value);
    }
    for (part, value) in named.parts.iter_mut().zip(whole.parts) {
        *part = part.or(value);
    }
    let stages: Vec<_> = named.model.latency.iter().map(|latency| latency.stage).collect();
    named.model.latency.extend(whole.model.latency.drain(..).filter(|latency| !stages.contains(&latency.stage)));
    models.retain(|gathered| !gathered.model.name.is_empty());
    models
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_told_by_its_names() {
        for (prefix, kind) in PREFIXES {
            let text = format!("# x\nprocess_cpu_seconds_total 1\n{prefix}x{{a=\"b\"}} 1\n");
            assert_eq!(recognise(text.as_bytes()), Some(kind));
            let full = |row: &&Row| !row.name.starts_with(prefix);
            let others: Vec<_> = rows(kind).iter().filter(full).map(|row| row.name).collect();
            let backend = |name: &&str| name.starts_with("nv_") || name.starts_with("vllm:");
            assert!(others.iter().all(|name| kind == Kind::Triton && backend(name)), "{others:?}");
        }
        assert_eq!(recognise(b"process_cpu_seconds_total 1\n"), None);
    }

    #[test]
    fn numbers_of_the_whole_server_are_its_only_models() {
        let info = "vllm:cache_config_info{engine=\"0\",num_gpu_blocks=\"10\",block_size=\"16\"} 1\n";
        let of = |model: &str| format!("vllm:num_requests_running{{engine=\"0\",model_name=\"{model}\"}} 1\n");
        let names = |text: String| {
            read(Kind::Vllm, text.as_bytes()).models.iter().map(|model| model.name.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(names([info, &of("a")].concat()), ["a"]);
        assert_eq!(names([&of("a"), info].concat()), ["a"]);
        assert_eq!(names([&of("a"), &of("b"), info].concat()), ["a", "b", ""]);
        assert_eq!(names(info.to_owned()), [""]);
    }
}
