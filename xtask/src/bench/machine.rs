//! What the machine itself takes, to read figures beside: one whose CPUs wake each other slowly
//! makes every first packet and every call late, whoever answers it.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Instant;

use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

use super::figure::Figure;

const ROUND_TRIPS: usize = 2_000;

/// A thread of one CPU wakes one of the other and is woken by it: the median and the 99th
/// percentile, in microseconds.
pub fn figures() -> Vec<Figure> {
    let mut taken = round_trips();
    taken.sort_by(f64::total_cmp);
    let at = |percent: usize| taken.get(taken.len() * percent / 100).copied();
    [("p50", at(50)), ("p99", at(99))]
        .into_iter()
        .filter_map(|(name, value)| {
            let name = format!("the machine: CPU 0 wakes CPU 1 and is woken, {name}");
            Some(Figure::less(name, "µs", vec![value?]))
        })
        .collect()
}

fn round_trips() -> Vec<f64> {
    let (ask, asked) = channel();
    let (answer, answered) = channel();
    let echo = thread::spawn(move || echo(&asked, &answer));
    let asker = thread::spawn(move || ask_often(&ask, &answered));
    let taken = asker.join().unwrap_or_default();
    // Its channel is closed: it ends.
    let _ = echo.join();
    taken
}

fn echo(asked: &Receiver<()>, answer: &Sender<()>) {
    pin(1);
    for () in asked {
        if answer.send(()).is_err() {
            return;
        }
    }
}

fn ask_often(ask: &Sender<()>, answered: &Receiver<()>) -> Vec<f64> {
    pin(0);
    let mut taken = Vec::with_capacity(ROUND_TRIPS);
    for _ in 0..ROUND_TRIPS {
        let before = Instant::now();
        if ask.send(()).is_err() || answered.recv().is_err() {
            break;
        }
        taken.push(before.elapsed().as_secs_f64() * 1e6);
    }
    taken
}

/// On a machine of one CPU the thread stays where it is.
fn pin(cpu: usize) {
    let mut set = CpuSet::new();
    if set.set(cpu).is_ok() {
        let _ = sched_setaffinity(Pid::from_raw(0), &set);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_round_trip_is_told() {
        assert_eq!(round_trips().len(), ROUND_TRIPS);
        assert_eq!(figures().len(), 2);
    }
}
