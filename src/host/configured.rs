//! One configuration in one VM, as its streams use it.
//!
//! In: the plugin configuration's bytes, from the host. Out: [`Configured`], or nothing and a line
//! in Envoy's log. Not here: the meaning of the options (`settings`).

use std::rc::Rc;

use super::calls::{self, Buffer, Level};
use super::functions::{Envoy, Functions};
use super::hold::Watch;
use super::lines::PREFIX;
use super::remote::Remote;
use super::ticker::Ticker;
use super::vm::Vm;
use super::waiting::WaitingRequests;
use crate::rls::SOON;
use crate::settings::Config;

/// The parts of a configuration that streams need.
pub(super) struct Configured {
    pub(super) config: Rc<Config>,
    pub(super) watch: Watch,
    /// The rate limit service, if there is one.
    pub(super) remote: Option<Rc<Remote>>,
    pub(super) ticker: Rc<Ticker>,
    /// Requests that wait for their budgets. They are kept per configuration, because on a tick of
    /// another one they would set that one's tick period.
    pub(super) waiting: WaitingRequests,
}

impl Configured {
    /// Reads the configuration, which has `size` bytes. The VM's secret keys hashes if the
    /// configuration has no salt.
    pub(super) fn read(size: usize, vm: &Vm) -> Option<Self> {
        let config = calls::buffer(Buffer::PluginConfiguration, size)
            .map_err(|status| format!("tollgate: the configuration cannot be read from the host: {status:?}"))
            .and_then(|bytes| {
                Config::read(&bytes, &vm.secret)
                    .map_err(|errors| format!("tollgate: the configuration is refused:\n{errors}"))
            });
        match config {
            Ok(config) => {
                let host: Rc<dyn Functions> = Rc::new(Envoy);
                let ticker = Rc::new(Ticker::new(host.clone()));
                let key = format!("{PREFIX}hold/{}", name());
                let watch = Watch::new(config.hold, key, host, ticker.clone());
                let remote = config.global.as_ref().map(|service| vm.remote(service));
                // An earlier configuration may have left tasks.
                ticker.wake_within(SOON);
                let waiting = WaitingRequests::default();
                Some(Self { config: Rc::new(config), watch, remote, ticker, waiting })
            }
            Err(why) => {
                calls::log(Level::Error, &why);
                None
            }
        }
    }
}

/// Returns a name that identifies this filter in the process.
fn name() -> String {
    let [plugin, root] =
        ["plugin_name", "plugin_root_id"].map(|name| calls::property(&[name]).unwrap_or_default());
    format!("{}/{}", String::from_utf8_lossy(&plugin), String::from_utf8_lossy(&root))
}
