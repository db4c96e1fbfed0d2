//! How risky each kind of change is, and how it is undone. Knows nobody who types it.

use super::{Action, Kind, Object, Risk};

impl Kind {
    /// The risk of a change of this kind. `tightens` is whether somebody has less afterwards than before: a lower limit, or one where there
    /// was none.
    ///
    /// What can be applied by itself must be reversible without harm. A higher `memory.max` is not: what was then charged cannot be taken
    /// back without reclaim or a kill, and until then others have less. A higher CPU quota can be taken back, but takes CPU from others.
    pub const fn risk(self, tightens: bool) -> Risk {
        match self {
            Kind::MemoryLow
            | Kind::CpuWeight
            | Kind::IoWeight
            | Kind::Reclaim
            | Kind::Thaw
            | Kind::UnloadModel
            | Kind::DeleteOwnFiles => Risk::Low,
            Kind::MemoryHigh
            | Kind::CpuMax
            | Kind::Cpuset
            | Kind::IoMax
            | Kind::SwapOn
            | Kind::ZramOn
            | Kind::Sysctl => Risk::Medium,
            Kind::MemoryMax | Kind::SwapMax if !tightens => Risk::Medium,
            // Memory that is never reclaimed lets others be killed. Swap that is taken away must fit into memory.
            Kind::MemoryMin
            | Kind::MemoryMax
            | Kind::SwapMax
            | Kind::SwapOff
            | Kind::ZramOff
            | Kind::Freeze
            | Kind::Terminate
            | Kind::Kill
            | Kind::Restart
            | Kind::DeleteModel
            | Kind::MoveModel
            | Kind::Configure
            | Kind::ByHand => Risk::High,
        }
    }

    /// How a change of this kind is undone, as a sentence. `before` is the value that it had, in words.
    pub(super) fn undo(self, before: Option<&str>) -> String {
        let back = |what: &str| match before {
            Some(before) => format!("Set {what} back to {before}."),
            None => format!("Set {what} back to what it was: that is not known here."),
        };
        match self {
            Kind::MemoryLow => back("the protected amount (memory.low)"),
            Kind::MemoryMin => back("the protected amount (memory.min)"),
            Kind::MemoryHigh => back("the limit for throttling (memory.high)"),
            Kind::MemoryMax => {
                back("the memory limit") + " What is above it then is reclaimed, or ends in an OOM kill."
            }
            Kind::SwapMax => back("the swap limit"),
            Kind::CpuWeight => back("the CPU weight"),
            Kind::CpuMax => back("the CPU quota"),
            Kind::Cpuset => back("the CPUs") + " Memory stays on the node where it is.",
            Kind::IoWeight => back("the IO weight"),
            Kind::IoMax => back("the IO limit"),
            Kind::Sysctl => back("the setting"),
            Kind::Reclaim => "Nothing to undo: what is needed again is read or faulted in again.".to_owned(),
            Kind::Freeze => "Thaw it: it goes on where it was, but connections may have timed out.".to_owned(),
            Kind::Thaw => "Freeze it again.".to_owned(),
            Kind::Terminate | Kind::Kill => "Start it again: what it had in memory is lost.".to_owned(),
            Kind::Restart => "Not possible: what it had in memory is lost.".to_owned(),
            Kind::SwapOn | Kind::ZramOn => {
                "Switch it off again (swapoff), while what is in it fits into memory.".to_owned()
            }
            Kind::SwapOff | Kind::ZramOff => "Switch it on again (swapon).".to_owned(),
            Kind::UnloadModel => "Nothing to undo: the next request loads the model again.".to_owned(),
            Kind::DeleteOwnFiles => "Not possible: what they held is lost.".to_owned(),
            Kind::DeleteModel => "Not possible: download the model again.".to_owned(),
            Kind::MoveModel => "Move it back.".to_owned(),
            Kind::Configure => match before {
                Some(before) => format!("Start it with {before} again."),
                None => "Start it as before.".to_owned(),
            },
            Kind::ByHand => "By hand, too.".to_owned(),
        }
    }
}

/// What no command does. `what` is a short phrase: "another slot for the card".
pub fn by_hand(object: Object, what: String, risk: Risk) -> Action {
    let (kind, undo) = (Kind::ByHand, Kind::ByHand.undo(None));
    Action { kind, object, key: None, before: None, after: Some(what), risk, undo, commands: Vec::new() }
}
