//! A port of 127.0.0.1 that a server can leave and take again.
//!
//! In: nothing. Out: a [`ReservedPort`], on which a server can listen, stop listening (connections
//! are refused then), and listen again. Not here: servers that never stop; those bind port 0.

use std::io;
use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpSocket};

/// A port that the system gives to no socket that asks for any free port while this value lives,
/// whether or not a server listens on it.
#[derive(Debug)]
pub struct ReservedPort {
    address: SocketAddr,
    /// Bound, never listening. Servers can still bind the port by number with `SO_REUSEADDR`.
    _held: TcpSocket,
}

impl ReservedPort {
    /// Reserves a port of the system's choice.
    ///
    /// # Panics
    ///
    /// If none is free.
    #[must_use]
    pub fn reserve() -> Self {
        let held = bound(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a free port on 127.0.0.1");
        let address = held.local_addr().expect("a bound socket has an address");
        Self { address, _held: held }
    }

    /// Returns 127.0.0.1 and the port.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Listens until the listener is dropped.
    ///
    /// # Panics
    ///
    /// If another socket listens already.
    #[must_use]
    pub fn listen(&self) -> TcpListener {
        let listening = bound(self.address).and_then(|socket| socket.listen(BACKLOG));
        listening.unwrap_or_else(|error| panic!("cannot listen on {}: {error}", self.address))
    }
}

/// More connections than any test opens at once.
const BACKLOG: u32 = 1024;

fn bound(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpStream;

    use super::*;

    #[tokio::test]
    async fn a_reserved_port_refuses_unless_somebody_listens() {
        let port = ReservedPort::reserve();
        for _ in 0..3 {
            let refused = TcpStream::connect(port.address()).await.unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);

            let listener = port.listen();
            let stream = TcpStream::connect(port.address()).await.unwrap();
            let (accepted, _) = listener.accept().await.unwrap();
            drop((listener, accepted, stream));
        }
    }

    #[tokio::test]
    async fn a_reserved_port_is_given_to_nobody_who_asks_for_any() {
        let port = ReservedPort::reserve();
        for _ in 0..200 {
            assert_ne!(ReservedPort::reserve().address(), port.address());
        }
    }
}
