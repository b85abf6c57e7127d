//! A response body that plays a script: pieces written one by one, pauses, a cut.
//!
//! In: a list of [`Step`]s. Out: an HTTP body, and an [`Ending`] once the exchange is over. Every
//! piece is flushed on its own. Not here: the contents of the pieces.

use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, ready};
use core::time::Duration;
use std::collections::VecDeque;
use std::fmt;

use bytes::Bytes;
use hyper::body::{Body, Frame};
use tokio::sync::watch;
use tokio::time::{Sleep, sleep};

/// How the server saw an exchange end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The server passed everything to the connection.
    Finished,
    /// The peer closed the connection or reset the stream before the end.
    Aborted,
    /// The mock cut the response, as requested.
    Cut,
    /// The peer left before the request was complete.
    RequestIncomplete,
}

/// A step of a body.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Write(Bytes),
    Pause(Duration),
    Cut,
}

/// A body that plays its steps.
pub(super) struct Playback {
    steps: VecDeque<Step>,
    sleeping: Option<Pin<Box<Sleep>>>,
    /// Set after a piece is written, so that the connection flushes it before the next and pieces
    /// stay apart.
    flush: bool,
    witness: Witness,
}

impl Playback {
    pub(super) fn new(steps: Vec<Step>, witness: Witness) -> Self {
        Self { steps: steps.into(), sleeping: None, flush: false, witness }
    }
}

impl Playback {
    /// Returns an empty body, whose end is not the end of the exchange.
    pub(super) fn unwatched() -> Self {
        Self::new(Vec::new(), Witness::new().0)
    }
}

impl Body for Playback {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        if core::mem::take(&mut self.flush) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        loop {
            if let Some(sleeping) = &mut self.sleeping {
                ready!(sleeping.as_mut().poll(cx));
                self.sleeping = None;
            }
            match self.steps.pop_front() {
                Some(Step::Write(bytes)) => {
                    self.flush = true;
                    if self.steps.is_empty() {
                        self.witness.saw(Ending::Finished);
                    }
                    return Poll::Ready(Some(Ok(Frame::data(bytes))));
                }
                Some(Step::Pause(time)) => self.sleeping = Some(Box::pin(sleep(time))),
                Some(Step::Cut) => {
                    self.witness.saw(Ending::Cut);
                    return Poll::Ready(Some(Err(Cut)));
                }
                None => {
                    self.witness.saw(Ending::Finished);
                    return Poll::Ready(None);
                }
            }
        }
    }
}

/// Reports how an exchange ended: the first ending seen, or an abort if it is dropped before.
pub(super) struct Witness(watch::Sender<Option<Ending>>);

impl Witness {
    /// Returns a witness and the receiver of its report.
    pub(super) fn new() -> (Self, watch::Receiver<Option<Ending>>) {
        let (sender, receiver) = watch::channel(None);
        (Self(sender), receiver)
    }

    pub(super) fn saw(&self, how: Ending) {
        self.0.send_if_modified(|ending| {
            let first = ending.is_none();
            ending.get_or_insert(how);
            first
        });
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.saw(Ending::Aborted);
    }
}

/// The error that makes the server drop the connection.
#[derive(Debug)]
pub(super) struct Cut;

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("cut on request of x-mock-cut-after")
    }
}

impl std::error::Error for Cut {}

#[cfg(test)]
mod tests {
    use core::task::Waker;

    use super::*;

    #[test]
    fn the_connection_is_given_time_to_flush_between_two_pieces() {
        let steps = ["a", "b"].map(|piece| Step::Write(Bytes::from_static(piece.as_bytes())));
        let (witness, ending) = Witness::new();
        let mut body = Playback::new(steps.into(), witness);
        let mut poll = || Pin::new(&mut body).poll_frame(&mut Context::from_waker(Waker::noop()));

        assert!(matches!(poll(), Poll::Ready(Some(Ok(_)))));
        assert!(poll().is_pending());
        assert_eq!(*ending.borrow(), None);
        assert!(matches!(poll(), Poll::Ready(Some(Ok(_)))));
        assert_eq!(*ending.borrow(), Some(Ending::Finished));
    }
}
