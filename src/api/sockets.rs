//! APIs that are spoken over an upgraded connection, such as a WebSocket, and have no form over
//! plain HTTP.
//!
//! In: a path. Out: a row of [`SOCKETS`]. Not here: formats whose calls can come over a socket as
//! well (`routes` knows their paths), what passes over a socket.
//!
//! Sources: OpenAI's guides "Realtime API with WebSocket" and "Realtime translation", Azure's
//! "Realtime API reference"; Google's "Live API - WebSockets API reference", and "Lyria RealTime"
//! for music.

use super::Dialect;
use super::path::Plain;

/// An API that is spoken over an upgraded connection.
#[derive(Debug)]
pub(super) struct Socket {
    /// The name in logs.
    pub(super) name: &'static str,
    /// Whose error bodies its clients understand.
    pub(super) dialect: Dialect,
    /// How its paths end, in lower case.
    path_ends: &'static [&'static str],
}

const SOCKETS: [Socket; 2] = [
    Socket {
        name: "openai_realtime",
        dialect: Dialect::OpenAi,
        path_ends: &["/realtime", "/realtime/translations"],
    },
    Socket {
        name: "gemini_live",
        dialect: Dialect::Gemini,
        path_ends: &["bidigeneratecontent", "bidigeneratecontentconstrained", "bidigeneratemusic"],
    },
];

/// The API that is spoken over a socket at this path, if one is.
pub(super) fn at(path: &Plain) -> Option<&'static Socket> {
    SOCKETS.iter().find(|socket| socket.path_ends.iter().any(|end| path.ends_with(end)))
}
