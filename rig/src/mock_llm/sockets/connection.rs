//! One WebSocket, from its upgrade to its end.
//!
//! In: the upgraded connection, the requested [`Behaviour`] and a [`Session`], which decides what
//! to send. Out: frames, with the requested timing and misbehaviour, and the record of what came.
//! `tungstenite` reads, so a client's frames are checked; this file writes, because the mock also
//! writes what no library would. A session has any number of turns (responses in progress), whose
//! events come in rounds: one of each turn, then the next of each. Not here: what the events say.

use core::time::Duration;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures_util::StreamExt;
use hyper::upgrade::Upgraded;
use tokio::io::{Join, ReadHalf, Sink, join, sink, split};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use super::frames::{Frames, Gone};
use super::received::ReceivedSocket;
use super::switches::Cut;
use crate::client::socket::Message;
use crate::mock_llm::playback::Witness;
use crate::mock_llm::{BEFORE_CUT, Behaviour, Ending};
use crate::wire::Wire;

/// The state of an API's session: messages in, steps out.
pub(super) trait Session: Send {
    /// Begins.
    fn opened(&mut self) -> Vec<Step>;
    /// Takes a message of the client.
    fn received(&mut self, message: &str) -> Vec<Step>;
    /// Learns that the last event of a turn has been sent.
    fn finished(&mut self, turn: usize) -> Vec<Step>;
}

/// What a session wants.
pub(super) enum Step {
    /// Send this message now.
    Send(String),
    /// Send the events of a turn, one by one.
    Begin(Box<Turn>),
    /// Send no more events of this turn.
    Stop(usize),
    /// Close with this code and reason.
    Close(u16, String),
}

/// The events of a response.
pub(super) struct Turn {
    pub(super) number: usize,
    pub(super) events: Vec<String>,
    pub(super) behaviour: Behaviour,
    /// How many events have been sent.
    pub(super) sent: Arc<AtomicUsize>,
}

/// A turn, and when its next event is due.
struct Playing {
    turn: Box<Turn>,
    due: Instant,
    stalled: bool,
}

/// An open socket.
pub(super) struct Connection {
    reader: WebSocketStream<Join<ReadHalf<Wire>, Sink>>,
    frames: Frames,
    behaviour: Behaviour,
    turns: Vec<Playing>,
    /// Pongs, and when they are due.
    pongs: VecDeque<(Instant, Bytes)>,
    record: Option<ReceivedSocket>,
    witness: Witness,
}

/// How a session ends.
enum Over {
    /// The client sent a close frame.
    ClosedByClient(Bytes),
    /// The client broke the connection or the protocol.
    Broken,
    /// The mock closes.
    Closing { code: u16, reason: String, cut: bool },
    /// The mock cuts.
    Cut { reset: bool },
}

impl From<Gone> for Over {
    fn from(_: Gone) -> Self {
        Self::Broken
    }
}

impl Connection {
    pub(super) async fn of(
        upgraded: Upgraded,
        behaviour: Behaviour,
        binary: bool,
        record: Option<ReceivedSocket>,
        witness: Witness,
    ) -> Self {
        let (wire, first) = Wire::of_server(upgraded);
        let (read, write) = split(wire);
        let limits = WebSocketConfig::default().max_message_size(None).max_frame_size(None);
        // What tungstenite would answer goes nowhere: this file answers pings and close frames.
        let stream = join(read, sink());
        let reader = WebSocketStream::from_partially_read(stream, first, Role::Server, Some(limits)).await;
        let frames = Frames::new(write, binary);
        Self { reader, frames, behaviour, turns: Vec::new(), pongs: VecDeque::new(), record, witness }
    }

    pub(super) async fn run(mut self, mut session: Box<dyn Session>) {
        let Err(over) = self.serve(session.as_mut()).await;
        match over {
            Over::ClosedByClient(frame) => {
                let _ = self.frames.close(&frame).await;
                self.frames.shut().await;
                self.witness.saw(Ending::Finished);
            }
            Over::Broken => self.frames.shut().await,
            Over::Closing { code, reason, cut } => {
                let payload = [&code.to_be_bytes()[..], reason.as_bytes()].concat();
                if self.frames.close(&payload).await.is_ok() {
                    // The client's close frame, or whatever it sends before.
                    let _ = timeout(CLOSING, async { while self.read().await.is_ok() {} }).await;
                }
                self.frames.shut().await;
                self.witness.saw(if cut { Ending::Cut } else { Ending::Finished });
            }
            Over::Cut { reset } => {
                self.witness.saw(Ending::Cut);
                if reset {
                    let (read, _) = self.reader.into_inner().into_inner();
                    read.unsplit(self.frames.into_inner()).reset();
                }
            }
        }
    }

    async fn serve(&mut self, session: &mut dyn Session) -> Result<core::convert::Infallible, Over> {
        let steps = session.opened();
        self.perform(steps).await?;
        loop {
            let next = self.turns.iter().enumerate().filter(|(_, playing)| !playing.stalled);
            let next =
                next.min_by_key(|(_, playing)| playing.due).map(|(index, playing)| (index, playing.due));
            let pong = self.pongs.front().map(|(due, _)| *due);
            let event = async {
                match next {
                    Some((index, due)) => {
                        sleep_until(due).await;
                        index
                    }
                    None => core::future::pending().await,
                }
            };
            let late = async {
                match pong {
                    Some(due) => sleep_until(due).await,
                    None => core::future::pending().await,
                }
            };
            // A cancellation that has come goes before the next event.
            let reader = &mut self.reader;
            let steps = tokio::select! {
                biased;
                message = reader.next() => {
                    let message = self.take(message)?;
                    message.map(|text| session.received(&text)).unwrap_or_default()
                }
                () = late => {
                    if let Some((_, payload)) = self.pongs.pop_front() {
                        self.frames.pong(&payload).await?;
                    }
                    Vec::new()
                }
                index = event => match self.play(index).await? {
                    Some(turn) => session.finished(turn),
                    None => Vec::new(),
                },
            };
            self.perform(steps).await?;
        }
    }

    async fn perform(&mut self, steps: Vec<Step>) -> Result<(), Over> {
        for step in steps {
            match step {
                Step::Send(text) => self.frames.message(&text, &self.behaviour).await?,
                Step::Begin(turn) => {
                    let due = Instant::now() + turn.behaviour.delay;
                    self.turns.push(Playing { turn, due, stalled: false });
                }
                Step::Stop(number) => self.turns.retain(|playing| playing.turn.number != number),
                Step::Close(code, reason) => return Err(Over::Closing { code, reason, cut: false }),
            }
        }
        Ok(())
    }

    /// Sends the next event of a turn. Returns the turn's number if that was its last.
    async fn play(&mut self, index: usize) -> Result<Option<usize>, Over> {
        let playing = &mut self.turns[index];
        let turn = &playing.turn;
        let behaviour = &turn.behaviour;
        let sent = turn.sent.load(Ordering::Relaxed);
        if behaviour.cut_after == Some(sent) {
            match behaviour.socket.cut {
                Cut::Stall => {
                    playing.stalled = true;
                    return Ok(None);
                }
                Cut::Close(code) => {
                    return Err(Over::Closing { code, reason: "cut on request".to_owned(), cut: true });
                }
                cut => {
                    sleep(BEFORE_CUT).await;
                    return Err(Over::Cut { reset: cut == Cut::Reset });
                }
            }
        }
        if let Some(event) = turn.events.get(sent) {
            let padding = behaviour.socket.padding.filter(|_| sent == 0);
            self.frames.event(event, padding, behaviour).await?;
            turn.sent.store(sent + 1, Ordering::Relaxed);
        }
        playing.due = Instant::now() + playing.turn.behaviour.chunk_delay;
        if sent + 1 < playing.turn.events.len() {
            return Ok(None);
        }
        Ok(Some(self.turns.remove(index).turn.number))
    }

    async fn read(&mut self) -> Result<(), Over> {
        let message = self.reader.next().await;
        self.take(message).map(drop)
    }

    /// Records a message. Returns its text if it is for the session.
    fn take(
        &mut self,
        message: Option<Result<Message, tokio_tungstenite::tungstenite::Error>>,
    ) -> Result<Option<String>, Over> {
        let message = match message {
            Some(Ok(message)) => message,
            Some(Err(error)) => {
                if let Some(record) = &self.record {
                    record.broke(error.to_string());
                }
                return Err(Over::Broken);
            }
            None => return Err(Over::Broken),
        };
        if let Some(record) = &self.record {
            record.add(message.clone());
        }
        match message {
            Message::Ping(payload) => {
                let due = Instant::now() + self.behaviour.socket.pong_delay;
                self.pongs.push_back((due, payload));
                Ok(None)
            }
            Message::Close(frame) => {
                let payload = frame.map(|frame| {
                    [&u16::from(frame.code).to_be_bytes()[..], frame.reason.as_bytes()].concat()
                });
                Err(Over::ClosedByClient(payload.unwrap_or_default().into()))
            }
            Message::Text(text) => Ok(Some(text.to_string())),
            Message::Binary(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
            Message::Pong(_) | Message::Frame(_) => Ok(None),
        }
    }
}

/// How long the mock waits for the client's close frame after its own.
const CLOSING: Duration = Duration::from_secs(5);
