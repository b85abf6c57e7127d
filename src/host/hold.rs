//! Detects whether the host can hold a request's headers and still deliver its body.
//!
//! In: held requests, body callbacks, ticks. Out: whether to hold. Not here: the bodies.
//!
//! Holding needs `allow_on_headers_stop_iteration: true` on the filter. Some platforms cannot set
//! it, no host call tells whether it is set, and without it a held request would hang. Therefore
//! the first held requests are watched. A body that arrives while its headers are held proves that
//! holding works. A request without any body for a while is resumed. If the host has received some
//! of its body by then, and delivers it immediately, the host had kept it back: holding does not
//! work.
//!
//! A failure holds for all workers, so the first worker shares it. A success is not shared: each
//! worker learns it from its first request, at no cost, and a wrong success, from a configuration
//! that Envoy is draining, would make requests hang.

use core::cell::{Cell, RefCell};
use std::rc::Rc;

use super::functions::Functions;
use super::ticker::Ticker;
use crate::settings::Hold;
use crate::units::{Span, Timestamp};

/// The time for which a request is watched before it is resumed. Clients send small bodies right
/// behind the headers.
const WATCHED_FOR: Span = Span::from_millis(50);

/// The delay after which a request that stops at its trailers is resumed.
const LATE_BY: Span = Span::from_millis(5);

/// The longest delay after a tick at which the host delivers a body that it had kept back. It does
/// so before anything else, but the machine may be busy. A later delivery proves nothing, because
/// another filter may have kept the body back.
const AT_ONCE: Span = Span::from_millis(10);

/// The detection for one configuration of the filter.
pub(super) struct Watch {
    /// The shared data in which workers record that holding does not work.
    key: String,
    known: Cell<Option<bool>>,
    host: Rc<dyn Functions>,
    ticker: Rc<Ticker>,
    watched: RefCell<Vec<Watched>>,
    /// Requests that wait at their trailers for the next tick.
    late: RefCell<Vec<u32>>,
}

struct Watched {
    context: u32,
    since: Timestamp,
    /// The request's size in bytes before its body.
    size: u64,
    headers: Rc<Cell<Headers>>,
}

/// The state of a request's headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Headers {
    /// Held here; they can be read and changed.
    Held,
    /// Sent on by a tick, when `waiting` bytes of the body had been received but not delivered.
    Probed { at: Timestamp, waiting: u64 },
    /// Sent on by a tick.
    Resumed,
    /// Never held, or sent on because the call is decided.
    Released,
}

impl Watch {
    /// Creates the detection for a configuration with the shared data `key`.
    pub(super) fn new(hold: Hold, key: String, host: Rc<dyn Functions>, ticker: Rc<Ticker>) -> Self {
        let known = match hold {
            Hold::Auto => None,
            Hold::Always => Some(true),
            Hold::Never => Some(false),
        };
        if known.is_none() {
            // A new configuration may come with or without the flag, so earlier results do not
            // count.
            host.share(&key, b"", 0);
        }
        Self {
            key,
            known: Cell::new(known),
            host,
            ticker,
            watched: RefCell::default(),
            late: RefCell::default(),
        }
    }

    /// Returns whether the result is still open.
    fn is_open(&self) -> bool {
        self.known.get().is_none()
    }

    /// Starts to hold a request until its body has arrived; its headers will not be changed any
    /// more. The state of its headers then says whether it is held.
    pub(super) fn hold(&self, context: u32, headers: &Rc<Cell<Headers>>) {
        if self.is_open() && self.is_told() {
            self.known.set(Some(false));
        }
        headers.set(match self.known.get() {
            Some(false) => Headers::Released,
            Some(true) | None => Headers::Held,
        });
        if self.is_open() {
            let (since, size) = (self.host.now(), self.host.request_size());
            self.watched.borrow_mut().push(Watched { context, since, size, headers: headers.clone() });
            self.ticker.wake_within(WATCHED_FOR);
        }
    }

    /// Records that `size` bytes of a request's body, or its trailers, were delivered.
    pub(super) fn saw_body(&self, size: usize, headers: &Cell<Headers>) {
        match headers.get() {
            Headers::Held if self.is_open() => self.known.set(Some(true)),
            Headers::Probed { at, waiting } => {
                headers.set(Headers::Resumed);
                if self.is_open() && size as u64 == waiting && self.host.now().since(at) < AT_ONCE {
                    self.cannot_hold();
                }
            }
            Headers::Held | Headers::Resumed | Headers::Released => {}
        }
    }

    /// Resumes a request that stops at its trailers at the next tick.
    ///
    /// Envoy 1.40 loses a body that is kept back until the trailers, if it delivers those while it
    /// resumes the request: they end this filter's part of the request, after which Envoy takes no
    /// body from it. A second resume delivers the body.
    pub(super) fn resume_later(&self, context: u32) {
        self.late.borrow_mut().push(context);
        self.ticker.wake_within(LATE_BY);
    }

    /// Forgets a request that is over.
    pub(super) fn forget(&self, context: u32) {
        if let Ok(mut watched) = self.watched.try_borrow_mut() {
            watched.retain(|watched| watched.context != context);
        }
    }

    /// Resumes requests that were watched for long enough, and all of them once holding is known to
    /// fail. Returns the time of the next check, if any are left.
    pub(super) fn tick(&self) -> Option<Span> {
        for context in self.late.take() {
            if self.host.switch_to(context) {
                self.host.resume_request();
            }
        }
        let due: Vec<Watched> = {
            let (mut watched, now) = (self.watched.borrow_mut(), self.host.now());
            match self.known.get() {
                None => watched.extract_if(.., |watched| now.since(watched.since) >= WATCHED_FOR).collect(),
                Some(false) => core::mem::take(&mut *watched),
                Some(true) => {
                    watched.clear();
                    Vec::new()
                }
            }
        };
        for Watched { context, size, headers, .. } in due {
            // A request that is gone, or decided, cannot be resumed.
            if headers.get() != Headers::Held || !self.host.switch_to(context) {
                continue;
            }
            let waiting = self.host.request_size().saturating_sub(size);
            headers.set(if waiting > 0 {
                Headers::Probed { at: self.host.now(), waiting }
            } else {
                Headers::Resumed
            });
            // The host carries this out when the tick is over.
            self.host.resume_request();
        }
        (!self.watched.borrow().is_empty()).then_some(WATCHED_FOR)
    }

    /// Returns whether another worker has found that holding does not work.
    fn is_told(&self) -> bool {
        self.host.shared(&self.key).0 == CANNOT_HOLD
    }

    /// Records that holding does not work. The first worker to find out logs a warning.
    fn cannot_hold(&self) {
        self.known.set(Some(false));
        let (told, cas) = self.host.shared(&self.key);
        if told == CANNOT_HOLD || self.host.share(&self.key, CANNOT_HOLD, cas) {
            return;
        }
        self.host.warn(
            "tollgate: requests cannot be held here, because `allow_on_headers_stop_iteration: true` is not set on the filter. \
             They are counted and limited all the same; but usage of streamed calls cannot be asked for where the body has a \
             content-length, and refused calls may reach the upstream as headers without a body.",
        );
    }
}

/// The value of the shared data if holding does not work.
const CANNOT_HOLD: &[u8] = b"0";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::script::Script;

    const CONTEXT: u32 = 7;
    const KEY: &str = "hold/test";
    /// The size of a request's headers in bytes.
    const HEAD: u64 = 100;

    struct Bench {
        host: Rc<Script>,
        watch: Watch,
    }

    impl Bench {
        fn new(hold: Hold) -> Self {
            let host = Rc::new(Script::default());
            host.now.set(1_000_000_000);
            let ticker = Rc::new(Ticker::new(host.clone()));
            let watch = Watch::new(hold, KEY.to_owned(), host.clone(), ticker);
            Self { host, watch }
        }

        /// Reports that the headers of a request have arrived.
        fn hold(&self, context: u32) -> Rc<Cell<Headers>> {
            self.host.requests.borrow_mut().insert(context, HEAD);
            self.host.at_hand.set(context);
            let headers = Rc::new(Cell::new(Headers::Held));
            self.watch.hold(context, &headers);
            headers
        }

        fn receive(&self, context: u32, bytes: u64) {
            *self.host.requests.borrow_mut().get_mut(&context).unwrap() += bytes;
        }

        fn tick_after(&self, millis: u64) -> Option<Span> {
            self.host.now.set(self.host.now.get() + Span::from_millis(millis).0);
            self.watch.tick()
        }
    }

    #[test]
    fn a_body_that_comes_while_its_headers_are_held_shows_that_holding_works() {
        let bench = Bench::new(Hold::Auto);
        let headers = bench.hold(CONTEXT);
        assert_eq!(headers.get(), Headers::Held);
        bench.watch.saw_body(10, &headers);
        assert_eq!(bench.tick_after(1_000), None, "nobody is watched any more");
        assert!(bench.host.resumed.borrow().is_empty());
        assert_eq!(bench.hold(8).get(), Headers::Held);
    }

    #[test]
    fn a_request_without_a_body_is_let_go_on_and_shows_nothing() {
        let bench = Bench::new(Hold::Auto);
        let headers = bench.hold(CONTEXT);
        assert_eq!(bench.tick_after(40), Some(WATCHED_FOR), "its time has not come");
        assert_eq!(bench.tick_after(10), None);
        assert_eq!((headers.get(), bench.host.resumed.take()), (Headers::Resumed, vec![CONTEXT]));
        bench.watch.saw_body(10, &headers);
        assert_eq!(bench.hold(8).get(), Headers::Held, "it is still to be found out");
    }

    #[test]
    fn a_body_that_was_kept_back_until_the_headers_went_on_shows_that_holding_does_not_work() {
        let bench = Bench::new(Hold::Auto);
        let headers = bench.hold(CONTEXT);
        bench.receive(CONTEXT, 30);
        bench.tick_after(50);
        assert!(matches!(headers.get(), Headers::Probed { waiting: 30, .. }));
        bench.watch.saw_body(30, &headers);
        assert_eq!(bench.hold(8).get(), Headers::Released);
        assert!(bench.host.warnings.borrow()[0].contains("allow_on_headers_stop_iteration"));
        assert_eq!(bench.host.data.borrow()[KEY], CANNOT_HOLD, "other workers are told");
    }

    #[test]
    fn a_body_that_comes_late_or_in_another_size_shows_nothing() {
        for (millis, size) in [(20, 30), (0, 31)] {
            let bench = Bench::new(Hold::Auto);
            let headers = bench.hold(CONTEXT);
            bench.receive(CONTEXT, 30);
            bench.tick_after(50);
            bench.host.now.set(bench.host.now.get() + Span::from_millis(millis).0);
            bench.watch.saw_body(size, &headers);
            assert_eq!((headers.get(), bench.hold(8).get()), (Headers::Resumed, Headers::Held));
        }
    }

    #[test]
    fn what_another_worker_has_found_out_is_believed_and_not_told_again() {
        let bench = Bench::new(Hold::Auto);
        bench.host.data.borrow_mut().insert(KEY.to_owned(), CANNOT_HOLD.to_vec());
        assert_eq!(bench.hold(CONTEXT).get(), Headers::Released);
        assert!(bench.host.warnings.borrow().is_empty());
    }

    #[test]
    fn a_new_configuration_finds_out_anew() {
        let bench = Bench::new(Hold::Auto);
        bench.host.data.borrow_mut().insert(KEY.to_owned(), CANNOT_HOLD.to_vec());
        let ticker = Rc::new(Ticker::new(bench.host.clone()));
        let next = Bench {
            watch: Watch::new(Hold::Auto, KEY.to_owned(), bench.host.clone(), ticker),
            host: bench.host,
        };
        assert_eq!(next.hold(CONTEXT).get(), Headers::Held);
    }

    #[test]
    fn an_operator_who_says_it_is_believed() {
        assert_eq!(Bench::new(Hold::Always).hold(CONTEXT).get(), Headers::Held);
        assert_eq!(Bench::new(Hold::Never).hold(CONTEXT).get(), Headers::Released);
    }

    #[test]
    fn a_request_that_is_gone_is_not_resumed() {
        let bench = Bench::new(Hold::Auto);
        for context in [CONTEXT, 8] {
            bench.hold(context);
        }
        bench.watch.forget(CONTEXT);
        bench.host.requests.borrow_mut().remove(&8);
        bench.tick_after(50);
        assert!(bench.host.resumed.borrow().is_empty());
    }

    #[test]
    fn a_request_that_stops_at_its_trailers_goes_on_at_the_next_tick() {
        let bench = Bench::new(Hold::Auto);
        bench.hold(CONTEXT);
        bench.watch.resume_later(CONTEXT);
        assert_eq!(bench.host.periods.borrow().last(), Some(&5));
        bench.tick_after(5);
        assert_eq!(bench.host.resumed.take(), [CONTEXT]);
    }
}
