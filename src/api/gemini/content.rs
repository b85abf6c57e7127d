//! `Content` and its parts: one turn of a conversation.
//!
//! In: raw JSON. Out: [`Piece`]s. Not here: the members around the contents (`request`).
//!
//! Source: Google's "Gemini API reference", "Content", "Part"; the guide "Understand and count
//! tokens", by whose examples a turn's role costs nothing beyond its frame. An unknown member
//! counts as its raw JSON text.

use std::borrow::Cow;

use crate::api::media::{SOUND_ELSEWHERE, decoded_len, is_raw_sound};
use crate::api::raw::{as_text, entries, items, string, text};
use crate::api::{Image, Piece, Unread};

/// The contents of a request that have been read so far.
#[derive(Default)]
pub(super) struct Contents<'a> {
    pub(super) pieces: Vec<Piece<'a>>,
    /// Whether the request names files without containing them.
    pub(super) more_input: bool,
    /// Whether images have low resolution, unless a part overrides it.
    pub(super) low_resolution: bool,
}

impl<'a> Contents<'a> {
    /// Adds one content, or a list of them.
    ///
    /// # Errors
    /// [`Unread::Malformed`] if one is not an object.
    pub(super) fn push_all(&mut self, raw: &'a str) -> Result<(), Unread> {
        items(raw).into_iter().try_for_each(|content| {
            self.pieces.push(Piece::Message);
            self.push_unframed(content)
        })
    }

    /// Adds one content that is not a turn of a conversation and has no frame.
    ///
    /// # Errors
    /// [`Unread::Malformed`] if it is not an object.
    pub(super) fn push_unframed(&mut self, raw: &'a str) -> Result<(), Unread> {
        let members = entries(raw).ok_or(Unread::Malformed)?;
        for (name, value) in members {
            match &*name {
                "parts" => items(value).into_iter().for_each(|part| self.push_part(part)),
                "role" => {}
                _ => self.push_unknown(name, value),
            }
        }
        Ok(())
    }

    fn push_part(&mut self, raw: &'a str) {
        let Some(members) = entries(raw) else {
            self.pieces.push(text(raw));
            return;
        };
        let low_resolution = asks_for_low_resolution(&members).unwrap_or(self.low_resolution);
        for (name, value) in members {
            match &*name {
                "text" => self.pieces.push(text(value)),
                "inlineData" | "inline_data" => self.push_inline(value, low_resolution),
                "fileData" | "file_data" => self.push_file(value, low_resolution),
                "functionCall" | "function_call" => {
                    self.pieces.push(Piece::ToolCall);
                    self.push_members(value);
                }
                "functionResponse" | "function_response" => self.push_members(value),
                "executableCode" | "executable_code" | "codeExecutionResult" | "code_execution_result" => {
                    self.push_members(value);
                }
                // Instructions for reading the part, and the signature of a thought, which is not
                // text.
                "thought" | "thoughtSignature" | "thought_signature" | "videoMetadata" | "video_metadata"
                | "mediaResolution" | "media_resolution" | "partMetadata" | "part_metadata" => {}
                _ => self.push_unknown(name, value),
            }
        }
    }

    /// Pushes the members of a call, a response or code, without the id; they include the media
    /// that a response can carry.
    fn push_members(&mut self, raw: &'a str) {
        let Some(members) = entries(raw) else {
            self.pieces.push(text(raw));
            return;
        };
        for (name, value) in members {
            match &*name {
                "id" => {}
                "parts" => items(value).into_iter().for_each(|part| self.push_media(part)),
                _ => self.pieces.push(text(value)),
            }
        }
    }

    /// Pushes a part of a function's response.
    fn push_media(&mut self, raw: &'a str) {
        for (name, value) in entries(raw).unwrap_or_default() {
            match &*name {
                "inlineData" | "inline_data" => self.push_inline(value, self.low_resolution),
                "fileData" | "file_data" => self.push_file(value, self.low_resolution),
                _ => self.push_unknown(name, value),
            }
        }
    }

    fn push_inline(&mut self, raw: &'a str, low_resolution: bool) {
        let Blob { kind, data } = Blob::read(raw);
        let bytes = data.as_deref().map_or(0, decoded_len);
        self.pieces.push(match kind {
            Kind::Image => Piece::Image(Image::in_base64(
                data.as_deref().unwrap_or_default(),
                low_resolution.then_some("low"),
            )),
            Kind::Audio { raw } => Piece::Audio { bytes, raw },
            Kind::Video => Piece::Video { bytes: Some(bytes) },
            Kind::Text => Piece::Unseen { bytes },
            Kind::File => Piece::File { bytes: Some(bytes) },
        });
    }

    fn push_file(&mut self, raw: &'a str, low_resolution: bool) {
        self.pieces.push(match Blob::read(raw).kind {
            Kind::Image => Piece::Image(Image { size: None, low_detail: low_resolution }),
            kind => {
                self.more_input = true;
                match kind {
                    Kind::Audio { .. } => SOUND_ELSEWHERE,
                    Kind::Video => Piece::Video { bytes: None },
                    Kind::Text | Kind::File | Kind::Image => Piece::File { bytes: None },
                }
            }
        });
    }

    fn push_unknown(&mut self, name: Cow<'a, str>, value: &'a str) {
        self.pieces.extend([Piece::Text(name), text(value)]);
    }
}

/// Reads the resolution that a part requests: a word, or for newer models an object around one.
fn asks_for_low_resolution(members: &[(Cow<'_, str>, &str)]) -> Option<bool> {
    let named = |name: &str| matches!(name, "mediaResolution" | "media_resolution");
    let (_, resolution) = members.iter().find(|(name, _)| named(name))?;
    Some(is_low_resolution(resolution))
}

/// Returns whether this is the lowest `MediaResolution`.
pub(super) fn is_low_resolution(raw: &str) -> bool {
    let level = entries(raw).and_then(|members| members.into_iter().find(|(name, _)| name == "level"));
    string(level.map_or(raw, |(_, level)| level)).as_deref() == Some("MEDIA_RESOLUTION_LOW")
}

/// The media in a part: their kind, and the base64 if present.
struct Blob<'a> {
    kind: Kind,
    data: Option<Cow<'a, str>>,
}

enum Kind {
    Image,
    Audio { raw: bool },
    Video,
    Text,
    File,
}

impl<'a> Blob<'a> {
    fn read(raw: &'a str) -> Self {
        let mut blob = Self { kind: Kind::File, data: None };
        for (name, value) in entries(raw).unwrap_or_default() {
            match &*name {
                "mimeType" | "mime_type" => blob.kind = Kind::of(&as_text(value)),
                "data" => blob.data = string(value),
                _ => {}
            }
        }
        blob
    }
}

impl Kind {
    /// Returns the kind for a media type; an unknown type is a document.
    fn of(media_type: &str) -> Self {
        let media_type = media_type.trim_start().to_ascii_lowercase();
        match media_type.split_once('/') {
            Some(("image", _)) => Self::Image,
            Some(("audio", kind)) => {
                let kind = kind.split(';').next().unwrap_or_default().trim_end();
                Self::Audio { raw: is_raw_sound(kind) }
            }
            Some(("video", _)) => Self::Video,
            Some(("text", _)) => Self::Text,
            _ => Self::File,
        }
    }
}
