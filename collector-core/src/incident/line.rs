//! Puts an incident in short.

use super::Incident;
use crate::view::incident::IncidentLine;

impl IncidentLine {
    pub fn of(incident: &Incident) -> IncidentLine {
        let Incident { id, kind, time, complete, labels, title, cause, .. } = incident.clone();
        let (kind, cause, next) = (kind.name().to_owned(), cause.sentence, cause.next);
        IncidentLine { id, kind, time, complete, labels, title, cause, next }
    }
}
