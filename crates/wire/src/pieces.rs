//! Large batches in several messages.
//!
//! The first picture of a watch may be of any size, a message may not. Who reads puts the pieces
//! together again before anybody sees them: a batch is one change.

use prost::Message;

use crate::v1;

/// About how many octets a piece has at most: more only where one change alone has more.
pub const PIECE_BYTES_MAX: usize = 1024 * 1024;

/// A message that others may belong to.
pub trait Piece: Sized {
    /// Whether the next message belongs to it.
    fn more(&self) -> bool;
    /// Adds the next piece to those before.
    fn join(&mut self, next: Self);
}

/// What came of a message so far.
#[derive(Debug)]
pub struct Joined<T>(Option<T>);

impl<T> Default for Joined<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T: Piece> Joined<T> {
    /// Takes a piece; the whole after the last one.
    pub fn take(&mut self, piece: T) -> Option<T> {
        let more = piece.more();
        match &mut self.0 {
            Some(whole) => whole.join(piece),
            None => self.0 = Some(piece),
        }
        if more { None } else { self.0.take() }
    }
}

impl Piece for v1::Batch {
    fn more(&self) -> bool {
        self.more
    }

    fn join(&mut self, next: Self) {
        self.revision = next.revision;
        self.ended.extend(next.ended);
        self.changes.extend(next.changes);
        self.complete.extend(next.complete);
        self.more = next.more;
    }
}

impl Piece for v1::WatchRequest {
    fn more(&self) -> bool {
        self.more
    }

    fn join(&mut self, next: Self) {
        self.add.extend(next.add);
        self.remove.extend(next.remove);
        self.more = next.more;
    }
}

/// The messages of a batch: one at least.
#[must_use]
pub fn batch_pieces(batch: v1::Batch) -> Vec<v1::Batch> {
    let v1::Batch { revision, ended, changes, complete, .. } = batch;
    let empty = || v1::Batch { revision, ..v1::Batch::default() };
    let mut pieces: Vec<_> =
        runs(ended).into_iter().map(|ended| v1::Batch { ended, ..empty() }).collect();
    pieces.extend(runs(changes).into_iter().map(|changes| v1::Batch { changes, ..empty() }));
    pieces.extend(runs(complete).into_iter().map(|complete| v1::Batch { complete, ..empty() }));
    // Most batches are small: then all of it is one message.
    if pieces.iter().map(Message::encoded_len).sum::<usize>() <= PIECE_BYTES_MAX {
        let whole = pieces.drain(..).reduce(|mut whole, piece| {
            whole.join(piece);
            whole
        });
        pieces.push(whole.unwrap_or_else(empty));
    }
    let last = pieces.len() - 1;
    pieces[..last].iter_mut().for_each(|piece| piece.more = true);
    pieces
}

/// The messages of a request: one at least.
#[must_use]
pub fn request_pieces(add: Vec<v1::Selector>, remove: Vec<v1::Selector>) -> Vec<v1::WatchRequest> {
    let empty = v1::WatchRequest::default;
    let mut pieces: Vec<_> =
        runs(remove).into_iter().map(|remove| v1::WatchRequest { remove, ..empty() }).collect();
    pieces.extend(runs(add).into_iter().map(|add| v1::WatchRequest { add, ..empty() }));
    if pieces.is_empty() {
        pieces.push(empty());
    }
    let last = pieces.len() - 1;
    pieces[..last].iter_mut().for_each(|piece| piece.more = true);
    pieces
}

/// The items in runs of at most so many octets as a piece has; none for none.
fn runs<T: Message>(items: Vec<T>) -> Vec<Vec<T>> {
    // Tag and length of an item: at most so many octets.
    const FRAME_BYTES: usize = 8;
    let mut runs = Vec::new();
    let (mut run, mut bytes) = (Vec::new(), 0);
    for item in items {
        let own = item.encoded_len() + FRAME_BYTES;
        if bytes + own > PIECE_BYTES_MAX && !run.is_empty() {
            runs.push(std::mem::take(&mut run));
            bytes = 0;
        }
        bytes += own;
        run.push(item);
    }
    if !run.is_empty() {
        runs.push(run);
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(octets: usize) -> v1::Change {
        let stored = v1::Stored { json: "x".repeat(octets), ..v1::Stored::default() };
        let object = v1::ObjectChange { key: None, stored: Some(stored) };
        v1::Change { change: Some(v1::change::Change::Object(object)) }
    }

    fn selector(name: usize) -> v1::Selector {
        v1::Selector { selector: Some(v1::selector::Selector::Class(format!("class {name:090}"))) }
    }

    fn batch(changes: usize, octets: usize, complete: usize) -> v1::Batch {
        v1::Batch {
            revision: 7,
            ended: (0..complete / 2).map(selector).collect(),
            changes: (0..changes).map(|_| change(octets)).collect(),
            complete: (0..complete).map(selector).collect(),
            more: false,
        }
    }

    #[test]
    fn pieces_are_small_and_together_what_was_sent() {
        let cases = [
            // changes, octets of each, selectors, pieces
            (0, 0, 0, 1),
            (3, 100, 2, 1),
            (20_000, 300, 1, 8),
            (3, 900_000, 0, 3),
            (1, 3_000_000, 1, 2),
            (0, 0, 50_000, 9),
        ];
        for (changes, octets, complete, want) in cases {
            let sent = batch(changes, octets, complete);
            let pieces = batch_pieces(sent.clone());
            assert_eq!(pieces.len(), want, "{changes} of {octets}, {complete}");
            let mut joined = Joined::default();
            let mut whole = None;
            for piece in pieces {
                assert!(whole.is_none(), "the last piece was not the last");
                assert!(piece.encoded_len() <= PIECE_BYTES_MAX + 32 || octets > PIECE_BYTES_MAX);
                whole = joined.take(piece);
            }
            assert_eq!(whole, Some(sent));
        }
    }

    #[test]
    fn a_request_of_any_size_is_one_change() {
        let add: Vec<_> = (0..60_000).map(selector).collect();
        let pieces = request_pieces(add.clone(), vec![selector(9)]);
        assert!(pieces.len() > 4, "{}", pieces.len());
        assert!(pieces.iter().all(|piece| piece.encoded_len() <= PIECE_BYTES_MAX + 32));
        let mut joined = Joined::default();
        let whole = pieces.into_iter().find_map(|piece| joined.take(piece));
        assert_eq!(whole, Some(v1::WatchRequest { add, remove: vec![selector(9)], more: false }));
        assert_eq!(request_pieces(Vec::new(), Vec::new()).len(), 1);
    }
}
