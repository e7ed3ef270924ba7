//! The file: opening, loading, appending.

use std::error::Error;
use std::fs;
use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::Duration;

use mn_nsdb::database::{Commit, Database, Dump};
use mn_nsdb::{Engine, Journal, Revision};
use mn_time::Instant;
use redb::backends::FileBackend;
use redb::{
    DatabaseError, Durability, ReadableDatabase, ReadableTable, StorageBackend, StorageError,
    TableHandle,
};

use crate::error::{Damage, OpenError};
use crate::record::{Digest, Record, parse, read};

const RECORDS: redb::TableDefinition<'_, &str, &[u8]> = redb::TableDefinition::new("records");
const FORMAT: &str = "1";
const META_FORMAT: &str = "meta/format";
const META_REVISION: &str = "meta/revision";
const META_DIGEST: &str = "meta/digest";

/// Pages kept in memory. Small: whatever is read is in memory already as what it means.
const CACHE_BYTES: usize = 16 << 20;

/// Opens the database in a file, or makes an empty one. Blocks while it loads.
///
/// # Errors
///
/// [`OpenError`].
///
/// # Panics
///
/// Outside of a tokio runtime.
pub fn open(path: &Path) -> Result<Engine, OpenError> {
    let (file, dump) = if is_missing(path) {
        (File::create(path, &Dump::default())?, Dump::default())
    } else {
        let io = |source| OpenError::Io { path: path.to_owned(), source };
        let file = fs::OpenOptions::new().read(true).write(true).open(path).map_err(io)?;
        File::open_on(backend(file, path)?, path)?
    };
    start(file, dump, path, Database::GRACE_FOR)
}

/// Opens the database on any storage; `path` is what messages call it.
///
/// # Errors
///
/// [`OpenError`].
///
/// # Panics
///
/// Outside of a tokio runtime.
pub fn open_on(
    backend: impl StorageBackend,
    path: &Path,
    grace_for: Duration,
) -> Result<Engine, OpenError> {
    let (file, dump) = File::open_on(backend, path)?;
    start(file, dump, path, grace_for)
}

fn start(file: File, dump: Dump, path: &Path, grace_for: Duration) -> Result<Engine, OpenError> {
    let database = Database::load(dump, grace_for, Instant::ZERO);
    let database = database.map_err(|error| OpenError::damaged(path.to_owned(), error))?;
    let started = Engine::with_journal(database, Box::new(file));
    started.map_err(|source| OpenError::Io { path: path.to_owned(), source })
}

/// An empty file is as good as none.
pub(crate) fn is_missing(path: &Path) -> bool {
    fs::metadata(path)
        .map_or_else(|error| error.kind() == ErrorKind::NotFound, |file| file.len() == 0)
}

fn backend(file: fs::File, path: &Path) -> Result<FileBackend, OpenError> {
    FileBackend::new(file).map_err(|error| opening(path, error))
}

/// A database's file: a journal that keeps only the latest state.
#[derive(Debug)]
pub struct File {
    redb: redb::Database,
    digest: Digest,
}

impl File {
    /// Makes a file that holds this, and opens it.
    ///
    /// It is made under another name and renamed when it is whole, so that a crash meanwhile leaves
    /// nothing behind that is no database. Who comes at the same time finds the other name locked,
    /// or the file there.
    pub(crate) fn create(path: &Path, dump: &Dump) -> Result<Self, OpenError> {
        let io = |source| OpenError::Io { path: path.to_owned(), source };
        let in_use = || OpenError::InUse { path: path.to_owned() };
        let mut new = path.as_os_str().to_owned();
        new.push(".new");
        let mut options = fs::OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let made = options.open(&new).map_err(io)?;
        made.try_lock().map_err(|_| in_use())?;
        if !is_missing(path) {
            return Err(in_use());
        }
        made.set_len(0).map_err(io)?;
        let (mut file, _) = Self::open_on(backend(made, path)?, path)?;
        let written = file.write(dump.revision, Record::all(dump));
        written.map_err(|error| io(std::io::Error::other(error)))?;
        fs::rename(&new, path).and_then(|()| keep_name(path)).map_err(io)?;
        Ok(file)
    }

    /// Opens it and reads everything. A file that is empty becomes an empty database.
    ///
    /// # Errors
    ///
    /// [`OpenError`].
    pub fn open_on(backend: impl StorageBackend, path: &Path) -> Result<(Self, Dump), OpenError> {
        // A damaged file can violate what redb relies on.
        let opened = catch_unwind(AssertUnwindSafe(|| Self::load(backend, path)));
        opened.unwrap_or_else(|_| {
            Err(OpenError::damaged(path.to_owned(), "its pages contradict one another"))
        })
    }

    fn load(backend: impl StorageBackend, path: &Path) -> Result<(Self, Dump), OpenError> {
        let mut builder = redb::Builder::new();
        builder.set_cache_size(CACHE_BYTES);
        let redb = builder.create_with_backend(backend).map_err(|error| opening(path, error))?;
        let mut file = Self { redb, digest: Digest::default() };
        let damaged = |damage: Damage| OpenError::damaged(path.to_owned(), damage);
        match file.format().map_err(damaged)?.as_deref() {
            None => file.begin().map_err(damaged)?,
            Some(FORMAT) => {}
            Some(format) => {
                let (path, format) = (path.to_owned(), format.to_owned());
                return Err(OpenError::Later { path, format });
            }
        }
        let dump = file.read_all().map_err(damaged)?;
        Ok((file, dump))
    }

    /// `None`: nothing was ever written.
    fn format(&self) -> Result<Option<String>, Damage> {
        let transaction = self.redb.begin_read().map_err(redb::Error::from)?;
        let table = match transaction.open_table(RECORDS) {
            Ok(table) => table,
            Err(redb::TableError::TableDoesNotExist(_)) => {
                let mut others = transaction.list_tables().map_err(redb::Error::from)?;
                return others
                    .next()
                    .map_or(Ok(None), |other| Err(Damage::Table(other.name().to_owned())));
            }
            Err(error) => return Err(redb::Error::from(error).into()),
        };
        let format = table.get(META_FORMAT).map_err(redb::Error::from)?;
        let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
        Ok(Some(format.map_or_else(String::new, |value| text(value.value()))))
    }

    fn begin(&mut self) -> Result<(), Damage> {
        Ok(self.write(Revision::ZERO, std::iter::empty())?)
    }

    fn read_all(&mut self) -> Result<Dump, Damage> {
        let (mut dump, mut digest, mut stored) = (Dump::default(), Digest::default(), None);
        let transaction = self.redb.begin_read().map_err(redb::Error::from)?;
        let table = transaction.open_table(RECORDS).map_err(redb::Error::from)?;
        for record in table.iter().map_err(redb::Error::from)? {
            let (key, value) = record.map_err(redb::Error::from)?;
            let (key, value) = (key.value(), value.value());
            match key {
                META_FORMAT => continue,
                META_DIGEST => {
                    stored = Some(parse(key, value)?);
                    continue;
                }
                META_REVISION => dump.revision = Revision(parse(key, value)?),
                _ => read(&mut dump, key, value)?,
            }
            digest.add(key, value);
        }
        if stored != Some(digest.0) {
            return Err(Damage::Digest);
        }
        self.digest = digest;
        Ok(dump)
    }

    /// Writes records and the revision they lead to, and synchronizes with the disk.
    pub(crate) fn write(
        &mut self,
        revision: Revision,
        records: impl Iterator<Item = Record>,
    ) -> Result<(), redb::Error> {
        let mut transaction = self.redb.begin_write()?;
        transaction.set_durability(Durability::Immediate)?;
        let mut digest = self.digest;
        {
            let mut table = transaction.open_table(RECORDS)?;
            let now = revision.0.to_string().into_bytes();
            let meta = Record { key: META_REVISION.to_owned(), value: Some(now) };
            for Record { key, value } in records.chain([meta]) {
                let before = match &value {
                    Some(value) => table.insert(key.as_str(), value.as_slice())?,
                    None => table.remove(key.as_str())?,
                };
                if let Some(before) = before {
                    digest.remove(&key, before.value());
                }
                if let Some(value) = &value {
                    digest.add(&key, value);
                }
            }
            table.insert(META_DIGEST, digest.0.to_string().as_bytes())?;
            table.insert(META_FORMAT, FORMAT.as_bytes())?;
        }
        transaction.commit()?;
        self.digest = digest;
        Ok(())
    }
}

impl Journal for File {
    fn append(&mut self, commits: &[Commit]) -> Result<(), Box<dyn Error + Send + Sync>> {
        let Some(last) = commits.last() else { return Ok(()) };
        let writes = commits.iter().flat_map(|commit| &commit.writes);
        self.write(last.revision, writes.map(Record::of))?;
        Ok(())
    }
}

/// Makes the file's name last: a synchronized file in a directory that is not can be lost.
pub(crate) fn keep_name(path: &Path) -> std::io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    fs::File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
}

fn opening(path: &Path, error: DatabaseError) -> OpenError {
    let path = path.to_owned();
    match error {
        DatabaseError::DatabaseAlreadyOpen => OpenError::InUse { path },
        DatabaseError::Storage(StorageError::Io(source)) => match source.kind() {
            ErrorKind::InvalidData => OpenError::Foreign { path },
            _ => OpenError::Io { path, source },
        },
        other => OpenError::damaged(path, other),
    }
}
