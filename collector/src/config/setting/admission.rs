//! `[admission]`: its rows.

use std::time::Duration;

use super::HOUR;
use super::row::{Setting, without_flag};
use crate::config::kind::Kind;

pub(super) const WITHIN_LIMITS: Setting = without_flag(
    "admission.within_limits",
    Kind::Switch(|config| &mut config.admission.within_limits),
    "Whether a verdict also keeps to the limits of [level]. Otherwise it compares with what is free, less a small margin.",
);

pub(super) const START_TIMEOUT: Setting = without_flag(
    "admission.start_timeout",
    Kind::Duration(|config| &mut config.admission.start_timeout, Duration::from_secs(1), HOUR),
    "How long a start keeps others from its GPU at most: until then its memory has to be allocated, or it has to say that it has started.",
);

pub(super) const LEARN_AFTER: Setting = without_flag(
    "admission.learn_after",
    Kind::Duration(|config| &mut config.admission.learn_after, Duration::ZERO, HOUR),
    "How long work must have been measured before what it needed is remembered for its next start; 0s remembers nothing more.",
);

pub(super) const USER_RESERVATIONS: Setting = without_flag(
    "admission.user_reservations",
    Kind::Count(|config| &mut config.admission.user_reservations, 0, 4096),
    "Reservations that a user other than root may have at the same time.",
);

pub(super) const USER_WAITING: Setting = without_flag(
    "admission.user_waiting",
    Kind::Count(|config| &mut config.admission.user_waiting, 0, 512),
    "Claims of one user that may wait at the same time.",
);

pub(super) const USER_SHARE: Setting = without_flag(
    "admission.user_share",
    Kind::Count(|config| &mut config.admission.user_share, 0, 100),
    "Percentage of the host's memory that the reservations of a user other than root may keep free together. What is used by now does \
              not count.",
);

pub(super) const EVICTION_TIMEOUT: Setting = without_flag(
    "admission.eviction_timeout",
    Kind::Duration(|config| &mut config.admission.eviction_timeout, Duration::from_secs(1), HOUR),
    "How long the owner of an evictable reservation has to give it up once it was asked to. Then others are asked as well, and it again.",
);

pub(super) const EVICTION_LEAST: Setting = without_flag(
    "admission.eviction_least",
    Kind::Count(|config| &mut config.admission.eviction_least, 1, 64),
    "So many owners at least are asked to give something up once anybody is asked.",
);

pub(super) const EVICTION_PART: Setting = without_flag(
    "admission.eviction_part",
    Kind::Count(|config| &mut config.admission.eviction_part, 0, 64),
    "And at least one in so many of those that could be asked: 3 is a third of them. 0: no more than make room.",
);

pub(super) const HIGH_PRIORITY: Setting = without_flag(
    "admission.high_priority",
    Kind::Names(|config| &mut config.admission.high_priority),
    "Users, by name or number, who may ask for the priorities high and critical, as root may.",
);

pub(super) const SLOTS: Setting = without_flag(
    "admission.slots",
    Kind::Slots(|config| &mut config.admission.slots),
    "Slots that all users share, NAME or NAME=PLACES. A slot that is not named here belongs to the user that asks for it, and has one place.",
);
