//! A call with its parsed body.
//!
//! In: a body, or its length. Out: a [`ParsedCall`], or the refusal of an ambiguous one. Not here:
//! the formats (`api`).

use serde_json::value::RawValue;

use super::call::{Call, kind};
use super::context::Editable;
use super::effects::Effects;
use super::refusal::Refusal;
use crate::api::{Piece, Prompt, Request, Unread};
use crate::coding::{self, Encoding, Failure};
use crate::metrics;
use crate::reply;
use crate::settings::Config;

/// A call with its parsed request.
pub(super) struct ParsedCall<'a> {
    pub(super) request: Request<'a>,
    /// Its body, decoded, if it has arrived and is JSON.
    pub(super) body: Option<&'a [u8]>,
    /// The parts of the request that can still be changed.
    pub(super) editable: Editable,
    /// Whether its input is counted and not guessed.
    pub(super) is_exact: bool,
}

impl<'a> ParsedCall<'a> {
    /// Returns a call whose body is not read.
    pub(super) const fn unread(guess: Request<'a>) -> Self {
        Self { request: guess, body: None, editable: Editable::Nothing, is_exact: false }
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

    /// Reads a decoded body.
    ///
    /// # Errors
    /// The body names a member twice that decides the cost of the call.
    pub(super) fn read(
        call: &Call,
        body: &'a [u8],
        editable: Editable,
        effects: &mut Effects,
    ) -> Result<Self, Refusal<'static>> {
        let (request, json) = match read(call, body, effects)? {
            Some(request) => (request, Some(body)),
            None => {
                let is_json = serde_json::from_slice::<&RawValue>(body).is_ok();
                let text = Prompt(vec![Piece::Unread(body)]);
                (Request { prompt: text, ..Request::default() }, is_json.then_some(body))
            }
        };
        let is_fixed = call.is_signed || call.encoding != Encoding::Identity;
        let editable = if is_fixed { Editable::Nothing } else { editable };
        Ok(Self { request, body: json, editable, is_exact: true })
    }

    /// Returns whether the body can be changed.
    pub(super) fn is_editable(&self) -> bool {
        self.editable != Editable::Nothing
    }

    /// Returns the body, if it can be changed.
    pub(super) fn editable_body(&self) -> Option<&'a [u8]> {
        self.body.filter(|_| self.is_editable())
    }
}

/// Reads a decoded body in its format; `None` if it is malformed.
///
/// # Errors
/// The body names a member twice that decides the cost of the call.
pub(super) fn read<'a>(
    call: &Call,
    body: &'a [u8],
    effects: &mut Effects,
) -> Result<Option<Request<'a>>, Refusal<'static>> {
    match (call.format().read)(body) {
        Ok(request) => Ok(Some(request)),
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
