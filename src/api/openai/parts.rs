//! Content of messages and tool results: text, or a list of parts.
//!
//! In: raw JSON. Out: pieces of a prompt, and whether the prompt has content outside the request.
//! Not here: which members of a request have content (the formats).
//!
//! Source: OpenAI's API reference, "Create chat completion" (`content`) and "Create a model
//! response" (`input`); for `video_url` and `audio_url` vLLM's "Multimodal Inputs"; for audio as a
//! bare string Mistral's "Audio & Transcription".

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::api::media::{SOUND_ELSEWHERE, decoded_len, is_raw_sound, len_in_data_url};
use crate::api::raw::{Text, written};
use crate::api::{Image, Piece, Quoted, Unread};

/// A prompt, as far as it has been read.
#[derive(Default)]
pub(super) struct Reading<'a> {
    /// The pieces so far.
    pub(super) pieces: Vec<Piece<'a>>,
    /// Whether some of it is elsewhere: behind an id, at an address, with a provider's own tool.
    pub(super) more: bool,
}

impl<'a> Reading<'a> {
    /// Adds texts.
    pub(super) fn texts(&mut self, texts: impl IntoIterator<Item = Text<'a>>) {
        self.pieces.extend(texts.into_iter().map(Piece::from));
    }

    /// Adds a value as its JSON text.
    pub(super) fn written(&mut self, raw: &'a str) {
        self.pieces.push(written(raw));
    }

    /// Adds a content: text, or a list of parts.
    ///
    /// # Errors
    /// [`Unread::Malformed`] if it is neither.
    pub(super) fn content(&mut self, raw: &'a str) -> Result<(), Unread> {
        if raw.starts_with('[') {
            let parts: Vec<&RawValue> = serde_json::from_str(raw).map_err(|_| Unread::Malformed)?;
            parts.into_iter().for_each(|part| self.part(part.get()));
            return Ok(());
        }
        self.pieces.push(Quoted::of(raw).ok_or(Unread::Malformed)?.into());
        Ok(())
    }

    /// Adds one part: everything in it that a model could read, regardless of its stated kind. A
    /// part of an unknown kind counts as its JSON text.
    pub(super) fn part(&mut self, raw: &'a str) {
        let part: Part<'a> = serde_json::from_str(raw).unwrap_or_default();
        let before = self.pieces.len();
        self.pieces.extend(part.text.map(Piece::from));
        self.texts(part.refusal);
        let detail = part.detail.as_ref().map(Text::as_str);
        self.pieces.extend(part.image_url.map(|image| Piece::Image(image.image(detail))));
        self.pieces.extend(part.input_audio.map(Sound::piece));
        self.pieces.extend(part.audio_url.map(|sound| match len_in_data_url(sound.url()) {
            Some(bytes) => Piece::Audio { bytes, raw: false },
            None => SOUND_ELSEWHERE,
        }));
        self.pieces.extend(part.video_url.map(|video| Piece::Video { bytes: len_in_data_url(video.url()) }));
        let flat = File { file_data: part.file_data, file_id: part.file_id, file_url: part.file_url };
        for file in [part.file, Some(flat)].into_iter().flatten().filter(File::is_there) {
            self.more |= file.file_data.is_none();
            self.pieces.push(Piece::File { bytes: file.file_data.map(|Text(data)| decoded_len(&data)) });
        }
        if self.pieces.len() == before {
            self.written(raw);
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Part<'a> {
    #[serde(borrow)]
    text: Option<Quoted<'a>>,
    #[serde(borrow)]
    refusal: Option<Text<'a>>,
    #[serde(borrow)]
    image_url: Option<Url<'a>>,
    #[serde(borrow)]
    detail: Option<Text<'a>>,
    #[serde(borrow)]
    input_audio: Option<Sound<'a>>,
    #[serde(borrow)]
    audio_url: Option<Url<'a>>,
    #[serde(borrow)]
    video_url: Option<Url<'a>>,
    #[serde(borrow)]
    file: Option<File<'a>>,
    #[serde(borrow)]
    file_data: Option<Text<'a>>,
    #[serde(borrow)]
    file_id: Option<Text<'a>>,
    #[serde(borrow)]
    file_url: Option<Text<'a>>,
}

/// An address: an object in chat completions, a string in Responses and in many servers that
/// imitate either.
#[derive(Deserialize)]
#[serde(untagged)]
enum Url<'a> {
    Object {
        #[serde(borrow)]
        url: Cow<'a, str>,
        #[serde(borrow)]
        detail: Option<Text<'a>>,
    },
    Bare(#[serde(borrow)] Cow<'a, str>),
}

impl Url<'_> {
    fn url(&self) -> &str {
        match self {
            Self::Object { url, .. } | Self::Bare(url) => url,
        }
    }

    fn image(&self, beside: Option<&str>) -> Image {
        match self {
            Self::Object { url, detail } => Image::at(url, detail.as_ref().map(Text::as_str).or(beside)),
            Self::Bare(url) => Image::at(url, beside),
        }
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Sound<'a> {
    Object {
        #[serde(borrow)]
        data: Cow<'a, str>,
        #[serde(borrow)]
        format: Option<Text<'a>>,
    },
    Bare(#[serde(borrow)] Cow<'a, str>),
}

impl Sound<'_> {
    fn piece(self) -> Piece<'static> {
        let (data, format) = match &self {
            Self::Object { data, format } => (data, format.as_ref().map(Text::as_str)),
            Self::Bare(data) => (data, None),
        };
        Piece::Audio { bytes: decoded_len(data), raw: format.is_some_and(is_raw_sound) }
    }
}

#[derive(Deserialize)]
struct File<'a> {
    #[serde(borrow)]
    file_data: Option<Text<'a>>,
    #[serde(borrow)]
    file_id: Option<Text<'a>>,
    #[serde(borrow)]
    file_url: Option<Text<'a>>,
}

impl File<'_> {
    const fn is_there(&self) -> bool {
        self.file_data.is_some() || self.file_id.is_some() || self.file_url.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(content: &str) -> (Vec<Piece<'_>>, bool) {
        let mut reading = Reading::default();
        reading.content(content).unwrap();
        (reading.pieces, reading.more)
    }

    #[test]
    fn parts_of_both_apis_and_of_other_servers_are_read() {
        let picture = |low_detail| Piece::Image(Image { size: None, low_detail });
        let parts = r#"[{"type":"input_text","text":"a"},{"type":"input_image","image_url":"https://x/y","detail":"low"},
            {"type":"image_url","image_url":{"url":"https://x/y","detail":"high"}},{"type":"input_audio","input_audio":"AAAAAAAA"},
            {"type":"audio_url","audio_url":{"url":"https://x/y.mp3"}},{"type":"video_url","video_url":{"url":"https://x/y.mp4"}},
            {"type":"video_url","video_url":"data:AAAA"},{"type":"input_file","filename":"x.pdf","file_data":"AAAAAAAAAAAA"}]"#;
        let expected = [
            Piece::Text("a".into()),
            picture(true),
            picture(false),
            Piece::Audio { bytes: 6, raw: false },
            SOUND_ELSEWHERE,
            Piece::Video { bytes: None },
            Piece::Video { bytes: Some(6) },
            Piece::File { bytes: Some(9) },
        ];
        assert_eq!(read(parts), (expected.into(), false));
    }

    #[test]
    fn a_file_behind_an_id_or_an_address_is_elsewhere() {
        for part in [
            r#"{"type":"file","file":{"file_id":"file-1"}}"#,
            r#"{"type":"input_file","file_id":"file-1"}"#,
            r#"{"type":"input_file","file_url":"https://x/y.pdf"}"#,
            r#"{"type":"input_image","file_id":"file-1"}"#,
        ] {
            assert_eq!(read(&format!("[{part}]")), (vec![Piece::File { bytes: None }], true), "{part}");
        }
    }

    #[test]
    fn a_content_that_is_neither_text_nor_parts_is_malformed() {
        for content in ["7", "{}", "true"] {
            assert_eq!(Reading::default().content(content), Err(Unread::Malformed), "{content}");
        }
    }
}
