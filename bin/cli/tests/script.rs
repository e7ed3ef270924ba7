//! Scripts of commands with what an operator sees, run against the REST API in this process.
//!
//! `cargo test -p mn-cli` compares; with `MN_RECORD=1` in the environment the scripts are written anew. In a
//! script, `midonet> ` begins a command of a session with aliases, `-e> ` one of a session without; the lines
//! after it are what is printed, and `(exit 1)` stands after a command that failed. `@host NAME` makes a host
//! as its agent would, `@interface HOST JSON` gives it an interface. Identifiers are written as `<id1>` in the
//! order in which they appear, random MACs as `<mac1>`, the server's address as `<api>`.

use std::fs;
use std::path::Path;

use mn_cli::{Form, Naming, Reply, Session};
use mn_client::{Client, Server};

mod lab;

use lab::{Hidden, Lab};

/// Runs one script and gives it back as it went.
fn run(script: &str) -> String {
    let lab = Lab::start();
    let session = |naming| {
        let client = Client::new(Server::new(lab.base())).expect("the trust is the usual");
        Session::new(client, naming, Form::Lines)
    };
    let mut named = session(Naming::Aliases);
    let mut plain = session(Naming::Identifiers);
    let mut hidden = Hidden::default();
    let mut went = String::new();
    for line in script.lines() {
        let told = if let Some(command) = line.strip_prefix("midonet> ") {
            answer(&mut named, command)
        } else if let Some(command) = line.strip_prefix("-e> ") {
            answer(&mut plain, &hidden.reveal(command))
        } else if let Some(order) = line.strip_prefix('@') {
            lab.obey(order);
            String::new()
        } else if line.is_empty() || line.starts_with('#') {
            String::new()
        } else {
            continue;
        };
        went.push_str(line);
        went.push('\n');
        went.push_str(&hidden.hide(&told.replace(lab.base(), "<api>")));
    }
    went
}

fn answer(session: &mut Session, command: &str) -> String {
    let (text, failed) = match session.answer(command) {
        Ok(Reply::Text(text) | Reply::Aside(text)) => (text, false),
        Ok(Reply::NotFound) => (String::new(), true),
        Ok(Reply::Quit) => ("(quit)".to_owned(), false),
        Err(refusal) => (refusal.to_string(), true),
    };
    let mut told = text;
    if !told.is_empty() {
        told.push('\n');
    }
    if failed {
        told.push_str("(exit 1)\n");
    }
    told
}

fn compare(name: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/script").join(name);
    let script = fs::read_to_string(&file).expect("the script is there");
    let went = run(&script);
    if std::env::var_os("MN_RECORD").is_some() {
        fs::write(&file, went).expect("the script can be written");
        return;
    }
    let differs = script.lines().zip(went.lines()).position(|(want, got)| want != got);
    let line = differs.unwrap_or_else(|| script.lines().count().min(went.lines().count()));
    let around = |text: &str| {
        let lines = text.lines().skip(line.saturating_sub(3)).take(6);
        lines.collect::<Vec<_>>().join("\n")
    };
    assert!(
        script == went,
        "{name}, line {}:\n--- wanted\n{}\n--- got\n{}",
        line + 1,
        around(&script),
        around(&went)
    );
}

macro_rules! scripts {
    ($($test:ident = $file:literal;)*) => {$(
        #[test]
        fn $test() { compare($file); }
    )*};
}

scripts! {
    bridges_and_routers_are_drawn_as_the_guide_draws_them = "devices.txt";
    ports_are_bound_to_interfaces_of_hosts = "hosts.txt";
    chains_and_rules_print_as_in_the_guide = "chains.txt";
    filters_ask_what_the_guide_says_and_refuse_the_rest = "filters.txt";
    groups_have_members = "groups.txt";
    load_balancers_print_as_in_the_guide = "load_balancers.txt";
    machines_are_inspected_by_others_in_order = "insertions.txt";
    mirrors_are_hung_on_devices_as_in_the_guide = "mirrors.txt";
    ports_are_held_to_policies_as_in_the_guide = "qos.txt";
    bridges_have_dhcp_subnets_and_tables = "tables.txt";
    scripts_use_identifiers_and_tell_failure = "scripts.txt";
    bad_input_is_refused_with_a_sentence = "refusals.txt";
    a_system_is_closed_for_a_backup_and_opened_again = "system_state.txt";
    a_tenant_bounds_what_is_listed = "tenants.txt";
}
