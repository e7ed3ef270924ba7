//! Consistent hashing: which member has a hash, so that few clients move when members come and go.
//!
//! Maglev (Eisenbud and others, NSDI 2016, §3.4). Each member has an order of its own in which it
//! would like the places of a table of fixed size; in turns each takes the first of those that is
//! free, until it has its share by its weight. A member that goes leaves its places to the others, and few
//! other places change hands. Every host that knows the same members makes the same table.

use mn_flow::mix;

/// Places in a table: a prime, so that a member's steps reach each of them. With a hundred places a
/// member shares are even within a percent or so.
const PLACES: u32 = 65_537;

/// The place of nobody.
const FREE: u32 = u32::MAX;

/// Which of the members, by its index, has each place.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Maglev(Box<[u32]>);

/// A member on its way through the places it would like.
struct Seeker {
    index: u32,
    next: u32,
    step: u32,
    /// Places that it is still to take.
    left: u64,
}

impl Maglev {
    /// The table of members, each with what tells it from others and its weight. Takes as many steps
    /// as there are places and members, however the weights differ.
    pub(super) fn new(members: &[(u128, u64)]) -> Self {
        let total: u128 = members.iter().map(|(_, weight)| u128::from(*weight)).sum();
        if total == 0 {
            return Self(Box::default());
        }
        let mut until = 0;
        let mut seekers: Vec<Seeker> = (0..)
            .zip(members)
            .map(|(index, (id, weight))| {
                let before = until * u128::from(PLACES) / total;
                until += u128::from(*weight);
                let share = until * u128::from(PLACES) / total - before;
                seeker(index, *id, share as u64)
            })
            .collect();
        let mut places = vec![FREE; PLACES as usize];
        loop {
            seekers.retain(|seeker| seeker.left > 0);
            if seekers.is_empty() {
                return Self(places.into());
            }
            for seeker in &mut seekers {
                while places[seeker.next as usize] != FREE {
                    seeker.advance();
                }
                places[seeker.next as usize] = seeker.index;
                seeker.left -= 1;
            }
        }
    }

    /// The index of the member that has this hash; `None` where there are no members.
    pub(super) fn at(&self, hash: u64) -> Option<usize> {
        let place = hash.checked_rem(self.0.len() as u64)?;
        self.0.get(usize::try_from(place).ok()?).map(|index| *index as usize)
    }
}

impl Seeker {
    const fn advance(&mut self) {
        self.next = (self.next + self.step) % PLACES;
    }
}

fn seeker(index: u32, id: u128, left: u64) -> Seeker {
    let place = |seed: u64, places: u32| (mix(seed, id) % u64::from(places)) as u32;
    Seeker { index, next: place(1, PLACES), step: 1 + place(2, PLACES - 1), left }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(ids: impl IntoIterator<Item = u128>) -> Vec<(u128, u64)> {
        ids.into_iter().map(|id| (id, 1)).collect()
    }

    /// How many places each has.
    fn shares(members: &[(u128, u64)]) -> Vec<u32> {
        let mut shares = vec![0; members.len()];
        Maglev::new(members).0.iter().for_each(|index| shares[*index as usize] += 1);
        shares
    }

    /// Who has each place, by id.
    fn holders(members: &[(u128, u64)]) -> Vec<u128> {
        Maglev::new(members).0.iter().map(|index| members[*index as usize].0).collect()
    }

    /// The part of places that change hands though their holder is there before and after.
    fn moved(before: &[(u128, u64)], after: &[(u128, u64)]) -> f64 {
        let there = |id: u128, all: &[(u128, u64)]| all.iter().any(|(other, _)| *other == id);
        let pairs = holders(before).into_iter().zip(holders(after));
        let stay = pairs.filter(|(old, new)| there(*old, after) && there(*new, before));
        let stay: Vec<_> = stay.collect();
        stay.iter().filter(|(old, new)| old != new).count() as f64 / f64::from(PLACES)
    }

    #[test]
    fn equal_members_have_equal_shares() {
        for count in [1, 2, 7, 100] {
            let shares = shares(&members(0..count));
            let (least, most) = (shares.iter().min().unwrap(), shares.iter().max().unwrap());
            assert!(most - least <= 1, "{count}: {least} to {most}");
        }
    }

    #[test]
    fn shares_are_as_the_weights_say() {
        let weighed = [(1, 1), (2, 2), (3, 7), (4, 90)];
        for ((_, weight), share) in weighed.iter().zip(shares(&weighed)) {
            let want = f64::from(PLACES) * *weight as f64 / 100.0;
            assert!((f64::from(share) - want).abs() <= want * 0.01 + 4.0, "{weight}: {share}");
        }
    }

    #[test]
    fn who_goes_or_comes_moves_few_of_the_others_clients() {
        let all = members(0..50);
        for gone in [0, 17, 49] {
            let left: Vec<_> = all.iter().copied().filter(|(id, _)| *id != gone).collect();
            let (goes, comes) = (moved(&all, &left), moved(&left, &all));
            // One in fifty has to move; by remainders of the hash all but one in fifty would.
            assert!(goes < 0.03 && comes < 0.03, "{gone}: {goes} {comes}");
        }
    }

    #[test]
    fn every_host_makes_the_same_table_and_members_come_back_to_their_clients() {
        let all = members(0..20);
        let left = &all[..19];
        assert_eq!(Maglev::new(&all), Maglev::new(&all));
        assert_ne!(holders(&all), holders(left));
        // What a member is called decides, not how many came before it.
        let backwards: Vec<_> = all.iter().rev().copied().collect();
        let same = holders(&all).into_iter().zip(holders(&backwards)).filter(|(a, b)| a == b);
        assert!(same.count() > PLACES as usize * 9 / 10);
    }

    #[test]
    fn nobody_is_chosen_of_none() {
        assert_eq!(Maglev::new(&[]).at(7), None);
        assert_eq!(Maglev::new(&[(9, 5)]).at(u64::MAX), Some(0));
    }
}
