//! `headroom admit`: may this start here now?

use anyhow::Context as _;
use collector_core::lease::{Ask, Verdict};
use collector_core::text::shown_json;
use hyper::Method;

use super::setting::{self, Asking};
use super::{Terms, alone, exit, gpus, page};
use crate::cli::claim::ask;
use crate::cli::need::{Own, Wants, wanted};
use crate::cli::settings::Settings;
use crate::cli::terminal::{colour, room};
use crate::cli::work::need_and_work;
use crate::client::{Client, is_absent};
use crate::config::load::Effective;
use crate::exit::Failure;

/// Say whether something may start here now: yes, tight, wait, no or unknown, with the numbers
///
/// Compares what it needs with what is left of this host after all that is in use or reserved: host memory below every limit
/// that holds for the caller's cgroup, memory of each GPU, disks, CPUs, slots. Says who holds what, what would make room, and
/// what is not known; what is not known is never a yes. What the same command needed when it ran here under headroom guard is
/// looked at, too: see headroom learned. Nothing is reserved: `headroom reserve` and `headroom guard` do that.
///
/// Options of admit come before MODEL, flags of its engine after it.
///
/// Without an agent it looks at the host itself, and says what it cannot know so.
#[derive(clap::Args, Clone, Debug)]
#[command(after_long_help = "Exit codes: 0 yes or tight, 20 tight with --strict, 21 wait, 22 no, 23 unknown.

Examples:
  A declared need:
    headroom admit --memory 18G --vram 20G
  A whole command:
    headroom admit -- llama-server -m model.gguf -c 32768 -ngl 99
  For a script:
    headroom admit --json --vram 20G | jq -r .verdict
")]
pub struct AdmitArgs {
    #[command(flatten)]
    pub wants: Wants,
    #[command(flatten)]
    pub terms: Terms,
    /// Exit with 20 if it fits only tightly
    #[arg(long)]
    pub strict: bool,
    /// Print JSON: the answer of POST /api/v1/admit
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub settings: Settings,
    /// A model with flags of its server; after `--` a whole command
    #[arg(value_name = "MODEL", trailing_var_arg = true, allow_hyphen_values = true)]
    pub command: Vec<String>,
}

pub fn admit(args: &AdmitArgs, effective: &Effective) -> Result<u8, Failure> {
    let own = Own::of::<AdmitArgs>("admit");
    let (need, work) = need_and_work(&args.wants, &args.command, &own, effective)?;
    let Terms { priority, unit, on_gpu } = args.terms.clone();
    let gpus = gpus(on_gpu, &args.command);
    let question = Ask { need, priority, unit, gpus, work };
    let asked = Client::of(effective).and_then(|client| {
        let verdict = ask(&client, Method::POST, "admit", Some(&question))?;
        Ok((client, verdict))
    });
    let verdict: Verdict = match asked {
        Ok::<(Client, Verdict), _>((client, mut verdict)) => {
            let estimate = |command: &[String]| wanted(&args.wants, command, &own, effective).ok();
            let again = |question: &Ask| ask(&client, Method::POST, "admit", Some(question)).ok();
            let asking = Asking { estimate: &estimate, ask: &again };
            verdict.room.extend(setting::ways(&args.command, &question, &verdict, &asking));
            verdict
        }
        Err(why) if is_absent(&why) => {
            tracing::info!("{why:#}: looking at the host instead");
            alone::verdict(&question, effective)?
        }
        Err(why) => return Err(why.into()),
    };
    if args.json {
        let json = serde_json::to_string_pretty(&verdict).context("write JSON")?;
        crate::cli::print(&(shown_json(&json).into_owned() + "\n"))?;
    } else {
        crate::cli::print(&page::verdict(&verdict, room(), colour()))?;
    }
    Ok(exit(verdict.verdict, args.strict).code())
}
