//! A call with its parsed body.
//!
//! In: a body, or its length. Out: a [`ParsedCall`], or the refusal of an ambiguous one. Not here:
//! the formats (`api`).

use std::borrow::Cow;

use super::call::{Call, kind};
use super::context::Editable;
use super::effects::Effects;
use super::refusal::Refusal;
use crate::api::{Outline, Piece, Prompt, Request, Unread};
use crate::coding::{self, Encoding, Failure};
use crate::metrics;
use crate::reply;
use crate::settings::Config;

/// A call with its parsed request.
pub(super) struct ParsedCall<'a> {
    pub(super) request: Request<'a>,
    /// The outline of its decoded body, if that has arrived and is JSON.
    pub(super) outline: Option<Outline<'a>>,
    /// Whether its body is UTF-8.
    pub(super) is_utf8: bool,
    /// The parts of the request that can still be changed.
    pub(super) editable: Editable,
    /// Whether its input is counted and not guessed.
    pub(super) is_exact: bool,
}

impl<'a> ParsedCall<'a> {
    /// Returns a call whose body is not read.
    pub(super) const fn unread(guess: Request<'a>) -> Self {
        Self { request: guess, outline: None, is_utf8: false, editable: Editable::Nothing, is_exact: false }
    }

    /// Returns a guess by the length of the body. Compressed JSON has about as many bytes as
    /// tokens.
    pub(super) fn guessed(call: &Call, bytes: u64) -> Self {
        let mut guess = (call.format().guess)(bytes);
        if call.encoding != Encoding::Identity {
            guess.prompt = Prompt(vec![Piece::Tokens(bytes)]);
        }
        Self::unread(guess)
    }

    /// Reads a decoded body and its text. The text has U+FFFD for bytes that are not UTF-8, as most
    /// servers read them; such a body is not changed.
    ///
    /// # Errors
    /// The body names a member twice that decides the cost of the call.
    pub(super) fn read(
        call: &Call,
        body: &'a [u8],
        text: &'a Cow<'a, str>,
        editable: Editable,
        effects: &mut Effects,
    ) -> Result<Self, Refusal<'static>> {
        let is_utf8 = matches!(text, Cow::Borrowed(_));
        let is_fixed = call.is_signed || call.encoding != Encoding::Identity || !is_utf8;
        let editable = if is_fixed { Editable::Nothing } else { editable };
        let outline = Outline::of(text);
        let read = outline.as_ref().map_err(Clone::clone).and_then(call.format().read);
        let request = or_malformed(call, read, effects)?
            .unwrap_or_else(|| Request { prompt: Prompt(vec![Piece::Unread(body)]), ..Request::default() });
        Ok(Self { request, outline: outline.ok(), is_utf8, editable, is_exact: true })
    }

    /// Returns the body, if it has arrived and is JSON; otherwise no bytes.
    pub(super) fn body(&self) -> &'a [u8] {
        self.outline.as_ref().map_or(b"", |outline| outline.body().as_bytes())
    }

    /// Returns whether the body can be changed.
    pub(super) fn is_editable(&self) -> bool {
        self.editable != Editable::Nothing
    }

    /// Returns the outline of the body, if the body can be changed.
    pub(super) fn editable_outline(&self) -> Option<&Outline<'a>> {
        self.outline.as_ref().filter(|_| self.is_editable())
    }
}

/// Returns the parsed value of a body. Counts a malformed body and returns `None`.
///
/// # Errors
/// The body names a member twice that decides the cost of the call.
pub(super) fn or_malformed<T>(
    call: &Call,
    read: Result<T, Unread>,
    effects: &mut Effects,
) -> Result<Option<T>, Refusal<'static>> {
    match read {
        Ok(read) => Ok(Some(read)),
        Err(Unread::Ambiguous { member }) => {
            Err(Refusal::BadRequest(Box::new(reply::ambiguous(call.format().dialect, member))))
        }
        Err(Unread::Malformed) => {
            effects.count(&metrics::UNREAD, &kind("malformed"), 1);
            Ok(None)
        }
    }
}

/// Decodes a body.
///
/// # Errors
/// Returns the number of bytes to guess by, if the body cannot be decoded.
pub(super) fn decoded(
    call: &Call,
    body: &[u8],
    config: &Config,
    effects: &mut Effects,
) -> Result<Vec<u8>, u64> {
    let bound = config.counting.decode_up_to;
    let decoded = coding::decode_whole(&call.encoding, body, usize::try_from(bound).unwrap_or(usize::MAX));
    decoded.map_err(|failure| {
        let (why, bytes) = match failure {
            Failure::TooLarge { .. } => ("oversize", bound),
            Failure::Unknown | Failure::Broken { .. } => ("encoded", body.len() as u64),
        };
        effects.count(&metrics::UNREAD, &kind(why), 1);
        bytes
    })
}
