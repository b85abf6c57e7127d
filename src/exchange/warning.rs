//! Warnings to operators, logged once per process.
//!
//! In: an observation. Out: a [`Warning`]: its topic, and a sentence with the present number and
//! the one to set. Not here: whether another worker has already logged it (`host`).

use core::fmt;

use crate::identity::Head;
use crate::store::{MOST_PLACES, Occupancy};

/// A warning to operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Warning {
    /// Three quarters of the places for budgets are taken.
    TableFilling(Occupancy),
    /// Envoy has answered 413 to a held call, because its buffer is smaller than the body.
    BufferTooSmall {
        /// The body's length as far as the host knows it: the `content-length`, or the bytes
        /// received.
        size: Option<u64>,
        /// The largest body that is held, in bytes.
        hold_up_to: u64,
    },
}

impl Warning {
    /// Returns a warning if this answer is Envoy's own, for a body larger than its buffer.
    pub(super) fn of_small_buffer(status: u16, head: &dyn Head, hold_up_to: u64) -> Option<Self> {
        let details = || head.property(&["response", "code_details"]);
        let is_too_large = status == 413 && details().as_deref() == Some(TOO_LARGE);
        is_too_large.then(|| Self::BufferTooSmall { size: request_size(head), hold_up_to })
    }

    /// Returns its topic. A process warns of a topic once; an enlarged table is another topic.
    #[must_use]
    pub fn topic(&self) -> String {
        match self {
            Self::TableFilling(Occupancy { places, .. }) => format!("table/{places}"),
            Self::BufferTooSmall { .. } => "buffer".to_owned(),
        }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TableFilling(Occupancy { taken, places }) => {
                write!(
                    f,
                    "{taken} of {places} places for budgets are taken. A caller that finds no place shares a budget \
                     with others, and can be refused for what they have spent. "
                )?;
                match places.saturating_mul(2) {
                    larger if larger <= MOST_PLACES => write!(f, "Set `table_size: {larger}`."),
                    _ => f.write_str(
                        "This is the largest table: count limits per fewer dimensions, or over shorter windows.",
                    ),
                }
            }
            Self::BufferTooSmall { size, hold_up_to } => {
                f.write_str("Envoy answered 413 to a call ")?;
                if let Some(size) = size {
                    write!(f, "with a body of {size} bytes or more ")?;
                }
                write!(
                    f,
                    "because its buffer is smaller, while Tollgate held the call to count it; Tollgate holds bodies of \
                     up to {hold_up_to} bytes. Raise `per_connection_buffer_limit_bytes` of the listener or \
                     `request_body_buffer_limit` of the route (over HTTP/2, `initial_stream_window_size`; in Envoy \
                     Gateway, `connection.bufferLimit` of a ClientTrafficPolicy), and set `counting.hold_up_to` to \
                     the same number: longer bodies are let through on a guess."
                )
            }
        }
    }
}

/// Envoy's response code details of its own answer to a body that is larger than its buffer
/// (`%RESPONSE_CODE_DETAILS%`).
const TOO_LARGE: &[u8] = b"request_payload_too_large";

/// Reads Envoy's attribute `request.size`: the `content-length`, or the bytes received.
fn request_size(head: &dyn Head) -> Option<u64> {
    let size = head.property(&["request", "size"])?;
    Some(u64::from_le_bytes(size.try_into().ok()?)).filter(|size| *size > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filling_table_is_told_with_the_number_to_set() {
        let warning = Warning::TableFilling(Occupancy { taken: 800_000, places: 1 << 20 });
        assert_eq!(warning.topic(), "table/1048576");
        let text = warning.to_string();
        assert!(text.starts_with("800000 of 1048576 places for budgets are taken. "), "{text}");
        assert!(text.ends_with("Set `table_size: 2097152`."), "{text}");
        let largest = Occupancy { taken: MOST_PLACES, places: MOST_PLACES };
        assert!(Warning::TableFilling(largest).to_string().contains("This is the largest table"));
    }

    #[test]
    fn a_small_buffer_is_told_with_the_size_that_did_not_fit() {
        let text = |size| Warning::BufferTooSmall { size, hold_up_to: 1 << 20 }.to_string();
        assert!(text(Some(60_000)).starts_with(
            "Envoy answered 413 to a call with a body of 60000 bytes or more because its buffer is smaller"
        ));
        assert!(text(None).starts_with("Envoy answered 413 to a call because its buffer is smaller"));
        for option in
            ["per_connection_buffer_limit_bytes", "request_body_buffer_limit", "bufferLimit", "hold_up_to"]
        {
            assert!(text(None).contains(option), "{option}");
        }
    }
}
