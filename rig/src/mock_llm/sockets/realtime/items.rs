//! Events that change the items of the conversation.
//!
//! In: `conversation.item` events. Out: the events that answer them. Not here: counting
//! (`conversation.rs`).

use serde_json::{Value, json};

use super::conversation::Item;
use super::{Realtime, Refusal, Step, Tokens, openai, sound};

impl Realtime {
    pub(super) fn create_item(&mut self, event: &Value) -> Vec<Step> {
        let mut json = event["item"].clone();
        if !json["id"].is_string() {
            json["id"] = self.new_item_id().into();
        }
        let item = Item::of(json, self.counter, self.input_format());
        self.add_item(item)
    }

    pub(super) fn add_item(&mut self, item: Item) -> Vec<Step> {
        let (previous, json) = (self.conversation.last(), item.json.clone());
        self.conversation.add(item);
        let event = |kind: &str| json!({ "type": kind, "previous_item_id": previous, "item": json });
        let events = ["conversation.item.added", "conversation.item.done"].map(event);
        events.map(|event| self.send(event)).into()
    }

    pub(super) fn delete_item(&mut self, event: &Value) -> Result<Vec<Step>, Refusal> {
        let id = &event["item_id"];
        if !self.conversation.delete(id) {
            return Err(no_item(id));
        }
        Ok(vec![self.send(json!({ "type": "conversation.item.deleted", "item_id": id }))])
    }

    pub(super) fn retrieve_item(&mut self, event: &Value) -> Result<Vec<Step>, Refusal> {
        let id = &event["item_id"];
        let item = self.conversation.find(id).ok_or_else(|| no_item(id))?.json.clone();
        Ok(vec![self.send(json!({ "type": "conversation.item.retrieved", "item": item }))])
    }

    pub(super) fn truncate_item(&mut self, event: &Value) -> Result<Vec<Step>, Refusal> {
        let (id, end) = (&event["item_id"], openai::number(event, "audio_end_ms").unwrap_or(0));
        let item = self.conversation.find(id).ok_or_else(|| no_item(id))?;
        // The server keeps no transcript of sound that was cut.
        item.tokens = Tokens { audio: item.tokens.audio.min(sound::spoken(end)), ..Tokens::default() };
        Ok(vec![self.send(json!({
            "type": "conversation.item.truncated",
            "item_id": id,
            "content_index": event["content_index"],
            "audio_end_ms": end,
        }))])
    }
}

fn no_item(id: &Value) -> Refusal {
    Refusal("item_not_found", format!("There is no item with the id {id}."))
}
