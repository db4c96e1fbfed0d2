//! Sends log messages to stderr: as text on a terminal and as JSON elsewhere. Includes messages of the `log` crate, which
//! aya uses.

use std::io::{IsTerminal, stderr};
use std::sync::OnceLock;

use anyhow::Context;
use tracing::{Dispatch, Level};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, fmt, registry, reload};

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
    let (dispatch, filter) = dispatch(config, terminal, terminal && coloured, stderr);
    let _ = FILTER.set(filter);
    dispatch.try_init().context("start logging")
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

fn dispatch<W>(config: &Config, terminal: bool, coloured: bool, writer: W) -> (Dispatch, Filter)
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let pretty = match config.log.format.as_str() {
        "pretty" => true,
        "json" => false,
        _ => terminal,
    };
    let layer = fmt::layer().with_writer(writer).with_ansi(coloured);
    let layer = match pretty {
        true => layer.compact().with_target(false).boxed(),
        false => layer.json().flatten_event(true).with_current_span(false).with_span_list(false).boxed(),
    };
    let (targets, filter) = reload::Layer::new(targets(config));
    (registry().with(targets).with(layer).into(), filter)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
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
        with_default(&dispatch(&config, terminal, terminal, move || writer.clone()).0, messages);
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
    fn the_format_can_be_chosen() {
        let message = || tracing::warn!("slow IO");
        let people = written(|config| config.log.format = "pretty".into(), false, message);
        assert!(people.contains("WARN") && !people.contains('\u{1b}') && !people.contains('{'), "{people:?}");
        let line = written(|config| config.log.format = "json".into(), true, message);
        assert!(serde_json::from_str::<serde_json::Value>(&line).is_ok(), "{line:?}");
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
        let (dispatch, filter) = dispatch(&config, false, false, move || writer.clone());
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
