//! A chain of very many rules, made and listed as an operator does it. By default a slice; with
//! `MIDONET_LONG=1` 20,000 rules. Prints how long it takes.

use std::time::{Duration, Instant};

use mn_cli::{Form, Naming, Reply, Session};
use mn_client::{Client, Server};

#[expect(dead_code, reason = "the scripts need more of it")]
mod lab;

use lab::Lab;

/// What a command prints; it succeeds.
fn says(session: &mut Session, command: &str) -> String {
    match session.answer(command) {
        Ok(Reply::Text(text) | Reply::Aside(text)) => text,
        other => panic!("{command}: {other:?}"),
    }
}

/// The positions that a list of rules shows.
fn positions(list: &str) -> Vec<usize> {
    let position = |line: &str| {
        let (_, rest) = line.split_once(" pos ").expect("every rule has a position");
        rest.split(' ').next().and_then(|number| number.parse().ok()).expect("a number")
    };
    list.lines().map(position).collect()
}

#[test]
fn a_chain_of_very_many_rules_is_made_and_listed_at_a_steady_speed() {
    let long = std::env::var_os("MIDONET_LONG").is_some();
    let rules = if long { 20_000 } else { 400 };
    let lab = Lab::start();
    let session = |naming| {
        let client = Client::new(Server::new(lab.base())).expect("the trust is the usual");
        Session::new(client, naming, Form::Lines)
    };
    let mut script = session(Naming::Identifiers);
    let chain = says(&mut script, "chain create name long");
    let mut quarters = Vec::new();
    let made = Instant::now();
    for quarter in 0..4 {
        // The fastest: what else the machine does is not measured.
        let mut fastest = Duration::MAX;
        for number in quarter * rules / 4..(quarter + 1) * rules / 4 {
            let (port, middle) = (1 + number % 60_000, number / 2 + 1);
            let rule = format!("proto 6 dst-port {port} pos {middle} type drop");
            let begun = Instant::now();
            says(&mut script, &format!("chain {chain} add rule {rule}"));
            fastest = fastest.min(begun.elapsed());
        }
        quarters.push(fastest);
    }
    let made = made.elapsed();
    let want: Vec<usize> = (1..=rules).collect();
    let listing = Instant::now();
    assert_eq!(positions(&says(&mut script, &format!("chain {chain} list rule"))), want);
    let listing = listing.elapsed();

    // In a session of a terminal every rule gets a name of its own, which then stands for it.
    let mut terminal = session(Naming::Aliases);
    says(&mut terminal, "chain list");
    let naming = Instant::now();
    assert_eq!(positions(&says(&mut terminal, "chain chain0 list rule")), want);
    let naming = naming.elapsed();
    let one = Instant::now();
    let middle = rules / 2;
    let shown = says(&mut terminal, &format!("chain chain0 rule rule{middle} show pos"));
    assert_eq!(shown, (middle + 1).to_string());
    eprintln!(
        "{rules} rules: made in {made:?}, fastest of each quarter {quarters:?}, listed in \
         {listing:?}, with names in {naming:?}, one shown in {:?}",
        one.elapsed()
    );
    assert!(quarters[3] < quarters[1] * 3, "each slower than the one before: {quarters:?}");
}
