//! The plain calls of the demo, in order, with their checks.
//!
//! In: a stage. Out: the refused call, which the report shows in full. The budgets are those of
//! `envoy/envoy.yaml`: `acme` is on tier `free` and may use 10,000 tokens a minute, `zenith` on
//! `pro` 100,000; both are refilled continuously. Not here: degraded, agents' and busy calls
//! (`softer`).

use std::time::Duration;

use tollgate_rig::demo::number;

use crate::call::{Answer, Ask, Call, Caller};
use crate::report::row;
use crate::stage::Stage;

const ACME: Caller = Caller { tenant: "acme", tier: "free", per_minute: 10_000 };
pub(crate) const ZENITH: Caller = Caller { tenant: "zenith", tier: "pro", per_minute: 100_000 };

pub(crate) const QUESTION: &str = "Why does a request that costs a hundred times as much count as one?";

/// Tokens requested beyond the rest of the budget: 400 flow back in 2.4 s, which keeps the wait
/// short.
const BEYOND: u64 = 400;

pub(crate) async fn play(stage: &mut Stage) -> Call {
    answered(stage).await;
    streamed(stage).await;
    failed(stage).await;
    hung_up(stage).await;
    near_the_limit(stage).await;
    let (refused, prompt) = over_the_limit(stage).await;
    another_tenant(stage, &prompt).await;
    too_large(stage).await;
    nobody(stage).await;
    after_the_wait(stage, &refused, &prompt).await;
    refused
}

async fn answered(stage: &mut Stage) {
    let call = stage.call(&ask(ACME, QUESTION, 2_000, Answer::Json(900))).await;
    call.checks.expect("status", 200, call.status);
    let back = call.held - call.charged();
    let why = format!(
        "Held: the counted prompt plus max_tokens. The answer was shorter, so {} came back.",
        number(back)
    );
    row(stage, "JSON answer", &why, call);
}

async fn streamed(stage: &mut Stage) {
    let call = stage.call(&ask(ACME, QUESTION, 2_000, Answer::Stream(1_500))).await;
    call.checks.expect("status", 200, call.status);
    call.checks.expect("usage sent to a client that did not ask for it", false, call.told_usage);
    let why = "The client did not ask for usage. Tollgate asked for it and removed it from the stream.";
    row(stage, "streamed answer", why, call);
}

async fn failed(stage: &mut Stage) {
    let call = stage.call(&ask(ACME, QUESTION, 2_000, Answer::Fails(503))).await;
    call.checks.expect("status", 503, call.status);
    row(stage, "upstream error", "An error costs no tokens: everything held came back.", call);
}

async fn hung_up(stage: &mut Stage) {
    let answer = Answer::HungUp { written: 2_000, read: 400 };
    let call = stage.call(&ask(ACME, QUESTION, 2_000, answer)).await;
    call.checks.expect("status", 200, call.status);
    let why = format!(
        "The client read {} of 2,000 tokens. It pays for what it was sent, even without reported usage.",
        number(call.read)
    );
    row(stage, "client hangs up mid-stream", &why, call);
}

async fn near_the_limit(stage: &mut Stage) {
    let call = stage.call(&ask(ACME, &document(5_200), 500, Answer::Json(120))).await;
    call.checks.expect("status", 200, call.status);
    let warning = call.header("x-tollgate-warning").unwrap_or_default().to_owned();
    call.checks.expect("a warning of limit `tpm`", true, warning.starts_with("\"tpm\";used="));
    let why = format!("This call passed 80 % of the budget: x-tollgate-warning: {warning}");
    row(stage, "long document", &why, call);
}

async fn over_the_limit(stage: &mut Stage) -> (Call, String) {
    let prompt = document(stage.left(ACME) + BEYOND - ANSWER);
    let call = stage.call(&ask(ACME, &prompt, ANSWER, Answer::Unasked)).await;
    call.checks.expect("status", 429, call.status);
    call.checks.expect("refused by", Some("tpm"), call.log["tollgate.refused_by"].as_str());
    let told = call.number("x-ratelimit-remaining-tokens").unwrap_or(0);
    let wait = call.number("retry-after-ms").unwrap_or(0);
    // The missing tokens flow back in this time; the filter adds up to 10 %, at most a second.
    let missing = call.held.saturating_sub(told);
    let exact = missing * 60_000 / ACME.per_minute;
    call.checks.expect_between("retry-after-ms", (exact.saturating_sub(6), exact * 11 / 10 + 1), Some(wait));
    call.checks.expect("retry-after", Some(wait.div_ceil(1_000)), call.number("retry-after"));
    call.checks.expect("x-should-retry", Some("true"), call.header("x-should-retry"));
    let why = format!(
        "Needs {}, has {}: retry in {:.1} s, when this call fits. A refused call costs nothing.",
        number(call.held),
        number(told),
        wait as f64 / 1_000.0
    );
    row(stage, "another long document", &why, call.clone());
    (call, prompt)
}

async fn another_tenant(stage: &mut Stage, prompt: &str) {
    let call = stage.call(&ask(ZENITH, prompt, ANSWER, Answer::Json(150))).await;
    call.checks.expect("status", 200, call.status);
    row(stage, "the same document", "Another tenant, on another tier, has its own and larger budget.", call);
}

async fn too_large(stage: &mut Stage) {
    let call = stage.call(&ask(ACME, &document(12_000), ANSWER, Answer::Unasked)).await;
    call.checks.expect("status", 429, call.status);
    call.checks.expect("retry-after", None, call.header("retry-after"));
    call.checks.expect("x-should-retry", Some("false"), call.header("x-should-retry"));
    row(
        stage,
        "whole book",
        "Larger than the whole budget, so no wait would help: x-should-retry: false",
        call,
    );
}

async fn nobody(stage: &mut Stage) {
    let call = stage.call(&Ask::of(None, QUESTION, ANSWER, Answer::Unasked)).await;
    call.checks.expect("status", 401, call.status);
    call.checks.expect("code", Some("missing_identity"), call.body["error"]["code"].as_str());
    row(stage, "no tenant", "The configuration requires a tenant, and the call names none.", call);
}

async fn after_the_wait(stage: &mut Stage, refused: &Call, prompt: &str) {
    let wait = Duration::from_millis(refused.number("retry-after-ms").unwrap_or(0));
    tokio::time::sleep_until((refused.at() + wait).into()).await;
    let call = stage.call(&ask(ACME, prompt, ANSWER, Answer::Json(150))).await;
    call.checks.expect("status", 200, call.status);
    let why = format!("Sent {:.1} s later, as call 6 was told: enough has flowed back.", wait.as_secs_f64());
    row(stage, "document of call 6 again", &why, call);
}

/// The `max_tokens` of calls with documents.
const ANSWER: u64 = 200;

const fn ask(caller: Caller, prompt: &str, max_tokens: u64, answer: Answer) -> Ask<'_> {
    Ask::of(Some(caller), prompt, max_tokens, answer)
}

/// Returns a text of about `tokens` tokens.
pub(crate) fn document(tokens: u64) -> String {
    "and so on ".repeat(usize::try_from(tokens / 3).unwrap_or_default())
}
