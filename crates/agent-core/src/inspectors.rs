//! Whether the inspecting machines behind this host's ports are there (`SI-03`).
//!
//! ```text
//!             its port has a link, and an answer came where answers are asked for
//!   (nothing said) ─────────────────────────────────────────────────────────────▶ there
//!         │                                                                       │   ▲
//!         │ no link, or no answer for LOST_AFTER                                  ▼   │
//!         └─────────────────────────────────────────────────────────────────────▶ away
//! ```

use std::collections::BTreeMap;

use mn_ids::{L2InsertionId, PortId};
use mn_time::{Duration, Instant};
use mn_topology::Health;

/// Between two heartbeats.
pub const BEAT_EVERY: Duration = Duration::from_millis(500);
/// A machine that has not sent back one for so long is away: three were lost, and the fourth is late.
pub const LOST_AFTER: Duration = Duration::from_millis(1750);

/// An insertion whose service port is bound to this host.
#[derive(Clone, Copy, Debug)]
pub struct Served {
    pub insertion: L2InsertionId,
    pub port: PortId,
    /// The port's interface is there, up, and has a link.
    pub link: bool,
    /// Answers are asked for.
    pub heartbeat: bool,
}

/// What this host says of the inspecting machines behind its ports.
#[derive(Clone, Debug, Default)]
pub struct Inspectors {
    known: BTreeMap<L2InsertionId, Inspector>,
}

#[derive(Clone, Copy, Debug)]
struct Inspector {
    port: PortId,
    /// An answer came then; before the first, when answers were first asked for.
    heard: Instant,
    answered: bool,
    asked: bool,
    beat_at: Instant,
    told: Option<Health>,
}

/// A verdict to be told to all hosts; `None`: this host has none any more.
pub type Verdict = (L2InsertionId, PortId, Option<Health>);

impl Inspectors {
    /// A heartbeat came back.
    pub fn hear(&mut self, insertion: L2InsertionId, now: Instant) {
        if let Some(inspector) = self.known.get_mut(&insertion) {
            (inspector.heard, inspector.answered) = (now, true);
        }
    }

    /// What was said may be lost: all of it is said again.
    pub fn say_again(&mut self) {
        for inspector in self.known.values_mut() {
            inspector.told = None;
        }
    }

    /// Takes in which there are now. Adds what is to be told to `verdicts`, and which heartbeats are
    /// due to `beats`.
    pub fn update(
        &mut self,
        served: &[Served],
        now: Instant,
        verdicts: &mut Vec<Verdict>,
        beats: &mut Vec<L2InsertionId>,
    ) {
        self.known.retain(|id, inspector| {
            let same = |it: &Served| it.insertion == *id && it.port == inspector.port;
            let stays = served.iter().any(same);
            if !stays && inspector.told.is_some() {
                verdicts.push((*id, inspector.port, None));
            }
            stays
        });
        for Served { insertion, port, link, heartbeat } in served.iter().copied() {
            let begun = Inspector {
                port,
                heard: now,
                answered: false,
                asked: false,
                beat_at: now,
                told: None,
            };
            let inspector = self.known.entry(insertion).or_insert(begun);
            let asked = heartbeat && link;
            // Behind a link that comes back there may be another machine.
            if asked && !inspector.asked {
                *inspector = Inspector { told: inspector.told, ..begun };
            }
            inspector.asked = asked;
            if asked && inspector.beat_at <= now {
                inspector.beat_at = now + BEAT_EVERY;
                beats.push(insertion);
            }
            let silent = inspector.heard + LOST_AFTER <= now;
            let health = match (link, heartbeat) {
                (false, _) => Some(Health::Inactive),
                (true, false) => Some(Health::Active),
                (true, true) if silent => Some(Health::Inactive),
                (true, true) => inspector.answered.then_some(Health::Active),
            };
            if health.is_some() && inspector.told != health {
                inspector.told = health;
                verdicts.push((insertion, port, health));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Story {
        inspectors: Inspectors,
        served: Served,
        now: Instant,
    }

    impl Story {
        fn of(heartbeat: bool) -> Self {
            let (insertion, port) = (L2InsertionId::random(), PortId::random());
            let served = Served { insertion, port, link: true, heartbeat };
            Self { inspectors: Inspectors::default(), served, now: Instant::from_nanos(1) }
        }

        /// So many milliseconds later: what is told, and how many heartbeats are sent.
        fn after(&mut self, ms: u64) -> (Vec<Option<Health>>, usize) {
            self.now = self.now + Duration::from_millis(ms);
            let (mut verdicts, mut beats) = (Vec::new(), Vec::new());
            self.inspectors.update(&[self.served], self.now, &mut verdicts, &mut beats);
            (verdicts.into_iter().map(|(.., health)| health).collect(), beats.len())
        }

        fn answer(&mut self) {
            self.inspectors.hear(self.served.insertion, self.now);
        }
    }

    const THERE: Option<Health> = Some(Health::Active);
    const AWAY: Option<Health> = Some(Health::Inactive);

    #[test]
    fn without_heartbeats_a_machine_is_there_while_its_port_has_a_link() {
        let mut story = Story::of(false);
        assert_eq!(story.after(0), (vec![THERE], 0));
        assert_eq!(story.after(60_000), (vec![], 0), "said once");
        story.served.link = false;
        assert_eq!(story.after(1), (vec![AWAY], 0));
        story.served.link = true;
        assert_eq!(story.after(1), (vec![THERE], 0));
    }

    #[test]
    fn with_heartbeats_it_is_there_when_it_answers_and_away_when_three_are_lost() {
        let mut story = Story::of(true);
        assert_eq!(story.after(0), (vec![], 1), "nothing is said before it is known");
        story.answer();
        assert_eq!(story.after(10), (vec![THERE], 0));
        for _ in 0..3 {
            assert_eq!(story.after(500), (vec![], 1));
        }
        assert_eq!(story.after(500), (vec![AWAY], 1));
        story.answer();
        assert_eq!(story.after(1), (vec![THERE], 0), "one answer is enough");
        story.served.link = false;
        assert_eq!(story.after(600), (vec![AWAY], 0), "no link, no question");
    }

    #[test]
    fn one_that_was_not_asked_is_given_time_to_answer() {
        let mut story = Story::of(false);
        assert_eq!(story.after(0), (vec![THERE], 0));
        story.served.heartbeat = true;
        assert_eq!(story.after(60_000), (vec![], 1));
        assert_eq!(story.after(1749), (vec![], 1));
        assert_eq!(story.after(1), (vec![AWAY], 0));
        // Nor is one behind a link that went and came back known to be there.
        story.served.link = false;
        story.after(10);
        story.served.link = true;
        assert_eq!(story.after(10), (vec![], 1));
        story.answer();
        assert_eq!(story.after(10), (vec![THERE], 0));
    }

    #[test]
    fn what_may_be_lost_is_said_again_once() {
        let mut story = Story::of(true);
        story.after(0);
        story.answer();
        assert_eq!(story.after(10).0, [THERE]);
        assert_eq!(story.after(10).0, []);
        story.inspectors.say_again();
        assert_eq!(story.after(10).0, [THERE]);
        assert_eq!(story.after(10).0, []);
    }

    #[test]
    fn one_that_never_answers_is_away_and_one_that_left_is_not_spoken_of() {
        let mut story = Story::of(true);
        story.after(0);
        assert_eq!(story.after(1750).0, [AWAY]);
        let (mut verdicts, mut beats) = (Vec::new(), Vec::new());
        story.inspectors.update(&[], story.now, &mut verdicts, &mut beats);
        assert_eq!(verdicts, [(story.served.insertion, story.served.port, None)]);
    }
}
