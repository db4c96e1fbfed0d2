//! [`Work`]: a stand-in that really does something. Its clients take a place, and for each token all of a model is read, as llama.cpp reads
//! its weights; what it then tells of its requests is what they took.

use std::fs::File;
use std::os::fd::AsRawFd as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use collector_core::statistic::model::Stage;

use super::http::Server;

/// Tokens of a prompt and of an answer.
const PROMPT: u64 = 4;
const TOKENS: u64 = 6;
/// A token takes at least so long while all of the model is in memory.
const TOKEN: Duration = Duration::from_millis(20);
const PAGE: usize = 4096;

pub(super) struct Work {
    server: Arc<Server>,
    model: Model,
    /// How often each page is computed with.
    rounds: u32,
    free: Mutex<u64>,
    freed: Condvar,
    /// How many clients ask.
    wanted: AtomicUsize,
}

impl Work {
    /// `model` is a file, which it maps, or a number of bytes, which it keeps in memory of its own.
    pub(super) fn begin(server: Arc<Server>, model: &str, places: u64) -> Arc<Work> {
        let model = match model.parse() {
            Ok(bytes) => Model::own(bytes),
            Err(_) => Model::mapped(model),
        };
        // Now it is in memory.
        model.read(1);
        let mut rounds = 1;
        while rounds < 1 << 16 && took(|| model.read(rounds)) < TOKEN {
            rounds *= 2;
        }
        server.change(|numbers| (numbers.slots, numbers.weights) = (places, model.bytes as u64));
        let (free, wanted) = (Mutex::new(places), AtomicUsize::new(0));
        Arc::new(Work { server, model, rounds, free, freed: Condvar::new(), wanted })
    }

    /// So many clients ask from now on, each for the next answer once it has one.
    pub(super) fn clients(self: &Arc<Work>, count: usize) {
        for number in self.wanted.swap(count, Ordering::SeqCst)..count {
            let work = self.clone();
            std::thread::spawn(move || {
                while number < work.wanted.load(Ordering::SeqCst) {
                    work.answer();
                }
            });
        }
    }

    fn answer(&self) {
        let asked = Instant::now();
        self.server.change(|numbers| numbers.waiting += 1);
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        *self.freed.wait_while(free, |free| *free == 0).unwrap_or_else(PoisonError::into_inner) -= 1;
        self.server.change(|numbers| {
            (numbers.waiting, numbers.running) = (numbers.waiting - 1, numbers.running + 1);
            numbers.observe(Stage::Queue, asked.elapsed().as_secs_f64(), 1);
        });
        let mut last = asked;
        for token in 0..TOKENS {
            let seconds = took(|| self.model.read(self.rounds)).as_secs_f64();
            let since = std::mem::replace(&mut last, Instant::now());
            self.server.change(|numbers| {
                let stage = if token == 0 { Stage::FirstToken } else { Stage::BetweenTokens };
                numbers.observe(stage, last.duration_since(since).as_secs_f64(), 1);
                (numbers.generated_tokens, numbers.steps) = (numbers.generated_tokens + 1, numbers.steps + 1);
                numbers.generate_seconds += seconds;
            });
        }
        self.server.change(|numbers| {
            (numbers.running, numbers.requests) = (numbers.running - 1, numbers.requests + 1);
            numbers.prompt_tokens += PROMPT;
            numbers.observe(Stage::EndToEnd, asked.elapsed().as_secs_f64(), 1);
        });
        *self.free.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.freed.notify_one();
    }
}

fn took(work: impl FnOnce()) -> Duration {
    let begun = Instant::now();
    work();
    begun.elapsed()
}

/// Memory that is read for each token. It is never unmapped: the process ends with it.
struct Model {
    start: *mut u8,
    bytes: usize,
    /// Then it is written as well: what was read and not written since does not have to be swapped out again.
    own: bool,
}

// SAFETY: the mapping lives as long as the process; its bytes are only read and written as atomics.
unsafe impl Send for Model {}
// SAFETY: as above.
unsafe impl Sync for Model {}

impl Model {
    fn mapped(path: &str) -> Model {
        let file = File::open(path).unwrap_or_else(|error| panic!("{path}: {error}"));
        let bytes = file.metadata().unwrap().len() as usize;
        Model { start: map(bytes, libc::PROT_READ, libc::MAP_SHARED, file.as_raw_fd()), bytes, own: false }
    }

    fn own(bytes: usize) -> Model {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let model = Model { start: map(bytes, access, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1), bytes, own: true };
        // Pages that are alike take next to nothing of a compressed swap device: these are not.
        let mut number = 0x9E37_79B9_7F4A_7C15_u64;
        for place in (0..bytes / 8).step_by(4) {
            number = number.wrapping_mul(0x2545_F491_4F6C_DD1D).rotate_left(23);
            // SAFETY: within the mapping, which is writable, aligned, and nobody else's yet.
            unsafe { model.start.cast::<u64>().add(place).write(number) };
        }
        model
    }

    /// Reads each page, and computes with it so often.
    fn read(&self, rounds: u32) {
        use std::sync::atomic::AtomicU8;
        let mut sum = 0_u64;
        for offset in (0..self.bytes).step_by(PAGE) {
            // SAFETY: within the mapping, which is readable, and never accessed but like this.
            let byte = unsafe { AtomicU8::from_ptr(self.start.add(offset)) };
            let value = byte.load(Ordering::Relaxed);
            for _ in 0..rounds {
                sum = std::hint::black_box(sum.rotate_left(7) ^ u64::from(value));
            }
            if self.own {
                byte.store(value.wrapping_add(1), Ordering::Relaxed);
            }
        }
        std::hint::black_box(sum);
    }
}

fn map(bytes: usize, access: libc::c_int, flags: libc::c_int, file: libc::c_int) -> *mut u8 {
    // SAFETY: a new mapping, at an address of the kernel's choice.
    let start = unsafe { libc::mmap(std::ptr::null_mut(), bytes, access, flags, file, 0) };
    assert_ne!(start, libc::MAP_FAILED, "mmap: {}", std::io::Error::last_os_error());
    start.cast()
}

#[cfg(test)]
mod tests {
    use collector_core::statistic::model::Kind;

    use super::*;

    #[test]
    fn clients_beyond_the_places_wait_and_what_a_request_took_is_told() {
        let server = Arc::new(Server::start(Kind::Vllm));
        let work = Work::begin(server.clone(), &(1 << 20).to_string(), 1);
        work.clients(2);
        let deadline = Instant::now() + crate::agent::PATIENCE;
        let told = loop {
            let told = server.numbers();
            if told.requests >= 4 && told.waiting == 1 && told.running == 1 {
                break told;
            }
            assert!(Instant::now() < deadline, "{told:?}");
            std::thread::sleep(Duration::from_millis(1));
        };
        work.clients(0);
        let count = |stage: Stage| told.times[stage as usize].counts.iter().sum::<u64>();
        assert_eq!(count(Stage::EndToEnd), told.requests);
        assert!(count(Stage::BetweenTokens) >= told.requests * (TOKENS - 1));
        assert!(told.generated_tokens >= told.requests * TOKENS);
        // Nobody was faster than the model is read, and whoever waited was slower.
        assert!(told.times[Stage::EndToEnd as usize].sum >= told.generate_seconds * 0.9, "{told:?}");
        assert!(told.times[Stage::Queue as usize].sum > 0.0);
    }
}
