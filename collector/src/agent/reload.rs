//! SIGHUP: reads the configuration again, and applies what can change while the agent runs. A file that is invalid or hangs
//! changes nothing.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::fold::Fold;
use super::options::{Options, Read};
use super::request::Intake;
use crate::config::Config;
use crate::config::load::Effective;
use crate::config::setting::{SETTINGS, Setting};
use crate::http::access::Access;
use crate::review::Review;
use crate::service::Manager;
use crate::source::model::wanted::Wanted;

/// Settings that take effect at once, besides rules and the URLs, secrets and certificates of receivers; that are only checked, or read
/// by others than the agent; and the profile, whose settings are compared one by one.
const LIVE: [&str; 6] = ["log.level", "profile", "need.memory", "need.reserved", "models.interval", "models.exclude"];
/// Sections of which the same is true.
const LIVE_SECTIONS: [&str; 5] = ["level", "latency", "scaling", "admission", "guard"];

/// What was read.
pub struct Renewed {
    effective: Effective,
    review: Review,
}

pub struct Reload {
    read: Option<Read>,
    log: Option<fn(&Config)>,
    /// The configuration that the agent started with: what needs a restart is still as it says.
    started: Effective,
    access: Arc<Access>,
    intake: Arc<Intake>,
    models: Arc<Wanted>,
    pending: Option<oneshot::Receiver<Result<Renewed, String>>>,
}

impl Reload {
    pub fn new(
        options: &Options,
        effective: &Effective,
        access: Arc<Access>,
        intake: Arc<Intake>,
        models: Arc<Wanted>,
    ) -> Reload {
        let Options { read, log, .. } = options.clone();
        Reload { read, log, started: effective.clone(), access, intake, models, pending: None }
    }

    /// Begins to read, on a thread of its own: the disk may hang.
    pub fn begin(&mut self, manager: &Manager) {
        let Some(read) = self.read.clone() else { return };
        if self.pending.is_some() {
            tracing::warn!("SIGHUP: the configuration is still being read since the one before");
            return;
        }
        manager.reloading();
        let access = self.access.clone();
        let (sender, pending) = oneshot::channel();
        let run = move || _ = sender.send(renewed(&read, &access));
        match std::thread::Builder::new().name("reload".into()).spawn(run) {
            Ok(_) => self.pending = Some(pending),
            Err(error) => {
                tracing::warn!("SIGHUP: the configuration is not read again: {error}");
                manager.reloaded();
            }
        }
    }

    /// Resolves when a configuration has been read; never if none is being read.
    pub async fn read(&mut self) -> Result<Renewed, String> {
        let Some(pending) = &mut self.pending else { return std::future::pending().await };
        let read = pending.await;
        self.pending = None;
        read.unwrap_or_else(|_| Err("the thread that reads it panicked".into()))
    }

    pub fn apply(&mut self, read: Result<Renewed, String>, fold: &mut Fold, manager: &Manager) {
        match read {
            Ok(Renewed { effective, review }) => {
                if let Some(log) = self.log {
                    log(&effective.config);
                }
                review.log();
                let restart = needs_restart(&self.started, &effective);
                if !restart.is_empty() {
                    tracing::warn!("changed, but needs a restart of the agent: {}", restart.join(", "));
                }
                let Review { targets, level, latency, scaling, leases, reservations, high, models, .. } = review;
                self.models.set(models);
                self.intake.allow(high);
                fold.limit(level, leases);
                fold.compare(latency);
                fold.scale(scaling);
                fold.schedule(reservations);
                fold.replace_rules(effective.rules.clone());
                fold.renew(targets);
                tracing::info!(
                    "the configuration was read again: rules, receivers, model servers, reservations, limits of [level], [latency], [scaling], \
                     [admission] and [guard], and the level of the log apply now"
                );
            }
            Err(why) => tracing::error!("SIGHUP: the configuration stays as it was: {why}"),
        }
        manager.reloaded();
    }
}

fn renewed(read: &Read, access: &Access) -> Result<Renewed, String> {
    let effective = read().map_err(|failure| failure.to_string())?;
    let review = Review::of(&effective, access).map_err(|error| format!("{error:#}"))?;
    Ok(Renewed { effective, review })
}

/// What has changed and is not applied.
fn needs_restart(before: &Effective, now: &Effective) -> Vec<String> {
    let is_live = |setting: &Setting| {
        let section = setting.section().0;
        LIVE.contains(&setting.key) || section.is_some_and(|section| LIVE_SECTIONS.contains(&section))
    };
    let differs =
        |setting: &&Setting| !is_live(setting) && setting.kind.show(&before.config) != setting.kind.show(&now.config);
    let settings = SETTINGS.iter().filter(differs).map(|setting| setting.key.to_owned());
    let receivers = |effective: &Effective| {
        let sinks = &effective.config.sink;
        let sinks =
            sinks.webhook.iter().zip(std::iter::repeat(0)).chain(sinks.alertmanager.iter().zip(std::iter::repeat(1)));
        let posts =
            sinks.map(|(sink, kind)| (kind, sink.value.name(), sink.value.severity.clone(), sink.value.evictions));
        posts.collect::<Vec<_>>()
    };
    let names =
        (receivers(before) != receivers(now)).then(|| "names, severities and evictions of receivers".to_owned());
    let files =
        |effective: &Effective| effective.config.sink.file.iter().map(|sink| sink.value.clone()).collect::<Vec<_>>();
    let files = (files(before) != files(now)).then(|| "sink.file".to_owned());
    settings.chain(names).chain(files).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load::{Layers, load};
    use std::fs;

    #[test]
    fn what_needs_a_restart_is_named() {
        let file = std::env::temp_dir().join(format!("headroom-reload-{}.toml", std::process::id()));
        let read = |text: &str| {
            fs::write(&file, text).unwrap();
            load(&Layers { file: Some(file.clone()), ..Layers::default() }).unwrap()
        };
        let hook = |url: &str| format!("[[sink.webhook]]\nname = \"hook\"\nurl = \"{url}\"\n");
        let first = read(&format!("tick = \"1s\"\n{}", hook("http://a.example.com/")));
        let live = read(&format!("tick = \"1s\"\nlog.level = \"debug\"\n{}", hook("http://b.example.com/")));
        assert_eq!(needs_restart(&first, &live), [""; 0]);
        // What the fold loop, requests and verbs take over, or only check-config looks at.
        let limits = read(&format!(
            "tick = \"1s\"\nadmission.slots = [\"a\"]\nlevel.memory_limit = 0.5\nguard.starts = 1\n[[pool]]\nname = \"p\"\n\
             memory = \"1G\"\n[[model]]\nname = \"m\"\nmemory = \"1G\"\n[[level.target]]\nmemory = 0.5\n{}",
            hook("http://a.example.com/")
        ));
        assert_eq!(needs_restart(&first, &limits), [""; 0]);
        let other = read(&format!(
            "tick = \"2s\"\nhost = \"b\"\n{}",
            hook("http://a.example.com/").replace("hook\"", "other\"")
        ));
        assert_eq!(needs_restart(&first, &other), ["tick", "host", "names, severities and evictions of receivers"]);
        let lines = read(&format!("tick = \"1s\"\n{}[[sink.file]]\npath = \"/a\"\n", hook("http://a.example.com/")));
        assert_eq!(needs_restart(&first, &lines), ["sink.file"]);
        fs::remove_file(file).unwrap();
    }
}
