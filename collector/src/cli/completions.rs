//! `headroom completions`: what lets a shell complete verbs and flags.

use crate::exit::Failure;

/// Print the completions for a shell
#[derive(clap::Args, Clone, Debug)]
#[command(after_long_help = "Examples:
  headroom completions bash > /etc/bash_completion.d/headroom
  headroom completions zsh  > /usr/share/zsh/vendor-completions/_headroom
  headroom completions fish > /etc/fish/completions/headroom.fish
")]
pub struct CompletionsArgs {
    /// Which shell
    pub shell: clap_complete::Shell,
}

/// Prints the completions.
pub fn run(args: &CompletionsArgs) -> Result<(), Failure> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut super::command(), "headroom", &mut text);
    super::print(&String::from_utf8_lossy(&text))
}
