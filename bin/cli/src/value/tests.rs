//! Values as tables: typed, in JSON, printed.

use super::*;
use crate::schema::ROOT;

/// Names that are their own identifiers.
struct Plain;

impl Names for Plain {
    fn id_of(&mut self, _: &'static Type, word: &str) -> Result<String, Refusal> {
        Ok(word.to_owned())
    }

    fn name_of(&mut self, _: &'static Type, id: &str) -> Result<String, Refusal> {
        Ok(id.to_owned())
    }
}

fn field(path: &str) -> &'static Field {
    let mut of = &ROOT;
    let mut words = path.split(' ').peekable();
    while let Some(word) = words.next() {
        if words.peek().is_none() {
            return of.field(word).unwrap_or_else(|| panic!("no field {path}"));
        }
        of = of.collection(word).unwrap_or_else(|| panic!("no collection in {path}")).of;
    }
    panic!("{path} is empty")
}

#[test]
fn what_is_typed_becomes_json_and_is_printed_again() {
    #[rustfmt::skip]
    let cases = [
        // field                      typed                  JSON                                    printed, where different
        ("bridge state",              "up",                  json!({"adminStateUp": true}),          None),
        ("bridge state",              "down",                json!({"adminStateUp": false}),         None),
        ("chain rule ethertype",      "2048",                json!({"dlType": 2048, "invDlType": false}), None),
        ("chain rule ethertype",      "!0x86dd",             json!({"dlType": 0x86dd, "invDlType": true}), Some("!-31011")),
        ("chain rule ethertype",      "-31011",              json!({"dlType": 0x86dd, "invDlType": false}), None),
        ("chain rule src",            "10.0.0.0/16",         json!({"nwSrcAddress": "10.0.0.0", "nwSrcLength": 16, "invNwSrc": false}), None),
        ("chain rule src",            "!10.0.0.1",           json!({"nwSrcAddress": "10.0.0.1", "nwSrcLength": 32, "invNwSrc": true}), None),
        ("chain rule src",            "10.0.0.1/32",         json!({"nwSrcAddress": "10.0.0.1", "nwSrcLength": 32, "invNwSrc": false}), Some("10.0.0.1")),
        ("chain rule src",            "0.0.0.0/0",           json!({"nwSrcAddress": "0.0.0.0", "nwSrcLength": 0, "invNwSrc": false}), None),
        ("chain rule dst",            "2001:db8::1",         json!({"nwDstAddress": "2001:db8::1", "nwDstLength": 128, "invNwDst": false}), None),
        ("chain rule dst-port",       "80",                  json!({"tpDst": {"start": 80, "end": 80}, "invTpDst": false}), None),
        ("chain rule dst-port",       "!80-90",              json!({"tpDst": {"start": 80, "end": 90}, "invTpDst": true}), None),
        ("chain rule flow",           "fwd-flow",            json!({"matchForwardFlow": true, "matchReturnFlow": false}), None),
        ("chain rule valid",          "no",                  json!({"matchValidFlow": false}),       None),
        ("chain rule inverted",       "yes",                 json!({"condInvert": true}),            None),
        ("chain rule in-ports",       "!a,b",                json!({"inPorts": ["a", "b"], "invInPorts": true}), None),
        ("chain rule target",         "10.0.0.1",            json!({"natTargets": [{"addressFrom": "10.0.0.1", "addressTo": "10.0.0.1", "portFrom": 0, "portTo": 0}]}), None),
        ("chain rule target",         "10.0.0.1-10.0.0.9:80-88", json!({"natTargets": [{"addressFrom": "10.0.0.1", "addressTo": "10.0.0.9", "portFrom": 80, "portTo": 88}]}), None),
        ("chain rule target",         "10.0.0.1:80,10.0.0.2:80", json!({"natTargets": [
            {"addressFrom": "10.0.0.1", "addressTo": "10.0.0.1", "portFrom": 80, "portTo": 80},
            {"addressFrom": "10.0.0.2", "addressTo": "10.0.0.2", "portFrom": 80, "portTo": 80}]}),   None),
        ("chain rule target",         "10.0.0.1:1--1",       json!({"natTargets": [{"addressFrom": "10.0.0.1", "addressTo": "10.0.0.1", "portFrom": 1, "portTo": 65535}]}), None),
        ("chain rule target",         "[2001:db8::1]:80",    json!({"natTargets": [{"addressFrom": "2001:db8::1", "addressTo": "2001:db8::1", "portFrom": 80, "portTo": 80}]}), None),
        ("chain rule target",         "2001:db8::1",         json!({"natTargets": [{"addressFrom": "2001:db8::1", "addressTo": "2001:db8::1", "portFrom": 0, "portTo": 0}]}), None),
        ("chain rule type",           "l2-transform",        json!({"type": "l2_transform"}),        None),
        ("router asn",                "64512",               json!({"asNumber": 64512}),             None),
        ("router port addresses",     "10.0.0.1/24,fd::1/64", json!({"portSubnet": ["10.0.0.1/24", "fd::1/64"]}), None),
        ("host container-limit",      "no-limit",            json!({"containerLimit": -1}),          None),
        ("router route type",         "blackhole",           json!({"type": "BlackHole"}),           None),
    ];
    for (path, typed, want, printed) in cases {
        let mut object = Object::new();
        write(field(path), typed, &mut Plain, &mut object)
            .unwrap_or_else(|no| panic!("{typed}: {no}"));
        assert_eq!(Value::Object(object.clone()), want, "{path} {typed}");
        let text = text(field(path), &mut Plain, &object).unwrap();
        assert_eq!(text.as_deref(), Some(printed.unwrap_or(typed)), "{path} {typed}");
    }
}

#[test]
fn what_is_no_value_is_refused_with_what_would_be_one() {
    #[rustfmt::skip]
    let cases = [
        ("bridge state",         "sideways",     "one of up, down"),
        ("chain rule flow",      "backward",     "one of fwd-flow, return-flow"),
        ("chain rule src",       "10.0.0",       "an address"),
        ("chain rule ethertype", "ip",           "an Ethernet type"),
        ("chain rule dst-port",  "80-",          "a port or a range"),
        ("chain rule target",    "10.0.0.1:",    "targets"),
        ("chain rule target",    "somewhere",    "targets"),
        ("chain rule type",      "dance",        "one of accept"),
    ];
    for (path, typed, want) in cases {
        let refused = write(field(path), typed, &mut Plain, &mut Object::new()).unwrap_err();
        let told = refused.to_string();
        assert!(told.contains(want) && told.contains(typed), "{path} {typed}: {told}");
    }
}

#[test]
fn a_number_that_is_none_goes_to_the_server_which_knows_the_range() {
    let mut object = Object::new();
    write(field("router asn"), "many", &mut Plain, &mut object).unwrap();
    assert_eq!(object["asNumber"], "many");
}

#[test]
fn a_listing_leaves_out_what_is_not_set_or_plain() {
    let rule = json!({ "nwProto": null, "condInvert": false, "fragmentPolicy": "header",
        "tpDst": {"start": 80, "end": 80}, "type": "accept", "noVlan": false });
    let rule = rule.as_object().unwrap();
    let line = |word: &str| {
        let field = field(&format!("chain rule {word}"));
        listed(field, &mut Plain, rule).unwrap()
    };
    assert_eq!(line("proto").as_deref(), Some("0"));
    assert_eq!(line("src"), None);
    assert_eq!(line("inverted"), None);
    assert_eq!(line("no-vlan"), None);
    // With ports, `header` is what the policy is by itself.
    assert_eq!(line("fragment-policy"), None);
    assert_eq!(line("chain"), None);
}

#[test]
fn addresses_of_interfaces_are_printed_as_in_the_guides() {
    let interface = json!({ "addresses": ["127.0.0.1", "::1"] });
    let text = text(field("host interface addresses"), &mut Plain, interface.as_object().unwrap());
    assert_eq!(text.unwrap().as_deref(), Some("[u'127.0.0.1', u'0:0:0:0:0:0:0:1']"));
}
