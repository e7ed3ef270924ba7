//! From words to a command.
//!
//! Both word orders are one grammar: objects follow one another from the outer to the inner, and the verb may
//! stand before, between or after them. What follows the last object depends on the verb.

use crate::refusal::Refusal;
use crate::schema::{Collection, Field, ROOT, Type};
use crate::verb::Verb;
use crate::words::{Word, split};

/// What to do with which objects.
#[derive(Debug)]
pub enum Command {
    List { from: Path, of: &'static Collection, filter: Vec<Pair> },
    Show { what: Path, field: Option<&'static Field> },
    Create { from: Path, of: &'static Collection, attributes: Vec<Pair> },
    Set { what: Path, attributes: Vec<Pair> },
    Clear { what: Path, fields: Vec<&'static Field> },
    Delete { what: Path },
    Describe { what: &'static Type },
}

/// The way to an object, from the outermost.
pub type Path = Vec<Step>;

/// One object of a path.
#[derive(Debug)]
pub enum Step {
    /// One of a collection.
    Member { of: &'static Collection, key: Key },
    /// The object that a field of the one before refers to.
    Follow { field: &'static Field, to: &'static Type },
}

/// Which object of a collection.
#[derive(Debug)]
pub enum Key {
    /// The one of this alias or identifier.
    Word(Word),
    /// The one that has these values.
    Filter(Vec<Pair>),
    /// The only one.
    Only,
}

/// A field and what it is to be, or is.
#[derive(Debug)]
pub struct Pair {
    pub field: &'static Field,
    pub value: Value,
}

/// A value as it was typed.
#[derive(Debug)]
pub enum Value {
    Word(Word),
    /// `router router0 port port0`
    Path(Path),
}

/// Reads a command about objects.
///
/// # Errors
///
/// [`Refusal`] that quotes the line from the first word that cannot be.
pub fn parse(line: &str) -> Result<Command, Refusal> {
    let words = split(line)?;
    let mut parser = Parser { line, words: &words, next: 0, verb: None, path: Vec::new() };
    let end = parser.objects()?;
    parser.command(end)
}

/// Where the objects of a command end.
enum End {
    /// With an object.
    Object,
    /// With a collection, none of whose objects is chosen.
    Collection(&'static Collection),
}

struct Parser<'a> {
    line: &'a str,
    words: &'a [Word],
    next: usize,
    verb: Option<Verb>,
    path: Path,
}

impl Parser<'_> {
    /// Reads objects and the verb, wherever it stands.
    fn objects(&mut self) -> Result<End, Refusal> {
        loop {
            if self.takes_verb() {
                continue;
            }
            let Some(word) = self.peek() else { return Ok(End::Object) };
            let here = end_of(&self.path);
            if let Some(of) = here.collection(&word.text) {
                self.next += 1;
                if let Some(end) = self.member(of)? {
                    return Ok(end);
                }
            } else if let Some(step) = self.follow(here) {
                self.next += 1;
                self.path.push(step);
            } else {
                return Ok(End::Object);
            }
        }
    }

    /// Reads which object of a collection is meant, if one is.
    fn member(&mut self, of: &'static Collection) -> Result<Option<End>, Refusal> {
        if of.is_single() {
            self.path.push(Step::Member { of, key: Key::Only });
            return Ok(None);
        }
        let verb_before = self.verb.is_some();
        let took_verb = self.takes_verb();
        let whole = matches!(self.verb, Some(Verb::Create | Verb::List | Verb::Describe));
        if took_verb && (whole || self.peek().is_none()) {
            return Ok(Some(End::Collection(of)));
        }
        let Some(word) = self.peek() else { return Ok(Some(End::Collection(of))) };
        let is_field = of.of.field(&word.text).is_some();
        if whole && is_field {
            return Ok(Some(End::Collection(of)));
        }
        if took_verb && !verb_before && !is_field {
            return Err(self.syntax_error());
        }
        let key = if is_field { Key::Filter(self.selection(of.of)?) } else { self.word(of)? };
        self.path.push(Step::Member { of, key });
        Ok(None)
    }

    /// A word that chooses an object; where a collection is to follow, one must.
    fn word(&mut self, of: &'static Collection) -> Result<Key, Refusal> {
        let word = self.words[self.next].clone();
        let inner = self.words.get(self.next + 1);
        let goes_on = inner.is_some_and(|inner| of.of.collection(&inner.text).is_some());
        let whole = matches!(self.verb, Some(Verb::Create | Verb::List));
        if whole && !goes_on {
            return Err(self.syntax_error());
        }
        self.next += 1;
        Ok(Key::Word(word))
    }

    /// Values that choose an object: pairs as far as there are any.
    fn selection(&mut self, of: &'static Type) -> Result<Vec<Pair>, Refusal> {
        let start = self.next;
        let mut pairs = Vec::new();
        while let Some(field) = self.peek().and_then(|word| of.field(&word.text)) {
            if self.words.len() == self.next + 1 {
                // A field without a value, at the end, is one to show.
                break;
            }
            self.next += 1;
            pairs.push(Pair { field, value: self.value(field)? });
        }
        if pairs.is_empty() {
            self.next = start.saturating_sub(1);
            return Err(self.syntax_error());
        }
        Ok(pairs)
    }

    /// A field that refers to an object, when the command goes on from there.
    fn follow(&self, here: &'static Type) -> Option<Step> {
        if matches!(self.verb, Some(Verb::Set | Verb::Clear)) {
            return None;
        }
        let field = here.field(&self.words[self.next].text)?;
        let to = field.refers_to()?;
        let after = self.words.get(self.next + 1)?;
        let goes_on = Verb::of(&after.text).is_some() || to.collection(&after.text).is_some();
        goes_on.then_some(Step::Follow { field, to })
    }

    fn command(mut self, end: End) -> Result<Command, Refusal> {
        let here = end_of(&self.path);
        let command = match (self.verb, end) {
            (Some(Verb::List), End::Collection(of)) => {
                let filter = self.pairs(of.of)?;
                Command::List { from: self.take_path(), of, filter }
            }
            (Some(Verb::Create), End::Collection(of)) => {
                let attributes = self.pairs(of.of)?;
                Command::Create { from: self.take_path(), of, attributes }
            }
            (Some(Verb::Describe), End::Collection(of)) => Command::Describe { what: of.of },
            (Some(Verb::Describe), End::Object) => Command::Describe { what: here },
            (Some(_), End::Collection(_)) => {
                self.next -= 1;
                return Err(self.syntax_error());
            }
            (_, End::Object) if self.path.is_empty() => return Err(self.stuck()),
            (Some(Verb::Show), End::Object) => {
                let field = self.shown_field(here);
                Command::Show { what: self.take_path(), field }
            }
            (Some(Verb::Set), End::Object) => {
                let attributes = self.pairs(here)?;
                self.not_none(attributes.is_empty())?;
                Command::Set { what: self.take_path(), attributes }
            }
            (Some(Verb::Clear), End::Object) => {
                let fields = self.fields(here);
                self.not_none(fields.is_empty())?;
                Command::Clear { what: self.take_path(), fields }
            }
            (Some(Verb::Delete), End::Object) => Command::Delete { what: self.take_path() },
            (None, End::Object) => self.field_then_show(here)?,
            (Some(Verb::List | Verb::Create), End::Object) => return Err(self.stuck()),
            (None, End::Collection(_)) => return Err(Refusal::Incomplete),
        };
        if self.next < self.words.len() { Err(self.syntax_error()) } else { Ok(command) }
    }

    /// `bridge bridge0 name show`
    fn field_then_show(&mut self, here: &'static Type) -> Result<Command, Refusal> {
        let field = self.shown_field(here);
        if field.is_some() && self.takes_verb() && self.verb == Some(Verb::Show) {
            return Ok(Command::Show { what: self.take_path(), field });
        }
        self.next -= usize::from(field.is_some() && self.next < self.words.len());
        Err(self.stuck())
    }

    fn shown_field(&mut self, here: &'static Type) -> Option<&'static Field> {
        let field = here.field(&self.peek()?.text)?;
        self.next += 1;
        Some(field)
    }

    /// Fields with values up to the end of the line.
    fn pairs(&mut self, of: &'static Type) -> Result<Vec<Pair>, Refusal> {
        let mut pairs: Vec<Pair> = Vec::new();
        while let Some(word) = self.peek() {
            let Some(field) = of.field(&word.text) else { return Err(self.syntax_error()) };
            if pairs.iter().any(|pair| pair.field.word == field.word) {
                return Err(Refusal::User(format!("'{}' is given twice", field.word)));
            }
            self.next += 1;
            pairs.push(Pair { field, value: self.value(field)? });
        }
        Ok(pairs)
    }

    fn fields(&mut self, of: &'static Type) -> Vec<&'static Field> {
        let mut fields = Vec::new();
        while let Some(field) = self.peek().and_then(|word| of.field(&word.text)) {
            fields.push(field);
            self.next += 1;
        }
        fields
    }

    /// One word, or the whole way to an object where the field refers to one.
    fn value(&mut self, field: &'static Field) -> Result<Value, Refusal> {
        let word = self.peek().ok_or(Refusal::Incomplete)?.clone();
        let Some(wanted) = field.refers_to() else {
            self.next += 1;
            return Ok(Value::Word(word));
        };
        let mut path: Path = Vec::new();
        let mut at = self.next;
        while let (Some(of), Some(key)) = (
            self.words.get(at).and_then(|word| end_of(&path).collection(&word.text)),
            self.words.get(at + 1),
        ) {
            path.push(Step::Member { of, key: Key::Word(key.clone()) });
            at += 2;
            if std::ptr::eq(of.of, wanted) {
                self.next = at;
                return Ok(Value::Path(path));
            }
        }
        self.next += 1;
        Ok(Value::Word(word))
    }

    fn peek(&self) -> Option<&Word> {
        self.words.get(self.next)
    }

    /// Takes the next word when it is the command's verb.
    fn takes_verb(&mut self) -> bool {
        if self.verb.is_some() {
            return false;
        }
        self.verb = self.peek().and_then(|word| Verb::of(&word.text));
        self.next += usize::from(self.verb.is_some());
        self.verb.is_some()
    }

    fn take_path(&mut self) -> Path {
        std::mem::take(&mut self.path)
    }

    fn not_none(&self, none: bool) -> Result<(), Refusal> {
        if none { Err(self.stuck()) } else { Ok(()) }
    }

    /// The error when nothing more is understood: of the next word, or that there is none.
    fn stuck(&self) -> Refusal {
        if self.next < self.words.len() { self.syntax_error() } else { Refusal::Incomplete }
    }

    /// Quotes the line from the next word.
    fn syntax_error(&self) -> Refusal {
        let at = self.peek().map_or(self.line.len(), |word| word.at);
        Refusal::Syntax { rest: self.line[at..].trim_end().to_owned() }
    }
}

/// The type of the object that a path leads to.
#[must_use]
pub fn end_of(path: &[Step]) -> &'static Type {
    match path.last() {
        None => &ROOT,
        Some(Step::Member { of, .. }) => of.of,
        Some(Step::Follow { to, .. }) => to,
    }
}

#[cfg(test)]
mod tests;
