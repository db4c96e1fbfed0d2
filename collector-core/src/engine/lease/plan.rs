//! Reservations that are made ahead: when one is, who takes it up, and that it ends if nobody does. Knows nothing of what is judged.

use super::{refused, told};
use crate::admission::ahead::{Period, Short, fits};
use crate::lease::{Body, Decision, Granted, Lease, State, Step, Verdict};
use crate::outcome::Outcome;
use crate::view::{View, reservation};

/// Makes a reservation that begins in so many nanoseconds, and lasts so long.
pub(super) fn plan(view: &mut View, lease: Lease, ahead: u64, life: u64, outcomes: &mut Vec<Outcome>) -> (u16, Body) {
    if lease.want.is_nothing() {
        return refused(400, "a reservation of nothing: the need has no parts");
    }
    let lease = match make(view, lease, ahead, life, outcomes) {
        Ok(lease) => lease,
        Err(Short { why, .. }) => {
            let verdict = Verdict { verdict: Decision::No, reason: why.clone(), ..Verdict::default() };
            return (409, Body::Refused { detail: why, verdict: Some(Box::new(verdict)) });
        }
    };
    let mut not_known = vec!["what runs then without a reservation, or started before this one was made".to_owned()];
    if lease.want.cpu > 0 || lease.want.network > 0 || !lease.want.disk.is_empty() {
        not_known.push("whether CPUs, network and disks have room then".to_owned());
    }
    let verdict = Verdict {
        verdict: Decision::Yes,
        reason: "reserved from then on: work that starts from now on and would still run then has to leave this room"
            .to_owned(),
        gpus: lease.gpus.clone(),
        not_known,
        ..Verdict::default()
    };
    let granted = Granted { id: lease.id, gpus: lease.gpus, owner: lease.owner, verdict };
    (201, Body::Granted(granted))
}

/// Makes one that begins in so many nanoseconds and lasts so long, if it fits.
///
/// # Errors
/// With why it does not.
pub(super) fn make(
    view: &mut View,
    mut lease: Lease,
    ahead: u64,
    life: u64,
    outcomes: &mut Vec<Outcome>,
) -> Result<Lease, Short> {
    let now = view.leases.now;
    let begins = now.saturating_add(ahead);
    let period = Period { begins, ends: begins.saturating_add(life) };
    lease.gpus = fits(view, lease.uid, &lease.want, &lease.gpus, period)?;
    lease.id = view.leases.next_id();
    lease.state = State::Planned;
    (lease.granted, lease.begins, lease.expires) = (Some(now), Some(period.begins), Some(period.ends));
    // Whoever made it may go: it is nobody's until it is taken up.
    (lease.learns, lease.number) = (false, None);
    let sentence = format!(
        "reservation {} for user {}: {}, starting in {} s, for {} s",
        lease.id,
        lease.uid,
        reservation::wanted(&lease),
        period.begins.saturating_sub(now) / 1_000_000_000,
        period.ends.saturating_sub(period.begins) / 1_000_000_000
    );
    outcomes.push(told(view, Step::Granted, &lease, sentence));
    view.leases.held.insert(lease.id, lease.clone());
    Ok(lease)
}

/// Removes what was made ahead for the same user and unit as a lease that is granted, and takes up.
pub(super) fn taken_up(view: &mut View, lease: &Lease) -> Option<Lease> {
    let life = lease.expires.map(|expires| expires.saturating_sub(view.leases.now));
    let own = view.leases.taken_up_by(lease.uid, lease.unit.as_deref(), life)?;
    view.leases.held.remove(&own)
}
