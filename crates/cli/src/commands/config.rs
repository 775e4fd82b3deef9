//! `strata config`.

use serde_json::{Map, Value, json};
use strata_server::settings::{Entry, Resolved, SettingsError};

use crate::args::NodeArgs;
use crate::failure::{Failure, STATUS_USAGE};
use crate::output::{Answer, Format, table};

impl From<SettingsError> for Failure {
    fn from(error: SettingsError) -> Failure {
        let failure = Failure::new(error.to_string()).hint(error.hint());
        match error {
            // Another time it may be there.
            SettingsError::Unreadable { .. } => failure,
            _ => failure.status(STATUS_USAGE),
        }
    }
}

/// Prints every setting, its value and where it came from.
pub fn show(args: &NodeArgs, format: Format) -> Result<(), Failure> {
    let resolved = Resolved::of_process(args.flags(), args.config.as_deref())?;
    format.print(&Answer::new(text_of(&resolved.entries), json_of(&resolved.entries)))
}

fn text_of(entries: &[Entry]) -> String {
    let rows: Vec<Vec<String>> = entries
        .iter()
        .map(|entry| {
            let value = if entry.value.is_empty() { "-" } else { &entry.value };
            let definition = entry.definition;
            vec![definition.key.to_owned(), value.to_owned(), entry.origin.to_string(), definition.help.to_owned()]
        })
        .collect();
    table(&["setting", "value", "from", "meaning"], &rows)
}

fn json_of(entries: &[Entry]) -> Value {
    let pairs = entries.iter().map(|entry| {
        let value = json!({ "value": entry.value, "from": entry.origin.name(), "place": entry.origin.place(entry.definition.key) });
        (entry.definition.key.to_owned(), value)
    });
    Value::Object(pairs.collect::<Map<_, _>>())
}
