//! A guard in a terminal, under a shell with job control.

use std::fs;

use collector_tests::binary::binary;
use collector_tests::needs;
use collector_tests::require::installed;
use collector_tests::scratch::scratch;
use collector_tests::terminal::Terminal;

/// A shell, in which `guard` is the first command.
fn shell() -> Terminal {
    let terminal = Terminal::shell();
    terminal.until(&["[1]$"]);
    let guard = format!(
        "guard() {{ {} guard --quiet --config /dev/null --socket /nowhere/s \"$@\" 2>&-; }}",
        binary().display()
    );
    terminal.keys(&[&guard, "Enter"]);
    terminal.until(&["[2]$"]);
    terminal
}

// Nobody types before the prompt, or before the command says that it runs: a shell and a command read a terminal in different ways.
// What is typed is on the screen, too, so it differs from what is waited for.

#[test]
fn a_command_reads_the_terminal_stops_goes_on_and_is_interrupted() {
    needs!(installed("tmux") && installed("bash"), "tmux or bash is not installed");
    let terminal = shell();
    terminal.keys(&["guard sh -c 'echo be\"\"gun; while read line; do echo got:$line; done'", "Enter"]);
    terminal.until(&["begun"]);
    terminal.keys(&["one", "Enter"]);
    terminal.until(&["got:one"]);
    terminal.keys(&["C-z"]);
    terminal.until(&["Stopped", "[3]$"]);
    terminal.keys(&["clear; echo shell:$((40+2))", "Enter"]);
    terminal.until(&["shell:42", "[4]$"]);
    terminal.keys(&["fg", "Enter"]);
    terminal.until(&["guard --quiet"]);
    terminal.keys(&["two", "Enter"]);
    terminal.until(&["got:two"]);
    terminal.keys(&["C-c"]);
    terminal.until(&["[5]$"]);
    terminal.keys(&["echo code:$?", "Enter"]);
    terminal.until(&["code:130"]);
}

/// Counts interrupts from the first one on, for a second.
const COUNTS: &str = "n=0; trap 'n=$((n+1))' INT; echo begun; while [ $n = 0 ]; do sleep 0.05; done
for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do sleep 0.05; done; echo counted:$n";

#[test]
fn a_key_reaches_the_command_once_and_a_neighbour_in_a_pipe_stays_in_the_foreground() {
    needs!(installed("tmux") && installed("bash"), "tmux or bash is not installed");
    let folder = scratch();
    let script = folder.join("counts.sh");
    fs::write(&script, COUNTS).unwrap();
    let terminal = shell();
    terminal.keys(&[&format!("guard sh {}", script.display()), "Enter"]);
    terminal.until(&["begun"]);
    terminal.keys(&["C-c"]);
    terminal.until(&["counted:1", "[3]$"]);
    // A process in the background that reads the terminal would stop.
    terminal.keys(&["guard sh -c 'echo sta\"\"rted; exec cat' | sed -u s/-in/-out/", "Enter"]);
    terminal.until(&["started"]);
    terminal.keys(&["line-in", "Enter", "C-d"]);
    terminal.until(&["line-out", "[4]$"]);
    terminal.keys(&["echo code:$?", "Enter"]);
    terminal.until(&["code:0"]);
}
