//! Where a translated TCP connection is between its beginning and its end, by the segments that
//! say so.

use mn_flow::TcpClass;
use mn_simulation::nat::Way;
use mn_time::{Duration, Instant};

/// Who said to have reset a connection and speaks this much later is believed again: sequence
/// numbers are not followed, so the reset may have been forged.
const DOUBT_AFTER: Duration = Duration::from_secs(2);

/// Where a connection is between its beginning and its end.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum Life {
    /// Nothing but its first segment has come, again perhaps.
    #[default]
    Opening,
    Open,
    /// This way nothing more is to come.
    Half(Way),
    /// Both sides have said so, or one has reset it.
    Ended {
        at: Instant,
        reset: bool,
    },
}

/// What a segment has changed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Turn {
    /// Both sides have ended the connection.
    Ended,
    /// One side has reset it, as far as can be told.
    Reset,
    /// A new one has the ends of one that had ended, or that one goes on after all.
    Resumed,
}

impl Life {
    /// Takes in a segment; what turn that is.
    pub(super) fn take(&mut self, way: Way, class: TcpClass, now: Instant) -> Option<Turn> {
        let next = match (*self, class) {
            (Self::Opening | Self::Open | Self::Half(_), TcpClass::Rst) => {
                Self::Ended { at: now, reset: true }
            }
            (Self::Opening | Self::Open, TcpClass::Fin) => Self::Half(way),
            // An answer, or what is sent after one.
            (Self::Opening, TcpClass::Other) => Self::Open,
            (Self::Half(first), TcpClass::Fin) if first != way => {
                Self::Ended { at: now, reset: false }
            }
            (Self::Ended { .. }, TcpClass::Syn) if way == Way::Forward => Self::Opening,
            (Self::Ended { at, reset: true }, TcpClass::Other) if at + DOUBT_AFTER <= now => {
                Self::Open
            }
            (same, _) => same,
        };
        let turn = match (*self, next) {
            (Self::Ended { .. }, Self::Ended { .. }) => None,
            (_, Self::Ended { reset: true, .. }) => Some(Turn::Reset),
            (_, Self::Ended { .. }) => Some(Turn::Ended),
            (Self::Ended { .. }, _) => Some(Turn::Resumed),
            _ => None,
        };
        *self = next;
        turn
    }

    /// Whether it is not known to be established: such a connection may be given up sooner (RFC
    /// 5382 §5, REQ-5).
    pub(super) const fn is_transitory(self) -> bool {
        matches!(self, Self::Opening | Self::Half(_))
    }

    pub(super) const fn has_ended(self) -> bool {
        matches!(self, Self::Ended { .. })
    }

    pub(super) const fn ended_at(self) -> Option<Instant> {
        if let Self::Ended { at, .. } = self { Some(at) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use TcpClass::{Fin, Other, Rst, Syn};
    use Way::{Back, Forward};

    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(millis)
    }

    /// What becomes of a connection by these segments, a second after each other.
    fn turns(segments: &[(Way, TcpClass)]) -> Vec<Option<Turn>> {
        let mut life = Life::default();
        let take =
            |(nth, (way, class)): (u64, &(Way, TcpClass))| life.take(*way, *class, at(nth * 1000));
        (0..).zip(segments).map(take).collect()
    }

    #[test]
    fn a_connection_ends_when_both_sides_have_ended_it_or_one_resets_it() {
        let (ended, reset) = (Some(Turn::Ended), Some(Turn::Reset));
        assert_eq!(turns(&[(Forward, Fin), (Forward, Fin), (Back, Fin)]), [None, None, ended]);
        assert_eq!(turns(&[(Back, Fin), (Forward, Fin), (Back, Fin)]), [None, ended, None]);
        assert_eq!(turns(&[(Forward, Rst), (Back, Rst)]), [reset, None]);
        assert_eq!(turns(&[(Back, Fin), (Back, Rst)]), [None, reset]);
    }

    #[test]
    fn a_connection_is_established_when_something_answers_and_until_a_side_ends_it() {
        let transitory = |segments: &[(Way, TcpClass)]| {
            let mut life = Life::default();
            for (way, class) in segments {
                life.take(*way, *class, at(0));
            }
            life.is_transitory()
        };
        assert!(transitory(&[]) && transitory(&[(Forward, Syn), (Forward, Syn)]));
        assert!(!transitory(&[(Back, Other)]) && !transitory(&[(Forward, Other)]));
        assert!(transitory(&[(Back, Other), (Forward, Fin)]));
        // A new connection between the same ends.
        assert!(transitory(&[(Back, Rst), (Forward, Syn)]));
    }

    #[test]
    fn the_same_ends_may_meet_again_and_a_reset_that_nobody_obeys_is_not_believed() {
        let (ended, resumed) = (Some(Turn::Ended), Some(Turn::Resumed));
        let reset = Some(Turn::Reset);
        assert_eq!(turns(&[(Forward, Rst), (Forward, Syn)]), [reset, resumed]);
        let both = [(Forward, Fin), (Back, Fin), (Forward, Syn), (Back, Rst)];
        assert_eq!(turns(&both), [None, ended, resumed, reset]);
        // What was on its way at the reset; and who goes on speaking.
        let rest = [(Back, Rst), (Forward, Other), (Forward, Other)];
        assert_eq!(turns(&rest), [reset, None, resumed]);
        // Late packets of one that both sides ended do not wake it.
        let late = [(Back, Fin), (Forward, Fin), (Back, Other), (Back, Other), (Back, Other)];
        assert_eq!(turns(&late), [None, ended, None, None, None]);
    }
}
