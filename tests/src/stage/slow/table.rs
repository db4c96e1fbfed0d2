//! The scenarios of slowness: what happens, and what is true of it.

use super::super::scenario::Host;
use super::Slow;
use super::place::schedule_by_weight;

/// Bytes of one layer of the made-up model.
const LAYER: u64 = 45_100_000;

const NOTHING: Slow = Slow {
    name: "",
    what: "",
    host: Host::Any,
    layers: 3,
    on_disk: false,
    own: false,
    swap: false,
    places: 1,
    clients: 1,
    before: |_| {},
    fault: |_| {},
    causes: &[],
    says: &[],
};

/// All of them.
pub fn all() -> Vec<Slow> {
    vec![
        Slow {
            name: "slow_by_quota",
            what: "its CPU quota is lowered to a third of a CPU",
            fault: |stage| stage.server.quota(33),
            causes: &["cpu_throttled"],
            says: &["quota of 0.33 CPUs"],
            ..NOTHING
        },
        Slow {
            name: "slow_by_quota_lowered_further",
            what: "its CPU quota is lowered from two CPUs to half a CPU",
            before: |stage| stage.server.quota(200),
            fault: |stage| stage.server.quota(50),
            causes: &["cpu_throttled"],
            says: &["quota of 0.50 CPUs", "was 2.00 CPUs before"],
            ..NOTHING
        },
        Slow {
            name: "slow_by_quota_above",
            what: "the cgroup above it gets a CPU quota of a third of a CPU",
            fault: |stage| stage.above.quota(33),
            causes: &["cpu_throttled"],
            says: &["quota of 0.33 CPUs"],
            ..NOTHING
        },
        Slow {
            name: "slow_by_neighbours_on_the_cpu",
            what: "a neighbour runs eight busy threads",
            fault: |stage| stage.neighbour(&["spin:8", "stay"]),
            causes: &["cpu_contended"],
            says: &["/neighbour uses"],
            ..NOTHING
        },
        Slow {
            name: "slow_by_a_heavier_neighbour",
            what: "a neighbour with eight times its weight runs two busy threads",
            before: |stage| stage.beside.weight(8),
            fault: |stage| stage.neighbour(&["spin:2", "stay"]),
            causes: &["cpu_contended"],
            says: &["/neighbour uses"],
            ..NOTHING
        },
        Slow {
            name: "slow_by_a_small_limit",
            what: "its memory limit is lowered to two thirds of its mapped model",
            layers: 6,
            fault: |stage| stage.server.limit(4 * LAYER),
            causes: &["read_again"],
            says: &["weights", "own limit of"],
            ..NOTHING
        },
        Slow {
            name: "slow_by_a_limit_just_too_small",
            what: "its memory limit is lowered to just below its mapped model",
            layers: 6,
            fault: |stage| stage.server.limit(6 * LAYER - 20_000_000),
            causes: &["read_again"],
            says: &["weights"],
            ..NOTHING
        },
        Slow {
            name: "slow_by_memory_high",
            what: "its memory.high is lowered to two thirds of its mapped model",
            host: Host::V2,
            layers: 6,
            fault: |stage| stage.server.high(4 * LAYER),
            causes: &["read_again", "at_memory_high"],
            says: &["memory.high of"],
            ..NOTHING
        },
        Slow {
            name: "slow_by_a_sidecar",
            what: "another process in its cgroup takes the memory that its mapped model needs",
            layers: 6,
            before: |stage| stage.server.limit(10 * LAYER),
            fault: |stage| stage.sidecar(&[&format!("anon:{}:0", 6 * LAYER), "stay"]),
            causes: &["read_again"],
            says: &["own limit of"],
            ..NOTHING
        },
        Slow {
            name: "slow_by_a_neighbour_that_grows",
            what: "a neighbour below the same limit takes the memory that its mapped model needs",
            layers: 6,
            before: |stage| stage.above.limit(10 * LAYER),
            fault: |stage| stage.neighbour(&[&format!("anon:{}:0", 6 * LAYER), "stay"]),
            causes: &["read_again", "reclaim"],
            says: &[],
            ..NOTHING
        },
        Slow {
            name: "slow_by_a_neighbour_on_the_disk",
            what: "its model is a little too large for its limit, and a neighbour floods the disk",
            layers: 2,
            on_disk: true,
            before: |stage| stage.server.limit(2 * LAYER),
            fault: |stage| stage.neighbour_on_disk(),
            causes: &["io_by_neighbour"],
            says: &["/neighbour floods the disk"],
            ..NOTHING
        },
        Slow {
            name: "slow_by_a_neighbour_that_reads",
            what: "its model is a little too large for its limit, and a neighbour reads from that disk without a pause",
            layers: 2,
            on_disk: true,
            before: |stage| stage.server.limit(2 * LAYER),
            fault: |stage| stage.neighbour_that_reads(),
            causes: &["io_by_neighbour"],
            says: &["/neighbour floods the disk"],
            ..NOTHING
        },
        Slow {
            name: "slow_by_a_neighbour_with_more_weight_on_the_disk",
            what: "bfq schedules the disk, a neighbour has a hundred times its weight there, and reads without a pause",
            host: Host::Own,
            layers: 2,
            on_disk: true,
            before: |stage| {
                schedule_by_weight();
                stage.server.io_weight(10);
                stage.beside.io_weight(1000);
                stage.server.limit(2 * LAYER);
            },
            fault: |stage| stage.neighbour_that_reads(),
            causes: &["io_by_neighbour"],
            says: &["/neighbour floods the disk"],
            ..NOTHING
        },
        Slow {
            name: "slow_by_swap",
            what: "it keeps its model in memory of its own, and its limit is lowered so far that it swaps",
            own: true,
            swap: true,
            fault: |stage| stage.server.limit_before_swap(2 * LAYER),
            causes: &["swapped"],
            says: &["needed again"],
            ..NOTHING
        },
        Slow {
            // The kernel keeps what the server reads all the time, and swaps the neighbour: that takes CPU time.
            name: "slow_beside_a_neighbour_that_swaps",
            what: "a neighbour below the same limit uses more memory than there is, and swaps all the time",
            own: true,
            swap: true,
            before: |stage| stage.above.limit_before_swap(8 * LAYER),
            fault: |stage| stage.neighbour(&[&format!("again:{}:600", 6 * LAYER)]),
            causes: &["swapped", "cpu_contended"],
            says: &["/neighbour"],
            ..NOTHING
        },
        Slow {
            name: "slow_by_more_clients",
            what: "one place, and five more clients",
            fault: |stage| stage.clients(5),
            causes: &["too_many_clients"],
            says: &["requests wait"],
            ..NOTHING
        },
        Slow {
            name: "slow_by_more_clients_than_two_places",
            what: "two places, two clients, and eight more",
            places: 2,
            clients: 2,
            fault: |stage| stage.clients(8),
            causes: &["too_many_clients"],
            says: &["all 2 places are taken"],
            ..NOTHING
        },
        Slow { name: "not_slow", what: "nothing happens", ..NOTHING },
        Slow {
            name: "not_slow_by_a_reader",
            what: "a neighbour with few CPUs floods the disk, and its model is in memory",
            before: |stage| stage.beside.quota(30),
            fault: |stage| stage.neighbour_on_disk(),
            ..NOTHING
        },
        Slow {
            name: "not_slow_by_a_quota_that_is_large_enough",
            what: "it gets a CPU quota of two CPUs, of which it uses one",
            fault: |stage| stage.server.quota(200),
            ..NOTHING
        },
        Slow {
            name: "not_slow_by_a_larger_limit",
            what: "its memory limit is lowered, and its model still fits",
            before: |stage| stage.server.limit(20 * LAYER),
            fault: |stage| stage.server.limit(12 * LAYER),
            ..NOTHING
        },
    ]
}
