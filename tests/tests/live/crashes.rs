//! The actuator is killed hundreds of times. Apart from `act`, whose tests run on other kernels, too.

use collector_tests::needs;
use collector_tests::require::is_root;

use crate::act::crashes;

#[test]
#[ignore = "takes minutes"]
fn five_hundred_kills_lose_no_change_and_make_none_twice() {
    needs!(is_root(), "cgroups need root");
    crashes(500, 1);
}
