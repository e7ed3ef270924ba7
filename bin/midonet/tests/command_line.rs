//! `midonet-cli` as a program: its names, its streams, its exit statuses, against a cluster node as a program.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use tempfile::TempDir;

const MIDONET: &str = env!("CARGO_BIN_EXE_midonet");

/// Whether the node speaks TLS.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Listener {
    Plain,
    Tls,
}

/// A cluster node and a home of its own for the command line.
struct Lab {
    node: Child,
    url: String,
    home: TempDir,
}

impl Lab {
    fn start(listener: Listener) -> Self {
        let home = tempfile::tempdir().expect("a directory");
        symlink(MIDONET, home.path().join("midonet-cli")).expect("a link");
        let mut command = Command::new(MIDONET);
        command.args(["cluster", "--engine", "memory", "--rest", "127.0.0.1:0"]);
        command.args(["--nsdb", "127.0.0.1:0", "--metrics", "127.0.0.1:0", "--root"]);
        command.arg(home.path().join("node"));
        if listener == Listener::Plain {
            command.arg("--insecure");
        }
        let mut node = command.stderr(Stdio::piped()).spawn().expect("the node starts");
        let scheme = if listener == Listener::Plain { "http" } else { "https" };
        let address = address(&mut node);
        Self { node, url: format!("{scheme}://{address}/midonet-api"), home }
    }

    /// `midonet-cli`, by its link.
    fn cli(&self, args: &[&str]) -> Command {
        let mut command = Command::new(self.home.path().join("midonet-cli"));
        self.settle(command.args(["-A", "--midonet-url", &self.url]).args(args));
        command
    }

    /// Keeps the settings of whoever runs the tests out.
    fn settle(&self, command: &mut Command) {
        command.env("HOME", self.home.path());
        let variables = ["API_URL", "USER", "PASSWORD", "PROJECT_ID", "TENANT", "CA_FILE"];
        for name in variables {
            command.env_remove(format!("MIDO_{name}"));
        }
    }

    fn certificate(&self) -> PathBuf {
        self.home.path().join("node/tls/ca.pem")
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // It may have ended by itself, which is as well.
        let _ = self.node.kill();
        let _ = self.node.wait();
    }
}

/// Where the node says it serves the API; what it logs later is read and dropped.
fn address(node: &mut Child) -> String {
    let mut log = BufReader::new(node.stderr.take().expect("it is piped")).lines();
    let mut told = Vec::new();
    while let Some(Ok(line)) = log.next() {
        if let Some((_, rest)) = line.split_once("rest=") {
            let address = rest.split_whitespace().next().expect("an address follows");
            std::thread::spawn(move || log.for_each(drop));
            return address.to_owned();
        }
        told.push(line);
    }
    panic!("the node did not start: {told:?}")
}

fn fed(mut command: Command, input: &str) -> Output {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    let mut stdin = child.stdin.take().expect("it is piped");
    stdin.write_all(input.as_bytes()).expect("it reads");
    drop(stdin);
    child.wait_with_output().expect("it ends")
}

/// Types each line after the prompt for it has come.
fn talked(mut command: Command, lines: &[&str]) -> (Option<i32>, String) {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
    let mut stdin = child.stdin.take().expect("it is piped");
    let mut stdout = child.stdout.take().expect("it is piped");
    let (mut told, mut fresh) = (String::new(), String::new());
    let mut lines = lines.iter();
    let mut typed = "";
    let mut buffer = [0; 1024];
    while let Ok(count @ 1..) = stdout.read(&mut buffer) {
        fresh.push_str(&text(&buffer[..count]));
        let last = fresh.rsplit('\n').next().unwrap_or_default();
        let prompt = last.contains("midonet> ") && (typed.is_empty() || !last.contains(typed));
        if prompt && (typed.is_empty() || fresh.contains('\n')) {
            told.push_str(&std::mem::take(&mut fresh));
            let Some(line) = lines.next() else { continue };
            writeln!(stdin, "{line}").expect("it reads");
            typed = line;
        }
    }
    told.push_str(&fresh);
    (child.wait().expect("it ends").code(), told)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn the_exit_status_is_that_of_the_last_command() {
    let lab = Lab::start(Listener::Plain);
    let status = |args: &[&str]| {
        let output = lab.cli(args).output().expect("it starts");
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let (code, id, _) = status(&["-e", "bridge create name blue"]);
    assert_eq!((code, id.trim().len()), (Some(0), 36), "{id}");
    let (code, listed, _) = status(&["-e", "bridge", "list", "name", "blue"]);
    assert_eq!((code, listed), (Some(0), format!("bridge {} name blue state up\n", id.trim())));
    assert_eq!(status(&["-e", "bridge list name red"]), (Some(1), String::new(), String::new()));
    let (code, out, err) = status(&["-e", "bridge frob"]);
    assert_eq!((code, out.as_str()), (Some(1), ""));
    assert_eq!(err, "Missing arguments, incomplete command\n");
    let (code, _, err) = status(&["-e", "bridge create vlan 7"]);
    assert_eq!((code, err.as_str()), (Some(1), "Syntax error at: ...vlan 7\n"));
    let (code, _, err) = status(&["list", "bridge"]);
    assert_eq!((code, err.as_str()), (Some(2), "Unrecognized command\n"));
}

#[test]
fn commands_from_a_pipe_go_on_after_a_failure() {
    let lab = Lab::start(Listener::Plain);
    let script = "frob\n\n# a comment\nrouter create name edge\nrouter list name edge\n";
    let output = fed(lab.cli(&[]), script);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(text(&output.stderr), "Syntax error at: ...frob\n");
    assert!(text(&output.stdout).contains("name edge state up"), "{}", text(&output.stdout));
    let output = fed(lab.cli(&[]), "list router\nfrob\n");
    assert_eq!(output.status.code(), Some(1));
    let output = fed(lab.cli(&[]), "list router\nexit\nfrob\n");
    assert_eq!(output.status.code(), Some(0), "what follows an exit is not done");
}

#[test]
fn a_terminal_has_a_prompt_and_aliases_and_keeps_its_history() {
    let lab = Lab::start(Listener::Plain);
    let cli = lab.home.path().join("midonet-cli");
    let line = format!("{} -A --midonet-url {}", cli.display(), lab.url);
    let mut command = Command::new("script");
    command.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
    lab.settle(command.env("TERM", "xterm"));
    let lines = ["bridge create name blue", "bridge bridge0 add port", "list bridge", "exit"];
    let (code, told) = talked(command, &lines);
    assert_eq!(code, Some(0), "{told}");
    for wanted in ["midonet> ", "bridge0:port0", "bridge bridge0 name blue state up"] {
        assert!(told.contains(wanted), "{wanted} is not in {told}");
    }
    let history = std::fs::read_to_string(lab.home.path().join(".midonet_history"));
    assert!(history.expect("a history").contains("bridge bridge0 add port"));
}

#[test]
fn missing_settings_are_one_thing_and_an_absent_server_another() {
    let home = tempfile::tempdir().expect("a directory");
    let run = |args: &[&str]| {
        let mut command = Command::new(MIDONET);
        command.arg("cli").args(args).env_clear().env("HOME", home.path());
        let output = command.output().expect("it starts");
        (output.status.code(), text(&output.stderr))
    };
    let (code, err) = run(&["-e", "list bridge"]);
    assert_eq!(code, Some(2));
    assert!(err.starts_with("Missing: Midonet API URL\nMissing: username\n"), "{err}");
    let (code, err) =
        run(&["-A", "--midonet-url", "http://127.0.0.1:1/midonet-api", "-e", "list bridge"]);
    assert_eq!(code, Some(1));
    assert!(err.starts_with("Connection to MidoNet API server refused. Bye."), "{err}");
    let rc = "[cli]\napi_url = http://127.0.0.1:1/x\nusername = a\npassword = b\nproject_id = c\n";
    std::fs::write(home.path().join(".midonetrc"), rc).expect("it is written");
    assert_eq!(run(&["-e", "list bridge"]).0, Some(1), "the file has all that is needed");
    assert_eq!(run(&["--frob"]).0, Some(2));
}

#[test]
fn a_server_is_believed_by_its_authority_only() {
    let lab = Lab::start(Listener::Tls);
    let refused = lab.cli(&["-e", "list bridge"]).output().expect("it starts");
    assert_eq!(refused.status.code(), Some(1), "{}", text(&refused.stderr));
    let certificate = lab.certificate();
    let certificate = certificate.to_str().expect("a path of letters");
    let trusted = lab.cli(&["--ca-file", certificate, "-e", "bridge create name blue"]);
    let mut trusted = trusted;
    let trusted = trusted.output().expect("it starts");
    assert_eq!(trusted.status.code(), Some(0), "{}", text(&trusted.stderr));
    let anybody = ["--disable_ssl_certificate_validation", "TRUE", "-e", "list bridge name blue"];
    let anybody = lab.cli(&anybody).output().expect("it starts");
    assert_eq!(anybody.status.code(), Some(0), "{}", text(&anybody.stderr));
}

#[test]
fn a_walk_is_told_and_json_is_for_programs() {
    let lab = Lab::start(Listener::Plain);
    let run = |args: &[&str]| {
        let output = lab.cli(args).output().expect("it starts");
        assert_eq!(output.status.code(), Some(0), "{args:?}: {}", text(&output.stderr));
        text(&output.stdout).trim().to_owned()
    };
    let router = run(&["-e", "router create name edge"]);
    let port = |address: &str| run(&["-e", "router", &router, "add port addresses", address]);
    let (from, to) = (port("10.0.0.1/24"), port("10.0.1.1/24"));
    let mac = run(&["-e", "router", &router, "port", &from, "show mac"]);
    for (dst, weight) in [("10.0.1.0/24", "0"), ("10.0.0.0/8", "7")] {
        let route = ["-e", "router", &router, "route add type normal src 0.0.0.0/0"];
        run(&[&route[..], &["dst", dst, "weight", weight, "port", &to]].concat());
    }
    let walk =
        ["walk", &from, "10.0.1.9", "--src", "10.0.0.5", "--dst-mac", &mac, "--proto", "udp"];
    let told = run(&walk);
    for wanted in ["simulated by the cluster", "10.0.1.0/24", "lost (shorter prefix)", "verdict  "]
    {
        assert!(told.contains(wanted), "{wanted} is not in {told}");
    }
    let json = run(&[&walk[..], &["--json"]].concat());
    assert!(json.starts_with('{') && json.contains("\"step\": \"route\""), "{json}");
    let listed = run(&["--json", "-e", "router list"]);
    assert!(
        listed.starts_with('[') && listed.contains(&format!("\"id\": \"{router}\"")),
        "{listed}"
    );
}
