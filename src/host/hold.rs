//! Finds out whether the host can hold a request's headers and still hand over its body.
//!
//! In: held requests, body callbacks, ticks. Out: whether to hold. Not here: what happens to the bodies.
//!
//! Holding needs `allow_on_headers_stop_iteration: true` on the filter, which some platforms cannot set, and no host call tells
//! whether it is set. Without it, a held request would hang. So the first held requests are watched: a body that arrives while
//! its headers are held shows that holding works; a body that arrives at once when a tick lets the request go on shows
//! that the host had kept it back, and that holding does not work. What one worker finds out, all know.

use core::cell::{Cell, RefCell};
use std::rc::Rc;

use super::calls::{self, Level};
use super::lines::PREFIX;
use crate::settings::Hold;

/// How long a request is watched before it is let go on. Clients send small bodies right behind the headers.
pub(super) const WATCHED_FOR_MILLIS: u32 = 50;

/// What is known about one configuration of the filter.
pub(super) struct Watch {
    /// The shared data under which workers tell each other.
    key: String,
    known: Cell<Option<bool>>,
    watched: RefCell<Vec<Watched>>,
    /// The request that is being let go on at this moment.
    probed: Cell<Option<u32>>,
}

struct Watched {
    context: u32,
    ticks: u32,
    headers: Rc<Cell<Headers>>,
}

/// Where a request's headers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Headers {
    /// Held here: they can be read and changed.
    Held,
    /// Sent on.
    Released,
}

impl Watch {
    /// A watch for a configuration that is known by `name`.
    pub(super) fn new(hold: Hold, name: &str) -> Self {
        let known = match hold {
            Hold::Auto => None,
            Hold::Always => Some(true),
            Hold::Never => Some(false),
        };
        let key = format!("{PREFIX}hold/{name}");
        if known.is_none() {
            // A new configuration may come with the flag set or gone: what was found out before does not count.
            let _ = calls::set_shared_data(&key, b"", 0);
        }
        Self { key, known: Cell::new(known), watched: RefCell::default(), probed: Cell::default() }
    }

    /// Whether there is anything to find out, and thus a tick to wait for.
    pub(super) fn is_open(&self) -> bool {
        self.known.get().is_none()
    }

    /// A request wants its headers held until its body is there. Whether they are.
    pub(super) fn hold(&self, context: u32) -> Rc<Cell<Headers>> {
        if self.is_open() {
            self.learn_from_others();
        }
        let headers = match self.known.get() {
            Some(false) => Headers::Released,
            Some(true) | None => Headers::Held,
        };
        let headers = Rc::new(Cell::new(headers));
        if self.is_open() {
            self.watched.borrow_mut().push(Watched { context, ticks: 0, headers: headers.clone() });
        }
        headers
    }

    /// A body callback has come for a request.
    pub(super) fn saw_body(&self, context: u32, headers: &Cell<Headers>) {
        if !self.is_open() {
            return;
        }
        if self.probed.get() == Some(context) {
            self.conclude(false);
            calls::log(
                Level::Warn,
                "tollgate: requests cannot be held here, because `allow_on_headers_stop_iteration: true` is not set on the filter. \
                 They are counted and limited all the same; but usage of streamed calls cannot be asked for where the body has a \
                 content-length, and refused calls may reach the upstream as headers without a body.",
            );
        } else if headers.get() == Headers::Held {
            self.conclude(true);
        }
    }

    /// A request is over.
    pub(super) fn forget(&self, context: u32) {
        if let Ok(mut watched) = self.watched.try_borrow_mut() {
            watched.retain(|watched| watched.context != context);
        }
    }

    /// Lets requests go on that have been watched for a whole tick.
    pub(super) fn tick(&self) {
        let due: Vec<Watched> = {
            let mut watched = self.watched.borrow_mut();
            watched.iter_mut().for_each(|watched| watched.ticks = watched.ticks.saturating_add(1));
            watched.extract_if(.., |watched| watched.ticks > 1).collect()
        };
        for Watched { context, headers, .. } in due {
            if headers.get() == Headers::Released || calls::set_effective_context(context).is_err() {
                continue;
            }
            headers.set(Headers::Released);
            self.probed.set(Some(context));
            // If the request is gone there is nothing to resume.
            let _ = calls::resume_request();
            self.probed.set(None);
        }
    }

    fn learn_from_others(&self) {
        let told = calls::shared_data(&self.key).ok().and_then(|(bytes, _)| bytes.first().copied());
        self.known.set(told.map(|told| told == b'1'));
    }

    fn conclude(&self, holds: bool) {
        self.known.set(Some(holds));
        let _ = calls::set_shared_data(&self.key, if holds { b"1" } else { b"0" }, 0);
    }
}
