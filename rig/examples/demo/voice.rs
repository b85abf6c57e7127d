//! The voice session of the demo: the turns of one WebSocket, in order, with their checks.
//!
//! In: a stage. Out: rows of the table. The budgets are those of the tier `voice` in
//! `envoy/envoy.yaml`, the prices those of its row for `gpt-realtime`. The user pushes to talk: the
//! client sends sound, commits it, and asks for a response. Not here: servers that detect speech
//! and begin responses themselves (`tests/e2e/sockets`).

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tollgate_rig::client::Request;
use tollgate_rig::client::socket::{End, Socket};
use tollgate_rig::demo::{Checks, number};
use tollgate_rig::mock_llm::tokens::Counter;

use crate::call::{Answer, Ask, Call, Caller};
use crate::report::{heading, row};
use crate::scenes::{QUESTION, document};
use crate::stage::Stage;

const VOX: Caller = Caller { tenant: "vox", tier: "voice", per_minute: 10_000 };
const MODEL: &str = "gpt-realtime";

/// All sound of the session: three turns.
pub(crate) const SOUND: Duration = Duration::from_secs(3 * (HEARD_SECONDS + SPOKEN_SECONDS));

/// The sound of a turn: 10 tokens a second heard, and 20 spoken. The mock speaks ten words a
/// second, each of which is also a token of text.
const HEARD_SECONDS: u64 = 6;
const HEARD: u64 = 10 * HEARD_SECONDS;
const SPOKEN_SECONDS: u64 = 10;
const SPOKEN: u64 = 20 * SPOKEN_SECONDS;
const WORDS: u64 = 10 * SPOKEN_SECONDS;

/// The `max_output_tokens` of each response.
const MOST: u64 = 600;

/// Tokens that the refused turn needs beyond the rest of the budget, as in `scenes`.
const BEYOND: u64 = 400;

pub(crate) async fn play(stage: &mut Stage) {
    heading(stage, "A voice session over a WebSocket: text, sound, a wait");
    let mut session = Session::open(stage).await;
    writes(stage, &mut session).await;
    speaks(stage, &mut session).await;
    speaks_again(stage, &mut session).await;
    asks_beside(stage, &mut session).await;
    let (refused, wait) = over_the_limit(stage, &mut session).await;
    after_the_wait(stage, session, &refused, wait).await;
}

async fn writes(stage: &mut Stage, session: &mut Session) {
    session.tell(json!({ "type": "conversation.item.create", "item": message(QUESTION) })).await;
    let wanted = json!({ "output_modalities": ["text"], "metadata": { "x-mock-output-tokens": "60" } });
    let (used, call) = session.answered(stage, create("turn-1", wanted)).await;
    call.checks.expect(
        "tokens read",
        Used { text: session.instructed + question(), written: 60, ..NONE },
        used,
    );
    let why = format!(
        "All text: {} tokens read, 60 written. The session has one of its tenant's 5 places.",
        number(used.text)
    );
    row(stage, "user writes", &why, call);
}

async fn speaks(stage: &mut Stage, session: &mut Session) {
    session.speak().await;
    let (used, call) = session.answered(stage, create("turn-2", json!({}))).await;
    let should = Used { text: 60, cached_text: session.instructed + question(), sound: HEARD, ..ANSWER };
    call.checks.expect("tokens read", should, used);
    let why = format!(
        "Read: {} of text, {HEARD} of sound. Answered by {SPOKEN_SECONDS} s of sound, {SPOKEN} tokens, and their text, {WORDS}.",
        number(used.all_text())
    );
    row(stage, "user speaks for 6 s", &why, call);
}

async fn speaks_again(stage: &mut Stage, session: &mut Session) {
    session.speak().await;
    let (used, call) = session.answered(stage, create("turn-3", json!({}))).await;
    call.checks.expect("tokens of sound read", (SPOKEN + HEARD, HEARD), (used.sound, used.cached_sound));
    let why = format!(
        "Read again: {} of text and {} of sound, cached at $0.40 a million. New: {} of sound at $32.",
        number(used.cached_text),
        number(used.cached_sound),
        number(used.sound)
    );
    row(stage, "user speaks again", &why, call);
}

/// Spends most of the rest without making the conversation longer, so that the wait is short.
async fn asks_beside(stage: &mut Stage, session: &mut Session) {
    let spare = stage.left_now(VOX) - (session.next_turn() - BEYOND);
    let page = document(spare - session.instructed - 60);
    let wanted = json!({
        "conversation": "none",
        "output_modalities": ["text"],
        "input": [message(&page)],
        "metadata": { "x-mock-output-tokens": "60" },
    });
    let (_, mut call) = session.answered(stage, create("beside", wanted)).await;
    let line = stage.envoy.wait_for_log("\"tier\":\"voice\",\"used_percent\"").await;
    let line: Value =
        line.find('{').and_then(|at| serde_json::from_str(&line[at..]).ok()).unwrap_or_default();
    let percent = line["used_percent"].as_u64();
    call.checks.expect_between("per cent used", (80, 90), percent);
    call.checks.expect("event", Some("warning"), line["event"].as_str());
    call.log["tollgate.warning"] = line["limit"].clone();
    let why = format!(
        "Reads no conversation. Passed 80 % of the budget: \"warning\" in Envoy's log, \"used_percent\":{}",
        percent.unwrap_or(0)
    );
    row(stage, "client asks about a page", &why, call);
}

async fn over_the_limit(stage: &mut Stage, session: &mut Session) -> (Value, Duration) {
    session.speak().await;
    let event = create("turn-4", json!({}));
    let started = Instant::now();
    let told = session.ask(&event).await;
    let error = &told["error"];
    let mut call = Call::at_once(Some(VOX), 429, started);
    call.event = Some("error");
    call.log = json!({ "tollgate.refused_by": "tpm" });
    call.checks.expect("event", Some("error"), told["type"].as_str());
    call.checks.expect("code", Some("rate_limit_exceeded"), error["code"].as_str());
    call.checks.expect("refused event", event["event_id"].as_str(), error["event_id"].as_str());
    let message = error["message"].as_str().unwrap_or_default();
    call.checks.expect("limit", true, message.contains("(limit `tpm`)"));
    let [available, requested] = ["Available ", "Requested "].map(|name| number_after(message, name));
    call.checks.expect("tokens requested", Some(session.next_turn()), requested);
    let wait = wait_in(message);
    let missing = requested.unwrap_or(0).saturating_sub(available.unwrap_or(0));
    // As for a call by HTTP.
    let exact = missing * 60_000 / VOX.per_minute;
    call.checks.expect_between("milliseconds to wait", (exact.saturating_sub(6), exact * 11 / 10 + 1), wait);
    call.left = available;
    let why = format!(
        "Needs {}, has {}: an error event with the wait, {:.1} s. The LLM gets nothing.",
        number(requested.unwrap_or(0)),
        number(available.unwrap_or(0)),
        wait.unwrap_or(0) as f64 / 1_000.0
    );
    row(stage, "user speaks, budget short", &why, call);
    (event, started + Duration::from_millis(wait.unwrap_or(0)) - Instant::now())
}

async fn after_the_wait(stage: &mut Stage, mut session: Session, refused: &Value, wait: Duration) {
    tokio::time::sleep(wait).await;
    let (used, call) = session.answered(stage, refused.clone()).await;
    let heard_before = 2 * HEARD + SPOKEN;
    call.checks.expect("cached tokens of sound", heard_before, used.cached_sound);
    let (sum, checks) = (session.sum, Checks::default());
    let received = stage.mock.sockets().pop().expect("a socket").events();
    let asked = received.iter().filter(|event| event["type"] == "response.create").count();
    checks.expect("responses that the LLM was asked for", 5, asked);
    let End::Closed(code) = session.socket.close(1000, "").await else { panic!("the session broke") };
    checks.expect("closing code", Some(1000), code.map(|(code, _)| code));
    let log = stage.next_log().await;
    let logged = |name: &str| log[format!("tollgate.{name}")].as_str().unwrap_or("-").to_owned();
    checks.expect("status", Some(101), log["status"].as_u64());
    checks.expect("input of the session", Some(sum.input()), logged("input_tokens.used").parse().ok());
    checks.expect("output of the session", Some(sum.output()), logged("output_tokens.used").parse().ok());
    let cost = logged("cost_usd").parse::<f64>().ok();
    checks.expect(
        "nano-dollars of the session",
        Some(sum.cost()),
        cost.map(|usd| (usd * 1e9).round() as u64),
    );
    checks.expect("refused by", "tpm", &logged("refused_by"));
    call.checks.join(&checks);
    let why = format!(
        "The session goes on. At its end, its line in the access log has the sums: {} tokens read, {} written, ${}.",
        number(sum.input()),
        number(sum.output()),
        logged("cost_usd")
    );
    row(stage, "that turn, as it was told", &why, call);
}

/// The session, and what it has used.
struct Session {
    socket: Socket,
    /// The tokens of its instructions.
    instructed: u64,
    /// The tokens of the conversation that its next response reads, without the coming turn.
    length: u64,
    sum: Used,
}

impl Session {
    async fn open(stage: &Stage) -> Self {
        let request = Request::get(&format!("/v1/realtime?model={MODEL}"))
            .header("x-tenant-id", VOX.tenant)
            .header("x-tier", VOX.tier)
            .header("x-mock-output-tokens", WORDS.to_string())
            .header("x-mock-tokens-per-chunk", "10");
        let socket = Socket::http1(stage.envoy.address(), request).await;
        let socket = socket.unwrap_or_else(|error| panic!("no session: {error}"));
        let instructions = document(510);
        let instructed = Counter::for_model(MODEL).text(&instructions) as u64;
        let mut session = Self { socket, instructed, length: 0, sum: NONE };
        session
            .tell(json!({ "type": "session.update", "session": {
                "type": "realtime",
                "instructions": instructions,
                "audio": { "input": { "turn_detection": null } },
            }}))
            .await;
        session
    }

    async fn tell(&mut self, event: Value) {
        assert!(self.socket.send(&event).await, "the session has ended");
    }

    /// Sends the sound of a turn, a second at a time.
    async fn speak(&mut self) {
        // 24,000 samples of 16 bits, in base64.
        let second = "A".repeat(64_000);
        for _ in 0..HEARD_SECONDS {
            self.tell(json!({ "type": "input_audio_buffer.append", "audio": second })).await;
        }
        self.tell(json!({ "type": "input_audio_buffer.commit" })).await;
    }

    /// Asks for a response and returns the last event.
    async fn ask(&mut self, event: &Value) -> Value {
        self.tell(event.clone()).await;
        let is_last = |event: &Value| event["type"] == "response.done" || event["type"] == "error";
        self.socket.until(is_last).await.pop().unwrap_or_default()
    }

    /// Asks for a response that must be answered, and checks what it leaves of the budget.
    async fn answered(&mut self, stage: &mut Stage, event: Value) -> (Used, Call) {
        let started = Instant::now();
        let done = self.ask(&event).await;
        let used = Used::of(&done["response"]["usage"]);
        self.sum = self.sum.plus(used);
        if event["response"]["conversation"].is_null() {
            self.length = used.input() + used.output();
        }
        let mut call = Call::at_once(Some(VOX), 200, started);
        call.event = Some("done");
        call.log = json!({
            "tollgate.input_tokens.used": used.input().to_string(),
            "tollgate.output_tokens.used": used.output().to_string(),
        });
        call.checks.expect("event", Some("response.done"), done["type"].as_str());
        call.checks.expect("status", Some("completed"), done["response"]["status"].as_str());
        stage.spend(VOX, call.charged());
        self.measure_left(stage, &mut call).await;
        (used, call)
    }

    /// Learns what is left from a call that fails and so costs nothing.
    async fn measure_left(&self, stage: &mut Stage, call: &mut Call) {
        let ask = Ask { model: MODEL, ..Ask::of(Some(VOX), QUESTION, 0, Answer::Fails(400)) };
        let probe = stage.call(&ask).await;
        call.left = probe.left;
        call.checks.join(&probe.checks);
        stage.beside.push(probe);
    }

    /// Returns the tokens that the next spoken turn needs.
    fn next_turn(&self) -> u64 {
        self.length + HEARD + MOST
    }
}

/// The tokens of a response by their price.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Used {
    text: u64,
    cached_text: u64,
    sound: u64,
    cached_sound: u64,
    written: u64,
    spoken: u64,
}

const NONE: Used = Used { text: 0, cached_text: 0, sound: 0, cached_sound: 0, written: 0, spoken: 0 };

/// The output of a spoken answer.
const ANSWER: Used = Used { written: WORDS, spoken: SPOKEN, ..NONE };

impl Used {
    /// Reads the usage of `response.done`.
    fn of(usage: &Value) -> Self {
        let (input, output) = (&usage["input_token_details"], &usage["output_token_details"]);
        let tokens = |details: &Value, name: &str| details[name].as_u64().unwrap_or(0);
        let cached = |name: &str| tokens(&input["cached_tokens_details"], name);
        Self {
            text: tokens(input, "text_tokens") - cached("text_tokens"),
            cached_text: cached("text_tokens"),
            sound: tokens(input, "audio_tokens") - cached("audio_tokens"),
            cached_sound: cached("audio_tokens"),
            written: tokens(output, "text_tokens"),
            spoken: tokens(output, "audio_tokens"),
        }
    }

    const fn plus(self, other: Self) -> Self {
        Self {
            text: self.text + other.text,
            cached_text: self.cached_text + other.cached_text,
            sound: self.sound + other.sound,
            cached_sound: self.cached_sound + other.cached_sound,
            written: self.written + other.written,
            spoken: self.spoken + other.spoken,
        }
    }

    const fn all_text(&self) -> u64 {
        self.text + self.cached_text
    }

    const fn input(&self) -> u64 {
        self.all_text() + self.sound + self.cached_sound
    }

    const fn output(&self) -> u64 {
        self.written + self.spoken
    }

    /// Returns the cost in nano-dollars.
    const fn cost(&self) -> u64 {
        4_000 * self.text
            + 400 * (self.cached_text + self.cached_sound)
            + 32_000 * self.sound
            + 16_000 * self.written
            + 64_000 * self.spoken
    }
}

/// Returns a request for a response with more members.
fn create(id: &str, mut wanted: Value) -> Value {
    wanted["max_output_tokens"] = MOST.into();
    json!({ "type": "response.create", "event_id": id, "response": wanted })
}

fn message(text: &str) -> Value {
    json!({ "type": "message", "role": "user", "content": [{ "type": "input_text", "text": text }] })
}

/// Returns the tokens of [`QUESTION`].
fn question() -> u64 {
    Counter::for_model(MODEL).text(QUESTION) as u64
}

/// Returns the number after a word.
fn number_after(text: &str, word: &str) -> Option<u64> {
    let (_, rest) = text.split_once(word)?;
    rest.split(|letter: char| !letter.is_ascii_digit()).next()?.parse().ok()
}

/// Returns the milliseconds that a message tells to wait, which are a few seconds here.
fn wait_in(message: &str) -> Option<u64> {
    let (_, wait) = message.split_once("Please try again in ")?;
    let seconds: f64 = wait.strip_suffix("s.")?.parse().ok()?;
    Some((seconds * 1_000.0).round() as u64)
}
