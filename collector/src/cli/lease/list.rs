//! `headroom reservations`: what is reserved for whom, how much of it is used, and who waits.

use anyhow::Context as _;
use collector_core::api::reservations::Reservations;
use collector_core::text::shown_json;

use super::page;
use crate::cli::claim::path;
use crate::cli::settings::Settings;
use crate::cli::terminal::{colour, room};
use crate::client::Client;
use crate::config::load::Effective;
use crate::exit::Failure;

/// List reservations: who has how much reserved, how much of it is used by now, and who waits
#[derive(clap::Args, Clone, Debug)]
pub struct ReservationsArgs {
    /// Print JSON: the answer of /api/v1/reservations
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub settings: Settings,
}

pub fn reservations(args: &ReservationsArgs, effective: &Effective) -> Result<(), Failure> {
    let body = Client::of(effective)?.page(&path("reservations"))?;
    let found: Reservations =
        serde_json::from_slice(&body).context("the answer is not from an agent of this version")?;
    if args.json {
        let json = serde_json::to_string_pretty(&found).context("write JSON")?;
        return crate::cli::print(&(shown_json(&json).into_owned() + "\n"));
    }
    let mut text = page::reservations(&found.reservations, room(), colour());
    if !found.waiting.is_empty() {
        text += &("\nWaiting, the next first:\n".to_owned() + &page::reservations(&found.waiting, room(), colour()));
    }
    if !found.scheduled.is_empty() {
        text += &("\nReserved ahead by the configuration:\n".to_owned()
            + &page::scheduled(&found.scheduled, room(), colour()));
    }
    crate::cli::print(&text)
}
