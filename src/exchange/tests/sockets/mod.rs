//! WebSockets: each response is admitted, settled and refused like a call.

mod live;
mod pieces;
mod realtime;
mod responses;

use super::*;
use crate::websocket::{self, ControlKind, Frames, Kind, data_frame, ping_frame};

/// What one side gets.
#[derive(Clone, Debug, PartialEq)]
enum Got {
    Json(Value),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>, String),
}

/// A socket through the filter.
struct Wire {
    exchange: Exchange,
    /// The effects of the last event.
    effects: Effects,
}

/// A side's mask.
const KEY: Option<[u8; 4]> = Some([1, 2, 3, 4]);

impl Bench {
    /// Opens a socket.
    fn open(&mut self, path: &'static [u8]) -> Wire {
        let head = Request(vec![
            (":method", b"GET"),
            (":path", path),
            ("x-tenant-id", b"ada"),
            ("upgrade", b"WebSocket"),
            ("sec-websocket-extensions", b"permessage-deflate"),
        ]);
        let mut exchange = self.exchange();
        let effects = self.handle(&mut exchange, Event::RequestHead { head: &head, ended: false });
        assert_eq!(effects.next, Next::Pass);
        assert!(effects.headers.contains(&HeaderEdit::Remove("sec-websocket-extensions".into())));
        assert!(exchange.wants(Wanted::RequestPieces) && exchange.wants(Wanted::ResponseHead));
        let effects = self.head_with(&mut exchange, 101, &[("upgrade", "websocket")]);
        assert!(!exchange.wants(Wanted::ResponseHead));
        Wire { exchange, effects }
    }

    /// Passes bytes from the client; returns what the server gets.
    fn up_bytes(&mut self, wire: &mut Wire, bytes: &[u8]) -> Vec<Got> {
        wire.effects = self.handle(&mut wire.exchange, Event::RequestPiece { bytes });
        let passed = wire.effects.piece.clone().unwrap_or_else(|| bytes.to_vec());
        read(Frames::from_client(usize::MAX), &passed)
    }

    /// Passes a client's message; returns what the server gets.
    fn up(&mut self, wire: &mut Wire, message: &Value) -> Vec<Got> {
        self.up_bytes(wire, &data_frame(Kind::Text, message.to_string().as_bytes(), KEY))
    }

    /// Passes bytes from the server; returns what the client gets.
    fn down_bytes(&mut self, wire: &mut Wire, bytes: &[u8]) -> Vec<Got> {
        wire.effects = self.handle(&mut wire.exchange, Event::ResponsePiece { bytes, last: false });
        let passed = wire.effects.piece.clone().unwrap_or_else(|| bytes.to_vec());
        read(Frames::from_server(usize::MAX), &passed)
    }

    /// Passes a server's message; returns what the client gets.
    fn down(&mut self, wire: &mut Wire, message: &Value) -> Vec<Got> {
        self.down_bytes(wire, &data_frame(Kind::Text, message.to_string().as_bytes(), None))
    }

    /// Lets the server answer a ping; returns what the client gets.
    fn pong(&mut self, wire: &mut Wire, got: &[Got]) -> Vec<Got> {
        let [.., Got::Ping(payload)] = got else { panic!("no ping: {got:?}") };
        self.down_bytes(wire, &pong_frame(payload, None))
    }

    fn hang_up(&mut self, wire: &mut Wire, abort: Option<Abort>) {
        wire.effects = self.handle(&mut wire.exchange, Event::End { abort });
    }
}

/// Encodes a pong.
fn pong_frame(payload: &[u8], key: Option<[u8; 4]>) -> Vec<u8> {
    let mut frame = ping_frame(payload, key);
    frame[0] = frame[0] & 0xf0 | 0x0a;
    frame
}

fn read(mut frames: Frames, bytes: &[u8]) -> Vec<Got> {
    let mut rest = bytes;
    let mut got = Vec::new();
    while let Some(event) = frames.read(&mut rest) {
        got.push(match event {
            websocket::Event::Message(message) => {
                Got::Json(serde_json::from_slice(&message.payload()).expect("JSON"))
            }
            websocket::Event::Control(control) => match control.kind {
                ControlKind::Ping => Got::Ping(control.payload().into_owned()),
                ControlKind::Pong => Got::Pong(control.payload().into_owned()),
                ControlKind::Close { code } => {
                    let reason = control.payload().get(2..).unwrap_or_default().to_vec();
                    Got::Close(code, String::from_utf8(reason).unwrap())
                }
            },
            other => panic!("{other:?}"),
        });
    }
    got
}
