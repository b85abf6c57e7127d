//! Parses server-sent events.
//!
//! In: the bytes of a whole stream. Out: its events, and their combined text and usage for streams
//! of chat completions. Lines may end with LF, CR LF or CR (WHATWG HTML, "Server-sent events"). Not
//! here: reading while the stream runs (see [`super::Response::chunk`]).

use serde_json::Value;

/// A stream of events.
#[derive(Clone, Debug, Default)]
pub struct Transcript {
    /// The data of each event, in order.
    pub events: Vec<String>,
}

impl Transcript {
    /// Parses the events of `body`. An event without a closing empty line is ignored.
    #[must_use]
    pub fn parse(body: &[u8]) -> Self {
        let text = String::from_utf8_lossy(body).replace("\r\n", "\n").replace('\r', "\n");
        let mut events = Vec::new();
        let mut data: Vec<&str> = Vec::new();
        // Text after the last line end is not a line.
        let lines = text.rsplit_once('\n').map_or("", |(lines, _)| lines);
        for line in lines.trim_start_matches('\u{feff}').split('\n') {
            if let Some(rest) = line.strip_prefix("data:") {
                data.push(rest.strip_prefix(' ').unwrap_or(rest));
            } else if line.is_empty() && !data.is_empty() {
                events.push(core::mem::take(&mut data).join("\n"));
            }
        }
        Self { events }
    }

    /// Returns the events that are JSON.
    pub fn json(&self) -> impl Iterator<Item = Value> {
        self.events.iter().filter_map(|event| serde_json::from_str(event).ok())
    }

    /// Returns the joined text of choice `index`.
    #[must_use]
    pub fn text(&self, index: u64) -> String {
        self.choices(index)
            .filter_map(|choice| choice["delta"]["content"].as_str().map(str::to_owned))
            .collect()
    }

    /// Returns the finish reason of choice `index`, if it has one.
    #[must_use]
    pub fn finish_reason(&self, index: u64) -> Option<String> {
        self.choices(index).find_map(|choice| choice["finish_reason"].as_str().map(str::to_owned))
    }

    /// Returns the last usage that is not null.
    #[must_use]
    pub fn usage(&self) -> Option<Value> {
        self.json().map(|mut event| event["usage"].take()).filter(|usage| !usage.is_null()).last()
    }

    /// Returns whether the last event marks the stream as complete.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.events.last().is_some_and(|event| event == "[DONE]")
    }

    fn choices(&self, index: u64) -> impl Iterator<Item = Value> {
        self.json()
            .flat_map(|mut event| match event["choices"].take() {
                Value::Array(choices) => choices,
                _ => Vec::new(),
            })
            .filter(move |choice| choice["index"] == index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_line_ends_comments_and_joined_lines_are_understood() {
        for end in ["\n", "\r\n", "\r"] {
            let stream = [": comment", "id: 7", "data: a", "data:b", "", "data: [DONE]", "", ""].join(end);
            let transcript = Transcript::parse(stream.as_bytes());
            assert_eq!(transcript.events, ["a\nb", "[DONE]"], "{end:?}");
            assert!(transcript.is_done());
        }
    }

    #[test]
    fn an_event_that_was_cut_does_not_count() {
        assert_eq!(Transcript::parse(b"data: a\n\ndata: b\n").events, ["a"]);
    }

    #[test]
    fn deltas_are_joined_per_choice_and_the_last_usage_counts() {
        let stream = concat!(
            "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hel\"}}],\"usage\":null}\n\n",
            "data: {\"choices\":[{\"index\":1,\"delta\":{\"content\":\"No\"},\"finish_reason\":\"stop\"}]}\n\n",
            "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"lo\"}}]}\n\n",
            "data: {\"choices\":[],\"usage\":{\"total_tokens\":3}}\n\n",
        );
        let transcript = Transcript::parse(stream.as_bytes());
        assert_eq!((transcript.text(0), transcript.text(1)), ("Hello".to_owned(), "No".to_owned()));
        assert_eq!(transcript.finish_reason(1).as_deref(), Some("stop"));
        assert_eq!(transcript.usage().unwrap()["total_tokens"], 3);
    }
}
