//! The byte stream below a WebSocket.
//!
//! In: an upgraded connection of hyper. Out: a [`Wire`], which is the TCP connection itself where
//! HTTP/1.1 was upgraded, and a stream of HTTP/2 otherwise, and the bytes that came with the
//! handshake. Not here: frames and messages.

use core::pin::Pin;
use core::task::{Context, Poll};
use std::io;

use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto::upgrade::downcast;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// The connection that a WebSocket uses.
pub(crate) enum Wire {
    /// All of a TCP connection.
    Tcp(TcpStream),
    /// A stream of an HTTP/2 connection.
    Stream(TokioIo<Upgraded>),
}

impl Wire {
    /// Returns the wire of a client's connection, and the bytes that were read with the handshake.
    pub(crate) fn of_client(upgraded: Upgraded) -> (Self, Vec<u8>) {
        match upgraded.downcast::<TokioIo<TcpStream>>() {
            Ok(parts) => (Self::Tcp(parts.io.into_inner()), parts.read_buf.into()),
            Err(upgraded) => (Self::Stream(TokioIo::new(upgraded)), Vec::new()),
        }
    }

    /// Returns the wire of a server's connection, and the bytes that were read with the handshake.
    pub(crate) fn of_server(upgraded: Upgraded) -> (Self, Vec<u8>) {
        match downcast::<TokioIo<TcpStream>>(upgraded) {
            Ok(parts) => (Self::Tcp(parts.io.into_inner()), parts.read_buf.into()),
            Err(upgraded) => (Self::Stream(TokioIo::new(upgraded)), Vec::new()),
        }
    }

    /// Resets the TCP connection, or the stream of HTTP/2. The peer loses what it has not read.
    pub(crate) fn reset(self) {
        if let Self::Tcp(stream) = &self {
            // If the system refuses, the connection closes instead, and the test sees that.
            let _ = stream.set_zero_linger();
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Stream(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Stream(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Self::Stream(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Stream(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
