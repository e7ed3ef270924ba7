use std::net::Ipv6Addr;

use mn_ids::Id;
use mn_packet::Layers;
use mn_packet::ndp::NdMessage;

use super::*;

const INTERVAL: Duration = Duration::from_secs(600);

fn at(seconds: u64) -> Instant {
    Instant::ZERO + Duration::from_secs(seconds)
}

fn prefix(text: &str) -> PrefixInformation {
    PrefixInformation {
        prefix: text.parse().unwrap(),
        len: 64,
        on_link: true,
        autonomous: true,
        valid: 7200,
        preferred: 3600,
    }
}

fn speaker(prefixes: &[&str]) -> Speaker {
    let prefixes = prefixes.iter().map(|text| prefix(text)).collect();
    let advertisement = RouterAdvertisement { lifetime: 1800, prefixes, ..Default::default() };
    Speaker { mac: Mac([2, 0, 0, 0, 0, 1]), advertisement: Some(advertisement), interval: INTERVAL }
}

/// Everything that is said until then, with the second it is said at.
fn said(
    advertising: &mut Advertising,
    seconds: std::ops::Range<u64>,
) -> Vec<(u64, RouterAdvertisement)> {
    let mut said = Vec::new();
    for second in seconds {
        for (_, frame) in advertising.due(at(second)) {
            let layers = Layers::of(&frame).unwrap();
            let message = NdMessage::parse(layers.ip().unwrap().payload).unwrap();
            let Some(NdMessage::RouterAdvertisement(told)) = message else { panic!("{message:?}") };
            said.push((second, told));
        }
    }
    said
}

fn prefixes(told: &RouterAdvertisement) -> Vec<(Ipv6Addr, u32)> {
    told.prefixes.iter().map(|prefix| (prefix.prefix, prefix.preferred)).collect()
}

#[test]
fn a_port_speaks_at_once_three_times_quickly_and_then_now_and_again() {
    let mut advertising = Advertising::new(1);
    let port = Id::random();
    advertising.set([(port, speaker(&["fd00:1::"]))].into(), at(0));
    let times: Vec<u64> = said(&mut advertising, 0..6000).iter().map(|(at, _)| *at).collect();
    assert_eq!(times[0], 0);
    let between: Vec<u64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(between[..2].iter().all(|wait| (3..=16).contains(wait)), "{between:?}");
    assert!(between[2..].iter().all(|wait| (200..=601).contains(wait)), "{between:?}");
    assert!(between[2..].iter().any(|wait| *wait != between[2]), "not all in step");
}

#[test]
fn another_prefix_is_told_at_once_and_the_old_one_is_taken_back() {
    let mut advertising = Advertising::new(1);
    let port = Id::random();
    advertising.set([(port, speaker(&["fd00:1::"]))].into(), at(0));
    said(&mut advertising, 0..100);
    advertising.set([(port, speaker(&["fd00:2::"]))].into(), at(100));
    let told = said(&mut advertising, 100..1000);
    let (one, two) = ("fd00:1::".parse().unwrap(), "fd00:2::".parse().unwrap());
    assert_eq!(told[0].0, 100);
    for (_, told) in &told[..3] {
        assert_eq!(prefixes(told), [(two, 3600), (one, 0)]);
    }
    assert_eq!(prefixes(&told[3].1), [(two, 3600)], "by then everybody knows");
    // It comes back: it is not told that it is gone.
    advertising.set([(port, speaker(&["fd00:1::"]))].into(), at(1000));
    let told = said(&mut advertising, 1000..1010);
    assert_eq!(prefixes(&told[0].1), [(one, 3600), (two, 0)]);
}

#[test]
fn changes_in_quick_succession_are_told_no_more_than_every_three_seconds() {
    let mut advertising = Advertising::new(1);
    let port = Id::random();
    let mut times = Vec::new();
    for second in 0..20 {
        let prefix = format!("fd00:{second}::");
        advertising.set([(port, speaker(&[&prefix]))].into(), at(second));
        times.extend(said(&mut advertising, second..second + 1).iter().map(|(at, _)| *at));
    }
    assert!(times.windows(2).all(|pair| pair[1] - pair[0] >= 3), "{times:?}");
}

#[test]
fn a_port_that_falls_silent_says_so_and_one_that_went_elsewhere_does_not() {
    let mut advertising = Advertising::new(1);
    let port = Id::random();
    advertising.set([(port, speaker(&["fd00:1::"]))].into(), at(0));
    said(&mut advertising, 0..100);
    advertising.set([(port, Speaker { advertisement: None, ..speaker(&[]) })].into(), at(100));
    let told = said(&mut advertising, 100..10_000);
    assert_eq!(told.len(), 3);
    assert!(told.iter().all(|(_, told)| told.lifetime == 0));
    advertising.set([(port, speaker(&["fd00:1::"]))].into(), at(10_000));
    said(&mut advertising, 10_000..10_100);
    advertising.set(BTreeMap::new(), at(10_100));
    assert_eq!(said(&mut advertising, 10_100..20_000), []);
}

#[test]
fn a_port_that_never_spoke_is_silent() {
    let mut advertising = Advertising::new(1);
    let silent = Speaker { advertisement: None, ..speaker(&[]) };
    advertising.set([(Id::random(), silent)].into(), at(0));
    assert_eq!(said(&mut advertising, 0..10_000), []);
}
