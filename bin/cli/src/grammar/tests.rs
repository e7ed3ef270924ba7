//! The grammar as a table.

use super::*;

/// A command in a form that is short to write down.
fn told(line: &str) -> String {
    match parse(line) {
        Err(refusal) => refusal.to_string(),
        Ok(Command::List { from, of, filter }) => {
            format!("LIST {}{}{}", path(&from), of.word, pairs(&filter))
        }
        Ok(Command::Create { from, of, attributes }) => {
            format!("CREATE {}{}{}", path(&from), of.word, pairs(&attributes))
        }
        Ok(Command::Show { what, field }) => {
            format!("SHOW {}{}", path(&what), field.map_or("", |field| field.word))
        }
        Ok(Command::Set { what, attributes }) => {
            format!("SET {}{}", path(&what), pairs(&attributes))
        }
        Ok(Command::Clear { what, fields }) => {
            let words: Vec<_> = fields.iter().map(|field| field.word).collect();
            format!("CLEAR {}{}", path(&what), words.join(","))
        }
        Ok(Command::Delete { what }) => format!("DELETE {}", path(&what)),
        Ok(Command::Describe { what }) => format!("DESCRIBE {}", what.word),
    }
}

fn path(path: &[Step]) -> String {
    let step = |step: &Step| match step {
        Step::Member { of, key: Key::Word(word) } => format!("{}={word}/", of.word),
        Step::Member { of, key: Key::Filter(filter) } => {
            format!("{}[{}]/", of.word, pairs(filter).trim())
        }
        Step::Member { of, key: Key::Only } => format!("{}/", of.word),
        Step::Follow { field, .. } => format!("->{}/", field.word),
    };
    path.iter().map(step).collect()
}

fn pairs(pairs: &[Pair]) -> String {
    let pair = |pair: &Pair| match &pair.value {
        Value::Word(word) => format!(" {}={word}", pair.field.word),
        Value::Path(of) => format!(" {}=({})", pair.field.word, path(of)),
    };
    pairs.iter().map(pair).collect()
}

#[test]
fn every_order_of_words_that_the_guides_use_is_understood() {
    #[rustfmt::skip]
    let cases = [
        ("list router",                             "LIST router"),
        ("router list",                             "LIST router"),
        ("l router",                                "LIST router"),
        ("bridge list name snat-example-bridge",    "LIST bridge name=snat-example-bridge"),
        ("list bridge name X",                      "LIST bridge name=X"),
        ("bridge bridge0 list port",                "LIST bridge=bridge0/port"),
        ("bridge bridge0 port list",                "LIST bridge=bridge0/port"),
        ("list bridge bridge0 port",                "LIST bridge=bridge0/port"),
        ("router r0 port list mac 02:00:00:00:00:01", "LIST router=r0/port mac=02:00:00:00:00:01"),
        ("bridge create name \"a b\"",              "CREATE bridge name=a b"),
        ("create bridge name b",                    "CREATE bridge name=b"),
        ("bridge bridge0 add port",                 "CREATE bridge=bridge0/port"),
        ("bridge bridge0 port create",              "CREATE bridge=bridge0/port"),
        ("create bridge bridge0 port",              "CREATE bridge=bridge0/port"),
        ("router r0 add route src 0.0.0.0/0 dst 0.0.0.0/0 type normal port router r0 port port0 gw 1.2.3.4",
            "CREATE router=r0/route src=0.0.0.0/0 dst=0.0.0.0/0 type=normal port=(router=r0/port=port0/) gw=1.2.3.4"),
        ("host host0 add binding port router router0 port port0 interface veth1",
            "CREATE host=host0/binding port=(router=router0/port=port0/) interface=veth1"),
        ("host host1 binding add interface eth1 port bridge0:port3",
            "CREATE host=host1/binding interface=eth1 port=bridge0:port3"),
        ("host host0 add binding",                  "CREATE host=host0/binding"),
        ("tunnel-zone tzone0 member host host0 show",
            "SHOW tunnel-zone=tzone0/member[host=host0]/"),
        ("tunnel-zone tzone0 member host host0 delete",
            "DELETE tunnel-zone=tzone0/member[host=host0]/"),
        ("host host0 delete binding port p",        "DELETE host=host0/binding[port=p]/"),
        ("tunnel-zone tzone0 member add host host0 address 172.19.0.2",
            "CREATE tunnel-zone=tzone0/member host=host0 address=172.19.0.2"),
        ("delete tunnel-zone tzone0",               "DELETE tunnel-zone=tzone0/"),
        ("router router2 delete route route2",      "DELETE router=router2/route=route2/"),
        ("router router2 route route2 delete",      "DELETE router=router2/route=route2/"),
        ("show bridge bridge0 id",                  "SHOW bridge=bridge0/id"),
        ("bridge bridge0 show id",                  "SHOW bridge=bridge0/id"),
        ("bridge bridge0 id show",                  "SHOW bridge=bridge0/id"),
        ("bridge bridge0 show",                     "SHOW bridge=bridge0/"),
        ("router router0 set infilter chain0",      "SET router=router0/ infilter=chain0"),
        ("set router router0 name edge state down", "SET router=router0/ name=edge state=down"),
        ("router router1 port port1 set peer router3:port0",
            "SET router=router1/port=port1/ peer=router3:port0"),
        ("port abc set peer def",                   "SET port=abc/ peer=def"),
        ("bridge b port p clear infilter outfilter","CLEAR bridge=b/port=p/infilter,outfilter"),
        ("clear bridge b infilter",                 "CLEAR bridge=b/infilter"),
        ("bridge b unset infilter",                 "CLEAR bridge=b/infilter"),
        ("chain c add rule ethertype 2048 src !10.0.0.0/16 type drop",
            "CREATE chain=c/rule ethertype=2048 src=!10.0.0.0/16 type=drop"),
        ("router router0 infilter rule list",       "LIST router=router0/->infilter/rule"),
        ("router router0 infilter show",            "SHOW router=router0/->infilter/"),
        ("show system-state state",                 "SHOW system-state/state"),
        ("set system-state availability READONLY",  "SET system-state/ availability=READONLY"),
        ("bridge b dhcp subnet 10.0.0.0/24 host list",
            "LIST bridge=b/dhcp[subnet=10.0.0.0/24]/host"),
        ("bridge b dhcp 10.0.0.0/24 add host name vm mac 02:00:00:00:00:01 address 10.0.0.5",
            "CREATE bridge=b/dhcp=10.0.0.0/24/host name=vm mac=02:00:00:00:00:01 address=10.0.0.5"),
        ("ip-address-group g add ip address 172.16.0.3",
            "CREATE ip-address-group=g/ip address=172.16.0.3"),
        ("describe bridge",                         "DESCRIBE bridge"),
        ("bridge bridge0 describe",                 "DESCRIBE bridge"),
    ];
    for (line, want) in cases {
        assert_eq!(told(line), want, "{line}");
    }
}

#[test]
fn what_is_no_command_is_quoted_from_where_it_goes_wrong() {
    #[rustfmt::skip]
    let cases = [
        ("host host0 delete binding",           "Syntax error at: ...binding"),
        ("frobnicate",                          "Syntax error at: ...frobnicate"),
        ("bridge bridge0 frobnicate now",       "Syntax error at: ...frobnicate now"),
        ("bridge create nmae b",                "Syntax error at: ...nmae b"),
        ("create bridge nmae b",                "Syntax error at: ...nmae b"),
        ("bridge list nmae b",                  "Syntax error at: ...nmae b"),
        ("bridge bridge0 set nmae b",           "Syntax error at: ...nmae b"),
        ("bridge bridge0 show name mac",        "Syntax error at: ...mac"),
        ("bridge bridge0 delete now",           "Syntax error at: ...now"),
        ("list",                                "Missing arguments, incomplete command"),
        ("bridge",                              "Missing arguments, incomplete command"),
        ("bridge bridge0",                      "Missing arguments, incomplete command"),
        ("bridge bridge0 set",                  "Missing arguments, incomplete command"),
        ("bridge bridge0 set name",             "Missing arguments, incomplete command"),
        ("bridge bridge0 clear",                "Missing arguments, incomplete command"),
        ("bridge create name",                  "Missing arguments, incomplete command"),
        ("bridge bridge0 name",                 "Missing arguments, incomplete command"),
        ("bridge create name \"b",              "Syntax error: unmatched quote"),
        ("bridge create name a name b",         "User error: 'name' is given twice"),
    ];
    for (line, want) in cases {
        assert_eq!(told(line), want, "{line}");
    }
}
