//! The rows of counters of block devices: which pair of device and operation has which row, and what was counted in it since the
//! last tick.

use std::os::fd::AsFd;

use anyhow::{Context as _, Result};
use aya::maps::{Map, MapData};
use collector_common::block::{DEVICES, DeviceOperation, NUMBERS, ROWS, device_word};
use collector_common::notice::word;
use collector_core::signal::RowKey;
use zerocopy::FromBytes;

use super::bpf::Rows;
use super::mapped::Mapped;
use super::notice::{Notice, Seen};
use super::row;

/// Words of a shard.
const SHARD: usize = ROWS as usize * device_word::COUNT;

pub struct DeviceRows {
    rows: Mapped,
    numbers: MapData,
    buffer: Rows,
    seen: Seen,
    /// By number.
    keys: Vec<Option<[u8; size_of::<DeviceOperation>()]>>,
    sum: [u64; device_word::COUNT],
}

impl DeviceRows {
    /// Takes the maps out of the loaded object.
    pub fn new(ebpf: &mut aya::Ebpf) -> Result<DeviceRows> {
        let Some(Map::HashMap(numbers)) = ebpf.take_map(NUMBERS) else {
            anyhow::bail!("the object has no map {NUMBERS}")
        };
        Ok(DeviceRows {
            rows: Mapped::take(ebpf, DEVICES)?,
            numbers,
            buffer: Rows::new(size_of::<DeviceOperation>(), size_of::<u32>(), ROWS as usize),
            seen: Seen::default(),
            keys: Vec::new(),
            sum: [0; device_word::COUNT],
        })
    }

    /// Calls `emit` for each row that has grown. Returns how many requests did not store when they were issued.
    pub fn read(&mut self, notice: &Notice, emit: &mut dyn FnMut(RowKey, &[u64])) -> Result<u64> {
        if self.seen.moved(notice.get(word::DEVICES)) {
            self.learn()?;
        }
        let DeviceRows { rows, keys, sum, .. } = self;
        let mut unstarted = 0;
        for (number, key) in keys.iter().enumerate().filter_map(|(number, key)| Some((number, (*key)?))) {
            let mut grown = false;
            for first in (0..rows.length()).step_by(SHARD) {
                let begin = first + number * device_word::COUNT;
                rows.map(begin..begin + device_word::COUNT)?;
                let Some(row) = rows.words(begin..begin + device_word::COUNT) else { continue };
                grown |= row::take(row, sum, grown);
            }
            if grown {
                unstarted += sum[device_word::UNSTARTED];
                emit(RowKey::Hash(key), sum);
            }
        }
        Ok(unstarted)
    }

    fn learn(&mut self) -> Result<()> {
        let DeviceRows { numbers, buffer, keys, .. } = self;
        buffer
            .each(numbers.fd().as_fd(), |key, value| {
                let (Ok(key), Ok(number)) = (key.try_into(), u32::read_from_bytes(value)) else { return };
                let number = number as usize;
                keys.resize(keys.len().max(number + 1), None);
                keys[number] = Some(key);
            })
            .with_context(|| format!("read map {NUMBERS}"))
    }
}
