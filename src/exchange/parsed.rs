//! A call with its body: what it asks for, as far as the body can be read.
//!
//! In: a body, or its length. Out: a [`ParsedCall`], or a refusal of one that is ambiguous. Not
//! here: how a format is read (`api`).

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

/// A call with what it asks for.
pub(super) struct ParsedCall<'a> {
    pub(super) request: Request<'a>,
    /// The outline of its body, decoded, if it is there and is JSON.
    pub(super) outline: Option<Outline<'a>>,
    /// Whether its body is UTF-8.
    pub(super) is_utf8: bool,
    /// Which parts of the request can still be changed.
    pub(super) editable: Editable,
    /// Whether its input is counted, rather than guessed.
    pub(super) is_exact: bool,
}

impl<'a> ParsedCall<'a> {
    /// A call whose body is not read.
    pub(super) const fn unread(guess: Request<'a>) -> Self {
        Self { request: guess, outline: None, is_utf8: false, editable: Editable::Nothing, is_exact: false }
    }

    /// A guess at a call by the length of its body. Compressed JSON has about as many bytes as
    /// tokens.
    pub(super) fn guessed(call: &Call, bytes: u64) -> Self {
        let mut guess = (call.format().guess)(bytes);
        if call.encoding != Encoding::Identity {
            guess.prompt = Prompt(vec![Piece::Tokens(bytes)]);
        }
        Self::unread(guess)
    }

    /// Reads a body, which has been decoded, and its text. Bytes that are not UTF-8 are U+FFFD in
    /// the text, as most servers read them; such a body is not changed.
    ///
    /// # Errors
    /// The body names a member twice that decides what the call costs.
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

    /// The body, if it is there and is JSON.
    pub(super) fn body(&self) -> &'a [u8] {
        self.outline.as_ref().map_or(b"", |outline| outline.body().as_bytes())
    }

    /// Whether the body can be changed.
    pub(super) fn is_editable(&self) -> bool {
        self.editable != Editable::Nothing
    }

    /// The outline of a body that can be changed.
    pub(super) fn editable_outline(&self) -> Option<&Outline<'a>> {
        self.outline.as_ref().filter(|_| self.is_editable())
    }
}

/// Returns what was read of a body; none if it is malformed, which is counted.
///
/// # Errors
/// The body names a member twice that decides what the call costs.
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
/// The number of bytes to guess by, of a body that cannot be decoded.
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
