//! `headroom top`: the host and its workloads, live, or as a recording shows them.

mod agent;
mod answer;
mod column;
mod draw;
mod feed;
mod key;
mod model;
mod player;
mod row;
mod screen;
mod track;
mod tree;

use std::io::{IsTerminal as _, stdin, stdout};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::Builder;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use ratatui::crossterm::event::Event as Input;

use super::settings::Settings;
use super::terminal::colour;
use crate::client::Client;
use crate::config::load::Effective;
use crate::exit::{Exit, Failure};
use agent::Agent;
use column::Column;
use feed::{News, Order};
use key::Request;
use model::Model;
use player::Player;
use screen::{Restore, Screen, Signals};

/// Show the host and its workloads live, on the whole terminal: charts, a table to sort and filter, incidents, alerts, reservations
///
/// Asks the running agent once an interval, over its socket, or at its address with --listen. Where none answers, it says so
/// and goes on trying. It changes nothing on the host. In `headroom top`, ? lists all keys.
#[derive(clap::Args, Clone, Debug)]
#[command(after_long_help = "Keys:
  ↑ ↓ Enter     choose a workload; open its last five minutes
  / t z         filter; tree of cgroups; also slices, pods and idle workloads
  < > r         sort by another column; reverse
  i a e         incidents; alerts that fire; explain an incident
  d m l         what to do: advice; model servers; reservations, and who waits for room
  Space ← → + - of a recording: pause, step, faster, slower
  ? Esc q       all keys; back; quit

Examples:
  Watch who is nearest to a limit:
    headroom top --sort used
  See again what happened in a recording (`headroom run --record FILE`), without an agent:
    headroom top --replay FILE
")]
pub struct TopArgs {
    /// Sort by this column
    #[arg(long, value_enum, value_name = "COLUMN", default_value_t = Column::Memory)]
    pub sort: Column,
    /// Time between two looks at the agent
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = interval)]
    pub interval: Duration,
    /// Show a recording instead of the agent
    #[arg(long, value_name = "FILE")]
    pub replay: Option<PathBuf>,
    /// Show times in UTC instead of local time
    #[arg(long)]
    pub utc: bool,
    #[command(flatten)]
    pub settings: Settings,
}

enum Event {
    Input(Input),
    News(News),
    /// A thread ended: at a signal, without a terminal, or because it `panicked`.
    End {
        panicked: bool,
    },
}

pub fn run(args: &TopArgs, effective: &Effective) -> Result<(), Failure> {
    if !stdin().is_terminal() || !stdout().is_terminal() {
        let failure = Failure::new(Exit::Failure, anyhow!("stdin and stdout must be a terminal"));
        return Err(failure.hint("`headroom status` prints the host once, with --json for scripts"));
    }
    let (events, inbox) = channel();
    let (orders, ordered) = channel();
    match &args.replay {
        Some(path) => {
            let player = Player::open(path, effective.rules.clone())?;
            spawn("play", &events, move |events| feed::play(player, &ordered, |news| say(events, Event::News(news))))?;
        }
        None => {
            let (agent, interval) = (Agent::new(Client::of(effective)?), args.interval);
            spawn("ask", &events, move |events| {
                feed::poll(agent, interval, &ordered, |news| say(events, Event::News(news)));
            })?;
        }
    }
    let signals = Signals::catch()?;
    spawn("signals", &events, |_| signals.wait())?;
    let restore = Restore;
    let screen = Screen::begin()?;
    spawn("keys", &events, |events| screen::listen(|input| say(events, Event::Input(input))))?;
    let mut model = Model::new(host(effective, args), args.sort, args.replay.is_some(), colour());
    model.utc = args.utc;
    let ended = show(screen, model, &inbox, &orders);
    drop(restore);
    Ok(ended?)
}

/// Whether somebody listens.
fn say(events: &Sender<Event>, event: Event) -> bool {
    events.send(event).is_ok()
}

/// Runs this on a thread, whose end is an event.
fn spawn(name: &str, events: &Sender<Event>, run: impl FnOnce(&Sender<Event>) + Send + 'static) -> anyhow::Result<()> {
    let events = events.clone();
    let run = move || {
        let panicked = catch_unwind(AssertUnwindSafe(|| run(&events))).is_err();
        say(&events, Event::End { panicked });
    };
    Builder::new().name(name.to_owned()).spawn(run).context("start a thread")?;
    Ok(())
}

/// What is shown: this host, or the recording by its name.
fn host(effective: &Effective, args: &TopArgs) -> String {
    let file = args.replay.as_ref().and_then(|path| path.file_name());
    match (file, effective.config.host.as_str()) {
        (Some(file), _) => file.to_string_lossy().into_owned(),
        (None, "") => rustix::system::uname().nodename().to_string_lossy().into_owned(),
        (None, name) => name.to_owned(),
    }
}

/// Draws, and waits for what changes the screen, until the end is asked for.
fn show(mut screen: Screen, mut model: Model, inbox: &Receiver<Event>, orders: &Sender<Order>) -> anyhow::Result<()> {
    let mut looked = model.wish();
    loop {
        let hits = screen.draw(|frame| draw::draw(frame, &model))?;
        model.drawn(hits);
        // All that has come meanwhile makes one frame.
        let first = inbox.recv().context("every thread ended")?;
        for event in std::iter::once(first).chain(inbox.try_iter()) {
            match take(&mut model, event)? {
                Some(Request::Quit) => return Ok(()),
                Some(Request::Play(play)) => orders.send(Order::Play(play)).context("the recording's thread ended")?,
                None => {}
            }
        }
        let wish = model.wish();
        if wish != looked {
            orders.send(Order::Look(wish.clone())).context("the thread that asks ended")?;
            looked = wish;
        }
    }
}

fn take(model: &mut Model, event: Event) -> anyhow::Result<Option<Request>> {
    match event {
        Event::End { panicked: true } => bail!("panic: this is a bug in headroom"),
        Event::End { panicked: false } => return Ok(Some(Request::Quit)),
        Event::News(news) => model.hear(news),
        Event::Input(Input::Key(key)) => return Ok(key::key(model, key)),
        Event::Input(Input::Mouse(mouse)) => key::mouse(model, mouse),
        // The next frame has the new size.
        Event::Input(_) => {}
    }
    Ok(None)
}

fn interval(text: &str) -> anyhow::Result<Duration> {
    let interval = humantime::parse_duration(text)?;
    anyhow::ensure!((LEAST..=MOST).contains(&interval), "from 0.2 seconds to an hour");
    Ok(interval)
}

const LEAST: Duration = Duration::from_millis(200);
const MOST: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_is_bounded() {
        assert_eq!(interval("200ms").unwrap(), LEAST);
        for wrong in ["0s", "100ms", "2h", "soon"] {
            assert!(interval(wrong).is_err(), "{wrong}");
        }
    }
}
