//! Definitions of functions: the parts of JSON Schema that a model sees.
//!
//! In: JSON. Out: [`Function`]. Not here: its tokens. The formats with OpenAI's functions use it.
//!
//! Source: OpenAI's guide "Function calling".

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::raw::{Pairs, Text, as_text};
use super::{Function, Property};

#[derive(Deserialize)]
pub(super) struct FunctionDefinition<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    description: Option<Text<'a>>,
    #[serde(borrow)]
    parameters: Option<Schema<'a>>,
}

impl<'a> From<FunctionDefinition<'a>> for Function<'a> {
    fn from(definition: FunctionDefinition<'a>) -> Self {
        let mut properties = Vec::new();
        if let Some(parameters) = definition.parameters {
            parameters.push_members_to(&mut properties);
        }
        Self {
            name: definition.name,
            description: definition.description.map(|Text(text)| text).unwrap_or_default(),
            properties,
        }
    }
}

/// The parts of JSON Schema that a model sees. The parser's depth limit bounds the nesting.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Schema<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow)]
    description: Option<Text<'a>>,
    #[serde(borrow, rename = "enum")]
    choices: Option<Vec<&'a RawValue>>,
    #[serde(borrow)]
    properties: Pairs<Text<'a>, Self>,
    #[serde(borrow)]
    items: Option<Box<Self>>,
}

impl<'a> Schema<'a> {
    fn push_members_to(self, properties: &mut Vec<Property<'a>>) {
        for (Text(name), schema) in self.properties.0 {
            schema.push_to(name, properties);
        }
        if let Some(items) = self.items {
            items.push_to(Cow::Borrowed(""), properties);
        }
    }

    fn push_to(mut self, name: Cow<'a, str>, properties: &mut Vec<Property<'a>>) {
        let choices = self.choices.take().unwrap_or_default();
        properties.push(Property {
            name,
            kind: self.kind.map(RawValue::get).map(as_text).unwrap_or_default(),
            description: self.description.take().map(|Text(text)| text).unwrap_or_default(),
            choices: choices.into_iter().map(RawValue::get).map(as_text).collect(),
        });
        self.push_members_to(properties);
    }
}
