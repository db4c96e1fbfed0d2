//! What answers come from: the agent, asked at every tick, or a recording that plays. Runs on a thread of its own, so that the screen
//! never waits.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use super::agent::Agent;
use super::answer::{Answers, Played, Wish};
use super::player::Player;
use crate::client::{is_absent, is_forbidden};

/// What the feed says.
pub enum News {
    Answers(Box<Answers>),
    /// There is no answer, and why. It is tried again.
    Silent(Silence),
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Silence {
    pub kind: Kind,
    pub why: String,
    /// For how long there has been none.
    pub lasting: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Absent,
    Forbidden,
    Failing,
}

/// What the feed is told.
#[derive(Clone, Debug, PartialEq)]
pub enum Order {
    Look(Wish),
    Play(Play),
}

/// How a recording is to go on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Play {
    Pause,
    /// By this many ticks, backwards if negative.
    Step(i64),
    Faster,
    Slower,
}

/// Frames of a recording are at least this far apart, however fast it plays: what is sent over ssh is bounded.
const FRAME: Duration = Duration::from_millis(250);
/// A gap in a recording is waited for no longer.
const GAP: Duration = Duration::from_secs(5);
const SPEEDS: (f64, f64) = (0.125, 64.0);

/// Asks the agent once an interval, and at once when something else is looked at, until nobody listens.
pub fn poll(mut agent: Agent, interval: Duration, orders: &Receiver<Order>, mut say: impl FnMut(News) -> bool) {
    let mut wish = Wish::default();
    let mut spoke = Instant::now();
    loop {
        let begun = Instant::now();
        let news = match agent.ask(&wish) {
            Ok(answers) => {
                spoke = Instant::now();
                News::Answers(Box::new(answers))
            }
            Err(error) => News::Silent(silence(&error, spoke.elapsed())),
        };
        if !say(news) {
            return;
        }
        match orders.recv_timeout(interval.saturating_sub(begun.elapsed())) {
            Ok(Order::Look(other)) => wish = other,
            Ok(Order::Play(_)) | Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

fn silence(error: &anyhow::Error, lasting: Duration) -> Silence {
    let kind = match error {
        error if is_absent(error) => Kind::Absent,
        error if is_forbidden(error) => Kind::Forbidden,
        _ => Kind::Failing,
    };
    Silence { kind, why: format!("{error:#}"), lasting }
}

/// Plays a recording, until nobody listens.
pub fn play(player: Player, orders: &Receiver<Order>, mut say: impl FnMut(News) -> bool) {
    let mut film = Film { player, wish: Wish::default(), paused: false, speed: 1.0, trouble: None };
    while say(News::Answers(Box::new(film.answers()))) {
        let order = match film.pause() {
            Some(time) => orders.recv_timeout(time),
            None => orders.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match order {
            Ok(order) => film.obey(order),
            Err(RecvTimeoutError::Timeout) => film.go_on(),
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

struct Film {
    player: Player,
    wish: Wish,
    paused: bool,
    speed: f64,
    trouble: Option<String>,
}

impl Film {
    fn answers(&self) -> Answers {
        let played = Played {
            share: self.player.share(),
            speed: self.speed,
            paused: self.paused,
            ended: self.player.ended(),
            trouble: self.trouble.clone().or_else(|| self.player.trouble()),
        };
        let answers = Answers::of(self.player.view(), self.player.before().cloned(), &self.wish);
        Answers { played: Some(played), ..answers }
    }

    /// The time of one tick at this speed.
    fn step(&self) -> Duration {
        let now = self.player.view().time;
        let before = self.player.before().map_or(now.saturating_sub(1_000_000_000), |before| before.time);
        let gap = Duration::from_nanos(now.saturating_sub(before)).min(GAP);
        gap.div_f64(self.speed).max(Duration::from_millis(1))
    }

    /// How long the present moment is shown; for ever, if nothing comes next.
    fn pause(&self) -> Option<Duration> {
        (!self.paused && !self.player.ended()).then(|| self.step().max(FRAME))
    }

    fn go_on(&mut self) {
        let ticks = (FRAME.as_secs_f64() / self.step().as_secs_f64()).round().max(1.0);
        self.go(ticks as i64);
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Look(wish) => self.wish = wish,
            // At the end there is nothing to go on with.
            Order::Play(Play::Pause) => self.paused = !self.paused,
            Order::Play(Play::Step(ticks)) => {
                self.paused = true;
                self.go(ticks);
            }
            Order::Play(Play::Faster) => self.speed = (self.speed * 2.0).min(SPEEDS.1),
            Order::Play(Play::Slower) => self.speed = (self.speed / 2.0).max(SPEEDS.0),
        }
    }

    fn go(&mut self, ticks: i64) {
        let count = ticks.unsigned_abs();
        let gone = if ticks < 0 { self.player.back(count) } else { self.player.forward(count) };
        if let Err(error) = gone {
            self.trouble = Some(format!("{error:#}"));
            self.paused = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;
    use std::sync::mpsc::channel;

    use collector_core::rule::Rules;

    use super::*;

    fn player() -> Player {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/replay/alert.jsonl");
        Player::open(&path, Arc::new(Rules::new(&[]).unwrap())).unwrap()
    }

    fn film() -> Film {
        Film { player: player(), wish: Wish::default(), paused: false, speed: 1.0, trouble: None }
    }

    fn second(film: &Film) -> u64 {
        film.player.view().time / 1_000_000_000 % 1000
    }

    #[test]
    fn a_film_goes_on_at_its_speed_in_few_frames_and_waits_while_it_is_paused() {
        let mut film = film();
        let begin = second(&film);
        assert_eq!(film.pause(), Some(Duration::from_secs(1)), "a tick of the recording");
        film.go_on();
        assert_eq!(second(&film) - begin, 1);
        (0..20).for_each(|_| film.obey(Order::Play(Play::Faster)));
        assert_eq!((film.speed, film.pause()), (SPEEDS.1, Some(FRAME)));
        film.go_on();
        assert_eq!(second(&film) - begin, 1 + 16, "64 seconds of it in a second, four frames");
        film.obey(Order::Play(Play::Step(-3)));
        assert_eq!((second(&film) - begin, film.pause()), (14, None));
        film.obey(Order::Play(Play::Pause));
        assert_eq!(film.pause(), Some(FRAME));
        (0..20).for_each(|_| film.obey(Order::Play(Play::Slower)));
        assert_eq!((film.speed, film.pause()), (SPEEDS.0, Some(Duration::from_secs(8))));
        film.obey(Order::Play(Play::Step(i64::MAX)));
        film.obey(Order::Play(Play::Pause));
        assert_eq!(film.pause(), None, "after the end nothing comes");
        let played = film.answers().played.unwrap();
        assert!(played.ended && !played.paused && played.share == 1.0 && played.trouble.is_none());
    }

    #[test]
    fn what_is_looked_at_is_answered_at_once_and_the_thread_ends_with_its_listener() {
        let (orders, ordered) = channel();
        orders.send(Order::Play(Play::Pause)).unwrap();
        let wish =
            Wish { workload: Some("ollama.service".to_owned()), incident: Some("none".to_owned()), ..Wish::default() };
        orders.send(Order::Look(wish)).unwrap();
        let mut heard = Vec::new();
        play(player(), &ordered, |news| {
            if let News::Answers(answers) = news {
                heard.push(answers);
            }
            heard.len() < 3
        });
        assert!(heard[0].workload.is_none() && heard[1].played.as_ref().unwrap().paused);
        let (name, track) = heard[2].workload.as_ref().unwrap();
        assert!(name == "ollama.service" && track.is_ok());
        assert_eq!(heard[2].incident.as_ref().unwrap().0, "none");
        assert!(heard[2].incident.as_ref().unwrap().1.is_err(), "no incident has this id");
    }
}
