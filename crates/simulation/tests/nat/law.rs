//! There and back is where one was.

use mn_testkit::{Lab, Random};

use crate::traffic::{Ends, back, only, quoted};

/// Rules for one device of the path: what goes in (towards the inside) and what goes out.
///
/// A range of addresses leaves it open as what the machine is known above, so nothing above it
/// leads one address to it.
fn rules(draw: &mut Random, nth: usize, last: bool) -> (String, String) {
    let (a, b) = (10 * nth + 2, 10 * nth + 3);
    let (low, high) = (1000 + draw.below(500), 2000 + draw.below(60_000));
    let source =
        format!("snat 203.0.113.{a}@{low}-{high},2001:db8:1::{a}@{low}-{high} out-port R.up");
    let range =
        format!("snat 203.0.113.{a}-203.0.113.{b},2001:db8:1::{a}-2001:db8:1::{b} out-port R.up");
    let fixed =
        format!("snat 203.0.113.{a} ipv4 out-port R.up\n snat 2001:db8:1::{a} ipv6 out-port R.up");
    let back =
        format!("dnat HERE4 ipv4 to 203.0.113.{a}/32\n dnat HERE6 ipv6 to 2001:db8:1::{a}/128");
    match draw.below(4) {
        0 => (back, fixed),
        1 if last => ("rev-snat".to_owned(), range),
        2 => (String::new(), String::new()),
        _ => ("rev-snat".to_owned(), source),
    }
}

/// `vm` behind one to three routers in a row that each may translate.
fn lab(draw: &mut Random) -> Lab {
    let routers = 1 + draw.below(3);
    let mut text = String::from("bridge blue\n vm 02::01 10.0.1.5 fd01::5\n");
    text += "bridge street\n out 02::e1 198.51.100.9 2001:db8::9\n";
    // What the machine is known as where the packet is.
    let (mut v4, mut v6) = ("10.0.1.5".to_owned(), "fd01::5".to_owned());
    for nth in 0..routers {
        let below = if nth == 0 { "blue".to_owned() } else { format!("r{}", nth - 1) };
        let above = if nth + 1 == routers { "street".to_owned() } else { format!("r{}", nth + 1) };
        let (down4, down6) = if nth == 0 {
            ("10.0.1.1/24".to_owned(), "fd01::1/64".to_owned())
        } else {
            (format!("10.9.{nth}.2/24"), format!("fd09:{nth}::2/64"))
        };
        let (up4, up6) = if nth + 1 == routers {
            ("198.51.100.1/24".to_owned(), "2001:db8::1/64".to_owned())
        } else {
            (format!("10.9.{}.1/24", nth + 1), format!("fd09:{}::1/64", nth + 1))
        };
        text += &format!("router r{nth}\n {below} 02::a{nth} {down4} {down6}\n");
        text += &format!(" {above} 02::b{nth} {up4} {up6}\n in pre{nth}\n out post{nth}\n");
        let next = nth + 1;
        if nth + 1 < routers {
            text += &format!(" route 198.51.100.0/24 via {above} 10.9.{next}.2\n");
            text += &format!(" route 2001:db8::/64 via {above} fd09:{next}::2\n");
        }
        if nth > 0 {
            for net in ["10.0.1.0/24", "203.0.113.0/24"] {
                text += &format!(" route {net} via {below} 10.9.{nth}.1\n");
            }
            for net in ["fd01::/64", "2001:db8:1::/64"] {
                text += &format!(" route {net} via {below} fd09:{nth}::1\n");
            }
        }
        let (pre, post) = rules(draw, nth, nth + 1 == routers);
        let pre = pre.replace("HERE4", &v4).replace("HERE6", &v6);
        let post = post.replace("R.up", &format!("r{nth}.{above}"));
        text += &format!("chain pre{nth}\n {pre}\nchain post{nth}\n {post}\n");
        if !post.is_empty() {
            let known = 10 * nth + 2;
            (v4, v6) = (format!("203.0.113.{known}"), format!("2001:db8:1::{known}"));
        }
    }
    Lab::read(&text)
}

/// How many cases a law is tried on: by default a slice, with `MIDONET_LONG=1` twenty times that.
#[expect(clippy::disallowed_methods, reason = "how much is tried is said by who starts the test")]
fn cases(slice: u64) -> u64 {
    let long = std::env::var("MIDONET_LONG").is_ok_and(|long| long == "1");
    if long { 20 * slice } else { slice }
}

#[test]
fn an_answer_comes_home_as_the_mirror_of_what_was_sent_and_errors_quote_what_was_sent() {
    let (mut translated, mut remembered) = (0, 0);
    for seed in 0..cases(400) {
        let mut draw = Random::new(seed);
        let mut lab = lab(&mut draw);
        for _ in 0..6 {
            let what = draw.pick(&["tcp", "udp", "icmp"]);
            let port =
                if what == "icmp" { String::new() } else { format!("{}", 1 + draw.below(65535)) };
            let (sport, version) = (draw.below(65536), draw.pick(&["", "v6"]));
            let text = format!("vm > out {what} {port} sport {sport} id {sport} {version}");
            let sent = lab.send(&text);
            let (asked, at) = (Ends::of(&sent.built.key), only(&sent));
            let seen = Ends::of(&at.headers);
            translated += u64::from(seen != asked);
            let effects = sent.buffers.effects.clone();
            lab.tables.learn(&effects);
            let story = || format!("seed {seed}: {text}\n{}", lab.text());
            let answer = back(&lab, &at, &seen.answer().packet(64));
            assert_eq!(Ends::of(&only(&answer).headers), asked.answer(), "{}", story());
            // Again the same way.
            assert_eq!(Ends::of(&only(&lab.send(&text)).headers), seen, "{}", story());
            // An error about it, from beyond.
            let far = if asked.dst.is_ipv4() { "198.51.100.77" } else { "2001:db8::77" };
            let error = back(&lab, &at, &seen.error(far.parse().unwrap()));
            assert_eq!(Ends::of(&only(&error).headers).dst, asked.src, "{}", story());
            assert_eq!(quoted(seen, &error.buffers.actions), asked, "{}", story());
            // An error about the answer, from the machine.
            let home = only(&answer);
            let error = back(&lab, &home, &asked.answer().error(asked.src));
            let headers = only(&error).headers;
            assert_eq!(Ends::of(&headers).src, seen.src, "{}", story());
            let told = quoted(asked.answer(), &error.buffers.actions);
            assert_eq!(told, seen.answer(), "{}", story());
        }
        remembered += lab.tables.translations.all.len();
    }
    assert!(translated > 500 && remembered > 500, "{translated} {remembered}");
}
