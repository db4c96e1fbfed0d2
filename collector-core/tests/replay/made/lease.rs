//! Reservations that are made up: what somebody claims, waits for, and leaves behind.

use collector_core::lease::{Asked, Caller, Claim, Kept, Owner, Request, Use};
use collector_core::need::{Need, Origin, Part, Resource};
use collector_core::sample::Reading;

use super::{Host, holder};

impl Host {
    /// A process of a workload claims so much memory of a GPU, and waits for it if it must. The number of its reservation.
    pub fn claims(&mut self, workload: u64, bytes: u64) -> u64 {
        let resource = Resource::Vram { gpu: 0 };
        let part =
            Part { what: "model".into(), resource, amount: bytes, error: 0, origin: Origin::Declared, loading: false };
        let need = Need { parts: vec![part], ..Need::default() };
        let claim = Claim { need, wait_seconds: Some(3600), ..Claim::default() };
        let cgroup = Some("/system.slice".to_owned());
        let caller = Caller { privileged: true, high: true, cgroup, ..Caller::default() };
        let pid = holder(workload);
        let (owner, used) = (Owner::Process { pid, started: 1 }, Use { pids: vec![pid], ..Use::default() });
        let number = self.view().leases.last_id + 1;
        let asked = Asked::Claim { claim, owner, used };
        self.apply(Reading::Request(Box::new(Request { number, caller, asked })));
        self.view().leases.last_id
    }

    /// Its owner ends; this process was part of it.
    pub fn ends(&mut self, id: u64, workload: u64) -> &mut Host {
        let used = Use { pids: vec![holder(workload)], ..Use::default() };
        self.apply(Reading::Lease(Kept::Used { id, used }));
        self.run(10, 1).apply(Reading::Lease(Kept::Gone { id }));
        self
    }
}
