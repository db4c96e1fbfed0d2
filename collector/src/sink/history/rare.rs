//! The rows of GPUs, and of what is only counted. Knows neither workloads nor when something is written.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use collector_core::digest::card::{Card, Known};
use collector_core::tier::{self, FIGURES, Rare};
use rusqlite::{Connection, OptionalExtension as _, Transaction, params};

use super::day::{Day, GPU, QUARTERS, begin, place};

/// Most GPUs and MIG devices in a day.
const CARDS: i64 = 1024;
/// Most days of a GPU, and most counts, that one answer goes through: the last ones.
const DAYS: i64 = 400;
const COUNTS: i64 = 200_000;

pub fn put(transaction: &Transaction<'_>, quarter: &tier::Quarter) -> Result<u64> {
    let (day, place) = place(quarter.time);
    let mut left_out = 0;
    for card in &quarter.cards {
        left_out += u64::from(!put_card(transaction, day, place, card)?);
    }
    for (rare, count) in &quarter.counts {
        let (gpu, what) = rare.key();
        transaction
            .prepare_cached(
                "INSERT INTO rare VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT DO UPDATE SET count = CASE ?6 WHEN 1 THEN max(count, ?5) ELSE count + ?5 END",
            )?
            .execute(params![
                day as i64,
                place as i64,
                gpu,
                what,
                i64::try_from(*count).unwrap_or(i64::MAX),
                rare.is_most()
            ])
            .context("write a count")?;
    }
    Ok(left_out)
}

fn put_card(transaction: &Transaction<'_>, day: u64, place: usize, card: &tier::Card) -> Result<bool> {
    let device = &card.device;
    let body: Option<Vec<u8>> = transaction
        .prepare_cached("SELECT body FROM gpu WHERE day = ? AND uuid = ?")?
        .query_row(params![day as i64, &*device.uuid], |row| row.get(0))
        .optional()
        .context("read a day of a GPU")?;
    if body.is_none() {
        let count = "SELECT count(*) FROM gpu WHERE day = ?";
        let count: i64 = transaction.prepare_cached(count)?.query_row([day as i64], |row| row.get(0))?;
        if count >= CARDS {
            return Ok(false);
        }
    }
    let unpack = |body: &[u8]| {
        let warn = |error: &anyhow::Error| {
            tracing::warn!("a day of a GPU in the history cannot be read and starts empty: {error:#}")
        };
        Day::unpack(&GPU, body).inspect_err(warn).ok()
    };
    let mut whole = body.as_deref().and_then(unpack).unwrap_or_else(|| Day::new(&GPU));
    whole.add(place, card.seconds, &card.row);
    transaction
        .prepare_cached("INSERT OR REPLACE INTO gpu VALUES (?, ?, ?, ?, ?)")?
        .execute(params![day as i64, &*device.uuid, &*device.gpu, &*device.model, whole.pack()?])
        .context("write a day of a GPU")?;
    Ok(true)
}

/// What is known of each GPU in quarters that began in a period, by number.
pub fn cards(connection: &Connection, from: u64, to: u64) -> Result<Vec<Card>> {
    if !has_tables(connection)? {
        return Ok(Vec::new());
    }
    let statement = "SELECT day, uuid, gpu, model, body FROM gpu WHERE day BETWEEN ? AND ? ORDER BY day DESC LIMIT ?";
    let mut statement = connection.prepare(statement).context("read the history")?;
    let rows = statement
        .query_map(params![place(from).0 as i64, place(to).0 as i64, DAYS * CARDS], |row| {
            let text = |column| row.get::<_, Arc<str>>(column);
            Ok((row.get::<_, i64>(0)? as u64, text(1)?, text(2)?, text(3)?, row.get::<_, Vec<u8>>(4)?))
        })
        .context("read the history")?;
    let mut cards: Vec<Card> = Vec::new();
    for row in rows {
        let (day, uuid, gpu, model, body) = row.context("read the history")?;
        let place = cards.iter().position(|card| card.uuid == uuid).unwrap_or_else(|| {
            cards.push(Card { uuid, gpu, model, quarters: Vec::new() });
            cards.len() - 1
        });
        match Day::unpack(&GPU, &body) {
            Ok(body) => cards[place].quarters.extend(quarters(day, &body, from, to)),
            Err(error) => tracing::warn!("skipped a day of GPU {} in the history: {error:#}", cards[place].gpu),
        }
    }
    cards.retain(|card| !card.quarters.is_empty());
    cards.iter_mut().for_each(|card| card.quarters.sort_by_key(|known| known.time));
    // 10 comes after 2, and a MIG device after its GPU.
    let order = |card: &Card| card.gpu.split(':').map(|part| part.parse().unwrap_or(u64::MAX)).collect::<Vec<_>>();
    cards.sort_by_key(|card| (order(card), card.uuid.clone()));
    Ok(cards)
}

fn quarters(day: u64, body: &Day, from: u64, to: u64) -> impl Iterator<Item = Known> {
    let known = (0..QUARTERS).filter(|quarter| body.seconds(*quarter) > 0).map(move |quarter| Known {
        time: begin(day, quarter),
        seconds: body.seconds(quarter),
        values: std::array::from_fn::<_, FIGURES, _>(|figure| body.values(quarter, figure)),
    });
    known.filter(move |known| (from..to).contains(&known.time))
}

/// What was counted in quarters that began in a period, by when they did; what another version counted is left out.
pub fn counts(connection: &Connection, from: u64, to: u64) -> Result<Vec<(u64, Rare, u64)>> {
    read(
        connection,
        "SELECT day, quarter, gpu, what, count FROM rare WHERE day BETWEEN ? AND ? ORDER BY day DESC, quarter DESC LIMIT ?",
        (from, to),
    )
}

/// The same of disks and CPUs alone: what models and users are counted for leaves their weeks out of no answer.
pub fn sizes(connection: &Connection, from: u64, to: u64) -> Result<Vec<(u64, Rare, u64)>> {
    read(
        connection,
        "SELECT day, quarter, gpu, what, count FROM rare WHERE day BETWEEN ? AND ? AND what IN ('disk used', 'disk size', 'cpus')
         ORDER BY day DESC, quarter DESC LIMIT ?",
        (from, to),
    )
}

fn read(connection: &Connection, statement: &str, (from, to): (u64, u64)) -> Result<Vec<(u64, Rare, u64)>> {
    if !has_tables(connection)? {
        return Ok(Vec::new());
    }
    let mut statement = connection.prepare(statement).context("read the history")?;
    let rows = statement
        .query_map(params![place(from).0 as i64, place(to).0 as i64, COUNTS], |row| {
            let number = |column| row.get::<_, i64>(column).map(|number| number.max(0) as u64);
            let time = begin(number(0)?, number(1)? as usize);
            Ok((time, Rare::parse(&row.get::<_, String>(2)?, &row.get::<_, String>(3)?), number(4)?))
        })
        .context("read the history")?;
    let mut counts = Vec::new();
    for row in rows {
        let (time, rare, count) = row.context("read the history")?;
        counts.extend(rare.filter(|_| (from..to).contains(&time)).map(|rare| (time, rare, count)));
    }
    counts.reverse();
    Ok(counts)
}

/// A file of before they came has none, until the agent opens it.
fn has_tables(connection: &Connection) -> Result<bool> {
    let statement = "SELECT count(*) FROM sqlite_schema WHERE name IN ('gpu', 'rare')";
    let count: i64 = connection.query_row(statement, [], |row| row.get(0)).context("read the history")?;
    Ok(count == 2)
}
