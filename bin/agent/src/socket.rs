//! The agent's Unix socket: one JSON request a line, one JSON response a line.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;

use crate::Handle;

/// The longest request.
const LINE_MAX: u64 = 64 * 1024;
/// Connections at once.
const CONNECTIONS_MAX: usize = 32;

/// Opens the socket for its owner alone. One that an earlier agent left is replaced.
pub(crate) fn listen(path: &Path) -> io::Result<UnixListener> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Serves connections for ever.
pub(crate) async fn serve(listener: UnixListener, handle: Handle) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "a connection to the agent's socket failed");
                continue;
            }
        };
        let handle = handle.clone();
        tokio::spawn(async move {
            if let Err(error) = converse(stream, &handle).await {
                tracing::debug!(%error, "a connection to the agent's socket broke");
            }
            drop(permit);
        });
    }
}

async fn converse(stream: UnixStream, handle: &Handle) -> io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    loop {
        let mut line = String::new();
        if (&mut reader).take(LINE_MAX).read_line(&mut line).await? == 0 {
            return Ok(());
        }
        let mut answer = handle.ask_json(line.trim()).await;
        answer.push('\n');
        writer.write_all(answer.as_bytes()).await?;
        if !line.ends_with('\n') {
            // Longer than a request may be, or the last of the stream.
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_socket_is_for_its_owner_alone_also_where_an_earlier_agent_left_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("agent.sock");
        let mode = || fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        let first = listen(&path).unwrap();
        assert_eq!(mode(), 0o600);
        drop(first);
        fs::set_permissions(&path, Permissions::from_mode(0o666)).unwrap();
        let _second = listen(&path).unwrap();
        assert_eq!(mode(), 0o600);
        assert!(UnixStream::connect(&path).await.is_ok(), "the new one is listened on");
    }
}
