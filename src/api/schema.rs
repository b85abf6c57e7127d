//! Definitions of functions: as much of JSON Schema as a model is shown.
//!
//! In: JSON. Out: [`Function`]. Not here: its tokens. Used by the formats whose functions are OpenAI's.
//!
//! Source: OpenAI's guide "Function calling".

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::members::Text;
use super::{Function, Property};

#[derive(Deserialize)]
pub(super) struct FunctionDefinition<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    description: Option<Cow<'a, str>>,
    #[serde(borrow)]
    parameters: Option<Schema<'a>>,
}

impl<'a> From<FunctionDefinition<'a>> for Function<'a> {
    fn from(definition: FunctionDefinition<'a>) -> Self {
        let mut properties = Vec::new();
        if let Some(parameters) = definition.parameters {
            parameters.push_members_to(&mut properties);
        }
        Self { name: definition.name, description: definition.description.unwrap_or_default(), properties }
    }
}

/// As much of JSON Schema as a model is shown. The reader's depth limit bounds the nesting.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Schema<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow)]
    description: Option<Cow<'a, str>>,
    #[serde(borrow, rename = "enum")]
    choices: Option<Vec<&'a RawValue>>,
    #[serde(borrow, deserialize_with = "in_order")]
    properties: Vec<(Cow<'a, str>, Self)>,
    #[serde(borrow)]
    items: Option<Box<Self>>,
}

impl<'a> Schema<'a> {
    fn push_members_to(self, properties: &mut Vec<Property<'a>>) {
        for (name, schema) in self.properties {
            schema.push_to(name, properties);
        }
        if let Some(items) = self.items {
            items.push_to(Cow::Borrowed(""), properties);
        }
    }

    fn push_to(mut self, name: Cow<'a, str>, properties: &mut Vec<Property<'a>>) {
        properties.push(Property {
            name,
            kind: self.kind.map(unquoted).unwrap_or_default(),
            description: self.description.take().unwrap_or_default(),
            choices: self.choices.take().unwrap_or_default().into_iter().map(unquoted).collect(),
        });
        self.push_members_to(properties);
    }
}

/// A string's text; any other value as it is written.
fn unquoted(raw: &RawValue) -> Cow<'_, str> {
    serde_json::from_str::<Text<'_>>(raw.get()).map_or_else(|_| Cow::Borrowed(raw.get()), |Text(text)| text)
}

/// An object's members in the order they are written in.
fn in_order<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<(Cow<'de, str>, Schema<'de>)>, D::Error> {
    struct InOrder;

    impl<'de> serde::de::Visitor<'de> for InOrder {
        type Value = Vec<(Cow<'de, str>, Schema<'de>)>;

        fn expecting(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
            f.write_str("an object of schemas")
        }

        fn visit_map<A: serde::de::MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
            let mut found = Vec::new();
            while let Some((Text(name), schema)) = members.next_entry()? {
                found.push((name, schema));
            }
            Ok(found)
        }
    }

    deserializer.deserialize_map(InOrder)
}
