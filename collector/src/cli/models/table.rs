//! Model servers as a table and sentences, for `headroom models` and `headroom top`. Knows no agent.

use collector_core::amount::{self, bytes, fixed, percent, seconds};
use collector_core::api::models::{ModelLine, ModelServer, Models, StageLatency};
use collector_core::statistic::model::{Stage, State};

use super::file::{files, stores};
use crate::cli::sheet::{Column, Line, Paint, table};

/// The KV cache is nearly full from this share on.
const FULL: f64 = 0.95;

/// A server, and one of its models, if any is known.
pub struct Row<'a> {
    pub server: &'a ModelServer,
    pub model: Option<&'a ModelLine>,
    /// The first of its server: what is the server's as a whole is shown there.
    first: bool,
}

/// Everything, as text.
pub fn page(models: &Models, enabled: bool, width: usize, colour: bool) -> String {
    let mut lines = Vec::new();
    if models.servers.is_empty() {
        let why = match enabled {
            true => {
                "no model server was found: `headroom doctor` says what can be seen; a [[model_server]] names one by its URL"
            }
            false => "model servers are not looked for (models.enabled)",
        };
        lines.push(Line::new(Paint::Plain, why));
    }
    lines.extend(servers(models, width));
    lines.extend(models.servers.iter().flat_map(notes));
    for part in [files(&models.files, width), stores(&models.stores, width)] {
        lines.extend((!part.is_empty()).then(Line::default));
        lines.extend(part);
    }
    lines.iter().map(|line| line.render(width, colour) + "\n").collect()
}

/// A row for each model, and one for each server without a known model.
pub fn rows(models: &Models) -> Vec<Row<'_>> {
    fn of(server: &ModelServer) -> impl Iterator<Item = Row<'_>> {
        let models = &server.models;
        let told = models.iter().enumerate().map(move |(at, model)| Row { server, model: Some(model), first: at == 0 });
        let none = models.is_empty().then_some(Row { server, model: None, first: true });
        told.chain(none)
    }
    models.servers.iter().flat_map(of).collect()
}

/// A head and the rows; nothing without a server.
pub fn servers(models: &Models, width: usize) -> Vec<Line> {
    let rows = rows(models);
    if rows.is_empty() {
        return Vec::new();
    }
    let of = |row: &Row, number: fn(&ModelLine) -> Option<u64>| row.model.and_then(number);
    let count = |row: &Row, number: fn(&ModelLine) -> Option<u64>| of(row, number).map(|number| number.to_string());
    let waits = |row: &Row| of(row, |it| it.requests_waiting).is_some_and(|waiting| waiting > 0);
    let full = |row: &Row| row.model.and_then(|it| it.kv_used_ratio).is_some_and(|used| used >= FULL) && waits(row);
    let name = |row: &Row| match row.first {
        true => (Paint::Plain, row.server.server.clone()),
        false => (Paint::Dim, format!("  {}", row.server.server)),
    };
    let latency = |row: &Row, stage| row.model.and_then(|it| quantile(it, stage));
    let columns = [
        Column::text("SERVER", &rows, name),
        Column::text("STATE", &rows, |row| state(row.server.state)),
        Column::number("RUN", &rows, |row| count(row, |it| it.requests_running)),
        Column::number("WAIT", &rows, |row| count(row, |it| it.requests_waiting)),
        Column::number("KV", &rows, |row| row.model?.kv_used_ratio.map(percent)).alarming(&rows, full),
        Column::number("TOKENS/S", &rows, |row| row.model?.generated_tokens_per_second.map(|rate| fixed(rate, 1))),
        Column::number("FIRST", &rows, |row| latency(row, Stage::FirstToken)),
        Column::number("TOKEN", &rows, |row| latency(row, Stage::BetweenTokens)),
        Column::number("END", &rows, |row| latency(row, Stage::EndToEnd)),
        Column::number("HOST", &rows, |row| host(row.server).filter(|_| row.first).map(bytes)),
        Column::number("GPU", &rows, |row| row.model?.gpu_bytes.map(bytes)),
        Column::text("MODEL", &rows, |row| (Paint::Plain, row.model.map(|it| it.model.clone()).unwrap_or_default())),
        Column::text("WORKLOAD", &rows, |row| (Paint::Dim, row.server.workload.clone().unwrap_or_default())),
    ];
    table(&columns, width)
}

/// Host memory of its processes.
fn host(server: &ModelServer) -> Option<u64> {
    let memory = &server.memory;
    Some(memory.anon_bytes?.saturating_add(memory.shmem_bytes?).saturating_add(memory.file_bytes?))
}

/// The 95 % quantile of a stage, or else its mean.
fn quantile(model: &ModelLine, stage: Stage) -> Option<String> {
    let of = |it: &&StageLatency| it.stage == stage;
    let latency = model.latency.iter().find(of)?;
    Some(match latency.p95_seconds {
        Some(quantile) => time(quantile),
        // Above the last edge of the server's buckets nothing is known but that it is more.
        None if latency.p50_seconds.is_some() => "> last".to_owned(),
        None => format!("~{}", time(latency.mean_seconds)),
    })
}

/// A token may take less than a millisecond.
fn time(seconds: f64) -> String {
    match seconds {
        0.0..0.00995 => format!("{} ms", fixed(seconds * 1e3, 1)),
        _ => amount::seconds(seconds),
    }
}

pub fn state(state: State) -> (Paint, String) {
    let paint = match state {
        State::Up => Paint::Green,
        State::Loading | State::Asleep => Paint::Plain,
        State::Silent | State::Unreachable => Paint::Yellow,
        State::Failed => Paint::Red,
    };
    (paint, state.label().to_owned())
}

/// What is worth a sentence about a server.
pub fn notes(server: &ModelServer) -> Vec<Line> {
    let name = &server.server;
    let mut notes = Vec::new();
    let asked = || if server.state == State::Unreachable { String::new() } else { format!(" ({})", server.url) };
    if let Some(why) = &server.why {
        notes.push(Line::new(Paint::Yellow, format!("{name}{}: {why}", asked())));
    }
    if let Some(next) = &server.next {
        notes.push(Line::new(Paint::Plain, format!("  {next}")));
    }
    for model in &server.models {
        // Two answers may be alike while it works: some servers count seldom.
        if let Some(stuck) = model.stuck_seconds.filter(|stuck| *stuck >= 30.0) {
            let text = format!("{name}: {} made no token for {} while requests run", model.model, seconds(stuck));
            notes.push(Line::new(Paint::Red, text));
        }
    }
    let memory = &server.memory;
    let of = |limit: Option<u64>| limit.map(|limit| format!(" of {}", bytes(limit))).unwrap_or_default();
    let sum =
        |number: fn(&ModelLine) -> Option<u64>| server.models.iter().filter_map(number).reduce(u64::saturating_add);
    let parts = [
        ("mapped weights", memory.weights_bytes, None),
        ("KV cache", memory.kv_offload_bytes, sum(|it| it.kv_offload_limit_bytes)),
        ("prompt cache", memory.prompt_cache_bytes, sum(|it| it.prompt_cache_limit_bytes)),
        ("pinned", memory.pinned_bytes.filter(|bytes| *bytes > 0), None),
    ];
    let known =
        parts.into_iter().filter_map(|(what, held, limit)| Some(format!("{what} {}{}", bytes(held?), of(limit))));
    let known: Vec<String> = known.collect();
    if !known.is_empty() {
        notes.push(Line::new(Paint::Dim, format!("{name} holds in host memory: {}", known.join(", "))));
    }
    notes
}

#[cfg(test)]
mod tests {
    use collector_core::api::models::ModelMemory;
    use collector_core::statistic::model::Kind;

    use super::*;

    fn server(name: &str, state: State) -> ModelServer {
        ModelServer {
            server: name.to_owned(),
            kind: Some(Kind::Vllm),
            url: "http://127.0.0.1:8000".to_owned(),
            state,
            why: None,
            next: None,
            workload: Some("vllm.service".to_owned()),
            pid: None,
            parent: None,
            asked: 0,
            answer_seconds: 0.0,
            memory: ModelMemory::default(),
            models: Vec::new(),
        }
    }

    fn models() -> Models {
        let latency = |stage, mean_seconds, p95_seconds: Option<f64>| StageLatency {
            stage,
            count: p95_seconds.map(|_| 9),
            mean_seconds,
            p50_seconds: p95_seconds,
            p95_seconds,
            p99_seconds: p95_seconds,
        };
        let llama = ModelLine {
            model: "llama-3-8b".to_owned(),
            requests_running: Some(4),
            requests_waiting: Some(7),
            kv_used_ratio: Some(0.97),
            generated_tokens_per_second: Some(812.25),
            gpu_bytes: Some(17 << 30),
            latency: vec![latency(Stage::FirstToken, 0.3, Some(0.82)), latency(Stage::BetweenTokens, 0.031, None)],
            ..ModelLine::default()
        };
        let other = ModelLine { model: "lora\x1b[2J".to_owned(), ..ModelLine::default() };
        let memory = ModelMemory {
            anon_bytes: Some(1 << 30),
            shmem_bytes: Some(1 << 30),
            file_bytes: Some(2 << 30),
            kv_offload_bytes: Some(1 << 30),
            ..ModelMemory::default()
        };
        let vllm = ModelServer { models: vec![llama, other], memory, ..server("vllm:8000", State::Up) };
        let hidden = ModelServer {
            why: Some("it listens on 127.0.0.1 in its container".to_owned()),
            next: Some("Let it listen on the container's own address.".to_owned()),
            ..server("llama@c:8080", State::Unreachable)
        };
        Models { servers: vec![hidden, vllm], ..Models::default() }
    }

    #[test]
    fn a_row_for_each_model_and_a_sentence_for_what_is_not_known() {
        let expected = "\
SERVER        STATE        RUN  WAIT    KV  TOKENS/S   FIRST   TOKEN  END      HOST       GPU  MODEL        WORKLOAD
llama@c:8080  unreachable    –     –     –         –       –       –    –         –         –               vllm.service
vllm:8000     up             4     7  97 %     812.3  820 ms  ~31 ms    –  4.00 GiB  17.0 GiB  llama-3-8b   vllm.service
  vllm:8000   up             –     –     –         –       –       –    –         –         –  lora\\x1b[2J  vllm.service
llama@c:8080: it listens on 127.0.0.1 in its container
  Let it listen on the container's own address.
vllm:8000 holds in host memory: KV cache 1.00 GiB
";
        assert_eq!(page(&models(), true, 200, false), expected);
    }

    #[test]
    fn a_narrow_screen_shows_who_waits_and_how_long() {
        let text = page(&models(), true, 80, false);
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        assert!(text.lines().next().unwrap().contains("TOKENS/S   FIRST   TOKEN"), "{text}");
        for width in 0..200 {
            let text = page(&models(), true, width, false);
            assert!(text.lines().all(|line| line.chars().count() <= width.max(1)), "{width}: {text}");
        }
    }

    #[test]
    fn an_alarm_is_a_full_cache_while_requests_wait() {
        let red = |text: &str| text.matches("\x1b[31m97 %").count();
        assert_eq!(red(&page(&models(), true, 200, true)), 1);
        let mut calm = models();
        calm.servers[1].models[0].requests_waiting = Some(0);
        assert_eq!(red(&page(&calm, true, 200, true)), 0, "a full cache serves well while nobody waits");
    }

    #[test]
    fn without_a_server_it_says_why() {
        let none = Models::default();
        assert!(page(&none, true, 200, false).starts_with("no model server was found: `headroom doctor`"));
        assert!(page(&none, false, 200, false).contains("(models.enabled)"));
    }
}
