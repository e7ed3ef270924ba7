//! A thread that keeps the routes of tunnels those of the kernel.

use std::os::fd::AsFd;
use std::sync::{Mutex, PoisonError, Weak};
use std::time::Duration;

use super::netlink::News;
use super::sys;
use super::underlay::Underlay;

/// How often routes are looked up although nothing was heard; also how often it is said that they
/// were.
const EVERY: Duration = Duration::from_millis(500);

/// Follows the kernel's routes until the underlay is dropped.
pub fn start(underlay: Weak<Mutex<Underlay>>, news: News) -> std::io::Result<()> {
    std::thread::Builder::new().name("mn-routes".into()).spawn(move || {
        loop {
            let heard = sys::wait_readable([news.as_fd()], EVERY);
            let Some(underlay) = underlay.upgrade() else { return };
            if let Err(error) = heard {
                // The programs leave it to the kernel before long.
                tracing::error!(%error, "the kernel's routes cannot be followed");
                return;
            }
            news.drain();
            underlay.lock().unwrap_or_else(PoisonError::into_inner).follow();
        }
    })?;
    Ok(())
}
