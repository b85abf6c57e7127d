//! One configuration in one VM, as its streams use it.
//!
//! In: the plugin configuration's bytes, from the host. Out: [`Configured`], or nothing and Envoy's log says why. Not here: what the
//! options mean (`settings`).

use std::rc::Rc;

use super::calls::{self, Buffer, Level};
use super::hold::Watch;
use crate::settings::Config;

/// What streams need of their configuration.
pub(super) struct Configured {
    pub(super) config: Rc<Config>,
    pub(super) watch: Watch,
}

impl Configured {
    /// Reads the configuration, which has so many bytes. `secret` keys hashes where it has no salt.
    pub(super) fn read(size: usize, secret: &[u8]) -> Option<Self> {
        let config = calls::buffer(Buffer::PluginConfiguration, size)
            .map_err(|status| format!("tollgate: the host does not hand over the configuration: {status:?}"))
            .and_then(|bytes| {
                Config::read(&bytes, secret)
                    .map_err(|errors| format!("tollgate: the configuration is refused:\n{errors}"))
            });
        match config {
            Ok(config) => {
                let watch = Watch::new(config.hold, &name());
                Some(Self { config: Rc::new(config), watch })
            }
            Err(why) => {
                calls::log(Level::Error, &why);
                None
            }
        }
    }
}

/// Tells filters of one process apart.
fn name() -> String {
    let [plugin, root] =
        ["plugin_name", "plugin_root_id"].map(|name| calls::property(&[name]).unwrap_or_default());
    format!("{}/{}", String::from_utf8_lossy(&plugin), String::from_utf8_lossy(&root))
}
