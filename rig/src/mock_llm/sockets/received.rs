//! The mock's record of its WebSockets.
//!
//! In: handshakes, and messages as they arrive. Out: a [`ReceivedSocket`] for each socket, which a
//! test can read while the socket lasts. Not here: messages that the mock sends.

use std::sync::{Arc, Mutex, MutexGuard};

use serde_json::Value;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::client::PATIENCE;
use crate::client::socket::Message;
use crate::mock_llm::{Ending, Received};

/// A WebSocket as the upstream sees it. Clones share what comes later.
#[derive(Clone, Debug)]
pub struct ReceivedSocket {
    /// The request that opened it.
    pub handshake: Received,
    log: Arc<watch::Sender<Log>>,
}

#[derive(Debug, Default)]
struct Log {
    messages: Vec<Message>,
    fault: Option<String>,
}

impl ReceivedSocket {
    pub(super) fn new(handshake: Received) -> Self {
        Self { handshake, log: Arc::default() }
    }

    pub(super) fn add(&self, message: Message) {
        self.log.send_modify(|log| log.messages.push(message));
    }

    pub(super) fn broke(&self, fault: String) {
        self.log.send_modify(|log| log.fault = Some(fault));
    }

    /// Returns the messages so far, with pings, pongs and the close frame.
    #[must_use]
    pub fn messages(&self) -> Vec<Message> {
        self.log.borrow().messages.clone()
    }

    /// Returns the text and binary messages so far as JSON. A message that is not JSON is its text.
    #[must_use]
    pub fn events(&self) -> Vec<Value> {
        let messages = self.messages();
        let data = messages.iter().filter(|message| message.is_text() || message.is_binary());
        data.map(|message| event(message.clone())).collect()
    }

    /// Waits for `count` text and binary messages, and returns [`ReceivedSocket::events`].
    ///
    /// # Panics
    ///
    /// If they do not come within [`PATIENCE`].
    pub async fn wait_for(&self, count: usize) -> Vec<Value> {
        let mut log = self.log.subscribe();
        let data = |message: &&Message| message.is_text() || message.is_binary();
        let enough = log.wait_for(|log| log.messages.iter().filter(data).count() >= count);
        let enough = timeout(PATIENCE, enough).await.is_ok();
        let events = self.events();
        assert!(enough, "{} messages instead of {count} came in {PATIENCE:?}", events.len());
        events
    }

    /// Returns the code and the reason of the peer's close frame: nothing if it sent no close
    /// frame, and an inner nothing if the frame is empty.
    #[must_use]
    pub fn close(&self) -> Option<Option<(u16, String)>> {
        self.log.borrow().messages.iter().find_map(|message| match message {
            Message::Close(frame) => {
                Some(frame.as_ref().map(|frame| (frame.code.into(), frame.reason.to_string())))
            }
            _ => None,
        })
    }

    /// Returns how the peer broke RFC 6455 or the connection.
    #[must_use]
    pub fn fault(&self) -> Option<String> {
        self.log.borrow().fault.clone()
    }

    /// Waits until the socket has ended: [`Ending::Finished`] with close frames,
    /// [`Ending::Aborted`] without, [`Ending::Cut`] if the mock cut it.
    ///
    /// # Panics
    ///
    /// If it lasts longer than [`PATIENCE`].
    pub async fn ended(&self) -> Ending {
        self.handshake.ended().await
    }
}

fn event(message: Message) -> Value {
    let data = message.into_data();
    serde_json::from_slice(&data).unwrap_or_else(|_| String::from_utf8_lossy(&data).into())
}

/// The list of sockets, and a way to wait for more.
pub(in crate::mock_llm) struct SocketRecords {
    /// None if the mock keeps no sockets.
    list: Option<Mutex<Vec<ReceivedSocket>>>,
    count: watch::Sender<usize>,
}

impl SocketRecords {
    pub(in crate::mock_llm) fn kept() -> Self {
        Self { list: Some(Mutex::default()), count: watch::Sender::new(0) }
    }

    pub(in crate::mock_llm) fn forgotten() -> Self {
        Self { list: None, count: watch::Sender::new(0) }
    }

    /// Adds a socket. Returns nothing if the mock keeps no sockets.
    pub(super) fn add(&self, handshake: &Received) -> Option<ReceivedSocket> {
        let mut list = self.locked()?;
        let socket = ReceivedSocket::new(handshake.clone());
        list.push(socket.clone());
        self.count.send_replace(list.len());
        Some(socket)
    }

    pub(in crate::mock_llm) fn all(&self) -> Vec<ReceivedSocket> {
        self.locked().map(|list| list.clone()).unwrap_or_default()
    }

    pub(in crate::mock_llm) async fn wait_for(&self, count: usize) -> Vec<ReceivedSocket> {
        let mut so_far = self.count.subscribe();
        let enough = timeout(PATIENCE, so_far.wait_for(|so_far| *so_far >= count)).await.is_ok();
        let all = self.all();
        assert!(enough, "{} sockets instead of {count} reached the mock in {PATIENCE:?}", all.len());
        all
    }

    fn locked(&self) -> Option<MutexGuard<'_, Vec<ReceivedSocket>>> {
        self.list.as_ref().map(|list| list.lock().expect("no one panics while adding to a list"))
    }
}
