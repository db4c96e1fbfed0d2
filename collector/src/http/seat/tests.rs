//! Who gives way to whom.

use super::*;

fn seats(connections: usize, scrapes: usize) -> (Arc<Seats>, Arc<AtomicU64>) {
    let shed = Arc::<AtomicU64>::default();
    let limits = Limits { connections, scrapes, queue: Duration::from_millis(10), ..Limits::default() };
    (Seats::new(limits, shed.clone()), shed)
}

fn address(last: u8) -> Peer {
    Peer::of([10, 0, 0, last].into())
}

fn has(seats: &Seats, seat: &Seat) -> bool {
    lock(&seats.entries).all.contains_key(&seat.id)
}

#[test]
fn an_ipv6_host_is_one_peer_however_many_addresses_it_takes() {
    let of = |text: &str| Peer::of(text.parse().unwrap());
    assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
    assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
    assert_eq!(of("::ffff:10.0.0.1"), address(1));
}

#[test]
fn the_oldest_arrival_of_the_same_peer_gives_way_at_its_share() {
    let (seats, shed) = seats(8, 8);
    let other = seats.take(address(9)).unwrap();
    let flood: Vec<_> = (0..6).map(|_| seats.take(address(1)).unwrap()).collect();
    assert!(!has(&seats, &flood[0]) && !has(&seats, &flood[1]), "four of eight are its share");
    assert!(flood[2..].iter().all(|seat| has(&seats, seat)) && has(&seats, &other));
    assert_eq!(shed.load(Ordering::Relaxed), 2);
}

#[test]
fn among_several_peers_the_one_with_most_gives_way() {
    let (seats, _) = seats(4, 4);
    let quiet = seats.take(address(1)).unwrap();
    let loud = [seats.take(address(2)).unwrap(), seats.take(address(2)).unwrap()];
    let _third = seats.take(address(3)).unwrap();
    let _fourth = seats.take(address(4)).unwrap();
    assert!(has(&seats, &quiet) && !has(&seats, &loud[0]) && has(&seats, &loud[1]));
}

#[test]
fn an_admitted_client_does_not_give_way_to_a_new_one() {
    let (seats, shed) = seats(2, 2);
    let admitted = [seats.take(address(1)).unwrap(), seats.take(address(2)).unwrap()];
    admitted.iter().for_each(Seat::answer);
    assert!(seats.take(address(3)).is_none());
    assert_eq!(shed.load(Ordering::Relaxed), 0, "the caller counts those whom it refuses");
}

/// It reads a body for as long as protects it, and has taken this much.
fn reads(seats: &Seats, seat: &Seat, bytes: usize) {
    seat.moved.add(bytes);
    let since = Instant::now() - PROTECTED;
    lock(&seats.entries).all.get_mut(&seat.id).unwrap().phase = Phase::Reading { body: 1, since };
}

#[tokio::test]
async fn a_reader_gives_way_to_one_who_waits_only_after_a_second_and_the_slowest_first() {
    let (seats, shed) = seats(8, 2);
    let (slow, fast) = (seats.take(address(1)).unwrap(), seats.take(address(2)).unwrap());
    assert!(slow.queue().await && fast.queue().await);
    let third = seats.take(address(3)).unwrap();
    assert!(!third.queue().await, "their pages are not rendered yet");
    reads(&seats, &slow, 10);
    reads(&seats, &fast, 10_000);
    assert!(third.queue().await);
    assert!(!has(&seats, &slow) && has(&seats, &fast));
    assert_eq!(shed.load(Ordering::Relaxed), 2, "one waited in vain, one was cut");
}

#[tokio::test]
async fn when_the_first_who_waits_leaves_the_next_looks_for_slow_readers() {
    let limits = Limits { connections: 8, scrapes: 1, queue: Duration::from_secs(60), ..Limits::default() };
    let seats = Seats::new(limits, Arc::default());
    let reader = seats.take(address(1)).unwrap();
    assert!(reader.queue().await);
    reader.read(1);
    let (first, second) = (seats.take(address(2)).unwrap(), seats.take(address(3)).unwrap());
    {
        let mut waiting = Box::pin(first.queue());
        tokio::select! {
            biased;
            _ = &mut waiting => panic!("the reader is protected"),
            () = tokio::task::yield_now() => {}
        }
        assert!(first.is_first() && !second.is_first());
    }
    drop(first);
    assert!(second.queue().await);
    assert!(!has(&seats, &reader));
}

#[tokio::test]
async fn a_peer_with_its_share_of_scrapes_takes_turns_from_itself_only() {
    let (seats, _) = seats(16, 4);
    let other = seats.take(address(9)).unwrap();
    let mine = [seats.take(address(1)).unwrap(), seats.take(address(1)).unwrap()];
    assert!(other.queue().await && mine[0].queue().await && mine[1].queue().await);
    reads(&seats, &other, 0);
    reads(&seats, &mine[0], 10);
    reads(&seats, &mine[1], 20);
    assert!(seats.take(address(1)).unwrap().queue().await);
    assert!(has(&seats, &other) && !has(&seats, &mine[0]) && has(&seats, &mine[1]));
}

#[tokio::test]
async fn places_are_kept_for_small_answers() {
    let (seats, _) = seats(8, 8);
    let mut large = Vec::new();
    for last in 0..6 {
        let seat = seats.take(address(last)).unwrap();
        assert!(seat.queue().await);
        large.push(seat);
    }
    let seventh = seats.take(address(7)).unwrap();
    assert!(!seventh.queue().await);
    seventh.answer();
    assert!(seats.take(address(8)).is_some());
}

#[tokio::test]
async fn who_waits_for_little_displaces_who_waits_for_much() {
    let (seats, _) = seats(16, 2);
    let mut crowd = Vec::new();
    for last in 0..12 {
        let seat = seats.take(address(last % 3)).unwrap();
        seat.enter(Phase::Queued);
        crowd.push(seat);
    }
    let seat = seats.take(address(9)).unwrap();
    // It waits in vain, but it waits.
    assert!(!seat.queue().await);
    assert_eq!(crowd.iter().filter(|seat| !has(&seats, seat)).count(), 1);
    assert!(has(&seats, &seat));
    let greedy = seats.take(address(1)).unwrap();
    seat.enter(Phase::Queued);
    assert!(!greedy.queue().await);
    assert_eq!(crowd.iter().filter(|seat| !has(&seats, seat)).count(), 1, "it displaces nobody");
}

#[tokio::test]
async fn readers_of_one_body_give_way_and_others_stay() {
    let (seats, _) = seats(8, 8);
    let (one, two) = (seats.take(address(1)).unwrap(), seats.take(address(1)).unwrap());
    one.read(1);
    two.read(2);
    seats.cut_readers(1);
    assert!(!has(&seats, &one) && has(&seats, &two));
}

#[tokio::test]
async fn who_takes_nothing_is_found_once_it_reads() {
    let limits = Limits { stall: Duration::from_millis(1), ..Limits::default() };
    let seats = Seats::new(limits, Arc::default());
    let seat = seats.take(address(1)).unwrap();
    tokio::select! {
        () = seat.stalled() => panic!("it waits for its page"),
        () = tokio::time::sleep(Duration::from_millis(20)) => {}
    }
    seat.read(1);
    seat.stalled().await;
}
