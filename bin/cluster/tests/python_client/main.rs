//! The Python client of old, version 5.2.0, itself: installed from its registry and run by Python 2.7.
//!
//! Where Python 2.7 or the registry is not to be had the test says so and is skipped.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use mn_cluster::rest::{Settings, router};
use mn_nsdb::Engine;
use tokio::net::TcpListener;

const CLIENT: &str = "midonetclient==5.2.0";

/// A Python 2.7 with pip: `MIDONET_PYTHON27`, that of the path, or one of pyenv's.
fn python() -> Option<PathBuf> {
    let named = std::env::var_os("MIDONET_PYTHON27").map(PathBuf::from);
    let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    let versions = std::fs::read_dir(home.join(".pyenv/versions")).into_iter().flatten().flatten();
    let of_pyenv = versions
        .filter(|version| version.file_name().to_string_lossy().starts_with("2.7."))
        .map(|version| version.path().join("bin/python"));
    let candidates = named.into_iter().chain(["python2.7".into()]).chain(of_pyenv);
    candidates.into_iter().find(|python| {
        let asked = Command::new(python).args(["-m", "pip", "--version"]).output();
        asked.is_ok_and(|answer| {
            answer.status.success() && text(&answer.stdout).contains("python 2.7")
        })
    })
}

/// The client's directory, filled the first time.
fn client(python: &Path) -> Result<PathBuf, String> {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(CLIENT);
    if directory.join("midonetclient/api.py").exists() {
        return Ok(directory);
    }
    let installed = Command::new(python)
        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target"])
        .args([directory.as_os_str(), CLIENT.as_ref()])
        .output()
        .map_err(|error| error.to_string())?;
    if installed.status.success() { Ok(directory) } else { Err(text(&installed.stderr)) }
}

fn text(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_python_client_itself_draws_filters_closes_and_takes_down() {
    let Some(python) = python() else {
        eprintln!("skipped: there is no Python 2.7 with pip here");
        return;
    };
    let client = match client(&python) {
        Ok(client) => client,
        Err(reason) => {
            eprintln!("skipped: {CLIENT} cannot be installed here: {reason}");
            return;
        }
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}/midonet-api", listener.local_addr().unwrap());
    let app = router(Arc::new(Engine::memory()), Settings::default());
    tokio::spawn(async move { axum::serve(listener, app).await });
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python_client/draw.py");
    let run = move || {
        let mut python = Command::new(python);
        python.arg(script).arg(base).env("PYTHONPATH", client).env_remove("http_proxy");
        python.env("PYTHONDONTWRITEBYTECODE", "1").output()
    };
    let Output { status, stdout, stderr } =
        tokio::task::spawn_blocking(run).await.unwrap().unwrap();
    assert!(status.success(), "{}{}", text(&stdout), text(&stderr));
    assert_eq!(text(&stdout), "done\n");
}
