//! A stand-in for a model server: which one says the name under which it is started. See `collector_tests::serve`.

fn main() {
    collector_tests::serve::run(&std::env::args().collect::<Vec<_>>());
}
