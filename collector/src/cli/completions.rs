//! `headroom completions`: shell completions for verbs and flags.

use crate::exit::Failure;

/// Print shell completions for bash, zsh, fish, elvish or PowerShell
#[derive(clap::Args, Clone, Debug)]
#[command(after_long_help = "Examples:
  headroom completions bash > /etc/bash_completion.d/headroom
  headroom completions zsh  > /usr/share/zsh/vendor-completions/_headroom
  headroom completions fish > /etc/fish/completions/headroom.fish
")]
pub struct CompletionsArgs {
    /// Shell to generate completions for
    pub shell: clap_complete::Shell,
}

pub fn run(args: &CompletionsArgs) -> Result<(), Failure> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut super::command(), "headroom", &mut text);
    super::print(&String::from_utf8_lossy(&text))
}
