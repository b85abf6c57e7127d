//! The conversation of a Realtime session, and its tokens.
//!
//! In: items as clients send them. Out: items as the server repeats them (without sound), and the
//! tokens of all of them by modality. Text counts by the tokenizer of gpt-4o without overhead,
//! sound by its length, an image [`IMAGE_TOKENS`]. Not here: truncation of long conversations.

use serde_json::{Value, json};

use super::sound::{self, Format};
use crate::mock_llm::sockets::modality::Tokens;
use crate::mock_llm::tokens::Counter;

/// The tokens of any image; the real number depends on its size.
const IMAGE_TOKENS: usize = 85;

/// An item of a conversation.
#[derive(Clone, Debug)]
pub(super) struct Item {
    /// As the server repeats it.
    pub(super) json: Value,
    pub(super) tokens: Tokens,
    /// Whether a response has read it, so that the next one reads it from a cache.
    pub(super) read: bool,
}

impl Item {
    /// Returns the item that a client sent.
    pub(super) fn of(mut json: Value, counter: Counter, input: Format) -> Self {
        let text = |value: &Value| value.as_str().map_or(0, |text| counter.text(text));
        let mut tokens = Tokens::default();
        for part in json["content"].as_array_mut().into_iter().flatten() {
            match part["type"].as_str() {
                Some("input_audio") => {
                    let bytes = sound::decoded(&part["audio"]).unwrap_or(0);
                    tokens.audio += sound::heard(input.milliseconds(bytes));
                }
                Some("input_image") => tokens.image += IMAGE_TOKENS,
                _ => tokens.text += text(&part["text"]) + text(&part["transcript"]),
            }
            if let Some(part) = part.as_object_mut() {
                part.remove("audio");
            }
        }
        for name in ["name", "arguments", "output"] {
            tokens.text += text(&json[name]);
        }
        json["object"] = "realtime.item".into();
        json["status"] = "completed".into();
        Self { json, tokens, read: false }
    }

    /// Returns a user's message of sound.
    pub(super) fn spoken(id: &str, milliseconds: usize) -> Self {
        let json = json!({
            "id": id,
            "object": "realtime.item",
            "type": "message",
            "status": "completed",
            "role": "user",
            "content": [{ "type": "input_audio", "transcript": null }],
        });
        let tokens = Tokens { audio: sound::heard(milliseconds), ..Tokens::default() };
        Self { json, tokens, read: false }
    }

    pub(super) fn id(&self) -> &str {
        self.json["id"].as_str().unwrap_or_default()
    }
}

/// The items of a session so far.
#[derive(Default)]
pub(super) struct Conversation {
    items: Vec<Item>,
}

impl Conversation {
    /// Adds an item at the end.
    pub(super) fn add(&mut self, item: Item) {
        self.items.push(item);
    }

    /// Returns the id of the last item.
    pub(super) fn last(&self) -> Value {
        self.items.last().map_or(Value::Null, |item| item.id().into())
    }

    pub(super) fn find(&mut self, id: &Value) -> Option<&mut Item> {
        self.items.iter_mut().find(|item| *id == *item.id())
    }

    /// Removes an item. Returns whether there was one.
    pub(super) fn delete(&mut self, id: &Value) -> bool {
        let before = self.items.len();
        self.items.retain(|item| *id != *item.id());
        self.items.len() < before
    }

    /// Reads all items: returns their tokens, and those that were read before.
    pub(super) fn read(&mut self) -> (Tokens, Tokens) {
        let (mut all, mut cached) = (Tokens::default(), Tokens::default());
        for item in &mut self.items {
            all += item.tokens;
            if core::mem::replace(&mut item.read, true) {
                cached += item.tokens;
            }
        }
        (all, cached)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_counts_by_modality_and_is_cached_once_it_was_read() {
        let counter = Counter::for_model("gpt-realtime");
        let sound = Format::Pcm.silence(1_000);
        let item = json!({ "id": "a", "type": "message", "role": "user", "content": [
            { "type": "input_text", "text": "Hello there" },
            { "type": "input_audio", "audio": sound },
            { "type": "input_image", "image_url": "data:image/png;base64,AA==" },
        ]});
        let mut conversation = Conversation::default();
        conversation.add(Item::of(item, counter, Format::Pcm));

        let expected = Tokens { text: 2, audio: 10, image: IMAGE_TOKENS };
        assert_eq!(conversation.read(), (expected, Tokens::default()));
        conversation.add(Item::spoken("b", 100));
        assert_eq!(conversation.read(), (expected + Tokens { audio: 1, ..Tokens::default() }, expected));
        assert_eq!(conversation.find(&"a".into()).unwrap().json["content"][1].get("audio"), None);
    }
}
