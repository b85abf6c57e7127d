//! APIs that are spoken over an upgraded connection, such as a WebSocket, and have no form over
//! plain HTTP.
//!
//! In: a path. Out: whether an API is spoken there. Not here: the APIs, which stand with their
//! providers' formats; formats whose calls can come over a socket as well (`routes` knows their
//! paths); the messages on a socket.

use super::Dialect;
use super::path::Plain;

/// An API that is spoken over an upgraded connection: a row of [`SOCKETS`](super::SOCKETS).
#[derive(Debug)]
pub(super) struct Socket {
    /// The name in logs.
    pub(super) name: &'static str,
    /// Whose error bodies its clients understand.
    pub(super) dialect: Dialect,
    /// How its paths end, in lower case.
    pub(super) path_ends: &'static [&'static str],
}

impl Socket {
    /// Whether it is spoken at this path.
    pub(super) fn is_at(&self, path: &Plain) -> bool {
        self.path_ends.iter().any(|end| path.ends_with(end))
    }
}
