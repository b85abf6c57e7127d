//! The frames that the mock sends, good and bad.
//!
//! In: messages and the requested [`Behaviour`]. Out: bytes on the connection: whole messages or
//! fragments, pings between them, noise, all in pieces of any size. Not here: which messages, and
//! when.

use bytes::BufMut;
use tokio::io::{AsyncWriteExt, WriteHalf};

use super::switches::Noise;
use crate::client::socket::FrameHeader;
use crate::client::socket::coding::{Control, Data, OpCode};
use crate::mock_llm::Behaviour;
use crate::wire::Wire;

/// The writing half of a socket.
pub(super) struct Frames {
    wire: WriteHalf<Wire>,
    binary: bool,
}

/// The peer does not take any more bytes.
#[derive(Debug)]
pub(super) struct Gone;

impl Frames {
    pub(super) const fn new(wire: WriteHalf<Wire>, binary: bool) -> Self {
        Self { wire, binary }
    }

    pub(super) fn into_inner(self) -> WriteHalf<Wire> {
        self.wire
    }

    /// Sends an event of a response, after noise if the behaviour asks for it.
    pub(super) async fn event(
        &mut self,
        event: &str,
        padding: Option<usize>,
        behaviour: &Behaviour,
    ) -> Result<(), Gone> {
        match behaviour.socket.noise {
            None => {}
            Some(Noise::Unknown) => self.message(UNKNOWN, behaviour).await?,
            Some(Noise::Text) => self.data(Data::Text, b"{not JSON", behaviour).await?,
            Some(Noise::Binary) => self.data(Data::Binary, b"\xff\x00\xfe", behaviour).await?,
            Some(Noise::Utf8) => self.data(Data::Text, b"\xff\x00\xfe", behaviour).await?,
            // All reserved bits, and an opcode that is none.
            Some(Noise::Wire) => self.write(&[0xff, 0xff, 0xff, 0xff], behaviour).await?,
        }
        match (padding, event.strip_prefix('{')) {
            (Some(size), Some(members)) => {
                let padded = format!("{{\"padding\":\"{}\",{members}", "x".repeat(size));
                self.message(&padded, behaviour).await
            }
            _ => self.message(event, behaviour).await,
        }
    }

    /// Sends a message.
    pub(super) async fn message(&mut self, text: &str, behaviour: &Behaviour) -> Result<(), Gone> {
        let kind = if self.binary { Data::Binary } else { Data::Text };
        self.data(kind, text.as_bytes(), behaviour).await
    }

    async fn data(&mut self, kind: Data, payload: &[u8], behaviour: &Behaviour) -> Result<(), Gone> {
        let size = behaviour.socket.frame_bytes.unwrap_or(payload.len()).max(1);
        let frames: Vec<_> = payload.chunks(size).collect();
        for (index, piece) in frames.iter().enumerate() {
            for number in 0..behaviour.socket.pings {
                let payload = format!("mock ping {number}");
                self.write(&frame(OpCode::Control(Control::Ping), true, payload.as_bytes()), behaviour)
                    .await?;
            }
            let opcode = OpCode::Data(if index == 0 { kind } else { Data::Continue });
            self.write(&frame(opcode, index + 1 == frames.len(), piece), behaviour).await?;
        }
        Ok(())
    }

    /// Answers a ping.
    pub(super) async fn pong(&mut self, payload: &[u8]) -> Result<(), Gone> {
        self.write(&frame(OpCode::Control(Control::Pong), true, payload), &Behaviour::default()).await
    }

    /// Sends a close frame.
    pub(super) async fn close(&mut self, payload: &[u8]) -> Result<(), Gone> {
        self.write(&frame(OpCode::Control(Control::Close), true, payload), &Behaviour::default()).await
    }

    /// Ends the connection.
    pub(super) async fn shut(&mut self) {
        // The peer may have ended it already.
        let _ = self.wire.shutdown().await;
    }

    async fn write(&mut self, bytes: &[u8], behaviour: &Behaviour) -> Result<(), Gone> {
        let size = behaviour.split_bytes.unwrap_or(bytes.len()).max(1);
        for piece in bytes.chunks(size) {
            self.wire.write_all(piece).await.map_err(|_| Gone)?;
            self.wire.flush().await.map_err(|_| Gone)?;
        }
        Ok(())
    }
}

/// An event that no API has, with a usage that counts for nothing.
const UNKNOWN: &str = r#"{"type":"mock.unknown","usage":{"input_tokens":1000000,"output_tokens":1000000,"total_tokens":2000000}}"#;

/// Returns a frame without mask.
fn frame(opcode: OpCode, last: bool, payload: &[u8]) -> Vec<u8> {
    let header = FrameHeader { is_final: last, opcode, ..FrameHeader::default() };
    let mut bytes = Vec::with_capacity(payload.len() + 10);
    header.format(payload.len() as u64, &mut (&mut bytes).writer()).expect("a vector takes all bytes");
    bytes.extend_from_slice(payload);
    bytes
}
