//! A whole configuration, looked at before it is used: the one place that `run`, SIGHUP and `check-config` have their errors, warnings
//! and derived values from. Reads the files that the configuration names, and looks up users; changes nothing.

use anyhow::Result;
use collector_core::{latency, lease, level, scaling, schedule};

use crate::config::contradiction::{contradictions, host_memory};
use crate::config::load::Effective;
use crate::config::table::reservation::reservations;
use crate::confine::user;
use crate::deliver::target::{self, Target};
use crate::exposure;
use crate::http::access::Access;
use crate::source::model::wanted::Settings as Models;

/// What a valid configuration comes to.
pub struct Review {
    pub targets: Vec<Target>,
    pub level: level::Limits,
    pub latency: latency::Limits,
    pub scaling: scaling::Limits,
    pub leases: lease::Limits,
    /// What is reserved ahead.
    pub reservations: Vec<schedule::Entry>,
    /// Which model servers are asked, and how often.
    pub models: Models,
    /// The numbers of users who may ask for a high priority.
    pub high: Vec<u32>,
    /// What contradicts itself or this host, or is open to others. Each is a sentence.
    pub warnings: Vec<String>,
    /// What else the operator should know.
    pub notes: Vec<String>,
}

impl Review {
    /// # Errors
    /// A receiver or a model server that cannot be used.
    pub fn of(effective: &Effective, access: &Access) -> Result<Review> {
        let config = &effective.config;
        let targets = target::targets(config)?;
        let models = Models::of(config)?;
        let mut warnings = exposure::warnings(effective, access);
        warnings.extend(contradictions(effective, host_memory()));
        warnings.extend(models.warnings());
        let mut high = Vec::new();
        for name in &config.admission.high_priority {
            match user::number(name) {
                Some(uid) => high.push(uid),
                None => warnings.push(format!("admission.high_priority: there is no user {name} here")),
            }
        }
        let mut scheduled: Vec<schedule::Entry> = Vec::new();
        for reservation in reservations(config) {
            match user::number(&reservation.user).map(|uid| reservation.entry(uid)) {
                // One user may be written as a name and as a number.
                Some(Ok(entry)) if scheduled.iter().any(|earlier| earlier.is_twice(&entry)) => {
                    warnings.push(format!(
                        "[[reservation]] {}: is there twice at {entry}: the second is not made",
                        entry.unit
                    ));
                }
                Some(Ok(entry)) => scheduled.push(entry),
                // Checked before.
                Some(Err((key, why))) => warnings.push(format!("reservation.{key}: {why}")),
                None => warnings.push(format!(
                    "[[reservation]] {}: there is no user {} here: it is not made",
                    reservation.name, reservation.user
                )),
            }
        }
        Ok(Review {
            targets,
            level: config.level.limits(),
            latency: config.latency.limits(),
            scaling: config.scaling.limits(),
            leases: config.admission.limits(config.guard.starts),
            reservations: scheduled,
            models,
            high,
            warnings,
            notes: effective.notes.clone(),
        })
    }

    /// Says warnings and notes in the log.
    pub fn log(&self) {
        self.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
        self.notes.iter().for_each(|note| tracing::info!("{note}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load::{Layers, load};

    #[test]
    fn what_a_configuration_comes_to_is_said_in_one_place() {
        let environment = vec![
            ("HEADROOM_ADMISSION_HIGH_PRIORITY".into(), "root,nobody-has-this-name,4242".into()),
            ("HEADROOM_ADMISSION_SLOTS".into(), "train=2".into()),
            ("HEADROOM_LEVEL_MEMORY_LIMIT".into(), "0.5".into()),
            ("HEADROOM_PROFILE".into(), "vllm-two-tier".into()),
        ];
        let effective = load(&Layers { file: Some("/dev/null".into()), environment, flags: Vec::new() }).unwrap();
        let review = Review::of(&effective, &Access::open(None).unwrap()).unwrap();
        assert_eq!((review.high, review.leases.slots["train"], review.level.memory), (vec![0, 4242], 2, 0.5));
        let says = |wanted: &str| review.warnings.iter().any(|warning| warning.contains(wanted));
        assert!(says("there is no user nobody-has-this-name here"), "{:?}", review.warnings);
        assert!(says("level.memory_limit is 50 %"), "{:?}", review.warnings);
        assert_eq!(review.notes.len(), 1);
    }

    #[test]
    fn a_user_that_is_written_in_two_ways_reserves_once() {
        let file = scratch_file(
            "[[reservation]]\nname = \"chat\"\nat = \"07:45\"\nfor = \"1h\"\nmemory = \"1G\"\n\
                                 [[reservation]]\nname = \"chat\"\nuser = \"0\"\nat = \"07:45\"\nfor = \"1h\"\nmemory = \"2G\"\n",
        );
        let effective = load(&Layers { file: Some(file.clone()), environment: Vec::new(), flags: Vec::new() }).unwrap();
        let review = Review::of(&effective, &Access::open(None).unwrap()).unwrap();
        std::fs::remove_file(file).unwrap();
        assert_eq!(review.reservations.len(), 1);
        assert!(
            review.warnings.iter().any(|warning| warning.contains("the second is not made")),
            "{:?}",
            review.warnings
        );
    }

    fn scratch_file(text: &str) -> std::path::PathBuf {
        let path = std::env::temp_dir().join(format!("headroom-review-{}.toml", std::process::id()));
        std::fs::write(&path, text).unwrap();
        path
    }
}
