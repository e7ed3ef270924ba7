//! What the session says about itself.

use crate::schema::{Collection, Type};

/// How wide a description is, in columns.
const WIDTH: usize = 76;

const OVERVIEW: &str = "\
Objects are named from the outer to the inner, by alias or identifier; the verb may
stand before, between or after them. Tab completes.

  list TYPE [FIELD VALUE ...]             TYPE list        list the objects, or those like this
  show TYPE ID [FIELD]                    TYPE ID show     show one, or one field of it
  create TYPE FIELD VALUE ...             TYPE add         make one; prints its name
  set TYPE ID FIELD VALUE ...             TYPE ID set      change fields
  clear TYPE ID FIELD ...                 TYPE ID clear    unset fields
  delete TYPE ID                          TYPE ID delete
  describe [TYPE]                                          what there is, and its fields
  walk FROM TO [--proto P ...]                             where would this packet go, and why
  sett TENANT, cleart                                      work for a tenant, or for none
  debug on|off                                             show the requests
  help [TOPIC], exit, quit

Examples:
  bridge create name blue
  bridge bridge0 add port
  host host0 add binding port bridge0:port0 interface tap0
  router router0 add port addresses 10.0.0.1/24
  router router0 port port0 set peer bridge0:port1
  chain chain0 add rule ethertype 2048 src !10.0.0.0/16 type drop";

/// The answer to `help`, of everything or of one type.
pub(super) fn help(about: &[&str]) -> String {
    let topic = about.first().and_then(|word| crate::schema::ROOT.collection(word));
    topic.map_or_else(|| OVERVIEW.to_owned(), |topic| describe(topic.of))
}

/// The answer to `describe`.
pub(super) fn describe(of: &Type) -> String {
    let collections = of.collections.iter().map(|Collection { word, .. }| *word);
    let fields = of.fields.iter().map(|field| field.word);
    format!(
        "Object collections:\n{}\nFields:\n{}",
        columns(collections.collect()),
        columns(fields.collect())
    )
}

/// Words in columns of one width.
fn columns(words: Vec<&str>) -> String {
    let Some(widest) = words.iter().map(|word| word.len()).max() else {
        return "<NONE>".to_owned();
    };
    let per_line = (WIDTH / (widest + 2)).max(1);
    let line = |words: &[&str]| {
        let line: String = words.iter().map(|word| format!("{word:<0$}", widest + 2)).collect();
        line.trim_end().to_owned()
    };
    words.chunks(per_line).map(line).collect::<Vec<_>>().join("\n")
}
