//! The calls of the demo that Tollgate degrades, queues or stops, and those of agents and busy
//! upstreams, in order, with their checks.
//!
//! In: a stage. Out: rows of the table. The budgets are those of the tiers `team` and `agents` in
//! `envoy/envoy.yaml`. Not here: plain calls (`scenes`).

use serde_json::Value;
use tollgate_rig::client;
use tollgate_rig::demo::number;
use tollgate_rig::mock_llm::Ending;

use crate::call::{Answer, Ask, Call, Caller, DEARER, Held, MODEL, PER_CHUNK};
use crate::report::{heading, row};
use crate::scenes::{QUESTION, ZENITH, document};
use crate::stage::{Stage, flowed};

const GLOBEX: Caller = Caller { tenant: "globex", tier: "team", per_minute: 10_000 };
const HOOLI: Caller = Caller { tenant: "hooli", tier: "team", per_minute: 10_000 };
const ORCA: Caller = Caller { tenant: "orca", tier: "agents", per_minute: 100_000 };

pub(crate) async fn play(stage: &mut Stage) {
    heading(stage, "Instead of a refusal: a cheaper model, a shorter answer, a wait, a stopped stream");
    half_used(stage).await;
    cheaper_model(stage).await;
    shorter_answer(stage).await;
    waits(stage).await;
    stopped(stage).await;
    heading(stage, "Agents: workflows, tools, calls in flight");
    declares(stage).await;
    draws(stage).await;
    calls_tool(stage).await;
    calls_tool_again(stage).await;
    tool_hidden(stage).await;
    in_flight(stage).await;
    heading(stage, "A busy LLM");
    busy(stage).await;
    left_alone(stage).await;
}

const fn ask(caller: Caller, prompt: &str, max_tokens: u64, answer: Answer) -> Ask<'_> {
    Ask::of(Some(caller), prompt, max_tokens, answer)
}

async fn half_used(stage: &mut Stage) {
    let prompt = document(5_200);
    let ask = Ask { model: DEARER, ..ask(GLOBEX, &prompt, 500, Answer::Json(120)) };
    let call = stage.call(&ask).await;
    call.checks.expect("status", 200, call.status);
    call.checks.expect("x-tollgate-softened", None, call.header("x-tollgate-softened"));
    row(stage, "gpt-4o", "Answered unchanged. The caller has now used more than half of its budget.", call);
}

async fn cheaper_model(stage: &mut Stage) {
    let ask = Ask { model: DEARER, ..ask(GLOBEX, QUESTION, 2_500, Answer::Json(2_450)) };
    let call = stage.call(&ask).await;
    call.checks.expect("status", 200, call.status);
    call.checks.expect("the upstream's model", Some(MODEL), call.asked["model"].as_str());
    let softened = softened(&call, "model=\"gpt-4o-mini\"");
    let why = format!("Answered by a cheaper model, at its price: {softened}");
    row(stage, "gpt-4o again", &why, call);
}

async fn shorter_answer(stage: &mut Stage) {
    const WANTED: u64 = 2_450;
    let before = stage.left_now(GLOBEX);
    let ask = Ask { held: Held::Bounded, ..ask(GLOBEX, QUESTION, WANTED, Answer::Json(5_000)) };
    let call = stage.call(&ask).await;
    call.checks.expect("status", 200, call.status);
    let bound = call.asked["max_tokens"].as_u64();
    let input = call.logged("input_tokens.counted").unwrap_or(0);
    let room = (before - input - 1, (before + flowed(GLOBEX, call.took)).min(WANTED - 1) - input + 1);
    call.checks.expect_between("max_tokens", room, bound);
    let softened = softened(&call, &format!("max_output_tokens={}", bound.unwrap_or(0)));
    let why = format!("max_tokens lowered from {} to what is left: {softened}", number(WANTED));
    row(stage, "more output than is left", &why, call);
}

async fn waits(stage: &mut Stage) {
    let prompt = document(300);
    let before = stage.left_now(GLOBEX);
    let call = stage.call(&ask(GLOBEX, &prompt, 100, Answer::Json(60))).await;
    call.checks.expect("status", 200, call.status);
    // The missing tokens flow back in this time.
    let exact = call.held.saturating_sub(before) * 60_000 / GLOBEX.per_minute;
    let took = u64::try_from(call.took.as_millis()).unwrap_or(u64::MAX);
    call.checks.expect_between("milliseconds waited", (exact.saturating_sub(50), exact + 500), Some(took));
    let why = format!(
        "Needs {}, has {}: waited {:.1} s in Envoy, until enough had flowed back.",
        number(call.held),
        number(before),
        call.took.as_secs_f64()
    );
    row(stage, "prompt, budget exhausted", &why, call);
}

async fn stopped(stage: &mut Stage) {
    let answer = Answer::Stopped { written: 30_000 };
    let ask = Ask { held: Held::Guessed, ..ask(HOOLI, QUESTION, 30_000, answer) };
    let call = stage.call(&ask).await;
    call.checks.expect("status", 200, call.status);
    call.checks.expect("finish_reason", Some("length"), call.finished.as_deref());
    call.checks.expect("stopped by", Some("tpm"), call.log["tollgate.stopped_by"].as_str());
    let of_upstream = stage.mock.received().pop().expect("it is asked").ended().await;
    call.checks.expect("the LLM's stream", Ending::Aborted, of_upstream);
    // The budget, the grace and what has flowed back; plus a step of a hundredth and the chunks in
    // transit.
    let flowed = flowed(HOOLI, call.started.elapsed());
    let most = 10_500 + flowed + 100 + 2 * PER_CHUNK;
    call.checks.expect_between("tokens charged", (10_500, most), Some(call.charged()));
    let why = "Stopped at 105 % of the budget: finish_reason: length, [DONE]; the LLM's stream is reset.";
    row(stage, "endless stream", why, call);
}

const WORKFLOW: (&str, &str) = ("x-workflow-id", "w-7c9e");

async fn declares(stage: &mut Stage) {
    let headers = [WORKFLOW, ("x-tollgate-reserve-tokens", "30000")];
    let held = Held::Declared(30_000);
    let ask = Ask { headers: &headers, held, ..ask(ORCA, QUESTION, 1_000, Answer::Json(900)) };
    let call = stage.call(&ask).await;
    call.checks.expect("status", 200, call.status);
    check_prompts(&call);
    let why = "Reserves for the whole workflow: x-tollgate-reserve-tokens: 30000. 99 prompts are left.";
    row(stage, "first call of a workflow", why, call);
}

async fn draws(stage: &mut Stage) {
    let ask =
        Ask { headers: &[WORKFLOW], held: Held::Drawn, ..ask(ORCA, QUESTION, 1_000, Answer::Stream(700)) };
    let call = stage.call(&ask).await;
    call.checks.expect("status", 200, call.status);
    check_prompts(&call);
    let why = "Draws on that reservation. A workflow counts as one prompt, so 99 are still left.";
    row(stage, "second call of it", why, call);
}

/// Checks that the workflow has used one prompt of a hundred.
fn check_prompts(call: &Call) {
    call.checks.expect("prompts left", Some(99), call.number("x-ratelimit-remaining-requests"));
}

const MAIL: &str = "send_email";

async fn calls_tool(stage: &mut Stage) {
    let call = stage.call_tool(ORCA, MAIL).await;
    call.checks.expect("status", 200, call.status);
    call.checks.expect("no JSON-RPC error", true, call.body["error"].is_null());
    row(stage, "MCP tool call", "tools/call of send_email. The limit is one per hour.", call);
}

async fn calls_tool_again(stage: &mut Stage) {
    let before = stage.mock.received().len();
    let call = stage.call_tool(ORCA, MAIL).await;
    call.checks.expect("status", 200, call.status);
    call.checks.expect("calls that reach the upstream", before, stage.mock.received().len());
    call.checks.expect("refused by", Some("mails"), call.refused_by());
    let error = &call.body["error"];
    call.checks.expect("code", Some(429), error["code"].as_i64());
    let why = format!("JSON-RPC error {}: {}", error["code"], text(&error["message"]));
    row(stage, "MCP tool call again", &why, call);
}

async fn tool_hidden(stage: &mut Stage) {
    let ask = Ask { tools: &[MAIL, "search"], ..ask(ORCA, QUESTION, 1_000, Answer::Json(300)) };
    let call = stage.call(&ask).await;
    call.checks.expect("status", 200, call.status);
    let offered: Vec<_> = call.asked["tools"].as_array().into_iter().flatten().collect();
    call.checks.expect("tools that the LLM sees", 1, offered.len());
    call.checks.expect("the tool", Some("search"), call.asked["tools"][0]["function"]["name"].as_str());
    let softened = softened(&call, "hidden_tools=1");
    let why = format!("The model sees only search, and cannot call send_email: {softened}");
    row(stage, "tools send_email, search", &why, call);
}

async fn in_flight(stage: &mut Stage) {
    let slow =
        Ask { headers: &[("x-mock-chunk-delay-ms", "100")], ..ask(ORCA, QUESTION, 500, Answer::Stream(400)) };
    let mut under_way = Vec::new();
    for _ in 0..2 {
        let sent = client::send(stage.envoy.address(), slow.request(&slow.body())).await;
        under_way.push(sent.unwrap_or_else(|error| panic!("a stream failed: {error}")));
    }
    let call = stage.call(&ask(ORCA, QUESTION, 500, Answer::Uncounted)).await;
    call.checks.expect("status", 429, call.status);
    call.checks.expect("refused by", Some("flight"), call.refused_by());
    // One second, and up to 10 % more.
    let wait = call.number("retry-after");
    call.checks.expect_between("retry-after", (1, 2), wait);
    let why = format!(
        "Two calls are in flight already. Tollgate refuses the third unread: retry-after: {}",
        wait.unwrap_or(0)
    );
    row(stage, "third call in flight", &why, call);
    for mut response in under_way {
        let mut call = Call::begun(Some(ORCA), &response);
        call.read(&mut response, slow.answer).await;
        call.log = stage.next_log().await;
        stage.beside.push(call);
    }
}

/// In seconds.
const BUSY: u64 = 20;

async fn busy(stage: &mut Stage) {
    let call = stage.call(&ask(ZENITH, QUESTION, 2_000, Answer::Busy { retry_after: BUSY })).await;
    call.checks.expect("status", 429, call.status);
    call.checks.expect("retry-after", Some(BUSY), call.number("retry-after"));
    let why =
        "The LLM's own 429 with retry-after: 20, after two retries by Envoy. Everything held came back.";
    row(stage, "LLM answers 429", why, call);
}

async fn left_alone(stage: &mut Stage) {
    let call = stage.call(&ask(ZENITH, QUESTION, 2_000, Answer::Uncounted)).await;
    call.checks.expect("status", 429, call.status);
    call.checks.expect("response code details", Some("tollgate_upstream_busy"), call.log["details"].as_str());
    let wait = call.number("retry-after");
    // The rest of the time, and up to 10 % more.
    call.checks.expect_between("retry-after", (BUSY - 2, BUSY * 11 / 10), wait);
    let why =
        format!("Until then Tollgate refuses calls for this LLM at once: retry-after: {}", wait.unwrap_or(0));
    row(stage, "next call", &why, call);
}

/// Checks the header and the access log about a softened request, and returns the text to show.
fn softened(call: &Call, should: &str) -> String {
    let told = call.header("x-tollgate-softened");
    call.checks.expect("x-tollgate-softened", Some(should), told);
    call.checks.expect("tollgate.softened", told, call.log["tollgate.softened"].as_str());
    format!("x-tollgate-softened: {}", told.unwrap_or("-"))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("-")
}
