//! Sends log messages to systemd's journal if stderr goes there, else to stderr: those of the agent as text on a terminal and as JSON
//! elsewhere, those of a verb as sentences for people. Includes messages of the `log` crate, which aya uses.

use std::io::{self, IsTerminal, Write, stderr};
use std::sync::OnceLock;

use anyhow::Context;
use collector_core::text::{shown, shown_json};
use tracing::{Dispatch, Event, Level, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::fmt::{FmtContext, MakeWriter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, fmt, registry, reload};

use super::journald::Journal;
use crate::config::Config;

/// Target of the eBPF programs' log messages.
const PROGRAMS: &str = "collector_ebpf";

/// The level in force, which can change.
type Filter = reload::Handle<Targets, Registry>;

static FILTER: OnceLock<Filter> = OnceLock::new();

/// Starts logging to stderr. Fails if called twice in a process.
pub fn start(config: &Config) -> anyhow::Result<()> {
    let coloured = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let terminal = stderr().is_terminal();
    let journal = Some(()).filter(|()| config.log.format == "auto").and_then(|()| Journal::of_stderr());
    let (dispatch, filter) = dispatch(config, terminal, terminal && coloured, journal, stderr);
    let _ = FILTER.set(filter);
    dispatch.try_init().context("start logging")
}

/// Starts saying on stderr what a verb has to say: one sentence a line. Machines read what it prints on stdout.
pub fn say(config: &Config) -> anyhow::Result<()> {
    let mut config = config.clone();
    // Whoever names a format has a reason.
    if config.log.format != "auto" {
        return start(&config);
    }
    config.log.format = "plain".to_owned();
    dispatch(&config, false, false, None, stderr).0.try_init().context("start logging")
}

/// Goes on with the level of this configuration.
pub fn renew(config: &Config) {
    if let Some(Err(error)) = FILTER.get().map(|filter| filter.reload(targets(config))) {
        tracing::warn!("the log goes on with the previous level: {error}");
    }
}

fn targets(config: &Config) -> Targets {
    // The configuration accepts only valid levels.
    let level: Level = config.log.level.parse().unwrap_or(Level::INFO);
    let targets = Targets::new().with_default(level);
    match config.kernel.debug && level < Level::DEBUG {
        true => targets.with_target(PROGRAMS, Level::DEBUG),
        false => targets,
    }
}

fn dispatch<W>(
    config: &Config,
    terminal: bool,
    coloured: bool,
    journal: Option<Journal>,
    writer: W,
) -> (Dispatch, Filter)
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let plain = config.log.format == "plain";
    let pretty = match config.log.format.as_str() {
        "pretty" | "plain" => true,
        "json" => false,
        _ => terminal,
    };
    let writer = Shown { writer, json: !pretty, coloured };
    let layer = fmt::layer().with_writer(writer).with_ansi(coloured);
    let layer = match pretty {
        _ if journal.is_some() => journal.boxed(),
        true if plain => layer.with_target(false).event_format(Plain).boxed(),
        true => layer.compact().with_target(false).boxed(),
        false => layer.json().flatten_event(true).with_current_span(false).with_span_list(false).boxed(),
    };
    let (targets, filter) = reload::Layer::new(targets(config));
    (registry().with(targets).with(layer).into(), filter)
}

/// `headroom: warning: no such thing`: the message alone, with its level if it is a warning or worse.
struct Plain;

impl<S, N> FormatEvent<S, N> for Plain
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> std::fmt::Result {
        writer.write_str(match *event.metadata().level() {
            Level::ERROR => "headroom: error: ",
            Level::WARN => "headroom: warning: ",
            _ => "headroom: ",
        })?;
        context.field_format().format_fields(writer.by_ref(), event)?;
        writer.write_str("\n")
    }
}

/// Messages name files and errors of users: what could control a terminal is escaped, except for this program's own colours.
struct Shown<W> {
    writer: W,
    json: bool,
    coloured: bool,
}

/// Writes one message at a time, as the layer does.
struct Message<W> {
    writer: W,
    json: bool,
    coloured: bool,
}

impl<'w, W: MakeWriter<'w>> MakeWriter<'w> for Shown<W> {
    type Writer = Message<W::Writer>;

    fn make_writer(&'w self) -> Self::Writer {
        Message { writer: self.writer.make_writer(), json: self.json, coloured: self.coloured }
    }
}

impl<W: Write> Write for Message<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes);
        let line = text.strip_suffix('\n').unwrap_or(&text);
        let line = match (self.json, self.coloured) {
            (true, _) => shown_json(line),
            (_, true) => shown_coloured(line).into(),
            (_, false) => shown(line),
        };
        // In one call: several processes may write to the same file.
        self.writer.write_all(format!("{line}\n").as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

/// A line that can be shown, with its colours. (The layer has escaped those of messages and values.)
fn shown_coloured(line: &str) -> String {
    let mut parts = line.split("\u{1b}[");
    let mut text = shown(parts.next().unwrap_or_default()).into_owned();
    for part in parts {
        let code = part.find(|c: char| !matches!(c, '0'..='9' | ';')).filter(|end| part[*end..].starts_with('m'));
        text += if code.is_some() { "\u{1b}[" } else { "\\x1b[" };
        text += &shown(part);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use collector_core::text::is_shown;
    use std::sync::{Arc, Mutex};
    use tracing::dispatcher::with_default;

    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// The log output of `messages` with this configuration, on a terminal or not.
    fn written(change: impl Fn(&mut Config), terminal: bool, messages: impl Fn()) -> String {
        let mut config = Config::default();
        change(&mut config);
        let buffer = Buffer::default();
        let writer = buffer.clone();
        with_default(&dispatch(&config, terminal, terminal, None, move || writer.clone()).0, messages);
        let bytes = buffer.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_terminal_gets_colour_and_a_pipe_gets_json() {
        let message = || tracing::warn!(device = "nvme0n1", "slow IO");
        let people = written(|_| (), true, message);
        assert!(people.contains("\u{1b}[") && people.contains("slow IO"), "{people:?}");
        let line = written(|_| (), false, message);
        let json: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!((&json["level"], &json["message"]), (&"WARN".into(), &"slow IO".into()));
        assert_eq!(json["device"], "nvme0n1");
    }

    #[test]
    fn nothing_in_a_message_controls_the_terminal() {
        let hostile = "a\u{1b}[2J\u{1b}[31m\r\nWARN b\u{202e}\u{200b}\u{9b}m";
        let messages = || tracing::warn!(path = hostile, "read {hostile}: {}", std::path::Path::new(hostile).display());
        for coloured in [true, false] {
            let change = |config: &mut Config| config.log.format = "pretty".into();
            let line = written(change, coloured, messages);
            assert_eq!(line.matches('\n').count(), 1, "{line:?}");
            let line = line.trim_end();
            let plain: String =
                line.split("\u{1b}[").map(|part| part.trim_start_matches(['0', '1', '2', '3', 'm'])).collect();
            assert!(plain.chars().all(is_shown) && !line.contains("[2J\u{1b}[31m"), "{line:?}");
            assert_eq!(line.contains('\u{1b}'), coloured);
            assert!(!line.contains("\u{1b}[31m") && !line.contains("\u{1b}[2J"), "{line:?}");
        }
        let line = written(|config| config.log.format = "json".into(), true, messages);
        assert!(line.trim_end().chars().all(is_shown), "{line:?}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&line).unwrap()["path"], hostile);
    }

    #[test]
    fn the_format_can_be_chosen() {
        let message = || tracing::warn!("slow IO");
        let people = written(|config| config.log.format = "pretty".into(), false, message);
        assert!(people.contains("WARN") && !people.contains('\u{1b}') && !people.contains('{'), "{people:?}");
        let line = written(|config| config.log.format = "json".into(), true, message);
        assert!(serde_json::from_str::<serde_json::Value>(&line).is_ok(), "{line:?}");
    }

    #[test]
    fn a_verb_says_sentences_whatever_reads_them() {
        let messages = || {
            tracing::info!("asking the host instead");
            tracing::warn!(file = "a\u{1b}[2J", "there is no journal");
        };
        let lines = written(|config| config.log.format = "plain".into(), false, messages);
        let wanted = "headroom: asking the host instead\nheadroom: warning: there is no journal file=\"a\\u{1b}[2J\"\n";
        assert_eq!(lines, wanted);
    }

    #[test]
    fn messages_below_the_level_are_left_out() {
        let messages = || {
            tracing::warn!("one");
            tracing::info!("two");
        };
        let lines = written(|config| config.log.level = "warn".into(), false, messages);
        assert!(lines.contains("one") && !lines.contains("two"), "{lines:?}");
    }

    #[test]
    fn the_level_can_change() {
        let mut config = Config::default();
        let buffer = Buffer::default();
        let writer = buffer.clone();
        let (dispatch, filter) = dispatch(&config, false, false, None, move || writer.clone());
        with_default(&dispatch, || {
            tracing::debug!("one");
            config.log.level = "debug".into();
            filter.reload(targets(&config)).unwrap();
            tracing::debug!("two");
        });
        let lines = String::from_utf8(buffer.0.lock().unwrap().clone()).unwrap();
        assert!(!lines.contains("one") && lines.contains("two"), "{lines:?}");
    }

    #[test]
    fn messages_of_the_log_crate_arrive_and_those_of_programs_with_kernel_debug() {
        start(&Config::default()).unwrap();
        // `start` sets the bridge to its own level; here the scoped dispatcher filters.
        log::set_max_level(log::LevelFilter::Trace);
        let messages = || {
            log::warn!(target: "aya", "from the library");
            log::debug!(target: "collector_ebpf::oom", "from a program");
        };
        let lines = written(|_| (), false, messages);
        assert!(lines.contains("from the library") && !lines.contains("from a program"), "{lines:?}");
        let lines = written(|config| config.kernel.debug = true, false, messages);
        assert!(lines.contains("from a program"), "{lines:?}");
    }
}
