//! APIs that run over an upgraded connection, such as a WebSocket, and have no form over plain
//! HTTP.
//!
//! In: a path. Out: whether it belongs to such an API. Not here: the APIs, which are with their
//! providers' formats; formats whose calls can also use a socket (`routes` knows their paths); the
//! messages on a socket.

use super::Dialect;
use super::path::Plain;

/// An API that runs over an upgraded connection: a row of [`SOCKETS`](super::SOCKETS).
#[derive(Debug)]
pub(super) struct Socket {
    /// The name in logs.
    pub(super) name: &'static str,
    /// The error bodies that its clients understand.
    pub(super) dialect: Dialect,
    /// The ends of its paths, in lower case.
    pub(super) path_ends: &'static [&'static str],
}

impl Socket {
    /// Returns whether this path belongs to the API.
    pub(super) fn is_at(&self, path: &Plain) -> bool {
        self.path_ends.iter().any(|end| path.ends_with(end))
    }
}
