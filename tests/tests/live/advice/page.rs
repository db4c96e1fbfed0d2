//! The page's view of advice, in a real Chromium.

use collector_core::amount::seconds;
use collector_core::api::suggestions::AdviceLine;
use collector_tests::agent::Agent;
use collector_tests::browser::{Browser, Page};
use collector_tests::require::skip;
use serde_json::{Value, json};

use super::days;

/// The item with this id, as an expression of JavaScript.
fn item(line: &AdviceLine) -> String {
    format!(
        "[...document.querySelectorAll('li.item')].find((it) => it.textContent.includes({}))",
        json!(line.advice.id)
    )
}

/// Waits until all of these are in an item, also where it is folded.
fn has(page: &Page, line: &AdviceLine, texts: &[&str]) {
    let item = item(line);
    for text in texts {
        // In a message that one is named.
        page.until(&format!("{item}?.textContent.includes({})", json!(text)));
    }
}

/// What holds, what was followed meanwhile, and what was followed before.
pub fn shows(agent: &Agent, [lower, raised, batch]: &[AdviceLine; 3]) {
    if let Some(why) = Browser::missing() {
        return skip(why);
    }
    let browser = Browser::start();
    let permissions = json!({ "permissions": ["clipboard-read", "clipboard-write"] });
    let page = browser.open(&format!("http://{}/#/advice", agent.address), permissions);
    page.until_shown(&["Judged", "Followed, or gone", "Could not be judged", "a day of history: there is none"]);

    // All of it, with a name that is only text.
    let advice = &lower.advice;
    let saved = advice.saves.as_ref().and_then(|saves| saves.sentence()).unwrap();
    let (saved, sure) = (format!("Would have saved {saved}."), format!("{} confidence", advice.confidence.label()));
    let risk = format!("{} risk", advice.risk.label());
    has(&page, lower, &[&advice.title, &advice.why, &advice.because, &saved, &sure, &risk]);
    for evidence in &advice.evidence {
        has(&page, lower, &[&evidence.what, &evidence.amount(), evidence.origin.label()]);
    }
    let action = &advice.actions[0];
    has(&page, lower, &[&action.undo, &action.commands[0].text, ": 2.00 GiB → 1.00 GiB"]);
    assert_eq!(page.evaluate("document.images.length"), 0);

    // What was followed.
    has(&page, raised, &["set to 168 MiB; what that did is known a day after it"]);
    let stalls = seconds(f64::from(days::STALLS[1]) * 86_400.0);
    let since = format!("since: no OOM kill and {stalls} of stalls a day");
    has(&page, batch, &["followed 3 d ago: set to 256 MiB; before: 0.5 OOM kills and", &since]);
    assert_eq!(page.evaluate(&format!("document.querySelector('ul.list') === {}.parentElement", item(lower))), true);
    assert_eq!(page.evaluate(&format!("{}.parentElement === {}.parentElement", item(raised), item(lower))), false);

    // Its command is copied by whoever opens it with the keyboard alone.
    page.evaluate(&format!("{}.querySelector('summary').focus()", item(lower)));
    page.press(&["Enter"]);
    page.until(&format!("{}.querySelector('details').open", item(lower)));
    page.evaluate(&format!("{}.querySelector('.command button').focus()", item(lower)));
    page.press(&["Enter"]);
    page.until(&format!("{}.querySelector('.command button').textContent === 'Copied'", item(lower)));
    assert_eq!(page.evaluate("navigator.clipboard.readText()"), Value::from(action.commands[0].text.as_str()));

    page.evaluate("document.querySelectorAll('details').forEach((it) => { it.open = true; })");
    page.assert_accessible();
    page.screenshot("advice-content");
    page.resize(400, 800);
    page.until("document.documentElement.scrollWidth <= 400");
    page.screenshot("advice-content-narrow");
    page.assert_well();
}
