//! Recognises systemd units of the system and of users. They are in slices; a user's units are below the user's manager.

use super::component::Component;
use super::text::unescape;
use super::{Finding, Kind};

/// Suffixes of units that have cgroups.
const SUFFIXES: [(&str, Kind); 5] = [
    (".service", Kind::Service),
    (".scope", Kind::Scope),
    (".socket", Kind::Unit),
    (".mount", Kind::Unit),
    (".swap", Kind::Unit),
];

/// The user that owns this part of the path. What is below belongs to this user, whatever it is called.
#[derive(Debug, Default)]
pub(super) struct Owner {
    user: Option<String>,
    /// By a directory that root gave away. What is called like the user's manager there is no manager: root makes those.
    given: bool,
}

impl Owner {
    /// Prefix of the names of the user's workloads: `user-1000/`, or empty.
    pub fn prefix(&self) -> String {
        self.user.as_ref().map_or_else(String::new, |user| format!("{user}/"))
    }

    /// The user: `user-1000`.
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// From here on it is this user, unless it is below another already.
    pub fn is(&mut self, user: &str) {
        self.user.get_or_insert_with(|| self::user(user));
    }

    /// The same of a user whom root gave a directory.
    pub fn given(&mut self, uid: u32) {
        self.given |= self.user.is_none();
        self.is(&uid.to_string());
    }

    fn may_be(&self, user: &str) -> bool {
        !self.given && self.user().is_none_or(|known| known.strip_prefix("user-") == Some(user))
    }
}

/// What a user is called.
pub(super) fn user(user: &str) -> String {
    format!("user-{user}")
}

/// The kind of a component, where units can occur.
pub(super) enum Found<'a> {
    /// More units may be below.
    Slice(Finding<'a>),
    /// A user's manager. The user's units are below.
    Manager(Finding<'a>),
    /// A login session. Containers may be below.
    Session(Finding<'a>),
    /// A unit. Everything below belongs to it.
    Unit(Finding<'a>),
    /// Not a unit.
    No,
}

/// The unit of a component. A component of a user sets the `owner`.
pub(super) fn find<'a>(component: Component<'a>, owner: &mut Owner) -> Found<'a> {
    let Component { name, parent, top, depth, .. } = component;
    let maker = owner.user.clone();
    let finding = |name: String, kind| Finding { name, kind, owner: maker.clone(), top, ..Finding::default() };
    let user = |name| number(name, "user-");
    if let Some(stem) = name.strip_suffix(".slice").filter(|stem| !stem.is_empty()) {
        let found = Found::Slice(finding(format!("{}{}", owner.prefix(), unescape(name)), Kind::Slice));
        if let Some(uid) = user(stem).filter(|_| depth == 1 && parent == "user.slice") {
            owner.is(uid);
        }
        return found;
    }
    let Some((stem, kind)) = SUFFIXES.iter().find_map(|(suffix, kind)| Some((name.strip_suffix(suffix)?, *kind)))
    else {
        return Found::No;
    };
    // A user can call a unit like the manager of another.
    let is_manager = |uid: &&str| kind == Kind::Service && owner.may_be(uid) && (depth == 2 || owner.user().is_none());
    if let Some(uid) = number(stem, "user@").filter(is_manager) {
        owner.is(uid);
        return Found::Manager(finding(name.to_owned(), Kind::User));
    }
    if kind == Kind::Scope && stem.starts_with("session-") {
        if let Some(uid) = parent.strip_suffix(".slice").and_then(user) {
            owner.is(uid);
        }
        return Found::Session(finding(format!("{}{}", owner.prefix(), unescape(name)), Kind::Session));
    }
    let (name, kind, runtime) = match special(stem, kind, parent) {
        Some((runtime, name, kind)) => (format!("{runtime}/{name}"), kind, runtime),
        None => (unescape(name), kind, ""),
    };
    Found::Unit(Finding { runtime, ..finding(format!("{}{name}", owner.prefix()), kind) })
}

/// Units that stand for a machine or container: runtime, name, kind.
fn special(stem: &str, kind: Kind, parent: &str) -> Option<(&'static str, String, Kind)> {
    match kind {
        // systemd-nspawn@.service
        Kind::Service => {
            let name = stem.strip_prefix("systemd-nspawn@")?;
            Some(("nspawn", unescape(name), Kind::Container))
        }
        Kind::Scope => {
            // Proxmox VE: /qemu.slice/101.scope
            if parent == "qemu.slice" && number(stem, "").is_some() {
                return Some(("qemu", stem.to_owned(), Kind::Machine));
            }
            let machine = unescape(stem.strip_prefix("machine-")?);
            // libvirt numbers its machines again at each start: qemu-3-name.
            let libvirt = [("qemu-", "qemu", Kind::Machine), ("lxc-", "libvirt-lxc", Kind::Container)];
            for (prefix, runtime, kind) in libvirt {
                let rest = machine.strip_prefix(prefix).and_then(|rest| rest.split_once('-'));
                if let Some((_, name)) = rest.filter(|(id, name)| number(id, "").is_some() && !name.is_empty()) {
                    return Some((runtime, name.to_owned(), kind));
                }
            }
            Some(("machine", machine, Kind::Machine))
        }
        _ => None,
    }
}

/// The decimal number after the prefix, if nothing follows it.
pub(super) fn number<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let digits = text.strip_prefix(prefix)?;
    (!digits.is_empty() && digits.len() < 20 && digits.bytes().all(|byte| byte.is_ascii_digit())).then_some(digits)
}
