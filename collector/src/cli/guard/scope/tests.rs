//! Scopes, asked for from a manager that the test plays.

use std::sync::{Arc, Mutex};

use super::*;
use zbus::connection::Builder as ConnectionBuilder;
use zbus::zvariant::{OwnedObjectPath, OwnedValue};
use zbus::{fdo, interface};

const SESSION: &str = "/user.slice/user-1000.slice/session-3.scope";

#[test]
fn a_scope_is_made_only_where_it_lifts_no_limit() {
    let user = |slice: &str| Ok(Place::User { slice: slice.to_owned() });
    let of = |path: &str, uid| place(Some(path), uid);
    assert_eq!(of(SESSION, 1000), user("app.slice"));
    assert_eq!(of("/user.slice/user-0.slice/session-1.scope", 0), Ok(Place::System { slice: "user-0.slice".into() }));
    let sudo = of(SESSION, 0);
    assert_eq!(sudo, Ok(Place::System { slice: "user-1000.slice".into() }), "with sudo the user's limits hold");
    let below = "/user.slice/user-1000.slice/user@1000.service";
    assert_eq!(of(&format!("{below}/app.slice/vte-spawn-1.scope"), 1000), user("app.slice"));
    assert_eq!(of(&format!("{below}/a.slice/a-b.slice/x.scope"), 1000), user("a-b.slice"));
    assert_eq!(of(&format!("{below}/init.scope"), 1000), user("app.slice"));
    for (path, uid) in [
        ("/user.slice/user-x.slice/session-3.scope", 0),
        (SESSION, 1001),
        ("/", 0),
        ("/system.slice/ssh.service", 0),
        ("/system.slice/docker-0123.scope", 0),
        ("/system.slice/slurmstepd.scope/job_1/step_0/user/task_0", 1000),
        ("/user.slice/user-1000.slice/session-3.scope/limited", 1000),
        ("/user.slice/user-1000.slice/user@1000.service/app.slice/mine.service", 1000),
        ("/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-01.scope", 1000),
        ("/user.slice/user-1001.slice/user@1001.service/app.slice/x.scope", 1000),
        ("/machine.slice/libpod-01.scope", 0),
    ] {
        assert!(of(path, uid).is_err(), "{path} {uid}");
    }
    assert!(place(None, 0).is_err());
}

#[test]
fn a_limit_of_the_cgroup_itself_is_seen() {
    let folder = std::env::temp_dir().join(format!("headroom-scope-{}", std::process::id()));
    let with = |files: &[(&str, &str)]| {
        fs::create_dir_all(&folder).unwrap();
        files.iter().for_each(|(file, text)| fs::write(folder.join(file), text).unwrap());
        let limited = is_limited(&folder);
        fs::remove_dir_all(&folder).unwrap();
        limited
    };
    let none = [("memory.max", "max\n"), ("memory.high", "max\n"), ("cpu.max", "max 100000\n"), ("io.max", "")];
    assert!(!with(&[]) && !with(&none));
    for limit in [("memory.max", "1073741824\n"), ("cpu.max", "50000 100000\n"), ("io.max", "8:0 rbps=1 wbps=max\n")] {
        assert!(with(&[limit]), "{limit:?}");
    }
}

#[test]
fn a_name_is_one_that_systemd_takes() {
    assert_eq!(name("python3 träin.py", 7), "headroom-python3_tr_in.py-7.scope");
    assert!(name(&"x/".repeat(500), u32::MAX).len() < 100);
}

/// What a manager was asked for.
type Calls = Arc<Mutex<Vec<(String, String, Vec<(String, OwnedValue)>)>>>;

/// A manager that knows no `OOMPolicy`, as before systemd 253.
struct Manager(Calls);

#[interface(name = "org.freedesktop.systemd1.Manager")]
impl Manager {
    #[allow(clippy::type_complexity, reason = "the signature is systemd's")]
    fn start_transient_unit(
        &self,
        name: String,
        mode: String,
        properties: Vec<(String, OwnedValue)>,
        _auxiliary: Vec<(String, Vec<(String, OwnedValue)>)>,
    ) -> fdo::Result<OwnedObjectPath> {
        let unknown = properties.iter().any(|(name, _)| name == "OOMPolicy");
        self.0.lock().unwrap().push((name, mode, properties));
        match unknown {
            true => Err(fdo::Error::PropertyReadOnly("Cannot set property OOMPolicy, or unknown property.".into())),
            false => Ok(OwnedObjectPath::try_from("/org/freedesktop/systemd1/job/1").unwrap()),
        }
    }
}

#[test]
fn the_call_is_as_systemd_wants_it_and_an_old_one_is_asked_for_less() {
    let calls = Calls::default();
    let manager = Manager(calls.clone());
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (ours, theirs) = tokio::net::UnixStream::pair().unwrap();
        let guid = zbus::Guid::generate();
        let path = "/org/freedesktop/systemd1";
        let server = ConnectionBuilder::unix_stream(theirs).server(guid).unwrap().p2p();
        let server = server.serve_at(path, manager).unwrap().build();
        let client = ConnectionBuilder::unix_stream(ours).p2p().build();
        let (_server, client) = tokio::try_join!(server, client).unwrap();
        start(&client, &Place::User { slice: "app.slice".into() }, "headroom-a-7.scope", 7).await.unwrap();
    });
    let calls = calls.lock().unwrap();
    assert_eq!(calls.len(), 2);
    for ((name, mode, properties), knows) in calls.iter().zip([true, false]) {
        assert_eq!((name.as_str(), mode.as_str()), ("headroom-a-7.scope", "fail"));
        let of = |wanted: &str| properties.iter().find(|(name, _)| name == wanted).map(|(_, value)| value);
        assert_eq!(Vec::<u32>::try_from(of("PIDs").unwrap().try_clone().unwrap()).unwrap(), [7]);
        assert_eq!(<&str>::try_from(of("Slice").unwrap()).unwrap(), "app.slice");
        assert_eq!(of("OOMPolicy").is_some(), knows);
    }
}
