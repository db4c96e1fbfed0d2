//! What to change of a command so that it starts here: less context, fewer layers on the GPU, a smaller prompt cache. Estimates the changed
//! command as the first was, and asks about it again: nothing is proposed that was not answered with a yes. Knows llama-server's flags.

use collector_core::lease::{Ask, Decision, Verdict, Want, Way, WayKind, WayOrigin};
use collector_core::need::Need;
use collector_core::need::command::{Command, Program};
use collector_core::need::llama::setting::Settings;

/// Contexts are tried in steps of so many tokens, up to this where the command names none; smaller ones are of no use.
const STEP: u64 = 1024;
const LONGEST: u64 = 1 << 20;
/// No model has as many layers.
const LAYERS: u64 = 1024;

/// How commands are estimated, and what is asked about a need.
pub struct Asking<'a> {
    pub estimate: &'a dyn Fn(&[String]) -> Option<Need>,
    pub ask: &'a dyn Fn(&Ask) -> Option<Verdict>,
}

/// Settings with which a command that does not fit would. `question` and `verdict` are about the command as it is.
pub fn ways(command: &[String], question: &Ask, verdict: &Verdict, asking: &Asking<'_>) -> Vec<Way> {
    let short =
        verdict.resources.iter().any(|line| line.short > 0 && matches!(line.resource.as_str(), "host memory" | "VRAM"));
    let Some(settings) = short.then(|| flags(command)).flatten() else { return Vec::new() };
    let vram = verdict.resources.iter().any(|line| line.resource == "VRAM" && line.short > 0);
    let host = verdict.resources.iter().any(|line| line.resource == "host memory" && line.short > 0);
    let with = |flag: &str, value: u64| {
        let mut changed = command.to_vec();
        changed.extend([flag.to_owned(), value.to_string()]);
        (asking.estimate)(&changed)
    };
    let mut found = Vec::new();
    if host && settings.prompt_cache != Some(0) {
        found.push(("--cache-ram", 0, "without a prompt cache in host memory"));
    }
    let most = settings.context.unwrap_or(LONGEST).saturating_sub(1) / STEP;
    let context =
        largest(most, |steps| with("-c", (steps * STEP).max(1)).is_some_and(|need| fits(&need, verdict, true)));
    found.extend(context.filter(|steps| *steps > 0).map(|steps| ("-c", steps * STEP, "with a shorter context")));
    if vram {
        let most = settings.gpu_layers.unwrap_or(LAYERS).min(LAYERS + 1).saturating_sub(1);
        let layers = largest(most, |layers| with("-ngl", layers).is_some_and(|need| fits(&need, verdict, false)));
        found.extend(layers.map(|layers| {
            ("-ngl", layers, "with fewer layers on the GPU: slower, and with more of the host's memory")
        }));
    }
    let asked = found.into_iter().filter_map(|(flag, value, what)| {
        // What was learned of the command as it is says nothing of another.
        let question = Ask { need: with(flag, value)?, work: None, ..question.clone() };
        let answer = (asking.ask)(&question)?;
        let tight = match answer.verdict {
            Decision::Yes => "",
            Decision::Tight if verdict.verdict != Decision::Tight => ", tightly",
            _ => return None,
        };
        let sentence = format!("it fits{tight} with {flag} {value} ({what})");
        Some(Way {
            kind: WayKind::Setting,
            origin: WayOrigin::Estimated,
            sentence,
            amount: Some(value),
            ..Way::default()
        })
    });
    asked.collect()
}

/// What the flags of llama-server say, if the command starts it or names a model of its kind.
fn flags(command: &[String]) -> Option<Settings> {
    let arguments = match Command::of(command) {
        Ok(Command { program: Program::Llama, arguments }) => arguments,
        Ok(_) => return None,
        Err(_) => command.split_first().filter(|(model, _)| model.ends_with(".gguf"))?.1,
    };
    Settings::of(arguments).ok()
}

/// The largest number up to this for which it is true, if it is true for all smaller ones; `None` if it is for none.
fn largest(most: u64, is: impl Fn(u64) -> bool) -> Option<u64> {
    if !is(0) {
        return None;
    }
    let (mut yes, mut no) = (0, most + 1);
    while no - yes > 1 {
        let middle = yes + (no - yes) / 2;
        if is(middle) { yes = middle } else { no = middle }
    }
    Some(yes)
}

/// Whether a need is within what the verdict says is available: memory of its GPUs, and of the host if that counts.
fn fits(need: &Need, verdict: &Verdict, host: bool) -> bool {
    let want = Want::of(need);
    let available = |resource: &str, of: Option<&str>| {
        let mut lines = verdict.resources.iter();
        let line = lines.find(|line| line.resource == resource && (of.is_none() || line.of.as_deref() == of));
        line.and_then(|line| line.available)
    };
    let on = |(own, amount): (&u32, &collector_core::lease::want::Amount)| {
        let gpu = usize::try_from(*own).ok().and_then(|own| verdict.gpus.get(own));
        amount.peak == 0 || gpu.and_then(|gpu| available("VRAM", Some(gpu))).is_some_and(|left| amount.peak <= left)
    };
    let memory =
        !host || want.hard.peak == 0 || available("host memory", None).is_some_and(|left| want.hard.peak <= left);
    memory && want.vram.iter().all(on)
}

#[cfg(test)]
mod tests {
    use super::*;
    use collector_core::lease::Line;
    use collector_core::need::{Memory, Origin, Part, Resource};

    const GIB: u64 = 1 << 30;

    /// A made-up model: 10 GiB of weights in 20 layers, 1 MiB a token of context, 8 GiB of prompt cache.
    fn need(command: &[String]) -> Option<Need> {
        let settings = flags(command)?;
        let layers = settings.gpu_layers.unwrap_or(LAYERS).min(20);
        let part = |resource, amount| Part {
            what: "x".into(),
            resource,
            amount,
            error: 0,
            origin: Origin::Declared,
            loading: false,
        };
        let vram = layers * GIB / 2 + settings.context.unwrap_or(32768) * (1 << 20);
        let host = (20 - layers) * GIB / 2 + settings.prompt_cache.unwrap_or(0) * (1 << 20);
        let memory = Resource::Host { memory: Memory::Anonymous };
        Some(Need { parts: vec![part(Resource::Vram { gpu: 0 }, vram), part(memory, host)], ..Need::default() })
    }

    /// A host with so much left.
    fn judge(question: &Ask, vram: u64, host: u64) -> Verdict {
        let want = Want::of(&question.need);
        let line = |resource: &str, of: Option<&str>, need: u64, available: u64| {
            let short = need.saturating_sub(available);
            let verdict = if short > 0 { Decision::No } else { Decision::Yes };
            let (resource, of, available) = (resource.to_owned(), of.map(str::to_owned), Some(available));
            Line { resource, of, need, available, short, verdict, ..Line::default() }
        };
        let resources =
            vec![line("VRAM", Some("3"), want.vram[&0].peak, vram), line("host memory", None, want.hard.peak, host)];
        let verdict = resources.iter().fold(Decision::Yes, |all, line| all.and(line.verdict));
        Verdict { verdict, resources, gpus: vec!["3".into()], ..Verdict::default() }
    }

    fn found(line: &str, vram: u64, host: u64) -> Vec<String> {
        let command: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let Some(need_) = need(&command) else { return vec!["none".to_owned()] };
        let question = Ask { need: need_, ..Ask::default() };
        let asking = Asking { estimate: &need, ask: &|question| Some(judge(question, vram, host)) };
        let ways = ways(&command, &question, &judge(&question, vram, host), &asking);
        ways.into_iter().map(|way| way.sentence).collect()
    }

    #[test]
    fn the_longest_context_and_the_most_layers_that_fit_are_found() {
        let line = "llama-server -m x.gguf";
        assert_eq!(
            found(line, 26 * GIB + 5, 100 * GIB),
            ["it fits with -c 16384 (with a shorter context)"],
            "all layers: 32 GiB of context do not fit beside a single one"
        );
        assert_eq!(
            found("x.gguf -c 4096", 9 * GIB, 100 * GIB),
            ["it fits with -ngl 10 (with fewer layers on the GPU: slower, and with more of the host's memory)",],
            "no context fits beside all layers"
        );
        assert_eq!(found("x.gguf -c 4096", 9 * GIB, 9 * GIB), Vec::<String>::new(), "the host has no room for layers");
        assert_eq!(
            found("env A=1 llama-server -m x -c 1024", 100 * GIB, 7 * GIB),
            ["it fits with --cache-ram 0 (without a prompt cache in host memory)"]
        );
        assert_eq!(found("llama-server -m x.gguf", 100 * GIB, 100 * GIB), Vec::<String>::new(), "it fits as it is");
        assert_eq!(found("vllm serve x", 0, 0), ["none"]);
    }

    #[test]
    fn the_largest_is_found_by_halves() {
        for most in [0, 1, 2, 7, 1000] {
            for limit in 0..=most {
                assert_eq!(largest(most, |number| number <= limit), Some(limit));
            }
        }
        assert_eq!(largest(9, |_| false), None);
    }
}
