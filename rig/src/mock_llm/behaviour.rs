//! Request headers that make the mock misbehave, one table row each.
//!
//! In: a request's headers. Out: a [`Behaviour`], or an error that names the wrong header and the
//! expected value. Not here: carrying it out, which the API formats (length, usage) and `playback`
//! (timing, cuts) do. Switches that only WebSockets have are in `sockets/switches.rs`. A client
//! event can carry switches too, in its `metadata`; they apply to the response that it begins.

use core::fmt::Write;
use core::time::Duration;

use hyper::StatusCode;
use hyper::header::{HeaderMap, HeaderValue};
use serde_json::Value;

use super::coding::Coding;
use super::sockets::{SOCKET_SWITCHES, SocketBehaviour};

/// The requested behaviour for one call.
#[derive(Clone, Debug, Default)]
pub struct Behaviour {
    /// Tokens in every choice, unless the request allows fewer.
    pub output_tokens: Option<usize>,
    /// Tokens in one streamed chunk; 1 if absent.
    pub tokens_per_chunk: Option<usize>,
    /// The pause between two chunks.
    pub chunk_delay: Duration,
    /// The delay before the response headers.
    pub delay: Duration,
    /// The status of an error to answer with.
    pub status: Option<StatusCode>,
    /// The `retry-after` of such an error.
    pub retry_after: Option<HeaderValue>,
    /// Whether to omit `usage`.
    pub no_usage: bool,
    /// Text to send in place of `usage`, valid or not.
    pub usage: Option<String>,
    /// The coding to compress the response with.
    pub encoding: Option<Coding>,
    /// The size of the pieces to write instead of whole chunks.
    pub split_bytes: Option<usize>,
    /// The number of writes before the connection is dropped (HTTP/2: the stream is reset).
    pub cut_after: Option<usize>,
    /// The behaviour of a WebSocket.
    pub socket: SocketBehaviour,
}

impl Behaviour {
    /// Reads the behaviour from `headers`.
    ///
    /// # Errors
    ///
    /// A sentence that names the header, the value and the expected value. A misspelt `x-mock-`
    /// header is an error too, because without its behaviour the test would prove nothing.
    pub fn from_headers(headers: &HeaderMap) -> Result<Self, String> {
        let mut behaviour = Self::default();
        for (name, value) in headers.iter().filter(|(name, _)| name.as_str().starts_with("x-mock-")) {
            let text = value.to_str().map_err(|_| format!("{name}: {value:?} is not text"))?;
            behaviour.set(name.as_str(), text, headers)?;
        }
        Ok(behaviour)
    }

    /// Returns this behaviour with the switches in `metadata`, a JSON object whose other members do
    /// not matter.
    ///
    /// # Errors
    ///
    /// As [`Behaviour::from_headers`].
    pub fn with(&self, metadata: &Value) -> Result<Self, String> {
        let mut behaviour = self.clone();
        let members = metadata.as_object().into_iter().flatten();
        for (name, value) in members.filter(|(name, _)| name.starts_with("x-mock-")) {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            behaviour.set(name, &text, &HeaderMap::new())?;
        }
        Ok(behaviour)
    }

    fn set(&mut self, name: &str, text: &str, headers: &HeaderMap) -> Result<(), String> {
        let Some(switch) = switches().find(|switch| switch.header == name) else {
            let known: Vec<_> = switches().map(|switch| switch.header).collect();
            return Err(format!("{name} is not known; there are {}", known.join(", ")));
        };
        let applied = (switch.apply)(self, text, headers);
        applied.ok_or_else(|| format!("{name}: {text:?} is not {}", switch.value))
    }
}

/// A request header that changes the mock's behaviour.
pub struct Switch {
    /// The header's name.
    pub header: &'static str,
    /// The form of its value.
    pub value: &'static str,
    /// Its effect.
    pub meaning: &'static str,
    pub(super) apply: fn(&mut Behaviour, &str, &HeaderMap) -> Option<()>,
}

/// The switches of HTTP.
pub const SWITCHES: &[Switch] = &[
    Switch {
        header: "x-mock-output-tokens",
        value: "a number of tokens",
        meaning: "length of every choice, at most max_tokens (default 20)",
        apply: |b, text, _| text.parse().ok().map(|n| b.output_tokens = Some(n)),
    },
    Switch {
        header: "x-mock-tokens-per-chunk",
        value: "a number of tokens, at least 1",
        meaning: "tokens per streamed chunk (default 1)",
        apply: |b, text, _| positive(text).map(|n| b.tokens_per_chunk = Some(n)),
    },
    Switch {
        header: "x-mock-chunk-delay-ms",
        value: "milliseconds",
        meaning: "pause between two chunks of a stream",
        apply: |b, text, _| milliseconds(text).map(|time| b.chunk_delay = time),
    },
    Switch {
        header: "x-mock-delay-ms",
        value: "milliseconds",
        meaning: "delay before the response headers",
        apply: |b, text, _| milliseconds(text).map(|time| b.delay = time),
    },
    Switch {
        header: "x-mock-status",
        value: "a status code",
        meaning: "answer with this status; from 400 up with the API's error body",
        apply: |b, text, _| StatusCode::from_bytes(text.as_bytes()).ok().map(|code| b.status = Some(code)),
    },
    Switch {
        header: "x-mock-retry-after",
        value: "text",
        meaning: "value of retry-after, with x-mock-status from 400 up",
        apply: |b, text, _| HeaderValue::from_str(text).ok().map(|told| b.retry_after = Some(told)),
    },
    Switch {
        header: "x-mock-no-usage",
        value: "true or false",
        meaning: "omit usage, even if the request asks for it",
        apply: |b, text, _| text.parse().ok().map(|yes| b.no_usage = yes),
    },
    Switch {
        header: "x-mock-usage",
        value: "text",
        meaning: "replace usage by this text, byte for byte, and count nothing",
        apply: |b, text, _| {
            b.usage = Some(text.to_owned());
            Some(())
        },
    },
    Switch {
        header: "x-mock-encoding",
        value: "gzip, deflate, br, zstd or accepted",
        meaning: "compress with this coding, or with the first in accept-encoding; flush after each chunk",
        apply: |b, text, headers| {
            b.encoding = match text {
                "accepted" => Coding::accepted(headers),
                name => Some(Coding::named(name)?),
            };
            Some(())
        },
    },
    Switch {
        header: "x-mock-split-bytes",
        value: "a number of bytes, at least 1",
        meaning: "write the body in pieces of this size, whatever they split",
        apply: |b, text, _| positive(text).map(|n| b.split_bytes = Some(n)),
    },
    Switch {
        header: "x-mock-cut-after",
        value: "a number of writes",
        meaning: "drop the connection (HTTP/2: reset the stream) after this many writes; 0 is right after the headers",
        apply: |b, text, _| text.parse().ok().map(|n| b.cut_after = Some(n)),
    },
];

/// Returns all switches.
pub fn switches() -> impl Iterator<Item = &'static Switch> {
    SWITCHES.iter().chain(SOCKET_SWITCHES)
}

/// Returns the table as text, for `--help`.
#[must_use]
pub fn help() -> String {
    switches().fold(String::new(), |mut text, switch| {
        let example = format!("{}: <{}>", switch.header, switch.value);
        let _ = writeln!(text, "  {example}\n      {}", switch.meaning);
        text
    })
}

pub(super) fn positive(text: &str) -> Option<usize> {
    text.parse().ok().filter(|n| *n > 0)
}

pub(super) fn milliseconds(text: &str) -> Option<Duration> {
    text.parse().ok().map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn every_switch_is_in_the_help() {
        let help = help();
        assert!(switches().all(|switch| help.contains(switch.header)), "{help}");
    }

    #[test]
    fn a_misspelt_switch_and_a_wrong_value_are_named() {
        let misspelt = Behaviour::from_headers(&headers(&[("x-mock-cut", "1")])).unwrap_err();
        assert!(misspelt.contains("x-mock-cut is not known"), "{misspelt}");

        let wrong = Behaviour::from_headers(&headers(&[("x-mock-split-bytes", "0")])).unwrap_err();
        assert!(wrong.contains("\"0\" is not a number of bytes, at least 1"), "{wrong}");
    }

    #[test]
    fn switches_in_metadata_are_added_to_those_of_the_headers() {
        let whole = Behaviour::from_headers(&headers(&[("x-mock-output-tokens", "7")])).unwrap();
        let metadata = serde_json::json!({ "user": "ada", "x-mock-cut-after": "2" });
        let one = whole.with(&metadata).unwrap();
        assert_eq!((one.output_tokens, one.cut_after, whole.cut_after), (Some(7), Some(2), None));
        assert!(whole.with(&serde_json::json!({ "x-mock-cut": "1" })).is_err());
    }

    #[test]
    fn an_encoding_is_compulsory_unless_it_shall_be_accepted() {
        let cases = [
            ("br", "zstd", Some(Coding::Zstd)),
            ("br, gzip", "accepted", Some(Coding::Br)),
            ("identity", "accepted", None),
        ];
        for (accepted, wished, expected) in cases {
            let headers = headers(&[("accept-encoding", accepted), ("x-mock-encoding", wished)]);
            assert_eq!(Behaviour::from_headers(&headers).unwrap().encoding, expected, "{accepted}");
        }
    }
}
