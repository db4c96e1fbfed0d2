//! Sends log messages to systemd's journal with their fields, by its own protocol, so that `journalctl` can select by priority and by
//! field. Knows neither levels to leave out nor other formats.
//!
//! The protocol (systemd.io/JOURNAL_NATIVE_PROTOCOL): a datagram is an entry, a line `NAME=value` a field.

use std::env;
use std::fmt::{Debug, Write as _};
use std::io::Write as _;
use std::os::unix::net::UnixDatagram;

use collector_core::text::shown;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

const SOCKET: &str = "/run/systemd/journal/socket";
/// Device and inode of the stream to which systemd connected stderr (systemd.exec(5)).
const STREAM: &str = "JOURNAL_STREAM";
/// Bytes of one entry: the kernel takes datagrams of about 200 KiB.
const MOST: usize = 64 << 10;
/// Fields that mean something to the journal. Those of ours that are called so get another name.
const TAKEN: [&str; 7] = ["PRIORITY", "ERRNO", "TID", "CODE", "DOCUMENTATION", "INVOCATION", "OBJECT"];

/// The journal.
pub struct Journal {
    socket: UnixDatagram,
}

impl Journal {
    /// If stderr goes there.
    pub fn of_stderr() -> Option<Journal> {
        let stderr = rustix::fs::fstat(std::io::stderr()).ok()?;
        let stream = env::var(STREAM).ok()?;
        if stream != format!("{}:{}", stderr.st_dev, stderr.st_ino) {
            // A parent's stderr went there.
            return None;
        }
        let socket = UnixDatagram::unbound().ok()?;
        socket.connect(SOCKET).ok()?;
        Some(Journal { socket })
    }
}

impl<S: Subscriber> Layer<S> for Journal {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut entry = Entry::default();
        event.record(&mut entry);
        let priority = match *event.metadata().level() {
            Level::ERROR => 3,
            Level::WARN => 4,
            Level::INFO => 6,
            Level::DEBUG | Level::TRACE => 7,
        };
        let head = format!("PRIORITY={priority}\nSYSLOG_IDENTIFIER=headroom\nMESSAGE={}\n", entry.message);
        let fields = if head.len() + entry.fields.len() > MOST { "" } else { &entry.fields };
        if self.socket.send((head + fields).as_bytes()).is_err() {
            // systemd reads the priority of a line, too. If that is closed as well there is nowhere to report it.
            let _ = writeln!(std::io::stderr(), "<{priority}>{}", entry.message);
        }
    }
}

/// The fields of a message. Values are shown as they are to people: what controls a terminal is escaped, and so are ends of lines.
#[derive(Default)]
struct Entry {
    message: String,
    fields: String,
}

impl Visit for Entry {
    fn record_str(&mut self, field: &Field, value: &str) {
        let value = shown(value);
        let value = &value[..value.floor_char_boundary(MOST / 4)];
        match field.name() {
            "message" => value.clone_into(&mut self.message),
            name => _ = writeln!(self.fields, "{}={value}", named(name)),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

/// Capital letters, digits and underscores, as the journal wants it.
fn named(field: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    let name: String = field.chars().map(plain).take(48).collect();
    let taken = TAKEN.contains(&&*name)
        || name.starts_with("SYSLOG_")
        || name.starts_with(|c: char| c == '_' || c.is_ascii_digit());
    if taken { format!("HEADROOM_{name}") } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing::dispatcher::with_default;
    use tracing_subscriber::layer::SubscriberExt as _;
    use tracing_subscriber::registry;

    /// The entries that a journal would get, as lines.
    fn sent(messages: impl Fn()) -> Vec<Vec<String>> {
        let (socket, journal) = UnixDatagram::pair().unwrap();
        let dispatch = tracing::Dispatch::new(registry().with(Journal { socket }));
        with_default(&dispatch, messages);
        drop(dispatch);
        journal.set_nonblocking(true).unwrap();
        let mut bytes = vec![0; 1 << 20];
        let mut entries = Vec::new();
        while let Ok(length) = journal.recv(&mut bytes) {
            entries.push(std::str::from_utf8(&bytes[..length]).unwrap().lines().map(str::to_owned).collect());
        }
        entries
    }

    #[test]
    fn an_entry_has_priority_message_and_fields() {
        let entries = sent(|| {
            let none: Option<&str> = None;
            tracing::warn!(workload = "vllm.service", container_id = none, pid = 7, "OOM kill of {} ({})", "hog", 7);
            tracing::info!(incident = "abc", "told");
            tracing::error!("broken");
        });
        let head = |priority: u8| [format!("PRIORITY={priority}"), "SYSLOG_IDENTIFIER=headroom".to_owned()];
        assert_eq!(entries.len(), 3);
        assert_eq!(entries[0][..2], head(4));
        assert_eq!(entries[0][2..], ["MESSAGE=OOM kill of hog (7)", "WORKLOAD=vllm.service", "PID=7"]);
        assert_eq!(entries[1][..2], head(6));
        assert_eq!(entries[1][2..], ["MESSAGE=told", "INCIDENT=abc"]);
        assert_eq!(entries[2][..2], head(3));
    }

    #[test]
    fn nobody_adds_a_field_or_another_priority() {
        let hostile = "a\nPRIORITY=0\n\u{1b}[2J";
        let long = "x".repeat(MOST);
        let entries = sent(|| {
            tracing::info!(priority = "normal", comm = hostile, "of {hostile}");
            tracing::info!(one = &*long, two = &*long, three = &*long, four = &*long, five = &*long, "long");
        });
        let lines = &entries[0];
        assert_eq!(lines.iter().filter(|line| line.starts_with("PRIORITY=")).count(), 1, "{lines:?}");
        assert!(lines.contains(&"HEADROOM_PRIORITY=normal".to_owned()), "{lines:?}");
        assert!(lines.iter().all(|line| !line.contains('\u{1b}')) && lines.len() == 5, "{lines:?}");
        assert_eq!(entries[1][2..], ["MESSAGE=long"], "what is too long is left out");
    }

    #[test]
    fn names_are_as_the_journal_wants_them() {
        assert_eq!(["log.target", "code", "_x"].map(named), ["LOG_TARGET", "HEADROOM_CODE", "HEADROOM__X"]);
    }
}
