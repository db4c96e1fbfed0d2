//! What is shipped with the binary: the unit, the package and the files for Prometheus, each checked by the program that will
//! read it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use collector_tests::binary::binary;
use collector_tests::needs;
use collector_tests::require::{installed, is_root};
use collector_tests::scratch::{Scratch, scratch};

use crate::tidy::root;

/// Highest allowed exposure of the unit, in tenths of systemd-analyze's scale from 0 to 10; lower is better.
const EXPOSURE: &str = "25";

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Runs a command that must succeed; returns its output.
fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(output.status.success(), "{command:?} ended with {}:\n{said}", output.status);
    said
}

#[test]
fn the_unit_is_valid_and_has_low_exposure() {
    needs!(installed("systemd-analyze"), "systemd-analyze (Debian: systemd) checks the unit");
    let folder = scratch();
    let unit = folder.join("headroom.service");
    // The path of the program is checked, too.
    let text = read("deploy/systemd/headroom.service").replace("/usr/bin/headroom", binary().to_str().unwrap());
    // Never root: the capabilities come with the user.
    assert!(
        text.contains("\nUser=headroom\n") && text.contains("\nAmbientCapabilities=CAP_BPF CAP_PERFMON "),
        "{text}"
    );
    fs::write(&unit, text).unwrap();
    let said = run(Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&unit));
    assert!(!said.contains("headroom.service:"), "{said}");
    let mut security = Command::new("systemd-analyze");
    security.args(["security", "--no-pager", "--offline=true", "--threshold", EXPOSURE]).arg(&unit);
    run(&mut security);
}

#[test]
fn the_units_of_the_actuator_are_valid_off_by_default_and_have_low_exposure() {
    needs!(installed("systemd-analyze"), "systemd-analyze (Debian: systemd) checks the units");
    let folder = scratch();
    let [service, socket] = ["headroom-act.service", "headroom-act.socket"].map(|name| {
        let text = read(&format!("deploy/systemd/{name}")).replace("/usr/bin/headroom", binary().to_str().unwrap());
        fs::write(folder.join(name), &text).unwrap();
        text
    });
    assert!(!service.contains("WantedBy=") && socket.contains("\nSocketMode=0600\n"), "{service}{socket}");
    for name in ["headroom-act.service", "headroom-act.socket"] {
        let said = run(Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(folder.join(name)));
        assert!(!said.contains("headroom-act"), "{said}");
    }
    let mut security = Command::new("systemd-analyze");
    security.args(["security", "--no-pager", "--offline=true", "--threshold", EXPOSURE]);
    run(security.arg(folder.join("headroom-act.service")));
}

/// The package, installed into a folder as if that were the host's root.
struct Installed(Scratch);

impl Installed {
    fn dpkg(&self) -> Command {
        let mut dpkg = Command::new("dpkg");
        dpkg.arg(format!("--root={}", self.0.display()));
        // No other package is installed there, not even a shell for the scripts: they run outside, with the folder's path.
        dpkg.args(["--force-depends", "--force-not-root", "--force-script-chrootless", "--force-bad-path"]);
        // Nor may they reach the service manager of this host.
        dpkg.env("PATH", format!("{}:{}", self.file("stub").display(), std::env::var("PATH").unwrap()));
        dpkg
    }

    /// Puts stubs in front of the real programs that only print how they were called.
    fn stub(&self) {
        fs::create_dir_all(self.file("stub")).unwrap();
        for name in ["systemctl", "deb-systemd-helper", "deb-systemd-invoke"] {
            let stub = self.file("stub").join(name);
            // On a first installation no unit was installed before.
            let calls = self.file("calls");
            let script =
                format!("#!/bin/sh\necho {name} \"$@\" >> {}\n[ \"$1\" != debian-installed ]\n", calls.display());
            fs::write(&stub, script).unwrap();
            fs::set_permissions(&stub, fs::Permissions::from_mode(0o755)).unwrap();
        }
    }

    fn file(&self, path: &str) -> PathBuf {
        self.0.join(path)
    }
}

#[test]
fn the_package_installs_into_a_folder_and_leaves_nothing_behind() {
    needs!(installed("dpkg") && installed("dpkg-shlibdeps"), "dpkg and dpkg-dev build and install the package");
    needs!(is_root(), "installed files belong to root");
    run(Command::new(env!("CARGO")).current_dir(root()).args(["xtask", "dist", "--dev"]));
    let target = binary().ancestors().nth(2).unwrap().join("dist");
    let packages = fs::read_dir(&target).unwrap().map(|entry| entry.unwrap().path());
    let deb = packages.filter(|path| path.extension().is_some_and(|it| it == "deb")).max().unwrap();
    let host = Installed(scratch());
    fs::create_dir_all(host.file("var/lib/dpkg")).unwrap();
    fs::write(host.file("var/lib/dpkg/status"), "").unwrap();
    host.stub();
    run(host.dpkg().arg("--install").arg(&deb));
    let calls = fs::read_to_string(host.file("calls")).unwrap();
    assert!(calls.contains("deb-systemd-helper enable headroom.service"), "{calls}");
    // Nobody switches the actuator on but an administrator.
    assert!(!calls.contains("enable headroom-act") && !calls.contains("start headroom-act"), "{calls}");
    assert!(host.file("usr/share/doc/headroom/act.toml").is_file() && !host.file("etc/headroom/act.toml").exists());

    let headroom = host.file("usr/bin/headroom");
    let version = run(Command::new(&headroom).arg("--version"));
    assert_eq!(version.trim(), format!("headroom {}", env!("CARGO_PKG_VERSION")));
    // The packaged configuration is valid, and sets nothing.
    let config = host.file("etc/headroom/headroom.toml");
    run(Command::new(&headroom).arg("check-config").arg("--config").arg(&config));
    run(Command::new("bash").arg("-n").arg(host.file("usr/share/bash-completion/completions/headroom")));
    let page = run(Command::new("gzip").arg("-dc").arg(host.file("usr/share/man/man8/headroom.8.gz")));
    assert!(page.contains(".TH headroom 8"), "{page:.200}");
    let unit = ["usr/lib/systemd/system", "lib/systemd/system"].map(|folder| host.file(folder));
    for name in ["headroom.service", "headroom-act.service", "headroom-act.socket"] {
        assert!(unit.iter().any(|folder| folder.join(name).is_file()), "{name}");
    }
    let changelog = run(Command::new("gzip").arg("-dc").arg(host.file("usr/share/doc/headroom/changelog.Debian.gz")));
    assert!(changelog.starts_with(&format!("headroom ({}-", env!("CARGO_PKG_VERSION"))), "{changelog:.80}");
    let users = fs::read_to_string(host.file("etc/passwd")).unwrap();
    assert!(users.lines().any(|line| line.starts_with("headroom:")), "{users}");
    let notices = fs::read_to_string(host.file("usr/share/doc/headroom/THIRD-PARTY-NOTICES")).unwrap();
    assert!(notices.contains("\nrusqlite 0.") && notices.contains("Permission is hereby granted"), "{notices:.200}");
    // The package has the page, and so the notices of its libraries.
    assert!(notices.contains("\nuplot 1.") && notices.contains("\npreact 10."), "{notices:.200}");
    for file in ["usr/share/headroom/grafana/headroom-overview.json", "usr/share/headroom/prometheus/prometheus.yml"] {
        assert!(host.file(file).is_file(), "{file}");
    }

    fs::create_dir_all(host.file("var/lib/headroom")).unwrap();
    fs::write(host.file("var/lib/headroom/journal.db"), "").unwrap();
    // A stopped agent leaves its lock.
    fs::create_dir_all(host.file("run/headroom")).unwrap();
    fs::write(host.file("run/headroom/lock"), "").unwrap();
    run(host.dpkg().args(["--remove", "headroom"]));
    assert!(host.file("var/lib/headroom/journal.db").exists() && config.exists(), "kept for the next installation");
    run(host.dpkg().args(["--purge", "headroom"]));
    for file in ["usr/bin/headroom", "etc/headroom", "usr/share/headroom", "var/lib/headroom", "run/headroom"] {
        assert!(!host.file(file).exists(), "{file} is left behind");
    }
}

#[test]
fn prometheus_loads_its_files() {
    needs!(installed("promtool"), "promtool (Debian: prometheus) checks the configuration");
    let prometheus = root().join("deploy/prometheus");
    run(Command::new("promtool").args(["check", "config"]).arg(prometheus.join("prometheus.yml")));
}
