//! `headroom man`: the manual page, generated from the same declarations as the help texts.

use std::io;

use anyhow::Context;
use clap::{Args, Command};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use super::settings::{HEADING, Settings};
use crate::config::load::{DEFAULT_FILE, FILE_VARIABLE};
use crate::config::setting::{SETTINGS, find};
use crate::exit::{Exit, Failure};

/// Print the manual page in roff
#[derive(clap::Args, Clone, Debug)]
#[command(after_long_help = "Examples:
  Read it:
    headroom man | man -l -
  Install it:
    headroom man > /usr/share/man/man8/headroom.8
")]
pub struct ManArgs {}

pub fn run(_: &ManArgs) -> Result<(), Failure> {
    let mut text = Vec::new();
    page(&mut text).context("render the manual page")?;
    super::print(&String::from_utf8_lossy(&text))
}

fn page(out: &mut Vec<u8>) -> io::Result<()> {
    let mut command = super::command();
    command.build();
    let man = Man::new(command.clone()).section("8").manual("Headroom");
    man.render_title(out)?;
    man.render_name_section(out)?;
    man.render_synopsis_section(out)?;
    man.render_description_section(out)?;
    for verb in command.get_subcommands().flat_map(with_below).filter(|verb| verb.get_name() != "help") {
        let mut heading = Roff::new();
        let name = verb.get_bin_name().unwrap_or_else(|| verb.get_name()).to_uppercase();
        heading.control("SH", [name.as_str()]);
        heading.to_writer(out)?;
        let settings = verb.get_arguments().any(|arg| arg.get_help_heading() == Some(HEADING));
        let man = Man::new(verb.clone().mut_args(|arg| match arg.get_help_heading() {
            Some(HEADING) => arg.hide(true),
            _ => arg,
        }));
        let mut sections = Vec::new();
        man.render_synopsis_section(&mut sections)?;
        man.render_description_section(&mut sections)?;
        man.render_options_section(&mut sections)?;
        // Subsections of the verb's section.
        out.extend(String::from_utf8_lossy(&sections).replace(".SH ", ".SS ").into_bytes());
        if settings {
            let mut more = Roff::new();
            more.control("PP", []).text([roman("The flags under SETTINGS apply, too.")]);
            more.to_writer(out)?;
        }
    }
    // Once for all verbs.
    let settings = Settings::augment_args(Command::new("headroom").disable_help_flag(true));
    Man::new(settings).render_options_section(out)?;
    tail().to_writer(out)
}

/// A verb, and the verbs below it.
fn with_below(verb: &Command) -> Vec<&Command> {
    std::iter::once(verb).chain(verb.get_subcommands()).collect()
}

/// Sections that apply to all verbs.
fn tail() -> Roff {
    let mut roff = Roff::new();
    let entry = |roff: &mut Roff, name: &str, text: &str| {
        roff.control("TP", []);
        roff.text([bold(name)]);
        roff.text([roman(text)]);
    };
    roff.control("SH", ["EXIT STATUS"]);
    for exit in Exit::ALL {
        entry(&mut roff, &exit.code().to_string(), exit.meaning());
    }
    roff.control("SH", ["ENVIRONMENT"]);
    entry(&mut roff, FILE_VARIABLE, "The TOML file to read; --config overrides it.");
    for setting in SETTINGS {
        entry(&mut roff, &setting.variable(), &format!("{} In the file: {}.", setting.doc, setting.key));
    }
    entry(&mut roff, "NO_COLOR", "If not empty, disables colour.");
    roff.control("SH", ["FILES"]);
    entry(&mut roff, DEFAULT_FILE, "The configuration file, read if it exists and no other file is named.");
    let default = |key| find(key).and_then(|setting| setting.kind.show(&Default::default()));
    if let Some(lock) = default("lock") {
        entry(&mut roff, lock.trim_matches('"'), "The lock that allows one running agent.");
    }
    entry(&mut roff, "/sys/kernel/btf/vmlinux", "BTF of the running kernel; kernel.btf names another file.");
    roff
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_its_sections_and_names_every_variable_and_exit_code() {
        let mut page = Vec::new();
        super::page(&mut page).unwrap();
        let page = String::from_utf8(page).unwrap();
        assert!(page.lines().any(|line| line.starts_with(".TH headroom 8")), "{page}");
        for section in ["NAME", "SYNOPSIS", "HEADROOM RUN", "SETTINGS", "EXIT STATUS", "ENVIRONMENT", "FILES"] {
            let quoted = format!(".SH \"{section}\"");
            let found = page.lines().filter(|line| *line == format!(".SH {section}") || *line == quoted).count();
            assert_eq!(found, 1, "{section}\n{page}");
        }
        for setting in SETTINGS {
            assert!(page.contains(&format!("\\fB{}\\fR", setting.variable())), "{}", setting.key);
        }
        for exit in Exit::ALL {
            assert!(page.contains(&format!("\\fB{}\\fR", exit.code())), "{exit:?}");
        }
    }
}
