//! OpenAI's responses over a WebSocket: `GET */responses`.
//!
//! In: `response.create` events, whose other members are the body of `POST */responses`. Out: the
//! events of that API's stream, each with the `stream_id` that the client gave. Responses of one
//! lane (`stream_id`, or none) come one after the other, lanes at the same time. Errors are `error`
//! events. `metadata` can hold switches. Wire format: OpenAI's API reference, "Responses, WebSocket
//! events", and its guide "WebSocket mode". Not here: `response.steer`, the limits of 60 minutes
//! and 16 responses at a time, and `generate: false`.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use hyper::StatusCode;
use serde_json::{Value, json};

use super::Api;
use super::connection::{Session, Step, Turn};
use crate::mock_llm::{Behaviour, openai, responses};

/// `GET */responses`.
pub(super) const API: Api = Api {
    serves: |path| path.ends_with("/responses"),
    open: |behaviour, _| Ok(Box::new(Responses { behaviour: behaviour.clone(), ..Responses::default() })),
    error: openai::error,
    binary: false,
    protocol: None,
};

#[derive(Default)]
struct Responses {
    behaviour: Behaviour,
    responses: usize,
    lanes: HashMap<Option<String>, Lane>,
}

/// The responses of one lane.
#[derive(Default)]
struct Lane {
    active: Option<usize>,
    waiting: VecDeque<Box<Turn>>,
}

impl Session for Responses {
    fn opened(&mut self) -> Vec<Step> {
        Vec::new()
    }

    fn received(&mut self, message: &str) -> Vec<Step> {
        let Ok(event) = serde_json::from_str::<Value>(message) else {
            let error = json!({ "type": "invalid_request_error", "code": null, "message": "The message is not JSON.", "param": null });
            return vec![refusal(StatusCode::BAD_REQUEST, &error, None)];
        };
        let lane = match self.lane(&event["stream_id"]) {
            Ok(lane) => lane,
            Err(refused) => return vec![refused],
        };
        let turn = match self.turn(event, lane.as_deref()) {
            Ok(turn) => turn,
            Err(refused) => return vec![refused],
        };
        let lane = self.lanes.entry(lane).or_default();
        if lane.active.is_some() {
            lane.waiting.push_back(turn);
            return Vec::new();
        }
        lane.active = Some(turn.number);
        vec![Step::Begin(turn)]
    }

    fn finished(&mut self, turn: usize) -> Vec<Step> {
        let Some(lane) = self.lanes.values_mut().find(|lane| lane.active == Some(turn)) else {
            return Vec::new();
        };
        let next = lane.waiting.pop_front();
        lane.active = next.as_ref().map(|next| next.number);
        next.map(Step::Begin).into_iter().collect()
    }
}

impl Responses {
    /// Returns the lane that an event names.
    fn lane(&self, stream_id: &Value) -> Result<Option<String>, Step> {
        let wrong = |code: &str, message: &str, lane: Option<&str>| {
            let error = json!({ "type": "invalid_request_error", "code": code, "message": message, "param": "stream_id" });
            refusal(StatusCode::BAD_REQUEST, &error, lane)
        };
        if stream_id.is_null() {
            return Ok(None);
        }
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
        let name =
            stream_id.as_str().filter(|name| (1..=256).contains(&name.len()) && name.bytes().all(allowed));
        let Some(name) = name else {
            let message = "The 'stream_id' field must be a name of at most 256 characters.";
            return Err(wrong("invalid_stream_id", message, None));
        };
        let lane = Some(name.to_owned());
        let named = self.lanes.keys().flatten().count();
        if named >= LANES && !self.lanes.contains_key(&lane) {
            let message =
                "This WebSocket connection has reached its maximum number of distinct stream IDs (32).";
            return Err(wrong("websocket_stream_limit_reached", message, Some(name)));
        }
        Ok(lane)
    }

    fn turn(&mut self, mut request: Value, lane: Option<&str>) -> Result<Box<Turn>, Step> {
        let wrong = |code: Option<&str>, message: &str, param: Option<&str>| {
            let error =
                json!({ "type": "invalid_request_error", "code": code, "message": message, "param": param });
            refusal(StatusCode::BAD_REQUEST, &error, lane)
        };
        if request["type"] != "response.create" {
            return Err(wrong(None, "The type of an event is 'response.create'.", Some("type")));
        }
        if !request["model"].is_string() || !(request["input"].is_string() || request["input"].is_array()) {
            return Err(wrong(None, "a string 'model' and an 'input' of text or items are required", None));
        }
        if let Some(id) = request["previous_response_id"].as_str().filter(|id| !responses::is_known(id)) {
            let message = format!("Previous response with id '{id}' not found.");
            return Err(wrong(Some("previous_response_not_found"), &message, Some("previous_response_id")));
        }
        let behaviour = self.behaviour.with(&request["metadata"]).map_err(|why| wrong(None, &why, None))?;
        if let Some(status) = behaviour.status.filter(|status| status.as_u16() >= 400) {
            let answer = openai::error(status, "failed on request of x-mock-status");
            let body: Value = serde_json::from_slice(&answer.chunks.concat()).expect("an error is JSON");
            return Err(refusal(status, &body["error"], lane));
        }
        if let Some(request) = request.as_object_mut() {
            // Members of the socket, and those that mean nothing on it.
            for name in ["type", "stream_id", "stream", "background"] {
                request.remove(name);
            }
        }
        self.responses += 1;
        let number = self.responses;
        let events = responses::socket_events(&request, &behaviour, number);
        let events = events.into_iter().map(|event| on_lane(event, lane)).collect();
        Ok(Box::new(Turn { number, events, behaviour, sent: Arc::default() }))
    }
}

/// The most named lanes of a socket (OpenAI's guide "WebSocket mode").
const LANES: usize = 32;

fn refusal(status: StatusCode, error: &Value, lane: Option<&str>) -> Step {
    let event = json!({ "type": "error", "status": status.as_u16(), "error": error });
    Step::Send(on_lane(event.to_string(), lane))
}

/// Adds the lane to the JSON of an event, whose usage may be no JSON.
fn on_lane(event: String, lane: Option<&str>) -> String {
    match (lane, event.strip_suffix('}')) {
        (Some(lane), Some(members)) => format!("{members},\"stream_id\":{}}}", Value::from(lane)),
        _ => event,
    }
}
