//! Responses over a WebSocket: `GET …/responses` with an upgrade.
//!
//! In: messages. Out: the shared types of `api::sockets`. Not here: the request for a response, and
//! the events of one, which are those of [`FORMAT`].
//!
//! `response.create` has the members of a request by HTTP, without `stream` and `background`. Its
//! `stream_id` opens a lane, and the events of its response repeat it. Responses of one lane come
//! one after the other.
//!
//! Source: OpenAI's library for Python, `types/responses/responses_client_event.py` and
//! `responses_server_event.py`.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::FORMAT;
use crate::api::Dialect;
use crate::api::raw::Text;
use crate::api::sockets::{
    Asked, Cancel, Conversation, Count, FromClient, FromServer, Metering, Named, Phase, Refused, Socket,
};

/// The row of [`SOCKETS`](crate::api::SOCKETS).
pub(in crate::api) static SOCKET: Socket = Socket {
    name: "openai_responses",
    dialect: Dialect::OpenAi,
    path_ends: &["/responses"],
    metering: Some(Metering { format: &FORMAT, begin: || Box::new(Lanes) }),
};

/// A socket with lanes. Each request has its whole input, or names an earlier response.
#[derive(Debug)]
struct Lanes;

impl Conversation for Lanes {
    fn read_client<'m>(&mut self, message: &'m str, _: Count<'_>) -> FromClient<'m> {
        let Ok(event) = serde_json::from_str::<Event<'_>>(message) else { return FromClient::Other };
        if event.kind.as_str() != "response.create" {
            return FromClient::Other;
        }
        FromClient::Ask(Asked { lane: event.lane(), ..Asked::default() })
    }

    fn read_server<'m>(&mut self, message: &'m [u8]) -> FromServer<'m> {
        let Ok(event) = serde_json::from_slice::<Event<'_>>(message) else { return FromServer::Other };
        let phase = match event.kind.as_str() {
            "response.created" => Phase::Begins,
            "response.completed"
            | "response.incomplete"
            | "response.failed"
            | "response.cancelled"
            | "response.done" => Phase::Ends,
            "error" => Phase::Fails,
            kind if kind.starts_with("response.") => Phase::Continues,
            _ => return FromServer::Other,
        };
        FromServer::Response { of: Named { lane: event.lane(), ..Named::default() }, phase }
    }

    fn error(&self, refused: &Refused<'_>) -> Option<String> {
        let mut event = error_event(refused)?;
        event.insert("status".to_owned(), refused.status.into());
        let headers: Map<_, _> =
            refused.fields.iter().map(|(name, value)| ((*name).to_owned(), value.as_str().into())).collect();
        // OpenAI's libraries read the fields of the error, Codex those of the event.
        if let Some(Value::Object(error)) = event.get_mut("error") {
            error.insert("headers".to_owned(), headers.clone().into());
        }
        event.insert("headers".to_owned(), headers.into());
        if !refused.asked.lane.is_empty() {
            event.insert("stream_id".to_owned(), (*refused.asked.lane).into());
        }
        Some(Value::Object(event).to_string())
    }

    fn cancel(&self, _: Option<&str>) -> Cancel {
        Cancel::Not
    }
}

/// Returns the event `error` for a refusal, with the `error` of the body.
pub(in crate::api::openai) fn error_event(refused: &Refused<'_>) -> Option<Map<String, Value>> {
    let body: Value = serde_json::from_str(refused.body).ok()?;
    match json!({ "type": "error", "error": body.get("error")? }) {
        Value::Object(event) => Some(event),
        _ => None,
    }
}

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow, rename = "type")]
    kind: Text<'a>,
    #[serde(borrow)]
    stream_id: Option<&'a RawValue>,
}

impl<'a> Event<'a> {
    /// Returns the lane: the text of `stream_id`, or its JSON if it is no text.
    fn lane(&self) -> Cow<'a, str> {
        let raw = self.stream_id.map(RawValue::get).filter(|raw| *raw != "null");
        raw.map(crate::api::raw::as_text).unwrap_or_default()
    }
}
