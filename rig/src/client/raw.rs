//! Raw bytes over TCP, for input that no HTTP library would send.
//!
//! In: any bytes. Out: the bytes that come back. Not here: their meaning.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::PATIENCE;

/// A TCP connection, which closes when it is dropped.
pub struct RawConnection {
    stream: TcpStream,
    received: Vec<u8>,
}

impl RawConnection {
    /// Connects.
    ///
    /// # Errors
    ///
    /// If nothing listens there.
    pub async fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, received: Vec::new() })
    }

    /// Writes `bytes`.
    ///
    /// # Errors
    ///
    /// If the peer has closed.
    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// Reads until `pattern` arrives, and returns everything up to its end.
    ///
    /// # Panics
    ///
    /// If the peer closes first, or `pattern` does not arrive within [`PATIENCE`].
    pub async fn read_until(&mut self, pattern: &str) -> Vec<u8> {
        loop {
            let found = self.received.windows(pattern.len()).position(|window| window == pattern.as_bytes());
            if let Some(start) = found {
                return self.received.drain(..start + pattern.len()).collect();
            }
            let open = self.read().await;
            assert!(open, "closed before {pattern:?} came; got {}", String::from_utf8_lossy(&self.received));
        }
    }

    /// Reads until the peer closes or resets, and returns everything received.
    ///
    /// # Panics
    ///
    /// If the peer does nothing for [`PATIENCE`].
    pub async fn read_to_end(&mut self) -> Vec<u8> {
        while self.read().await {}
        core::mem::take(&mut self.received)
    }

    /// Ends the connection with a TCP reset instead of a close.
    ///
    /// # Errors
    ///
    /// If the system refuses.
    pub fn reset(self) -> io::Result<()> {
        self.stream.set_zero_linger()
    }

    async fn read(&mut self) -> bool {
        let read = timeout(PATIENCE, self.stream.read_buf(&mut self.received)).await;
        let read = read.unwrap_or_else(|_| {
            panic!("nothing for {PATIENCE:?} after {:?}", String::from_utf8_lossy(&self.received))
        });
        read.is_ok_and(|count| count > 0)
    }
}

/// Sends `bytes` over a new connection and returns everything until the peer closes.
///
/// # Errors
///
/// If nothing listens there, or the peer closes before it has read the bytes.
pub async fn exchange(address: SocketAddr, bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut connection = RawConnection::open(address).await?;
    connection.write(bytes).await?;
    Ok(connection.read_to_end().await)
}
