//! A thread that keeps the routes of tunnels those of the kernel.

use std::os::fd::AsFd;
use std::sync::{Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use super::netlink::News;
use super::sys;
use super::underlay::Underlay;

/// How often it is said that the routes are the kernel's, as long as nothing else is heard.
const SAY_EVERY: Duration = Duration::from_millis(500);
/// How often they are looked up although nothing was heard.
const LOOK_UP_EVERY: Duration = Duration::from_secs(10);
/// News come in swarms.
const SETTLE_FOR: Duration = Duration::from_millis(2);

/// Follows the kernel's routes until the underlay is dropped.
pub fn start(underlay: Weak<Mutex<Underlay>>, news: News) -> std::io::Result<()> {
    std::thread::Builder::new().name("mn-routes".into()).spawn(move || {
        let mut looked_up: Option<Instant> = None;
        loop {
            let heard = match sys::wait_readable([news.as_fd()], SAY_EVERY) {
                Ok([heard]) => heard,
                Err(error) => {
                    // The programs leave it to the kernel before long.
                    tracing::error!(%error, "the kernel's routes cannot be followed");
                    return;
                }
            };
            if heard {
                std::thread::sleep(SETTLE_FOR);
                news.drain();
            }
            let Some(underlay) = underlay.upgrade() else { return };
            let underlay = underlay.lock().unwrap_or_else(PoisonError::into_inner);
            if heard || looked_up.is_none_or(|at| at.elapsed() >= LOOK_UP_EVERY) {
                underlay.look_up();
                looked_up = Some(Instant::now());
            }
            underlay.say_followed();
        }
    })?;
    Ok(())
}
